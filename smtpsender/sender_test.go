package smtpsender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpmail"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/smtpsender"
)

const from = "Acme <codes@acme.example>"

// smtpSender returns a sender to addr that is closed with the test.
func newSender(t testing.TB, addr string, opts smtpsender.Options) *smtpsender.Sender {
	t.Helper()
	s, err := smtpsender.New(addr, from, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// smtpMessage returns a message to an address.
func newMessage(t testing.TB, to string) otp.Message {
	t.Helper()
	addr, err := otp.EmailParser(otp.EmailOptions{UTF8: true})(to)
	require.NoError(t, err)
	now := time.Now()
	return otp.Message{
		ID: "K3JQ2MZ5VZ7N4C6T8X9B2D4F6H", To: addr, Code: "042137", Purpose: "login",
		Reference: "KQZT", SentAt: now, ExpiresAt: now.Add(10 * time.Minute),
	}
}

// sendError returns err as the *SendError that it must be.
func sendError(t testing.TB, err error) *otp.SendError {
	t.Helper()
	var e *otp.SendError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, otp.ErrSend)
	return e
}

func TestSender_Send(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1", "localhost")
	users := map[string]string{"user@acme.example": "pa ss:wörd"}
	login := smtpsender.Options{Username: "user@acme.example", Password: "pa ss:wörd"}
	with := func(o smtpsender.Options, mode smtpsender.TLSMode) smtpsender.Options {
		o.TLS = mode
		if mode != smtpsender.InsecureLoopback {
			o.TLSConfig = cert.Client()
		}
		return o
	}
	for _, c := range []struct {
		name string
		sink *smtptest.Sink
		opts smtpsender.Options
	}{
		{"implicit TLS", &smtptest.Sink{TLS: cert.Server()}, with(smtpsender.Options{}, smtpsender.ImplicitTLS)},
		{"implicit TLS, PLAIN", &smtptest.Sink{TLS: cert.Server(), Users: users}, with(login, smtpsender.ImplicitTLS)},
		{"implicit TLS, LOGIN", &smtptest.Sink{TLS: cert.Server(), Users: users, Mechanisms: []string{"LOGIN"}}, with(login, smtpsender.ImplicitTLS)},
		{"STARTTLS", &smtptest.Sink{TLS: cert.Server(), StartTLS: true}, with(smtpsender.Options{}, smtpsender.StartTLS)},
		{"STARTTLS, PLAIN", &smtptest.Sink{TLS: cert.Server(), StartTLS: true, Users: users}, with(login, smtpsender.StartTLS)},
		{"clear", &smtptest.Sink{}, with(smtpsender.Options{}, smtpsender.InsecureLoopback)},
		{"clear, PLAIN", &smtptest.Sink{Users: users}, with(login, smtpsender.InsecureLoopback)},
		{"clear, own client", &smtptest.Sink{Users: users, Mechanisms: []string{"OAUTHBEARER"}}, with(smtpsender.Options{
			Auth: func(context.Context) (sasl.Client, error) {
				return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "user@acme.example", Token: "pa ss:wörd"}), nil
			},
		}, smtpsender.InsecureLoopback)},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := c.sink.Start(t)
			s := newSender(t, sink.Addr, c.opts)
			m := newMessage(t, "Mike@example.com")
			require.NoError(t, s.Send(t.Context(), m))

			mails := sink.Mails()
			require.Len(t, mails, 1)
			require.Equal(t, "codes@acme.example", mails[0].From)
			require.Equal(t, "Mike@example.com", mails[0].To, "the case of the local part stays") // E6
			require.Equal(t, c.sink.TLS != nil, mails[0].TLS)
			require.False(t, mails[0].UTF8)
			if c.sink.Users != nil {
				require.Equal(t, "user@acme.example", mails[0].User)
			}
			header, text, html := testkit.ReadMail(t, mails[0].Data)
			require.Contains(t, text, "\n042137\n")
			require.Contains(t, html, `<strong>042137</strong>`)
			require.Equal(t, `"Acme" <codes@acme.example>`, header.Get("From"))
			require.Equal(t, "Mike@example.com", header.Get("To"))
			require.Equal(t, "Your Acme verification code", header.Get("Subject"))
			require.Equal(t, "<"+m.ID+"@acme.example>", header.Get("Message-Id"))
			require.Equal(t, "auto-generated", header.Get("Auto-Submitted")) // F8
			date, err := header.Date()
			require.NoError(t, err)
			require.Equal(t, m.SentAt.Unix(), date.Unix())
		})
	}
}

