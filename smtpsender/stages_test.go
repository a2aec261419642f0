package smtpsender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/smtpsender"
)

// The stages that come only with STARTTLS, with a login in several steps or with
// the second mail of a connection.

// nth returns a script's Reply that says reply to a verb when it comes for the
// nth time on a connection.
func nth(verb string, n int, reply string) func(int, string, string) string {
	seen := map[int]int{}
	return func(conn int, v, _ string) string {
		if v == verb {
			if seen[conn]++; seen[conn] == n {
				return reply
			}
		}
		return ""
	}
}

func TestSender_startTLSReplies(t *testing.T) { // G1, G9
	testkit.Long(t)
	t.Cleanup(func() { nothingRuns(t) })
	cert := smtptest.NewCert(t, "127.0.0.1")
	for _, c := range []struct {
		verb, stage string
		n           int
	}{{smtptest.Connect, "hello", 1}, {"EHLO", "hello", 1}, {"STARTTLS", "tls", 1}, {"EHLO", "hello", 2}} {
		for _, reply := range []string{"421 4.3.2 later", "454 4.7.0 later", "550 5.7.1 no", "554 5.5.1 no", smtptest.Drop, "nonsense", "299 odd"} {
			t.Run(fmt.Sprintf("%s %d %q", c.verb, c.n, reply), func(t *testing.T) {
				t.Parallel()
				server := smtptest.Script{TLS: cert.Server(), StartTLS: true, Extensions: []string{"AUTH PLAIN"}, Reply: nth(c.verb, c.n, reply)}.Start(t)
				s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client(), Username: "user", Password: "password"})
				e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
				require.Equal(t, c.stage, e.Stage)
				require.True(t, e.Temporary, "nothing was said of the mail")
				require.False(t, e.MaybeSent)
				attempts := 1
				if reply[0] == '4' || reply == smtptest.Drop {
					attempts = 3
				}
				require.Equal(t, attempts, server.Conns())
				server.AwaitOpen(t, 0)
				require.Zero(t, server.Count("AUTH")+server.Count("MAIL"))
				var said *smtp.SMTPError
				require.Equal(t, reply[0] == '4' || reply[0] == '5', errors.As(e, &said))
				require.NoError(t, s.Close())
				server.AwaitOpen(t, 0)
			})
		}
	}
}

// Plain text that comes after the reply to STARTTLS, when TLS is awaited, is no
// reply either.
func TestSender_injectedLater(t *testing.T) { // G3
	cert := smtptest.NewCert(t, "127.0.0.1")
	server := smtptest.Script{TLS: cert.Server(), StartTLS: true, Reply: replyTo(smtptest.Handshake, "250-evil\r\n250 SMTPUTF8")}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client()})
	e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.Equal(t, "tls", e.Stage)
	require.NotContains(t, e.Error(), "evil")
	require.Equal(t, "STARTTLS", server.Lines(0)[1])
	server.AwaitOpen(t, 0)
	require.Zero(t, server.Count("MAIL"))
	nothingRuns(t)
}

