package smtpclient

import (
	"context"
	"errors"
	"io"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpevent"
)

// J10: only a reply that is about the recipient has the class of a recipient.
func TestError_Class(t *testing.T) {
	const recipient, mailbox, us = otpevent.ClassRecipient, otpevent.ClassMailbox, otpevent.ClassUs
	const throttle, unknown = otpevent.ClassThrottle, otpevent.ClassUnknown
	for _, c := range []struct {
		stage, reply string
		want         otpevent.Class
	}{
		{StageRcpt, "550 5.1.0 Address rejected", recipient},
		{StageRcpt, "550 5.1.1 no such user", recipient},
		{StageRcpt, "550 5.1.2 no such domain", recipient},
		{StageRcpt, "501 5.1.3 bad syntax", recipient},
		{StageRcpt, "550 5.1.4 ambiguous", recipient},
		{StageRcpt, "550 5.1.5 not valid", recipient},
		{StageRcpt, "551 5.1.6 moved", recipient},
		{StageRcpt, "556 5.1.10 null MX", recipient},
		{StageRcpt, "550 5.2.1 disabled", recipient},
		{StageRcpt, "554 5.1.1 <relay@example.com>: client host rejected it", recipient}, // the code decides
		{StageData, "550 5.1.1 after the mail", recipient},
		{StageRcpt, "552 5.2.2 mailbox full", mailbox},
		{StageData, "552 5.2.2 mailbox full", mailbox},

		{StageRcpt, "550 5.1.0 <codes@acme.example>: Sender address rejected: User unknown", us},
		{StageRcpt, "550 5.1.7 bad sender", us},
		{StageRcpt, "550 5.1.8 bad sender domain", us},
		{StageRcpt, "550 5.1.9 conversion", us},
		{StageRcpt, "550 5.1.11 unheard of", us},
		{StageRcpt, "550 5.2.0 other", us},
		{StageRcpt, "550 5.2.3 too long", us},
		{StageRcpt, "550 5.4.1 access denied", us},
		{StageRcpt, "550 5.7.1 blocked", us},
		{StageRcpt, "554 5.7.1 <a@example.com>: Relay access denied", us},
		{StageRcpt, "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied", us},
		{StageRcpt, "550 4.1.1 of two minds", us},
		{StageData, "550 5.7.1 spam", us},
		{StageMail, "550 5.1.1 no such sender", us}, // it has not seen the recipient
		{StageMail, "550 no", us},
		{StageAuth, "535 5.7.8 no", us},
		{StageHello, "554 5.7.1 no", us},
		{StageHello, "550 5.1.1 no", us},

		{StageRcpt, "550 no such user", recipient},
		{StageRcpt, "551 user not local", recipient},
		{StageRcpt, "553 mailbox name not allowed", recipient},
		{StageRcpt, "550 #5.1.0 Address rejected.", recipient}, // not in the form of RFC 2034
		{StageRcpt, "550 relay not permitted", us},
		{StageRcpt, "550 Relaying denied", us},
		{StageRcpt, "550 unable to RELAY for you", us},
		{StageRcpt, "550 client rejected", us},
		{StageRcpt, "550 your host is\nrejected", us},
		{StageRcpt, "550 rejected: host on a list", us},
		{StageRcpt, "550 Sender verify failed", us},
		{StageRcpt, "550 hostile user rejected", recipient},
		{StageRcpt, "552 full", us},
		{StageRcpt, "554 no", us},
		{StageRcpt, "503 bad sequence", us},
		{StageData, "550 no", us},
		{StageData, "554 no valid recipients", us},

		{StageRcpt, "450 4.2.0 greylisted", unknown},
		{StageRcpt, "451 later", unknown},
		{StageRcpt, "452 4.2.2 mailbox full", mailbox},
		{StageRcpt, "450 4.1.1 perhaps nobody", unknown},
		{StageHello, "421 4.3.2 later", throttle},
		{StageRcpt, "421 too many", throttle},
		{StageAuth, "454 4.7.0 later", unknown},
	} {
		number, text, _ := strings.Cut(c.reply, " ")
		code, err := strconv.Atoi(number)
		require.NoError(t, err)
		e := newError(context.Background(), c.stage, &textproto.Error{Code: code, Msg: text})
		require.Equal(t, c.want, e.Class(), "%s: %s", c.stage, c.reply)
	}
	for _, c := range []struct {
		err  error
		want otpevent.Class
	}{
		{io.EOF, unknown}, {os.ErrDeadlineExceeded, unknown}, {errReplyForm, unknown}, {ErrClosed, unknown},
		{errNoAuth, us}, {errNoStartTLS, us}, {&authError{errors.New("no")}, us},
		{&Error{Stage: StageMail, Permanent: true, Err: ErrNoSMTPUTF8}, us},
		{&Error{Stage: StageMail, Permanent: true, Err: errEnvelope}, us},
	} {
		require.Equal(t, c.want, newError(context.Background(), StageRcpt, c.err).Class(), "%v", c.err)
	}
}
