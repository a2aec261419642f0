package smtpsender_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// The hook sees what would be sent, and what it returns is sent: in one write with
// the commands, as a chunk, and stuffed after DATA.
func TestSender_Sign(t *testing.T) { // F12
	for _, extensions := range [][]string{nil, {"PIPELINING"}, {"PIPELINING", "CHUNKING"}} {
		var mu sync.Mutex
		var want []string
		server := smtptest.Script{Extensions: extensions}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Sign: func(ctx context.Context, mail []byte) ([]byte, error) {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the context has no deadline")
			}
			signed := append([]byte("X-Signed: by me\r\n\tand nobody else\r\n"), mail...)
			mu.Lock()
			want = append(want, string(signed))
			mu.Unlock()
			clear(mail) // its own
			return signed, nil
		}})
		for range 2 {
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		}
		require.Equal(t, want, server.Mails(0))
		require.Contains(t, want[0], "\r\nFrom: \"Acme\" <codes@acme.example>\r\n")
		require.Contains(t, want[0], "042137")
	}
}

func TestSender_signRefuses(t *testing.T) {
	boom := errors.New("key service for a@example.com is away, mail was 042137")
	body := func(mail []byte) []byte { return mail[bytes.Index(mail, []byte("\r\n\r\n")):] }
	for name, sign := range map[string]func([]byte) ([]byte, error){
		"error":   func([]byte) ([]byte, error) { return nil, boom },
		"nothing": func([]byte) ([]byte, error) { return nil, nil },
		"bare LF": func(mail []byte) ([]byte, error) { return append([]byte("A: b\n"), mail...), nil },
		"bare CR": func(mail []byte) ([]byte, error) { return append([]byte("A: \rb\r\n"), mail...), nil },
		"long line": func(mail []byte) ([]byte, error) {
			return append([]byte("A: "+strings.Repeat("b", 996)+"\r\n"), mail...), nil
		},
		"8 bits":    func(mail []byte) ([]byte, error) { return append([]byte("A: \xc3\xa9\r\n"), mail...), nil },
		"NUL":       func(mail []byte) ([]byte, error) { return append([]byte("A: \x00\r\n"), mail...), nil },
		"open end":  func(mail []byte) ([]byte, error) { return append(mail, '.'), nil },
		"all LF":    func(mail []byte) ([]byte, error) { return bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n")), nil },
		"body lost": func(mail []byte) ([]byte, error) { return mail[:len(mail)-len(body(mail))+4], nil },
		"body cut": func(mail []byte) ([]byte, error) {
			return mail[:bytes.LastIndex(mail[:len(mail)-2], []byte("\n"))+1], nil
		},
		"body changed": func(mail []byte) ([]byte, error) {
			return bytes.ReplaceAll(mail, []byte("042137"), []byte("111111")), nil
		},
		"changed where it stands": func(mail []byte) ([]byte, error) {
			copy(body(mail)[40:], "xxxxxx")
			return mail, nil
		},
		"header lost":    func(mail []byte) ([]byte, error) { return body(mail), nil },
		"only signature": func([]byte) ([]byte, error) { return []byte("DKIM-Signature: v=1\r\n"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Script{}.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Sign: func(_ context.Context, mail []byte) ([]byte, error) { return sign(mail) }})
			err := s.Send(t.Context(), newMessage(t, "a@example.com"))
			e := sendError(t, err)
			require.Equal(t, "sign", e.Stage)
			require.True(t, e.Temporary, "it says nothing about the recipient")
			require.False(t, e.MaybeSent)
			require.Equal(t, name == "error", errors.Is(err, boom))
			require.NotContains(t, err.Error(), "042137") // D1
			require.NotContains(t, err.Error(), "a@example.com")
			require.Zero(t, server.Conns(), "nothing is sent")
		})
	}
	t.Run("within its time", func(t *testing.T) {
		s := newSender(t, "localhost:25", smtpsender.Options{TLS: smtpsender.InsecureLoopback, Timeout: 20 * time.Millisecond, Sign: func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, "sign", e.Stage)
		require.ErrorIs(t, e, context.DeadlineExceeded)
	})
}