// A silent server is left in time at the stages of a kept connection too.
func TestSender_silentLater(t *testing.T) { // G6
	testkit.Long(t)
	t.Cleanup(func() { nothingRuns(t) })
	cert := smtptest.NewCert(t, "127.0.0.1")
	challenge := func(reply string) func(int, string, string) string {
		return func(_ int, v, _ string) string {
			switch v {
			case "AUTH":
				return "334 UGFzc3dvcmQ6"
			case "DXNLCG==": // the name
				return "334 UGFzc3dvcmQ6"
			case "CGFZC3DVCMQ=": // the password, as the script reads a command
				return reply
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		mode       smtpsender.TLSMode
		reply      func() func(int, string, string) string // fresh for each server
		extensions string
		stage      string
		first      bool // the first mail goes through
	}{
		"EHLO after STARTTLS": {smtpsender.StartTLS, func() func(int, string, string) string { return nth("EHLO", 2, smtptest.Hang) }, "AUTH PLAIN", "hello", false},
		"password of LOGIN":   {smtpsender.ImplicitTLS, func() func(int, string, string) string { return challenge(smtptest.Hang) }, "AUTH LOGIN", "auth", false},
		"second MAIL":         {smtpsender.ImplicitTLS, func() func(int, string, string) string { return nth("MAIL", 2, smtptest.Hang) }, "AUTH PLAIN", "mail", true},
		"second RCPT":         {smtpsender.ImplicitTLS, func() func(int, string, string) string { return nth("RCPT", 2, smtptest.Hang) }, "AUTH PLAIN", "rcpt", true},
		"second DATA":         {smtpsender.ImplicitTLS, func() func(int, string, string) string { return nth("DATA", 2, smtptest.Hang) }, "AUTH PLAIN", "data", true},
	} {
		t.Run(name, func(t *testing.T) {
			withinTime(t, func(d time.Duration) bool {
				server := smtptest.Script{TLS: cert.Server(), StartTLS: c.mode == smtpsender.StartTLS, Extensions: []string{c.extensions}, Reply: c.reply()}.Start(t)
				s := newSender(t, server.Addr, smtpsender.Options{TLS: c.mode, TLSConfig: cert.Client(), Username: "user", Password: "password", Timeout: time.Hour, ConnectTimeout: time.Hour})
				if c.first {
					require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
				}
				ctx, cancel := context.WithTimeout(t.Context(), d) // the server is silent for ever
				defer cancel()
				e := sendError(t, s.Send(ctx, newMessage(t, "b@example.com")))
				require.ErrorIs(t, e, context.DeadlineExceeded)
				require.True(t, e.Temporary)
				require.False(t, e.MaybeSent)
				require.LessOrEqual(t, server.Conns(), 1, "no retry")
				server.AwaitOpen(t, 0)
				return e.Stage == c.stage
			})
		})
	}
	t.Run("RSET after a refused recipient", func(t *testing.T) {
		hang := nth("RSET", 1, smtptest.Hang)
		server := smtptest.Script{Reply: func(n int, v, line string) string {
			if strings.Contains(line, "gone@") {
				return "550 5.1.1 no such user"
			}
			return hang(n, v, line)
		}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Timeout: time.Hour})
		require.False(t, sendError(t, s.Send(t.Context(), newMessage(t, "gone@example.com"))).Temporary)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		e := sendError(t, s.Send(ctx, newMessage(t, "a@example.com")))
		require.ErrorIs(t, e, context.DeadlineExceeded)
		require.True(t, e.Temporary)
		require.False(t, e.MaybeSent)
		server.AwaitOpen(t, 0)
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")), "the next one has a connection of its own")
		require.Len(t, server.Mails(0), 1)
	})
	t.Run("QUIT", func(t *testing.T) {
		server := smtptest.Script{TLS: cert.Server(), Reply: replyTo("QUIT", smtptest.Hang)}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLSConfig: cert.Client()})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.NoError(t, s.Close())
		server.AwaitOpen(t, 0)
	})
}

// Servers that take no EHLO name but a full one are content, before and after
// STARTTLS, also with the name that is the default.
func TestSender_strictHello(t *testing.T) { // G7
	cert := smtptest.NewCert(t, "127.0.0.1")
	for _, name := range []string{"", "app.acme.example", "[192.0.2.1]"} {
		for _, mode := range []smtpsender.TLSMode{smtpsender.ImplicitTLS, smtpsender.StartTLS} {
			refused := 0
			server := smtptest.Script{TLS: cert.Server(), StartTLS: mode == smtpsender.StartTLS, Reply: func(_ int, verb, line string) string {
				given, _ := strings.CutPrefix(line, "EHLO ")
				if verb == "EHLO" && (!strings.Contains(given, ".") && !strings.HasPrefix(given, "[") || strings.HasPrefix(given, "localhost")) {
					refused++
					return "504 5.5.2 <" + given + ">: Helo command rejected: need fully-qualified hostname"
				}
				return ""
			}}.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: mode, TLSConfig: cert.Client(), HelloName: name})
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			server.Do(func() { require.Zero(t, refused) })
		}
	}
}

