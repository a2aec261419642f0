package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

func TestNewError(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	live := context.Background()
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	reply := &smtp.SMTPError{Code: 451, Message: "later"}
	for _, c := range []struct {
		name      string
		ctx       context.Context
		err       error
		is        error // what it wraps
		retryable bool
	}{
		{"end of stream", live, io.EOF, io.EOF, true},
		{"end in a line", live, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, true},
		{"reset", live, read(syscall.ECONNRESET), syscall.ECONNRESET, true},
		{"broken pipe", live, &net.OpError{Op: "write", Err: syscall.EPIPE}, syscall.EPIPE, true},
		{"no answer on the network", live, read(syscall.ETIMEDOUT), syscall.ETIMEDOUT, false},
		{"deadline", live, read(os.ErrDeadlineExceeded), context.DeadlineExceeded, false},
		{"refused", live, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, syscall.ECONNREFUSED, false},
		{"alert", live, &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, nil, false},
		{"closed by the context", over, read(net.ErrClosed), context.Canceled, false},
		{"end of stream by the context", over, io.EOF, context.Canceled, false},
		{"a reply outranks the context", over, reply, reply, true},
		{"a wrapped reply", live, fmt.Errorf("auth: %w", reply), reply, true},
		{"too long", live, errReplyTooLong, errReplyTooLong, false},
		{"malformed", live, errReplyForm, errReplyForm, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newError(c.ctx, StageRcpt, c.err)
			require.Equal(t, StageRcpt, e.Stage)
			if c.is != nil {
				require.ErrorIs(t, e, c.is)
			}
			require.False(t, e.Permanent)
			require.Equal(t, c.retryable, e.retryable())
			e.contentSent = true
			_, replied := errors.AsType[*smtp.SMTPError](c.err)
			require.Equal(t, replied, e.retryable(), "after content only if it was surely not taken")
		})
	}
	e := newError(over, StageRcpt, &smtp.SMTPError{Code: 550})
	require.True(t, e.Permanent)
	require.False(t, e.retryable())
	require.Equal(t, 550, e.replyCode())
	for _, reply := range []string{"452 4.2.2 full", "450 4.2.0 greylisted"} {
		require.False(t, newError(live, StageRcpt, refusal(450, reply[4:])).retryable(), reply)
	}
	require.False(t, newError(live, StageAuth, refusal(454, "4.7.0 later")).retryable())
}
