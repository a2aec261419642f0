package otpmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/otpmail"
)

const from = "Acme <codes@acme.example>"

// newMessage returns a message to an address.
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

// The parts, the addresses and the raw message are the same mail.
func TestCompose(t *testing.T) { // F1, F6
	c, err := otpmail.New(from, &otpmail.Options{Brand: "Acme Bank", ReplyTo: "Help <help@acme.example>", Support: "help@acme.example"})
	require.NoError(t, err)
	require.Equal(t, mail.Address{Name: "Acme", Address: "codes@acme.example"}, c.From())
	m := newMessage(t, "Ann@example.com")
	m.Purpose, m.Locale = "pay:inv-42", "de"
	m.Vars = map[string]string{"amount": "99.00 EUR"}
	composed, err := c.Compose(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, m.ID, composed.ID)
	require.Equal(t, c.From(), composed.From)
	require.Equal(t, mail.Address{Name: "Help", Address: "help@acme.example"}, composed.ReplyTo)
	require.Equal(t, "Ann@example.com", composed.To)
	for _, part := range []string{composed.Text, composed.HTML} {
		require.Contains(t, part, m.Code)
		require.Contains(t, part, "99.00 EUR")
		require.Contains(t, part, "help@acme.example")
	}
	require.Contains(t, composed.Subject, "Acme Bank")

	header, text, html := testkit.ReadMail(t, composed.Raw)
	require.Equal(t, composed.Text, text)
	require.Equal(t, composed.HTML, html)
	require.Equal(t, composed.To, header.Get("To"))
	require.Equal(t, "<"+composed.ID+"@acme.example>", header.Get("Message-Id"))
}

// With BrandInFrom, the brand of the request is the name in From, whatever its
// characters. The address stays.
func TestCompose_brandInFrom(t *testing.T) { // F1, F2
	plain, err := otpmail.New(from, nil)
	require.NoError(t, err)
	c, err := otpmail.New(from, &otpmail.Options{Brand: "Acme Group", BrandInFrom: true, ReplyTo: "Help <help@acme.example>"})
	require.NoError(t, err)
	m := newMessage(t, "ann@example.com")
	check := func(c *otpmail.Composer, name string) {
		t.Helper()
		composed, err := c.Compose(t.Context(), m)
		require.NoError(t, err)
		want := mail.Address{Name: name, Address: "codes@acme.example"}
		require.Equal(t, want, composed.From)
		header, _, _ := testkit.ReadMail(t, composed.Raw)
		list, err := header.AddressList("From")
		require.NoError(t, err)
		require.Equal(t, []*mail.Address{&want}, list)
		require.Equal(t, c != plain, header.Get("Reply-To") == `"Help" <help@acme.example>`, "only From changes")
		head, _, _ := bytes.Cut(composed.Raw, []byte("\r\n\r\n"))
		for line := range bytes.SplitSeq(head, []byte("\r\n")) {
			require.LessOrEqual(t, len(line), 78)
			require.Equal(t, -1, bytes.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }), "%q", line)
		}
	}
	check(c, "Acme")
	for _, brand := range []string{
		"Tenant", "Booking.com", "Fish & Chips, Ltd.", `The "Best" \ Shop; (Berlin): [1]`, "Größe & Söhne, GmbH", "👩\u200d🚀 Rockets",
		"شركة أكمي, للتجارة", "חברת \"אקמי\"", "株式会社", "=C3=A4", strings.Repeat("🚀", 64), strings.Repeat("x", 64), strings.Repeat("größe ", 10) + "ende",
	} {
		m.Vars = map[string]string{"brand": brand}
		check(c, brand)
		check(plain, "Acme")
	}
	require.Equal(t, "Acme", c.From().Name)
	for _, brand := range []string{
		"ceo@bank.example", "Bank <ceo", "Bank>", "ceo\uff20bank.example", "ceo\ufe6bbank.example", "x\r\nBcc: e", "=?utf-8?q?ceo=40bank?=", "www.bank.example", strings.Repeat("x", 65),
	} {
		m.Vars = map[string]string{"brand": brand}
		_, err := c.Compose(t.Context(), m)
		var failed *otp.SendError
		require.ErrorAs(t, err, &failed, brand)
		require.Equal(t, "compose", failed.Stage)
		require.False(t, failed.Temporary)
		require.NotContains(t, err.Error(), "bank.example")
	}
}

