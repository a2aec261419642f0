package otp_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// A sender that returns a nil *SendError as an error has said nothing.
func TestSendError_typedNil(t *testing.T) {
	r := newRig(t, otp.Options{})
	r.fail = func(otp.Message) error { return (*otp.SendError)(nil) }
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	require.NotEmpty(t, ch.ID)
	require.NotEmpty(t, err.Error())
	var none *otp.SendError
	require.NotErrorIs(t, none, otp.ErrCode)
	require.ErrorIs(t, none, otp.ErrSend)
	require.EqualError(t, none, otp.ErrSend.Error()+": a nil *SendError")
	require.False(t, none.RefusedRecipient())
}

// A typo in an address says nothing of a mail server; everything else may.
func TestSendError_RefusedRecipient(t *testing.T) {
	for _, stage := range []string{"", "rcpt", "compose", "connect", "auth", "mail", "data", "failover"} {
		require.Equal(t, stage == "" || stage == "rcpt", (&otp.SendError{Stage: stage}).RefusedRecipient(), stage)
		require.False(t, (&otp.SendError{Stage: stage, Temporary: true}).RefusedRecipient(), stage)
		require.False(t, (&otp.SendError{Stage: stage, MaybeSent: true}).RefusedRecipient(), stage)
	}
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
	require.Regexp(t, `^otp: code for b\*\*\*@example\.com \(login, reference [A-Z]{4}, good for 10 min\): \d{6}\n$`, line)
	_, err = v.Check(ctx, ch.ID, strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]))
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, otp.NewLogSender(&out).Send(stopped, r.messageFor()), context.Canceled)
	require.Error(t, otp.NewLogSender(brokenWriter{}).Send(ctx, r.messageFor()))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }
