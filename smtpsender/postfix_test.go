package smtpsender_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpmail"
	"github.com/go-mailotp/otp/smtpsender"
)

// shapes are mails that a server could spoil. Each has its options and address.
func shapes(t *testing.T) map[string]shape {
	dots := strings.Repeat(".\n..\n.hidden 042137 739164\n...\n", 3) + "\n.\r\n.\r\nMAIL FROM:<x@otp.test>\n."
	return map[string]shape{
		"ascii":    {to: "inbox@otp.test", code: "042137"},
		"brand":    {to: "inbox@otp.test", code: "042137", brand: strings.Repeat("Größe 株式会社 مرحبا ", 20)},
		"strong":   {to: "inbox@otp.test", code: "K7QX-M2ND-9RTV-HC"},
		"dots":     {to: "inbox@otp.test", code: "042137", letter: fixedLetter{&letter.Mail{Subject: ".", Text: dots, HTML: dots}}},
		"SMTPUTF8": {to: "jürgen@otp.test", code: "042137"},
	}
}

type shape struct {
	to, code, brand string
	letter          otpmail.Renderer
}

// send sends the shape over its own sender, and returns the bytes of the mail.
func (c shape) send(t *testing.T, addr string, opts smtpsender.Options) []byte {
	t.Helper()
	var composed []byte
	opts.Brand, opts.Letter, opts.Timeout = c.brand, c.letter, 10*time.Second
	opts.Sign = func(_ context.Context, mail []byte) ([]byte, error) {
		composed = bytes.Clone(mail)
		return mail, nil
	}
	m := newMessage(t, c.to)
	m.Code = c.code
	s := newSender(t, addr, opts)
	require.NoError(t, s.Send(t.Context(), m))
	require.NoError(t, s.Close())
	require.Contains(t, string(composed), "\r\n")
	return composed
}

