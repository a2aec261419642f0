package otp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// A sender that returns a nil *SendError as an error has said nothing.
func TestSendError_typedNil(t *testing.T) {
	r := newRig(t, otp.Options{})
	r.fail = func(otp.Message) error { return (*otp.SendError)(nil) }
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err, "it may have been sent")
	require.NotEmpty(t, ch.ID)
	require.ErrorContains(t, r.failure(), "nil *SendError")
	var none *otp.SendError
	require.NotErrorIs(t, none, otp.ErrCode)
	require.ErrorIs(t, none, otp.ErrSend)
	require.EqualError(t, none, otp.ErrSend.Error()+": a nil *SendError")
	require.False(t, none.RefusedRecipient())
}

// The sender for development prints the code, and says so in one line.
func TestLogSender(t *testing.T) {
	var out bytes.Buffer
	r := newRig(t, otp.Options{})
	v, err := otp.NewVerifier(r.store, otp.NewLogSender(&out), &otp.Options{Now: r.clock.Now})
	require.NoError(t, err)
	ch, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	line := out.String()
	require.Regexp(t, `^otp: code for b\*\*\*@example\.com \(login, reference [A-Z]{4}, valid for 10 min\): \d{6}\n$`, line)
	_, err = v.Check(ctx, ch.ID, strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]))
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, otp.NewLogSender(&out).Send(stopped, r.messageFor()), context.Canceled)
	require.Error(t, otp.NewLogSender(brokenWriter{}).Send(ctx, r.messageFor()))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// Whatever a sender says, the Verifier's error repeats neither the code nor the
// address, stands in one line and is short.
func FuzzMaskText(f *testing.F) {
	for _, text := range []string{"", "{code}", "<{to}> {TO} {code}{code}", "no such user {to}\r\n550 {code}", "\x00{code}\x1b[2J", "\xff{code}\xff", "\u202e{code}\u2028{to}", "\u202e", "550 {to} \u2066{code}", "{co{code}de}", "{to}{code}@{to}", strings.Repeat("{code}", 90), strings.Repeat("\x01", 300), strings.Repeat("x", 197) + "{to}"} {
		for kind := range uint8(6) {
			f.Add(text, "rcpt", kind)
			f.Add("refused", text, kind)
			f.Add(text, text, kind|24)
		}
	}
	f.Fuzz(func(t *testing.T, text, stage string, kind uint8) {
		const to = "Ann.Marker@mail.acme.example"
		code := ""
		sender := otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			code = m.Code
			echo := strings.NewReplacer("{code}", m.Code, "{to}", to, "{TO}", strings.ToUpper(to))
			words := errors.New(echo.Replace(text))
			failure := &otp.SendError{Temporary: kind&8 != 0, MaybeSent: kind&16 != 0, Stage: echo.Replace(stage), Err: words}
			switch kind % 6 {
			case 0:
				return words
			case 1:
				return fmt.Errorf("%s: %w", echo.Replace(stage), words)
			case 2:
				return errors.Join(words, failure)
			case 3:
				return fmt.Errorf("%w: %w", failure, words)
			case 4:
				failure.Err = nil
			}
			return failure
		})
		var failure error
		observe := otp.ObserverFunc(func(_ context.Context, e otp.Event) { failure = e.Err })
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{Generator: otp.Digits(12), Observer: observe})
		require.NoError(t, err)
		_, err = v.Send(t.Context(), otp.Request{To: to})
		if err == nil { // the challenge stands: only the operator is told
			err = failure
		}
		require.ErrorIs(t, err, otp.ErrSend)
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
			require.NotContains(t, shown, code)
			require.NotContains(t, strings.ToLower(shown), strings.ToLower(to))
		}
		require.True(t, utf8.ValidString(err.Error()))
		require.LessOrEqual(t, len(err.Error()), 400)
		for _, r := range err.Error() {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029', "%q", err.Error())
		}
	})
}