func TestSender_mailOfTheMessage(t *testing.T) { // F6
	sink := (&smtptest.Sink{}).Start(t)
	s := newSender(t, sink.Addr, smtpsender.Options{
		TLS: smtpsender.InsecureLoopback, Brand: "Größe & Söhne", ReplyTo: "Hilfe, schnell <help@acme.example>", Support: "030 1234",
	})
	m := newMessage(t, "a@example.com")
	m.Purpose = "pay:inv-42:99.00EUR"
	m.Vars = map[string]string{"amount": "99.00 EUR", "name": "secret name"}
	m.SentAt = time.Time{} // unknown: now
	m.ExpiresAt = time.Time{}
	require.NoError(t, s.Send(t.Context(), m))
	m.Vars = map[string]string{"brand": "Tenant"}
	m.ID = "SECOND"
	require.NoError(t, s.Send(t.Context(), m))

	require.Equal(t, 2, bytes.Count(sink.Mails()[0].Data, []byte(m.Code)), "in one piece as it is sent, too") // I1
	header, text, html := testkit.ReadMail(t, sink.Mails()[0].Data)
	for _, part := range []string{text, html} {
		require.Contains(t, part, "99.00 EUR")
		require.Contains(t, part, "030 1234")
		require.NotContains(t, part, "secret name")
		require.NotContains(t, part, "inv-42")
	}
	require.Contains(t, text, "Größe & Söhne")
	require.Contains(t, html, "Größe &amp; Söhne")
	subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Verification code for your Größe & Söhne payment", subject)
	replyTo, err := header.AddressList("Reply-To")
	require.NoError(t, err)
	require.Equal(t, []*mail.Address{{Name: "Hilfe, schnell", Address: "help@acme.example"}}, replyTo)
	date, err := header.Date()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), date, time.Hour) // exactly: FuzzComposer_headers

	second, text, _ := testkit.ReadMail(t, sink.Mails()[1].Data)
	require.Contains(t, text, "Tenant")
	require.NotContains(t, text, "Größe")
	require.NotEqual(t, header.Get("References"), second.Get("References")) // F10
	require.NotEqual(t, header.Get("Message-Id"), second.Get("Message-Id")) // F7
	require.Equal(t, 1, sink.Conns(), "the connection is used again")
}

// The brand of a request is the name in From; the address stays the same in the
// header and in the envelope.
func TestSender_brandInFrom(t *testing.T) { // F1
	server := smtptest.Script{}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, BrandInFrom: true})
	m := newMessage(t, "a@example.com")
	for brand, want := range map[string]string{
		"":                `"Acme" <codes@acme.example>`,
		"Tenant, Ltd.":    `"Tenant, Ltd." <codes@acme.example>`,
		"Größe":           "=?utf-8?q?Gr=C3=B6=C3=9Fe?= <codes@acme.example>",
		"x@other.example": "", // no mail
	} {
		m.Vars = map[string]string{"brand": brand}
		sent := len(server.Mails(0))
		err := s.Send(t.Context(), m)
		if want == "" {
			e := sendError(t, err)
			require.Equal(t, "compose", e.Stage)
			require.Equal(t, otpevent.ClassUs, e.Class)
			require.Len(t, server.Mails(0), sent)
			continue
		}
		require.NoError(t, err)
		require.Contains(t, "\r\n"+server.Mails(0)[sent], "\r\nFrom: "+want+"\r\n")
	}
	require.Equal(t, 3, strings.Count(server.Wire(0), "MAIL FROM:<codes@acme.example>\r\n"))
}

// The headers of a provider are in every mail, before the body and below what
// the hook adds.
func TestSender_Headers(t *testing.T) { // F1, F12
	for _, extensions := range [][]string{nil, {"PIPELINING", "CHUNKING"}} {
		server := smtptest.Script{Extensions: extensions}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{
			TLS: smtpsender.InsecureLoopback, Headers: map[string]string{"X-SES-CONFIGURATION-SET": "codes", "X-PM-Message-Stream": "outbound"},
			Sign: func(_ context.Context, mail []byte) ([]byte, error) {
				return append([]byte("X-Signed: yes\r\n"), mail...), nil
			},
		})
		for _, to := range []string{"a@example.com", "b@example.com"} {
			require.NoError(t, s.Send(t.Context(), newMessage(t, to)))
		}
		require.Len(t, server.Mails(0), 2)
		for _, mail := range server.Mails(0) {
			head, body, _ := strings.Cut(mail, "\r\n\r\n")
			require.True(t, strings.HasPrefix(head, "X-Signed: yes\r\nFrom: "))
			require.Contains(t, head, "\r\nX-PM-Message-Stream: outbound\r\nX-SES-CONFIGURATION-SET: codes\r\n")
			require.NotContains(t, body, "X-SES")
		}
	}
}

