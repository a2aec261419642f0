package smtpclient_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// offers are what servers say to EHLO, by the name of how a mail is then sent.
var offers = map[string][]string{
	"lockstep":  {},
	"chunking":  {"CHUNKING"}, // of no use without PIPELINING: as lockstep
	"pipelined": {"PIPELINING"},
	"one write": {"PIPELINING", "CHUNKING"},
}

// dotted is a mail with every place where a dot can stand.
const dotted = "Subject: x\r\n\r\n.\r\n..\r\nx.\r\n.x\r\n\r\n.\r\n"

func TestTransaction_flights(t *testing.T) {
	for name, offer := range offers {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Script{Extensions: offer, Hold: len(offer) > 0 && name != "chunking"}.Start(t)
			pool := newPool(t, server.Addr, nil)
			for range 3 {
				require.NoError(t, pool.Send(t.Context(), envelope, []byte(dotted)))
			}
			mail := []string{"MAIL FROM:<from@acme.example>", "RCPT TO:<to@acme.example>", "DATA"}
			arrived := strings.ReplaceAll(dotted, "\r\n.", "\r\n..")
			if name == "one write" {
				mail[2] = fmt.Sprintf("BDAT %d LAST", len(dotted))
				arrived = dotted
			}
			lines := []string{"EHLO app.acme.example"}
			for range 3 {
				lines = append(lines, mail...)
			}
			require.Equal(t, lines, server.Lines(0), "no flight for anything else")
			require.Equal(t, []string{arrived, arrived, arrived}, server.Mails(0))
			early := map[string]int{"pipelined": 6, "one write": 6}[name]
			require.Equal(t, early, server.Early())
		})
	}
}

