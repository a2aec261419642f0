package smtpsender_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/smtpsender"
)

// replyTo returns a script's Reply that says reply to one verb.
func replyTo(verb, reply string) func(int, string, string) string {
	return func(_ int, v, _ string) string {
		if v == verb {
			return reply
		}
		return ""
	}
}

func TestSender_noTLSNoMail(t *testing.T) { // G1, G2, G4, G5
	good := smtptest.NewCert(t, "127.0.0.1")
	other := smtptest.NewCert(t, "mail.other.example")
	expired := smtptest.NewExpiredCert(t, "127.0.0.1")
	for _, c := range []struct {
		name  string
		cert  *smtptest.Cert // what the server shows
		roots *smtptest.Cert // what the sender trusts
		as    any            // what the error is
	}{
		{"wrong name", other, other, new(x509.HostnameError)},
		{"expired", expired, expired, new(x509.CertificateInvalidError)},
		{"self-signed", good, other, new(x509.UnknownAuthorityError)},
	} {
		for _, mode := range []smtpsender.TLSMode{smtpsender.ImplicitTLS, smtpsender.StartTLS} {
			t.Run(fmt.Sprint(c.name, " ", mode), func(t *testing.T) {
				server := smtptest.Script{TLS: c.cert.Server(), StartTLS: mode == smtpsender.StartTLS, Extensions: []string{"AUTH PLAIN"}}.Start(t)
				s := newSender(t, server.Addr, smtpsender.Options{TLS: mode, TLSConfig: c.roots.Client(), Username: "user", Password: "password"})
				for _, err := range []error{s.Ping(t.Context()), s.Send(t.Context(), newMessage(t, "a@example.com"))} {
					e := sendError(t, err)
					require.Equal(t, "tls", e.Stage)
					require.True(t, e.Temporary, "the recipient was not refused")
					require.False(t, e.MaybeSent)
					require.ErrorAs(t, err, c.as)
				}
				require.Equal(t, 2, server.Conns(), "no retry")
				server.AwaitOpen(t, 0)
				require.Zero(t, server.Count("AUTH")+server.Count("MAIL"))
			})
		}
	}
	t.Run("STARTTLS hidden, AUTH in clear", func(t *testing.T) {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN LOGIN"}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, Username: "user", Password: "password"})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, "tls", e.Stage)
		require.True(t, e.Temporary)
		require.ErrorContains(t, e, "STARTTLS")
		server.AwaitOpen(t, 0)
		require.Len(t, server.Lines(0), 1, "EHLO and nothing else")
	})
	t.Run("STARTTLS refused", func(t *testing.T) {
		server := smtptest.Script{TLS: good.Server(), StartTLS: true, Reply: replyTo("STARTTLS", "454 not now")}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: good.Client()})
		e := sendError(t, s.Ping(t.Context()))
		require.Equal(t, "tls", e.Stage)
		require.True(t, e.Temporary)
	})
	t.Run("plain text server", func(t *testing.T) {
		server := smtptest.Script{}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{})
		require.Equal(t, "tls", sendError(t, s.Ping(t.Context())).Stage)
	})
	t.Run("old TLS", func(t *testing.T) {
		config := good.Server()
		config.MinVersion, config.MaxVersion = 0x0301, 0x0302 // TLS 1.0 and 1.1
		server := smtptest.Script{TLS: config}.Start(t)
		client := good.Client()
		client.MinVersion = 0x0301
		s := newSender(t, server.Addr, smtpsender.Options{TLSConfig: client})
		require.Equal(t, "tls", sendError(t, s.Ping(t.Context())).Stage)
		require.EqualValues(t, 0x0301, client.MinVersion, "the caller's config is not touched")
	})
}

func TestSender_injectedPlainText(t *testing.T) { // G3
	cert := smtptest.NewCert(t, "127.0.0.1")
	server := smtptest.Script{
		TLS: cert.Server(), StartTLS: true, Extensions: []string{"SMTPUTF8"},
		Reply: replyTo("STARTTLS", "220 go on\r\n250-evil\r\n250 SMTPUTF8"),
	}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client()})
	e := sendError(t, s.Ping(t.Context()))
	require.Equal(t, "tls", e.Stage)
	require.NoError(t, s.Close())
	server.AwaitOpen(t, 0)
	require.Zero(t, server.Count("MAIL"))
}