// An error is one that a sender may return, and names neither code nor address.
func TestCompose_errors(t *testing.T) { // D1
	boom := errors.New("no key for ann@example.com, mail was 042137")
	for name, row := range map[string]struct {
		opts      otpmail.Options
		change    func(*otp.Message)
		stage     string
		temporary bool
	}{
		"no code":           {change: func(m *otp.Message) { m.Code = "" }, stage: "compose"},
		"no address":        {change: func(m *otp.Message) { m.To = otp.Address{} }, stage: "compose"},
		"a brand of a link": {change: func(m *otp.Message) { m.Vars = map[string]string{"brand": "www.evil.example"} }, stage: "compose"},
		"signing fails": {
			opts:  otpmail.Options{Sign: func(context.Context, []byte) ([]byte, error) { return nil, boom }},
			stage: "sign", temporary: true,
		},
		"signing loses the mail": {
			opts:  otpmail.Options{Sign: func(_ context.Context, raw []byte) ([]byte, error) { return raw[:100], nil }},
			stage: "sign", temporary: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := otpmail.New(from, &row.opts)
			require.NoError(t, err)
			m := newMessage(t, "ann@example.com")
			if row.change != nil {
				row.change(&m)
			}
			composed, err := c.Compose(t.Context(), m)
			require.Nil(t, composed)
			var failed *otp.SendError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, row.stage, failed.Stage)
			require.Equal(t, row.temporary, failed.Temporary)
			require.False(t, failed.MaybeSent)
			require.NotContains(t, err.Error(), "042137")
			require.NotContains(t, err.Error(), "ann@example.com")
		})
	}
}

// The hook gets the raw mail, and its result is the raw mail.
func TestCompose_sign(t *testing.T) { // F12
	c, err := otpmail.New(from, &otpmail.Options{Sign: func(_ context.Context, raw []byte) ([]byte, error) {
		return append([]byte("X-Signed: yes\r\n"), raw...), nil
	}})
	require.NoError(t, err)
	composed, err := c.Compose(t.Context(), newMessage(t, "ann@example.com"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(composed.Raw, []byte("X-Signed: yes\r\nFrom: ")))
}

// Further header fields stand in the order of their names, and the hook gets
// them. The map is copied.
func TestCompose_Headers(t *testing.T) { // F1, F12
	headers := map[string]string{"X-SES-CONFIGURATION-SET": "codes", "X-PM-Message-Stream": "outbound", "Feedback-ID": "1:codes:acme"}
	var got string
	c, err := otpmail.New(from, &otpmail.Options{Headers: headers, Sign: func(_ context.Context, raw []byte) ([]byte, error) {
		got = string(raw)
		return raw, nil
	}})
	require.NoError(t, err)
	clear(headers)
	composed, err := c.Compose(t.Context(), newMessage(t, "ann@example.com"))
	require.NoError(t, err)
	require.Equal(t, got, string(composed.Raw))
	require.Contains(t, got, "\r\nFeedback-ID: 1:codes:acme\r\nX-PM-Message-Stream: outbound\r\nX-SES-CONFIGURATION-SET: codes\r\nContent-Type: multipart/alternative;")
}

// A mail is printed and logged without code, text and address of the recipient.
// The error of a mailer that could not connect means that there is no mail; any
// other may mean anything, and a SendError is kept.
func TestSender(t *testing.T) {
	c, err := otpmail.New(from, nil)
	require.NoError(t, err)
	m := newMessage(t, "bob@example.com")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener.Close()
	_, refused := net.Dial("tcp", listener.Addr().String())
	require.Error(t, refused)
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset to bob@example.com")}
	own := &otp.SendError{Stage: "rcpt", Err: errors.New("no such user")}
	for name, tt := range map[string]struct {
		err     error
		notSent bool
	}{
		"sent":           {nil, false},
		"refused":        {fmt.Errorf("mailer: %w", refused), true},
		"no such host":   {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}, true},
		"no name server": {&net.DNSError{Err: "timeout"}, true},
		"reset":          {reset, false},
		"plain":          {errors.New("who knows"), false},
		"two attempts":   {errors.Join(reset, refused), false},
		"own":            {own, false},
		"own, wrapping":  {&otp.SendError{MaybeSent: true, Err: refused}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.Sender(func(_ context.Context, mail *otpmail.Mail) error {
				require.Contains(t, mail.Text, m.Code)
				return tt.err
			}).Send(context.Background(), m)
			if !tt.notSent {
				require.Equal(t, tt.err, got)
				return
			}
			var said *otp.SendError
			require.ErrorAs(t, got, &said)
			require.True(t, said.Temporary)
			require.False(t, said.MaybeSent)
			require.Equal(t, "connect", said.Stage)
			require.ErrorIs(t, got, tt.err)
		})
	}
	m.Code = ""
	require.ErrorContains(t, c.Sender(func(context.Context, *otpmail.Mail) error { panic("nothing to send") }).Send(context.Background(), m), "compose")
}

func TestMail_printsNoSecret(t *testing.T) { // D1
	c, err := otpmail.New(from, nil)
	require.NoError(t, err)
	m := newMessage(t, "very.private.person@example.com")
	m.Code = "271828182845"
	composed, err := c.Compose(t.Context(), m)
	require.NoError(t, err)
	out := testkit.NewShowcase()
	testkit.Show(out, composed)
	testkit.Show(out, *composed)
	require.Contains(t, out.Text(), "codes@acme.example")
	out.HoldsNone(t, []string{m.Code, "very.private.person", composed.Text[:40]})
}

func TestNew_refuses(t *testing.T) {
	for name, row := range map[string]struct {
		from string
		opts otpmail.Options
		want string
	}{
		"no address":        {from: "Acme", want: "from: "},
		"a break in a name": {from: "Acme\r\nBcc: x <codes@acme.example>", want: "from: name: "},
		"digits in a brand": {from: from, opts: otpmail.Options{Brand: "Acme 123456"}, want: "Brand: "},
		"a reply-to":        {from: from, opts: otpmail.Options{ReplyTo: "nobody"}, want: "ReplyTo: "},
		"a support link":    {from: from, opts: otpmail.Options{Support: "www.acme.example"}, want: ""},
		"a header's name":   {from: from, opts: otpmail.Options{Headers: map[string]string{"X Y": "x"}}, want: `Options.Headers: "X Y": `},
		"a header of ours":  {from: from, opts: otpmail.Options{Headers: map[string]string{"X-A": "x", "reply-to": "x"}}, want: `"reply-to": reserved`},
		"a header's value":  {from: from, opts: otpmail.Options{Headers: map[string]string{"X-A": "x\r\nBcc: y"}}, want: `"X-A": invalid value`},
		"a header twice":    {from: from, opts: otpmail.Options{Headers: map[string]string{"X-A": "x", "X-B": "x", "x-a": "y"}}, want: `"x-a": duplicate`},
		"a letter":          {from: from, opts: otpmail.Options{Letter: mute{}}, want: "lacks the code"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := otpmail.New(row.from, &row.opts)
			require.ErrorContains(t, err, row.want)
			require.ErrorContains(t, err, "otpmail: ")
		})
	}
}

// mute writes a mail without the code.
type mute struct{}

func (mute) Render(letter.Data) (letter.Mail, error) {
	return letter.Mail{Subject: "Hello", Text: "Hello", HTML: "Hello"}, nil
}