func TestSender_oneTransactionForEachMail(t *testing.T) { // G8
	server := smtptest.Script{}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "app.acme.example"})
	for _, to := range []string{"a@example.com", "b@example.com"} {
		require.NoError(t, s.Send(t.Context(), newMessage(t, to)))
	}
	require.NoError(t, s.Close())
	server.AwaitOpen(t, 0)
	require.Equal(t, []string{
		"EHLO app.acme.example",
		"MAIL FROM:<codes@acme.example>", "RCPT TO:<a@example.com>", "DATA",
		"MAIL FROM:<codes@acme.example>", "RCPT TO:<b@example.com>", "DATA",
		"QUIT",
	}, server.Lines(0))
	require.NotContains(t, strings.ToLower(server.Wire(0)), "\nbcc:")
}

func TestSender_helloName(t *testing.T) { // G7
	cert := smtptest.NewCert(t, "127.0.0.1")
	server := smtptest.Script{TLS: cert.Server(), StartTLS: true}.Start(t)
	opts := smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client(), HelloName: "app.acme.example"}
	require.NoError(t, newSender(t, server.Addr, opts).Ping(t.Context()))
	require.Equal(t, []string{"EHLO app.acme.example", "STARTTLS", "EHLO app.acme.example"}, server.Lines(0), "before and after TLS")

	// By default the name of this machine, the domain of from if that has no dot, or else the address.
	opts.HelloName = ""
	machine, err := os.Hostname()
	require.NoError(t, err)
	for i, c := range []struct{ from, want string }{{from, "acme.example"}, {"codes@localhost", "[127.0.0.1]"}} {
		if strings.Contains(machine, ".") {
			c.want = machine
		}
		s, err := smtpsender.New(server.Addr, c.from, &opts)
		require.NoError(t, err)
		require.NoError(t, s.Ping(t.Context()))
		require.Equal(t, []string{"EHLO " + c.want, "STARTTLS", "EHLO " + c.want}, server.Lines(i+2))
		require.NoError(t, s.Close())
	}
}

// Bounces is the sender of the envelope, and appears nowhere else.
func TestSender_bounces(t *testing.T) { // E9
	sink := (&smtptest.Sink{UTF8: true}).Start(t)
	for _, c := range []struct {
		bounces, want string
		utf8          bool
	}{
		{"bounces@mail.acme.example", "bounces@mail.acme.example", false},
		{" Bounces@Größe.example", "Bounces@xn--gre-6ka8i.example", false},
		{"jürgen@mail.acme.example", "jürgen@mail.acme.example", true},
	} {
		s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Bounces: c.bounces})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		mails := sink.Mails()
		got := mails[len(mails)-1]
		require.Equal(t, c.want, got.From)
		require.Equal(t, c.utf8, got.UTF8)
		require.NotContains(t, string(got.Data), c.want)
		header, _, _ := testkit.ReadMail(t, got.Data)
		require.Equal(t, `"Acme" <codes@acme.example>`, header.Get("From"))
	}
	ascii := (&smtptest.Sink{}).Start(t)
	s := newSender(t, ascii.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Bounces: "jürgen@mail.acme.example"})
	require.ErrorContains(t, s.Send(t.Context(), newMessage(t, "a@example.com")), "SMTPUTF8")
}