func TestSender_extensionsBeforeTLSAreForgotten(t *testing.T) { // G3
	cert := smtptest.NewCert(t, "127.0.0.1")
	hello := 0
	server := smtptest.Script{TLS: cert.Server(), StartTLS: true, Reply: func(_ int, verb, _ string) string {
		if verb == "EHLO" {
			if hello++; hello == 1 {
				return "250-evil\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250 STARTTLS"
			}
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client()})
	require.ErrorContains(t, s.Send(t.Context(), newMessage(t, "jürgen@example.com")), "SMTPUTF8")
}

func TestSender_silentServer(t *testing.T) { // G6
	testkit.Long(t)
	t.Cleanup(func() { nothingRuns(t) })
	cert := smtptest.NewCert(t, "127.0.0.1")
	for _, c := range []struct {
		verb, stage string
		startTLS    bool
		maybe       bool
	}{
		{smtptest.Handshake, "tls", false, false},
		{smtptest.Connect, "hello", false, false},
		{"EHLO", "hello", false, false},
		{"AUTH", "auth", false, false},
		{"MAIL", "mail", false, false},
		{"RCPT", "rcpt", false, false},
		{"DATA", "data", false, false},
		{smtptest.Dot, "data", false, true},
		{smtptest.Connect, "hello", true, false},
		{"EHLO", "hello", true, false},
		{"STARTTLS", "tls", true, false},
		{smtptest.Handshake, "tls", true, false},
	} {
		for _, how := range []string{"cancel", "deadline", "timeout"} {
			t.Run(fmt.Sprintf("%s STARTTLS=%t %s", c.verb, c.startTLS, how), func(t *testing.T) {
				t.Parallel()
				withinTime(t, func(d time.Duration) bool {
					server := smtptest.Script{
						TLS: cert.Server(), StartTLS: c.startTLS, Extensions: []string{"AUTH PLAIN"},
						Reply: replyTo(c.verb, smtptest.Hang),
					}.Start(t)
					// Nothing but what is tested ends the wait for a server that is silent for ever.
					opts := smtpsender.Options{TLSConfig: cert.Client(), Username: "user", Password: "password", Timeout: time.Hour, ConnectTimeout: time.Hour}
					if c.startTLS {
						opts.TLS = smtpsender.StartTLS
					}
					ctx, want := t.Context(), context.DeadlineExceeded
					cancel := func() {}
					switch how {
					case "cancel":
						ctx, cancel = context.WithCancel(ctx)
						want = context.Canceled
					case "deadline":
						ctx, cancel = context.WithTimeout(ctx, d)
					case "timeout":
						opts.Timeout = d
					}
					defer cancel()
					s := newSender(t, server.Addr, opts)
					done := make(chan error, 1)
					message := newMessage(t, "a@example.com")
					go func() { done <- s.Send(ctx, message) }()
					if how == "cancel" {
						server.Await(t, c.verb, 1)
						cancel()
					}
					e := sendError(t, <-done)
					require.ErrorIs(t, e, want)
					require.True(t, e.Temporary)
					require.LessOrEqual(t, server.Conns(), 1, "no retry")
					server.AwaitOpen(t, 0)
					if server.Count(c.verb) == 0 || how != "cancel" && e.Stage != c.stage {
						return false // it did not get that far
					}
					if how != "cancel" || c.verb != smtptest.Handshake && c.verb != smtptest.Connect {
						require.Equal(t, c.stage, e.Stage) // else the sender may not have noticed yet
					}
					require.Equal(t, c.maybe, e.MaybeSent)
					return true
				})
			})
		}
	}
}

// withinTime calls f with longer and longer times until it returns true: on a busy
// machine a short time is over before what is tested begins.
func withinTime(t *testing.T, f func(d time.Duration) bool) {
	t.Helper()
	for _, d := range []time.Duration{500 * time.Millisecond, 5 * time.Second, time.Minute} {
		if f(d) {
			return
		}
	}
	t.Fatal("not even within a minute")
}

func TestSender_connectTimeout(t *testing.T) {
	testkit.Long(t)
	withinTime(t, func(d time.Duration) bool {
		server := smtptest.Script{Reply: replyTo(smtptest.Connect, smtptest.Hang)}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Timeout: time.Hour, ConnectTimeout: d})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.ErrorIs(t, e, context.DeadlineExceeded)
		return e.Stage == "hello"
	})
}

func TestSender_peerStopsReading(t *testing.T) { // G6: DATA has its deadline too
	testkit.Long(t)
	t.Cleanup(func() { nothingRuns(t) })
	cert := smtptest.NewCert(t, "127.0.0.1")
	for _, mode := range []smtpsender.TLSMode{smtpsender.InsecureLoopback, smtpsender.ImplicitTLS} {
		for _, how := range []string{"cancel", "timeout"} {
			t.Run(fmt.Sprint(mode, " ", how), func(t *testing.T) {
				withinTime(t, func(d time.Duration) bool {
					script := smtptest.Script{Reply: replyTo("DATA", smtptest.Stall)}
					words := letter.Mail{Subject: "S", Text: "739164", HTML: "739164 042137"}
					opts := smtpsender.Options{TLS: mode, Letter: fixedLetter{&words}, Timeout: time.Hour}
					if mode == smtpsender.ImplicitTLS {
						script.TLS, opts.TLSConfig = cert.Server(), cert.Client()
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want := context.Canceled
					if how == "timeout" {
						opts.Timeout, want = d, context.DeadlineExceeded
					}
					server := script.Start(t)
					s := newSender(t, server.Addr, opts)
					words.Text = strings.Repeat("042137 and more words ", 1<<18) // more than the socket buffers
					done := make(chan error, 1)
					message := newMessage(t, "a@example.com")
					go func() { done <- s.Send(ctx, message) }()
					if how == "cancel" {
						server.Await(t, "DATA", 1)
						cancel()
					}
					e := sendError(t, <-done)
					require.ErrorIs(t, e, want)
					require.False(t, e.MaybeSent, "the final dot was not reached")
					require.True(t, e.Temporary)
					require.LessOrEqual(t, server.Conns(), 1, "no retry")
					if server.Count("DATA") == 0 || how == "timeout" && e.Stage != "data" {
						return false // it did not get that far
					}
					require.Equal(t, "data", e.Stage)
					return true
				})
			})
		}
	}
}

func TestSender_endlessReply(t *testing.T) { // G13
	t.Cleanup(func() { nothingRuns(t) })
	cert := smtptest.NewCert(t, "127.0.0.1")
	for _, c := range []struct {
		verb     string
		startTLS bool
	}{
		{smtptest.Connect, false},
		{"EHLO", false},
		{"AUTH", false},
		{"MAIL", false},
		{"RCPT", false},
		{"DATA", false},
		{smtptest.Dot, false},
		{smtptest.Connect, true},
		{"EHLO", true},
		{"STARTTLS", true},
	} {
		code := goodCode(c.verb)
		for name, endless := range map[string]string{
			"lines": strings.Repeat(code+"-more and more\r\n", 1<<16) + code + " done",
			"line":  code + " " + strings.Repeat("no end ", 1<<18),
		} {
			t.Run(fmt.Sprint(c.verb, c.startTLS, name), func(t *testing.T) {
				server := smtptest.Script{TLS: cert.Server(), StartTLS: c.startTLS, Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(c.verb, endless)}.Start(t)
				opts := smtpsender.Options{TLSConfig: cert.Client(), Username: "user", Password: "password"}
				if c.startTLS {
					opts.TLS = smtpsender.StartTLS
				}
				s := newSender(t, server.Addr, opts)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
				runtime.ReadMemStats(&after)
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "bytes, server and TLS included")
				require.ErrorContains(t, e, "too long")
				require.True(t, e.Temporary)
				require.Equal(t, c.verb == smtptest.Dot, e.MaybeSent)
				require.Equal(t, 1, server.Conns())
				server.AwaitOpen(t, 0)
			})
		}
	}
}

// goodCode is the code that a server likes a command with.
func goodCode(verb string) string {
	switch verb {
	case smtptest.Connect, "STARTTLS":
		return "220"
	case "AUTH":
		return "235"
	case "DATA":
		return "354"
	}
	return "250"
}

func TestSender_credentials(t *testing.T) {
	blob := base64.StdEncoding.EncodeToString([]byte("\x00user\x00hunter2!"))
	for name, script := range map[string]smtptest.Script{
		"no AUTH":            {},
		"no mechanism":       {Extensions: []string{"AUTH CRAM-MD5"}},
		"repeats them":       {Extensions: []string{"AUTH PLAIN"}, Reply: replyTo("AUTH", "535 5.7.8 bad command AUTH PLAIN "+blob+" hunter2!")},
		"repeats, malformed": {Extensions: []string{"AUTH PLAIN"}, Reply: replyTo("AUTH", "nonsense "+blob+" hunter2!")},
	} {
		t.Run(name, func(t *testing.T) { // D1
			server := script.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "hunter2!"})
			err := s.Ping(t.Context())
			e := sendError(t, err)
			require.Equal(t, "auth", e.Stage)
			require.True(t, e.Temporary, "it says nothing about a recipient")
			for next := err; next != nil; next = errors.Unwrap(next) {
				text := fmt.Sprintf("%v %+v", next, next)
				require.NotContains(t, text, "hunter2")
				require.NotContains(t, text, blob)
			}
			require.Zero(t, server.Count("MAIL"))
		})
	}
}

func TestSender_wire(t *testing.T) { // F3
	server := smtptest.Script{}.Start(t)
	nasty := "739164 042137\r.\rMAIL FROM:<e@example.com>\n.\n\r\n.\r\n.\n..\n.hidden\r\r\n\x00\u2028 é end"
	s := newSender(t, server.Addr, smtpsender.Options{
		TLS: smtpsender.InsecureLoopback, Letter: fixedLetter{&letter.Mail{Subject: "S", Text: nasty, HTML: nasty}},
	})
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.Equal(t, 2, server.Count(smtptest.Dot))
	require.Equal(t, 2, server.Count("MAIL"))
	wire := server.Wire(0)
	require.Equal(t, strings.Count(wire, "\r\n"), strings.Count(wire, "\r"), "no bare CR")
	require.Equal(t, strings.Count(wire, "\r\n"), strings.Count(wire, "\n"), "no bare LF")
	for _, line := range strings.Split(server.Mails(0)[0], "\r\n") {
		require.LessOrEqual(t, len(line), 80) // F2
		if strings.HasPrefix(line, ".") {
			require.True(t, strings.HasPrefix(line, ".."), "stuffed: %q", line)
		}
	}
	_, text, _ := testkit.ReadMail(t, []byte(strings.ReplaceAll(server.Mails(0)[0], "\r\n.", "\r\n")))
	require.Contains(t, text, "\n.\nMAIL FROM:<e@example.com>\n.\n")
	require.Contains(t, text, "\n.hidden\n")
}

func TestSender_leavesNothingBehind(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	var count atomic.Int32
	server := smtptest.Script{TLS: cert.Server(), Reply: func(_ int, verb, _ string) string {
		if verb == "RCPT" {
			switch count.Add(1) % 4 {
			case 1:
				return "550 no"
			case 2:
				return smtptest.Drop
			}
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLSConfig: cert.Client(), MaxConns: 2})
	for range 12 {
		s.Send(t.Context(), newMessage(t, "a@example.com"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Send(ctx, newMessage(t, "a@example.com")), context.Canceled)
	require.NoError(t, s.Close())
	server.AwaitOpen(t, 0)
	nothingRuns(t)
}

// nothingRuns waits until no goroutine is in the SMTP client.
func nothingRuns(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for late := time.Now().Add(time.Minute); ; runtime.Gosched() {
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "internal/smtpclient.") {
			break
		}
		require.True(t, time.Now().Before(late), all)
	}
}