// Postfix delivers each mail as it was composed, once, by whatever commands it came.
func TestSender_postfix(t *testing.T) { // F3, G1, G8
	p := servers.StartPostfix(t)
	login := smtpsender.Options{TLSConfig: p.Client, Username: servers.MailUser, Password: servers.MailPassword}
	startTLS := login
	startTLS.TLS = smtpsender.StartTLS
	want := map[string][]string{}
	for name, c := range map[string]struct {
		addr string
		opts smtpsender.Options
	}{
		"TLS":      {p.TLS, login},
		"STARTTLS": {p.StartTLS, startTLS},
		"clear":    {holdReplies(t, p.Clear, oneFlight).addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"simple":   {p.Simple, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
	} {
		for kind, shape := range shapes(t) {
			t.Run(name+" "+kind, func(t *testing.T) {
				mail := shape.send(t, c.addr, c.opts)
				box, _, _ := strings.Cut(shape.to, "@")
				want[box] = append(want[box], strings.ReplaceAll(string(mail), "\r\n", "\n"))
			})
		}
	}
	trace := regexp.MustCompile(`^Return-Path: <codes@acme\.example>\nX-Original-To: .*\nDelivered-To: .*\nReceived: .*(\n\t.*)+\n$`)
	require.Len(t, want, 2)
	for box, sent := range want {
		mails := p.Mails(t, box, len(sent))
		require.Len(t, mails, len(sent), "once each")
		for _, mail := range sent {
			found := 0
			for _, got := range mails {
				if added, ok := strings.CutSuffix(got, mail); ok && trace.MatchString(added) {
					found++
				}
			}
			require.Equal(t, 1, found, "%s as composed, and once, in\n%s", mail, strings.Join(mails, "\n\n"))
		}
	}
	// How each came, by Postfix's own account.
	for _, commands := range []string{
		"ehlo=1 auth=1 mail=1 rcpt=1 bdat=1 quit=1 commands=6",
		"ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8",
		"ehlo=1 mail=1 rcpt=1 bdat=1 quit=1 commands=5",
		"ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
	} {
		p.AwaitLog(t, "disconnect from localhost[127.0.0.1] "+commands+"\n", len(shapes(t)))
	}
}

// What Postfix refuses.
func TestSender_postfixRefuses(t *testing.T) { // G9
	p := servers.StartPostfix(t)
	opts := smtpsender.Options{TLSConfig: p.Client, Username: servers.MailUser, Password: servers.MailPassword}
	t.Run("unknown user", func(t *testing.T) {
		for addr, mode := range map[string]smtpsender.TLSMode{p.TLS: smtpsender.ImplicitTLS, p.StartTLS: smtpsender.StartTLS} {
			opts.TLS = mode
			refusedAndReused(t, newSender(t, addr, opts), "550 5.1.1")
		}
		require.Len(t, p.Mails(t, "inbox", 2), 2)
		// One connection each, also over a server that was sent the mail with the refused recipient.
		p.AwaitLog(t, "ehlo=1 auth=1 mail=2 rcpt=1/2 bdat=1/2 rset=1 quit=1 commands=8/10\n", 1)
		p.AwaitLog(t, "ehlo=2 starttls=1 auth=1 mail=2 rcpt=1/2 data=1/2 rset=1 quit=1 commands=10/12\n", 1)
	})
	t.Run("wrong password", func(t *testing.T) {
		opts.Password = "wrong"
		for addr, mode := range map[string]smtpsender.TLSMode{p.TLS: smtpsender.ImplicitTLS, p.StartTLS: smtpsender.StartTLS} {
			opts.TLS = mode
			wrongPassword(t, newSender(t, addr, opts))
		}
	})
	t.Run("not the recipient", func(t *testing.T) { // J10
		plain := smtpsender.Options{TLS: smtpsender.InsecureLoopback}
		for name, c := range map[string]struct{ addr, from, to, text string }{
			"relay":  {p.Clear, from, "inbox@elsewhere.example", "Relay access denied"},
			"client": {p.TLS, from, "inbox@otp.test", "Client host rejected"},
			"sender": {p.Clear, "nobody@otp.test", "inbox@otp.test", "Sender address rejected"},
		} {
			t.Run(name, func(t *testing.T) {
				opts := plain
				if c.addr == p.TLS {
					opts = smtpsender.Options{TLSConfig: p.Client} // no login
				}
				s, err := smtpsender.New(c.addr, c.from, &opts)
				require.NoError(t, err)
				t.Cleanup(func() { s.Close() })
				challenge, err := sendCode(t, s, c.to)
				e := sendError(t, err)
				require.Zero(t, challenge)
				require.Equal(t, "rcpt", e.Stage)
				require.Equal(t, otpevent.ClassUs, e.Class)
				require.False(t, e.Temporary || e.MaybeSent || e.RefusedRecipient())
				require.ErrorContains(t, e, c.text)
			})
		}
		challenge, err := sendCode(t, newSender(t, p.Clear, plain), "nobody@otp.test")
		require.NoError(t, err)
		require.NotZero(t, challenge, "a decoy")
	})
	t.Run("unknown authority", func(t *testing.T) { // G2
		opts.TLS, opts.TLSConfig = smtpsender.ImplicitTLS, nil
		e := sendError(t, newSender(t, p.TLS, opts).Send(t.Context(), newMessage(t, "inbox@otp.test")))
		require.Equal(t, "tls", e.Stage)
	})
}

// sendCode sends a code with a verifier of its own.
func sendCode(t *testing.T, s otp.Sender, to string) (otp.Challenge, error) {
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), s, nil)
	require.NoError(t, err)
	return v.Send(t.Context(), otp.Request{To: to})
}

// refusedAndReused sends to nobody, which is refused for good, and then to
// somebody. It closes s, so that the server's account of it is written.
func refusedAndReused(t *testing.T, s *smtpsender.Sender, reply string) {
	t.Helper()
	e := sendError(t, s.Send(t.Context(), newMessage(t, "nobody@otp.test")))
	require.Equal(t, "rcpt", e.Stage)
	require.Equal(t, otpevent.ClassRecipient, e.Class)
	require.True(t, e.RefusedRecipient())
	var said *smtp.SMTPError
	require.ErrorAs(t, e, &said)
	code := said.EnhancedCode
	require.Equal(t, reply, fmt.Sprintf("%d %d.%d.%d", said.Code, code[0], code[1], code[2]))
	require.NotContains(t, e.Error(), "nobody@otp.test")
	require.NoError(t, s.Send(t.Context(), newMessage(t, "inbox@otp.test")))
	require.NoError(t, s.Close())
}