// G9: what is said at any position is told as it is, nothing is sent twice that
// may have arrived, and the connection stays in step or is not used again.
func TestTransaction_refusals(t *testing.T) {
	const no = "550-5.1.1 first\r\n550 5.1.1 second"
	type replies map[string]string // of the first connection
	for _, c := range []struct {
		offer   string
		replies replies
		stage   string // empty: sent in the end
		code    int    // 0: no refusal
		maybe   bool
		mails   int // whose content went out, with those nobody gets
		conns   int
		after   int // connections after another send
	}{
		{"lockstep", replies{"MAIL": no}, "mail", 550, false, 0, 1, 1},
		{"lockstep", replies{"RCPT": no}, "rcpt", 550, false, 0, 1, 1},
		{"lockstep", replies{"DATA": no}, "data", 550, false, 0, 1, 1},
		{"lockstep", replies{".": no}, "data", 550, false, 1, 1, 1},
		{"lockstep", replies{".": "451 later"}, "", 0, false, 2, 1, 1},
		{"lockstep", replies{".": smtptest.Drop}, "data", 0, true, 1, 1, 2},
		{"lockstep", replies{"RCPT": "251 will forward"}, "", 0, false, 1, 1, 1},
		{"lockstep", replies{"DATA": "250 what"}, "data", 0, false, 0, 1, 2},

		{"pipelined", replies{"MAIL": no, "RCPT": "503 no", "DATA": "503 no"}, "mail", 550, false, 0, 1, 1},
		{"pipelined", replies{"MAIL": no, "RCPT": "503 no"}, "mail", 550, false, 1, 1, 1},
		{"pipelined", replies{"RCPT": no, "DATA": "503 no"}, "rcpt", 550, false, 0, 1, 1},
		{"pipelined", replies{"RCPT": no}, "rcpt", 550, false, 1, 1, 1},
		{"pipelined", replies{"RCPT": no, ".": "554 nobody"}, "rcpt", 550, false, 1, 1, 1},
		{"pipelined", replies{"RCPT": no, ".": smtptest.Drop}, "rcpt", 550, false, 1, 1, 2},
		{"pipelined", replies{"RCPT": no, "DATA": smtptest.Drop}, "rcpt", 550, false, 0, 1, 2},
		{"pipelined", replies{"DATA": no}, "data", 550, false, 0, 1, 1},
		{"pipelined", replies{"DATA": "451 later"}, "", 0, false, 1, 1, 1},
		{"pipelined", replies{"RCPT": "451 later", "DATA": "503 no"}, "", 0, false, 1, 1, 1},
		{"pipelined", replies{"MAIL": smtptest.Drop}, "", 0, false, 1, 2, 2},
		{"pipelined", replies{"DATA": smtptest.Drop}, "", 0, false, 1, 2, 2},
		{"pipelined", replies{"RCPT": "nonsense"}, "rcpt", 0, false, 0, 1, 2},
		{"pipelined", replies{".": no}, "data", 550, false, 1, 1, 1},
		{"pipelined", replies{".": smtptest.Drop}, "data", 0, true, 1, 1, 2},

		{"one write", replies{"MAIL": no, "RCPT": "503 no", "BDAT": "503 no"}, "mail", 550, false, 1, 1, 1},
		{"one write", replies{"MAIL": no}, "mail", 550, false, 1, 1, 1},
		{"one write", replies{"RCPT": no, "BDAT": "554 nobody"}, "rcpt", 550, false, 1, 1, 1},
		{"one write", replies{"RCPT": no, "BDAT": smtptest.Drop}, "rcpt", 550, false, 1, 1, 2},
		{"one write", replies{"RCPT": no, "BDAT": "nonsense"}, "rcpt", 550, false, 1, 1, 2},
		{"one write", replies{"RCPT": "451 later", "BDAT": "554 nobody"}, "", 0, false, 2, 1, 1},
		{"one write", replies{"MAIL": "421 bye"}, "", 0, false, 2, 2, 2},
		{"one write", replies{"BDAT": no}, "data", 550, false, 1, 1, 1},
		{"one write", replies{"BDAT": "451 later"}, "", 0, false, 2, 1, 1},
		{"one write", replies{"MAIL": smtptest.Drop}, "data", 0, true, 0, 1, 2},
		{"one write", replies{"RCPT": smtptest.Drop}, "data", 0, true, 0, 1, 2},
		{"one write", replies{"BDAT": smtptest.Drop}, "data", 0, true, 1, 1, 2},
		{"one write", replies{"MAIL": "nonsense"}, "data", 0, true, 1, 1, 2},
		{"one write", replies{"BDAT": "250-fine\r\n250 done"}, "", 0, false, 1, 1, 1},
	} {
		t.Run(fmt.Sprintf("%s %q", c.offer, c.replies), func(t *testing.T) {
			t.Parallel()
			said := map[string]bool{}
			server := smtptest.Script{Extensions: offers[c.offer], Reply: func(n int, verb, _ string) string {
				if n > 1 || said[verb] {
					return ""
				}
				said[verb] = true
				return c.replies[verb]
			}}.Start(t)
			pool := newPool(t, server.Addr, nil)
			err := pool.Send(t.Context(), envelope, content)
			if c.stage == "" {
				require.NoError(t, err)
			} else {
				e := requireStage(t, err, c.stage)
				require.Equal(t, c.code/100 == 5, e.Permanent)
				require.Equal(t, c.maybe, e.MaybeSent)
				var reply *smtp.SMTPError
				require.Equal(t, c.code != 0, errors.As(err, &reply))
				if c.code == 550 {
					require.Equal(t, smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "first\nsecond"}, *reply)
				}
			}
			// The server may not yet have read what the client wrote before it
			// closed a connection.
			kept := 0
			if c.after == c.conns {
				kept = 1
			}
			server.AwaitOpen(t, kept)
			require.Len(t, server.Mails(0), c.mails)
			require.Equal(t, c.conns, server.Conns())

			require.NoError(t, pool.Send(t.Context(), envelope, []byte(dotted)))
			require.Len(t, server.Mails(0), c.mails+1)
			require.Equal(t, c.after, server.Conns())
			pool.Close()
			server.AwaitOpen(t, 0)
		})
	}
}

// An address is a word of a command and no more.
func TestTransaction_refusesEnvelope(t *testing.T) {
	server := smtptest.Script{}.Start(t)
	pool := newPool(t, server.Addr, nil)
	for _, to := range []string{"a@b.c>\r\nRCPT TO:<x@y.z", "a b@c.d", "a@b.c> NOTIFY=NEVER", "<a@b.c"} {
		e := requireStage(t, pool.Send(t.Context(), smtpclient.Envelope{From: envelope.From, To: to}, content), smtpclient.StageMail)
		require.True(t, e.Permanent)
	}
	require.NotContains(t, server.Wire(0), "MAIL")
}