// A server without TLS whose name resolves to a private address, and one whose
// name does not.
func TestSender_privateNetwork(t *testing.T) { // G1
	server := smtptest.Script{}.Start(t)
	_, port, err := net.SplitHostPort(server.Addr)
	require.NoError(t, err)
	host, opts, err := smtpsender.ParseURL("smtp+insecure://mailpit:" + port)
	require.NoError(t, err)
	for peer, want := range map[string]string{"10.1.2.3": "", "127.0.0.1": "", "203.0.113.7": "use smtpsender.StartTLS or ImplicitTLS"} {
		opts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			require.Equal(t, "mailpit:"+port, address)
			raw, err := new(net.Dialer).DialContext(ctx, network, server.Addr)
			return at{raw, &net.TCPAddr{IP: net.ParseIP(peer), Port: 1025}}, err
		}
		err := newSender(t, host, *opts).Send(t.Context(), newMessage(t, "a@example.com"))
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
		require.Equal(t, "connect", sendError(t, err).Stage)
	}
	require.Len(t, server.Mails(0), 2)

	opts.TLS = smtpsender.InsecureLoopback
	opts.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, server.Addr)
		return at{raw, &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 25}}, err
	}
	require.ErrorContains(t, newSender(t, "localhost:25", *opts).Ping(t.Context()), "allowed only for loopback")

	opts.TLS, opts.Dial = smtpsender.InsecurePrivateNetwork, nil
	s := newSender(t, server.Addr, *opts) // without Dial, the address is that of the server
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
}

// at is a connection with another address of the peer.
type at struct {
	net.Conn
	peer net.Addr
}

func (c at) RemoteAddr() net.Addr { return c.peer }

// A sender with the defaults finds out that the port is for the other mode.
func TestSender_otherMode(t *testing.T) {
	testkit.Long(t) // it waits for the greeting
	cert := smtptest.NewCert(t, "127.0.0.1")
	implicit := smtptest.Script{TLS: cert.Server()}.Start(t)
	start := time.Now()
	err := newSender(t, implicit.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client(), ConnectTimeout: time.Hour, Timeout: time.Hour}).Ping(t.Context())
	require.ErrorContains(t, err, "use smtpsender.ImplicitTLS (smtps://)")
	require.Less(t, time.Since(start), time.Minute)
	require.Equal(t, otpevent.ClassUs, sendError(t, err).Class)

	starttls := smtptest.Script{TLS: cert.Server(), StartTLS: true}.Start(t)
	err = newSender(t, starttls.Addr, smtpsender.Options{TLSConfig: cert.Client()}).Ping(t.Context())
	require.ErrorContains(t, err, "use smtpsender.StartTLS (smtp://)")
	require.Equal(t, otpevent.ClassUs, sendError(t, err).Class)
}

// E6: the address was parsed by who made it. It is mailed as it stands.
func TestSender_anyAddress(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	for i, to := range []string{"admin@localhost", "a..b@docomo.ne.jp", "a.@docomo.ne.jp", "Ann@EXAMPLE.com", "a@under_score.example", "-a@example.com"} {
		m := newMessage(t, "ann@example.com")
		var err error
		m.To, err = otp.NewAddress(to, "key")
		require.NoError(t, err)
		require.NoError(t, s.Send(t.Context(), m))
		mail := sink.Mails()[i]
		require.Equal(t, to, mail.To)
		require.Contains(t, string(mail.Data), "\r\nTo: "+to+"\r\n")
	}
}

// An application knows its own server: From may be an address of an intranet,
// or beyond ASCII, which the server must offer then.
func TestSender_from(t *testing.T) {
	for from, utf8 := range map[string]bool{"Acme <admin@localhost>": false, "Büro <büro@example.com>": true} {
		sink := (&smtptest.Sink{UTF8: true}).Start(t)
		s, err := smtpsender.New(sink.Addr, from, &smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		require.NoError(t, err)
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		mail := sink.Mails()[0]
		require.Equal(t, utf8, mail.UTF8)
		_, address, _ := strings.Cut(from, "<")
		require.Equal(t, strings.TrimSuffix(address, ">"), mail.From)
		require.NoError(t, s.Close())
	}
	_, err := smtpsender.New("localhost", "Acme <a..b@example.com>", nil)
	require.ErrorIs(t, err, otp.ErrAddress)
}

func TestSender_UTF8(t *testing.T) { // E9
	t.Run("offered", func(t *testing.T) {
		sink := (&smtptest.Sink{UTF8: true}).Start(t)
		s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "jürgen@example.com")))
		require.NoError(t, s.Send(t.Context(), newMessage(t, "plain@example.com")))
		mails := sink.Mails()
		require.True(t, mails[0].UTF8)
		require.Equal(t, "jürgen@example.com", mails[0].To)
		require.Contains(t, string(mails[0].Data), "To: jürgen@example.com\r\n", "raw, not an encoded word")
		require.False(t, mails[1].UTF8, "only where the address needs it")
	})
	t.Run("not offered", func(t *testing.T) {
		server := smtptest.Script{}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "jürgen@example.com")))
		require.False(t, e.Temporary)
		require.False(t, e.MaybeSent)
		require.Equal(t, "mail", e.Stage)
		require.Equal(t, otpevent.ClassUs, e.Class)
		require.ErrorContains(t, e, "SMTPUTF8")
		require.Zero(t, server.Count("MAIL")+server.Count("RCPT"))
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, 1, server.Conns(), "the connection is as good as before")
	})
}

func TestSender_concurrent(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	sink := (&smtptest.Sink{TLS: cert.Server()}).Start(t)
	s := newSender(t, sink.Addr, smtpsender.Options{TLSConfig: cert.Client(), MaxConns: 3})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if err := s.Send(t.Context(), newMessage(t, "a@example.com")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, sink.Mails(), 40)
	require.LessOrEqual(t, sink.Conns(), 3)
}

func TestSender_Close(t *testing.T) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	server := smtptest.Script{Reply: func(n int, verb, _ string) string {
		if n == 1 && verb == smtptest.Dot {
			close(reached)
			<-goOn
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	sent := make(chan error)
	message := newMessage(t, "a@example.com")
	go func() { sent <- s.Send(context.Background(), message) }()
	<-reached
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	for _, err := range []error{s.Send(t.Context(), newMessage(t, "a@example.com")), s.Ping(t.Context())} {
		e := sendError(t, err)
		require.False(t, e.MaybeSent)
		require.ErrorContains(t, e, "closed")
	}
	close(goOn)
	require.NoError(t, <-sent, "a send in progress finishes")
	server.AwaitOpen(t, 0)
	require.Equal(t, 1, server.Conns())
}

func TestSender_letterThatLostTheCode(t *testing.T) {
	good := letter.Mail{Subject: "S", Text: "739164 042137", HTML: "739164 042137"}
	for name, broken := range map[string]letter.Mail{
		"subject": {Text: good.Text, HTML: good.HTML},
		"text":    {Subject: "S", Text: "hello", HTML: good.HTML},
		"html":    {Subject: "S", Text: good.Text},
		"break":   {Subject: "S\r\nBcc: x@example.com", Text: good.Text, HTML: good.HTML},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Script{}.Start(t)
			opts := &smtpsender.Options{TLS: smtpsender.InsecureLoopback, Letter: fixedLetter{&broken}}
			_, err := smtpsender.New(server.Addr, from, opts)
			require.Error(t, err, "found when it is made")

			m := good
			opts.Letter = fixedLetter{&m}
			s := newSender(t, server.Addr, *opts)
			m = broken
			e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			require.Equal(t, "compose", e.Stage)
			require.Equal(t, otpevent.ClassUs, e.Class) // J10
			require.False(t, e.Temporary || e.MaybeSent || e.RefusedRecipient())
			require.Zero(t, server.Conns())
		})
	}
}

// fixedLetter always says the same, or fails.
type fixedLetter struct{ mail *letter.Mail }

func (f fixedLetter) Render(letter.Data) (letter.Mail, error) {
	if f.mail == nil {
		return letter.Mail{}, errors.New("no letter")
	}
	return *f.mail, nil
}

func TestSender_recipientInjection(t *testing.T) { // E1
	server := smtptest.Script{}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	for _, to := range []string{
		"attacker@evil.example> ORCPT=rfc822;x@corp.example",
		`"attacker@evil.example> NOTIFY=NEVER"@corp.example`,
		"a@example.com\r\nRCPT TO:<b@example.com>", "a@example.com\n", "a b@example.com", "a@example.com,b@example.com",
		"+15550100", "@example.com", "a@", "a@b@example.com", "a@[127.0.0.1]", "=?utf-8?q?a=40evil.example?=@corp.example", "",
	} {
		m := newMessage(t, "a@example.com")
		if to == "" {
			m.To = otp.Address{}
		} else if addr, err := otp.NewAddress(to, to); err == nil {
			m.To = addr
		} else {
			continue // refused earlier: as good
		}
		e := sendError(t, s.Send(t.Context(), m))
		require.False(t, e.Temporary || e.MaybeSent)
		require.Equal(t, "compose", e.Stage)
	}
	require.Zero(t, server.Conns(), "nothing was said to the server")
}

