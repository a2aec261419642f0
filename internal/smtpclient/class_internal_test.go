package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpevent"
)

// J10: the table of smtpreply classifies replies. What is no reply is ours if it
// is about the setup.
func TestError_Class(t *testing.T) {
	const us, unknown = otpevent.ClassUs, otpevent.ClassUnknown
	for _, c := range []struct {
		stage string
		err   error
		want  otpevent.Class
	}{
		{StageRcpt, refusal(550, "5.1.1 no such user"), otpevent.ClassRecipient},
		{stageDot, refusal(550, "5.7.1 spam"), otpevent.ClassContent},
		{StageMail, refusal(550, "5.1.1 no such user"), us},
		{StageRcpt, io.EOF, unknown}, {StageAuth, io.EOF, unknown}, {StageAuth, context.DeadlineExceeded, unknown},
		{StageRcpt, os.ErrDeadlineExceeded, unknown}, {StageRcpt, errReplyForm, unknown}, {StageConnect, ErrClosed, unknown},
		{StageAuth, errNoAuth, us}, {StageAuth, errors.New("no token"), us}, {StageTLS, errNoStartTLS, us}, {StageAuth, &authError{errors.New("no")}, us},
		{StageMail, &Error{Stage: StageMail, Permanent: true, Err: ErrNoSMTPUTF8}, us},
		{StageMail, &Error{Stage: StageMail, Permanent: true, Err: errEnvelope}, us},
	} {
		require.Equal(t, c.want, newError(context.Background(), c.stage, c.err).Class(), "%s %v", c.stage, c.err)
	}
	require.Equal(t, time.Minute, (&Error{Stage: StageRcpt, Err: refusal(451, "4.7.1 greylisted")}).RetryAfter())
	require.Zero(t, (&Error{Stage: StageRcpt, Err: refusal(451, "later")}).RetryAfter())
}

// Different recipients that are refused with the same words, one after the other,
// are refused because of us.
func TestSameWords(t *testing.T) {
	var s sameWords
	judge := func(to string, err *Error) otpevent.Class {
		if err == nil {
			s.judge(nil, to)
			return ""
		}
		s.judge(err, to)
		return err.Class()
	}
	no := func(to string) *Error {
		return &Error{Stage: StageRcpt, Permanent: true, Err: &smtp.SMTPError{Code: 550, Message: fmt.Sprintf("<%s>: go away", to)}}
	}
	const recipient, us = otpevent.ClassRecipient, otpevent.ClassUs
	a, b, c := "a@one.example", "B@one.example", "c@two.example"
	require.Equal(t, recipient, judge(a, no(a)))
	require.Equal(t, recipient, judge(b, no(b)))
	require.Equal(t, recipient, judge(b, no(b)), "the same one again")
	require.Equal(t, us, judge(c, no(c)))
	require.Equal(t, us, judge(a, no(a)))
	judge(a, &Error{Stage: StageRcpt, Err: refusal(451, "later")}) // says nothing
	require.Equal(t, us, judge(b, no(b)))

	judge(b, nil) // sent
	require.Equal(t, recipient, judge(a, no(a)))
	require.Equal(t, recipient, judge(b, no(b)))
	require.Equal(t, recipient, judge(c, &Error{Stage: StageRcpt, Err: refusal(550, "5.1.1 no such user")}), "the code says so")
	require.Equal(t, recipient, judge(c, no(c)), "and that the server accepts others")
	require.Equal(t, recipient, judge(a, &Error{Stage: StageRcpt, Err: refusal(550, "no such user")}), "other words")
}
