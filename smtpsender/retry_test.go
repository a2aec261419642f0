package smtpsender_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

func TestSender_replies(t *testing.T) { // G9
	testkit.Long(t)
	t.Cleanup(func() { nothingRuns(t) })
	for _, c := range []struct {
		verb, stage string
		beforeData  bool
	}{
		{smtptest.Connect, "hello", true},
		{"EHLO", "hello", true},
		{"AUTH", "auth", true},
		{"MAIL", "mail", true},
		{"RCPT", "rcpt", true},
		{"DATA", "data", true},
		{smtptest.Dot, "data", false},
	} {
		for _, reply := range []string{"421 4.3.2 later", "450 4.2.0 later", "451 4.7.1 later", "550 5.7.1 no", "552 5.2.2 no", smtptest.Drop, "nonsense", "299 odd"} {
			if (reply == "nonsense" || reply == "299 odd") && c.verb != smtptest.Dot {
				continue
			}
			if strings.HasPrefix(reply, "45") && c.beforeData && c.verb != "RCPT" {
				continue // as 421; each costs the pauses of two retries
			}
			t.Run(fmt.Sprintf("%s %q", c.verb, reply), func(t *testing.T) {
				t.Parallel()
				server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(c.verb, reply)}.Start(t)
				s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "password"})
				e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
				require.Equal(t, c.stage, e.Stage)
				aboutMail := c.stage == "mail" || c.stage == "rcpt" || c.stage == "data"
				require.Equal(t, reply[0] != '5' || !aboutMail, e.Temporary)
				require.Equal(t, !c.beforeData && reply[0] != '4' && reply[0] != '5', e.MaybeSent)
				require.NotEmpty(t, e.Class)
				require.False(t, e.RefusedRecipient())
				attempts := 1
				if c.beforeData && reply == smtptest.Drop || strings.HasPrefix(reply, "421") {
					attempts = 3
				}
				require.Equal(t, attempts, server.Conns(), "each of these tries has a connection of its own")
				if reply[0] != '4' {
					require.LessOrEqual(t, len(server.Mails(0)), 1, "never written twice")
				}
				require.Equal(t, strings.HasPrefix(reply, "45"), e.RetryAfter == time.Minute, "greylisted")
				var said *smtp.SMTPError
				if reply[0] == '4' || reply[0] == '5' {
					require.ErrorAs(t, e, &said)
					require.Equal(t, reply[:3], fmt.Sprint(said.Code))
				} else {
					require.NotErrorAs(t, e, &said)
				}
			})
		}
	}
	t.Run("the second try works", func(t *testing.T) {
		server := smtptest.Script{Reply: nth("RCPT", 1, "451 later")}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, 1, server.Conns())
		require.Len(t, server.Mails(0), 1)
	})
	t.Run("nobody listens", func(t *testing.T) {
		server := smtptest.Script{}.Start(t)
		server.Close()
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, "connect", e.Stage)
		require.True(t, e.Temporary)
		require.False(t, e.MaybeSent)
		var op *net.OpError
		require.ErrorAs(t, e, &op)
	})
}

func TestSender_staleConnection(t *testing.T) { // G11
	for name, verb := range map[string]string{"dropped in between": "", "421 to MAIL": "421 4.4.2 idle too long", "drop at MAIL": smtptest.Drop} {
		t.Run(name, func(t *testing.T) {
			stale := false
			server := smtptest.Script{Reply: func(n int, v, _ string) string {
				if v == "MAIL" && n == 1 && stale {
					return verb
				}
				stale = stale || v == smtptest.Dot
				return ""
			}}.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			if verb == "" {
				server.DropAll()
				server.AwaitOpen(t, 0)
			}
			require.NoError(t, s.Send(t.Context(), newMessage(t, "b@example.com")))
			require.Equal(t, 2, server.Conns())
			require.Len(t, server.Mails(0), 2)
		})
	}
	t.Run("a fresh one that fails is an error", func(t *testing.T) {
		server := smtptest.Script{Reply: func(n int, v, _ string) string {
			if n > 1 && v == "MAIL" {
				return "550 no"
			}
			return ""
		}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		server.DropAll()
		server.AwaitOpen(t, 0)
		require.False(t, sendError(t, s.Send(t.Context(), newMessage(t, "b@example.com"))).Temporary)
		require.Equal(t, 2, server.Conns())
	})
}

func TestSender_refusedThenReused(t *testing.T) {
	server := smtptest.Script{Reply: func(_ int, verb, line string) string {
		if strings.Contains(line, "gone@") {
			return "550 5.1.1 no such user"
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "app.acme.example"})
	require.Error(t, s.Send(t.Context(), newMessage(t, "gone@example.com")))
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.Equal(t, []string{
		"EHLO app.acme.example", "MAIL FROM:<codes@acme.example>", "RCPT TO:<gone@example.com>",
		"RSET", "MAIL FROM:<codes@acme.example>", "RCPT TO:<a@example.com>", "DATA",
	}, server.Lines(0), "on the same connection")
}