func wrongPassword(t *testing.T, s *smtpsender.Sender) {
	t.Helper()
	for _, err := range []error{s.Ping(t.Context()), s.Send(t.Context(), newMessage(t, "inbox@otp.test"))} {
		e := sendError(t, err)
		require.Equal(t, "auth", e.Stage)
		require.True(t, e.Temporary, "it says nothing about the recipient")
		require.False(t, e.MaybeSent)
		require.Equal(t, otpevent.ClassUs, e.Class)
		var said *smtp.SMTPError
		require.ErrorAs(t, err, &said)
		require.Equal(t, 535, said.Code)
	}
}

// What goes over the wire to a real server: all in one flight, or the commands in
// one and the mail in another.
func TestSender_postfixFlights(t *testing.T) {
	p := servers.StartPostfix(t)
	mail := shapes(t)["dots"]
	opts := smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "app.acme.example"}
	const commands = "MAIL FROM:<codes@acme.example>\r\nRCPT TO:<inbox@otp.test>\r\n"

	proxy := holdReplies(t, p.Clear, oneFlight)
	content := string(mail.send(t, proxy.addr, opts))
	require.Equal(t, "EHLO app.acme.example\r\n"+commands+fmt.Sprintf("BDAT %d LAST\r\n", len(content))+content+"QUIT\r\n", proxy.said(t))

	proxy = holdReplies(t, p.Simple, func(string) bool { return true })
	content = string(mail.send(t, proxy.addr, opts))
	stuffed := strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n..")[2:]
	require.Equal(t, "EHLO app.acme.example\r\n"+commands+"DATA\r\n"+stuffed+".\r\nQUIT\r\n", proxy.said(t))
	require.Len(t, p.Mails(t, "inbox", 2), 2)
}

var chunk = regexp.MustCompile(`\r\nBDAT (\d+) LAST\r\n`)

// oneFlight reports whether all that a client said so far is a hello, or ends in
// whole mails, each in a chunk.
func oneFlight(said string) bool {
	i := strings.LastIndex(said, "MAIL FROM:<codes@")
	if i < 0 {
		return true
	}
	at := chunk.FindStringSubmatchIndex(said[i:])
	if at == nil {
		return false
	}
	size, err := strconv.Atoi(said[i:][at[2]:at[3]])
	return err == nil && len(said[i:]) >= at[1]+size
}

// proxy stands before a server and keeps its replies back until what the client
// said is enough: a client that waits for one of them before waits for ever.
type proxy struct {
	addr string
	mu   sync.Mutex
	cond *sync.Cond
	log  strings.Builder // of the last connection
	over bool            // it has ended
}

func holdReplies(t *testing.T, server string, enough func(said string) bool) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String()}
	p.cond = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { listener.Close() })
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			peer, err := net.Dial("tcp", server)
			if err != nil {
				t.Error(err)
				client.Close()
				continue
			}
			p.mu.Lock()
			p.log.Reset()
			p.over = false
			p.mu.Unlock()
			wg.Go(func() { p.up(client, peer) })
			wg.Go(func() { p.down(client, peer, enough) })
		}
	})
	return p
}

// up carries what the client says.
func (p *proxy) up(client, peer net.Conn) {
	defer peer.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		p.mu.Lock()
		p.log.Write(buf[:n])
		p.over = err != nil
		p.cond.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := peer.Write(buf[:n]); err != nil {
			return
		}
	}
}

// down carries the replies.
func (p *proxy) down(client, peer net.Conn, enough func(string) bool) {
	defer client.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := peer.Read(buf)
		p.mu.Lock()
		for !enough(p.log.String()) && !p.over {
			p.cond.Wait()
		}
		p.mu.Unlock()
		if _, writeErr := client.Write(buf[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// said is all that the client said over the last connection, once it has ended.
func (p *proxy) said(t *testing.T) string {
	t.Helper()
	wake := time.AfterFunc(time.Minute, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.over = true
		p.cond.Broadcast()
	})
	defer wake.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.over {
		p.cond.Wait()
	}
	return p.log.String()
}