func TestSender_errorIsReply(t *testing.T) {
	server := smtptest.Script{Reply: func(_ int, verb, _ string) string {
		if verb == "RCPT" {
			return "550-5.1.1 <A@Example.COM> is not here\r\n550 5.1.1 code 042137 \x1b[2J level=fake " + strings.Repeat("long ", 100)
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	m := newMessage(t, "a@example.com")
	err := s.Send(t.Context(), m)
	var reply *smtp.SMTPError
	require.ErrorAs(t, err, &reply)
	require.Equal(t, 550, reply.Code)
	require.Equal(t, smtp.EnhancedCode{5, 1, 1}, reply.EnhancedCode)
	for _, text := range []string{err.Error(), reply.Message} { // D1, D2, D3
		require.Contains(t, text, "is not here")
		require.NotContains(t, strings.ToLower(text), "a@example.com")
		require.Contains(t, text, m.To.Masked())
		require.NotContains(t, text, m.Code)
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, text, "\n")
		require.Less(t, len(text), 300)
	}
}

var _ otpmail.Renderer = (*letter.Letter)(nil)

// A message that no Verifier made gets a Message-ID all the same.
func TestSender_foreignID(t *testing.T) {
	sink := &smtptest.Sink{}
	stop, err := sink.Listen()
	require.NoError(t, err)
	t.Cleanup(stop)
	s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	for _, id := range []string{"", "no id", "a\r\nBcc: x@y.example", strings.Repeat("a", 65)} {
		m := newMessage(t, "bob@example.com")
		m.ID = id
		require.NoError(t, s.Send(t.Context(), m))
	}
	for _, mail := range sink.Mails() {
		header, _, _ := testkit.ReadMail(t, mail.Data)
		require.Regexp(t, `^<[A-Z2-7]{26}@acme\.example>$`, header.Get("Message-Id"))
		require.Empty(t, header.Get("Bcc"))
	}
	require.Len(t, sink.Mails(), 4)
}

// The sender keeps the contract of a Sender.
func TestSender_contract(t *testing.T) {
	otptest.TestSender(t, func(t *testing.T) otptest.SenderUnderTest {
		var refuse atomic.Bool
		var stall atomic.Value
		flowing := make(chan struct{})
		close(flowing)
		stall.Store(flowing)
		held := make(chan struct{})
		sink := &smtptest.Sink{
			Refuse: func(to string) error {
				if refuse.Load() {
					return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no mailbox <" + to + ">"}
				}
				return nil
			},
			Stall: func() <-chan struct{} { return stall.Load().(chan struct{}) },
		}
		stop, err := sink.Listen()
		require.NoError(t, err)
		t.Cleanup(stop)
		t.Cleanup(func() { close(held) })
		return otptest.SenderUnderTest{
			Sender: newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback}),
			Received: func() (all []otptest.Delivery) {
				for _, m := range sink.Mails() {
					_, text, _ := testkit.ReadMail(t, m.Data)
					all = append(all, otptest.Delivery{To: m.To, Text: text})
				}
				return all
			},
			Refuse: func() { refuse.Store(true) },
			Stall:  func() { stall.Store(held) },
		}
	})
}

// G9: a wrong password or a blocked host says nothing about the recipient: no
// decoy, and the send is given back.
func TestSender_refusedBeforeMail(t *testing.T) {
	for verb, reply := range map[string]string{"AUTH": "535 5.7.8 wrong", smtptest.Connect: "554 5.7.1 blocked"} {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(verb, reply)}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "password"})
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), s, nil)
		require.NoError(t, err)
		ch, err := v.Send(t.Context(), otp.Request{To: "bob@example.com"})
		require.ErrorIs(t, err, otp.ErrSend)
		require.Zero(t, ch)
		var said *smtp.SMTPError
		require.ErrorAs(t, err, &said)
		require.Equal(t, reply[:3], fmt.Sprint(said.Code))
		require.Equal(t, 1, server.Conns(), "and is not tried again at once")
	}
}

// A code that HTML escapes is found in the HTML all the same.
func TestSender_escapedCode(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	m := newMessage(t, "bob@example.com")
	m.Code = `A+B&C<D>"'`
	require.NoError(t, s.Send(t.Context(), m))
	_, text, html := testkit.ReadMail(t, sink.Mails()[0].Data)
	require.Contains(t, text, m.Code)
	require.NotContains(t, html, m.Code)
}