// D4: a login and a mail leave no trace in the streams and logs of the process,
// whatever becomes of them.
func TestSender_tellsNobody(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	traces := captured(t, func() {
		for _, verb := range []string{"", "AUTH", "RCPT", smtptest.Dot} {
			for _, reply := range []string{"550 5.0.0 hunter2! 042137", smtptest.Drop} {
				for _, mode := range []smtpsender.TLSMode{smtpsender.ImplicitTLS, smtpsender.StartTLS, smtpsender.InsecureLoopback} {
					opts := smtpsender.Options{TLS: mode, Username: "user", Password: "hunter2!"}
					if verb != "" {
						opts.Timeout = 50 * time.Millisecond // few retries
					}
					script := smtptest.Script{StartTLS: mode == smtpsender.StartTLS, Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(verb, reply)}
					if mode != smtpsender.InsecureLoopback {
						script.TLS, opts.TLSConfig = cert.Server(), cert.Client()
					}
					server := script.Start(t)
					s := newSender(t, server.Addr, opts)
					err := s.Send(t.Context(), newMessage(t, "a@example.com"))
					require.Equal(t, verb == "", err == nil)
					require.NoError(t, s.Close())
				}
			}
		}
	})
	require.Empty(t, traces)
	require.Equal(t, "out\nerr\n", captured(t, func() { fmt.Println("out"); fmt.Fprintln(os.Stderr, "err") }), "it can fail")
}

// captured is what f writes to the streams and the standard logs.
func captured(t *testing.T, f func()) string {
	t.Helper()
	read, write, err := os.Pipe()
	require.NoError(t, err)
	out, logged, standard := make(chan string), &locked{}, slog.Default()
	go func() {
		all, _ := io.ReadAll(read)
		out <- string(all)
	}()
	stdout, stderr, writer := os.Stdout, os.Stderr, log.Writer()
	os.Stdout, os.Stderr = write, write
	slog.SetDefault(slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.SetOutput(logged)
	func() {
		defer func() {
			os.Stdout, os.Stderr = stdout, stderr
			slog.SetDefault(standard)
			log.SetOutput(writer)
			write.Close()
		}()
		f()
	}()
	return <-out + logged.String()
}

// locked is a buffer for many writers.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// G10: a code works if its mail may have gone out, and not if it was refused:
// the Verifier, the sender and the wire together. J10: a decoy comes of nothing
// but a refusal of the recipient.
func TestSender_codeOfWhatBecame(t *testing.T) {
	testkit.Long(t)
	for name, c := range map[string]struct {
		verb, reply string
		works       bool           // the code in the mail
		class       otpevent.Class // of the error, if there is one
	}{
		"taken":                  {"", "", true, ""},
		"no reply to the mail":   {smtptest.Dot, smtptest.Drop, true, ""},
		"nonsense to the mail":   {smtptest.Dot, "nonsense", true, ""},
		"refused for good":       {"RCPT", "550 5.1.1 no", false, ""},
		"no code to go by":       {"RCPT", "550 no", false, ""},
		"refused after the mail": {smtptest.Dot, "550 5.1.1 no", false, ""},
		"relay denied":           {"RCPT", "554 5.7.1 Relay access denied", false, otpevent.ClassUs},
		"client rejected":        {"RCPT", "550 client host rejected", false, otpevent.ClassUs},
		"mailbox full":           {"RCPT", "552 5.2.2 full", false, otpevent.ClassMailbox},
		"mailbox full, later":    {smtptest.Dot, "552 5.2.2 full", false, otpevent.ClassMailbox},
		"mail refused for good":  {smtptest.Dot, "550 no spam", false, otpevent.ClassContent},
		"sender refused":         {"MAIL", "550 5.1.1 no", false, otpevent.ClassUs},
		"refused for now":        {smtptest.Dot, "451 4.3.0 later", false, otpevent.ClassThrottle},
		"dropped before content": {"DATA", smtptest.Drop, false, otpevent.ClassUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtptest.Script{Reply: replyTo(c.verb, c.reply)}.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
			v, err := otp.NewVerifier(otp.NewMemoryStore(nil), s, nil)
			require.NoError(t, err)
			ch, err := v.Send(t.Context(), otp.Request{To: "a@example.com"})
			if c.class != "" {
				require.Equal(t, c.class, sendError(t, err).Class)
				require.Zero(t, ch)
				return
			}
			require.NoError(t, err)
			code := "042137"
			if mails := server.Mails(0); len(mails) > 0 {
				require.Len(t, mails, 1, "never written twice")
				_, text, _ := testkit.ReadMail(t, []byte(mails[0]))
				code = sixDigits.FindString(text)
			}
			_, err = v.Check(t.Context(), ch.ID, code)
			if c.works {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, otp.ErrCode)
			}
		})
	}
}

// sixDigits is a code in a mail.
var sixDigits = regexp.MustCompile(`(?m)^[0-9]{6}$`)
