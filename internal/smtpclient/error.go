package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp/otpevent"
)

// The stages of a send, for [Error].
const (
	StageConnect = "connect" // waiting for a connection, dialing
	StageTLS     = "tls"     // STARTTLS, handshake
	StageHello   = "hello"   // greeting, EHLO
	StageAuth    = "auth"
	StageMail    = "mail"
	StageRcpt    = "rcpt"
	StageData    = "data" // DATA, the content and the reply to it
)

var (
	// ErrClosed means that the pool has been closed.
	ErrClosed = errors.New("sender is closed")

	// ErrNoSMTPUTF8 means that the server does not support a non-ASCII address.
	ErrNoSMTPUTF8 = errors.New("server does not offer SMTPUTF8, which this address needs")

	errNoAuth       = errors.New("server does not offer AUTH")
	errNoStartTLS   = errors.New("server does not offer STARTTLS")
	errInjected     = errors.New("server sent plain text after its reply to STARTTLS")
	errReplyTooLong = errors.New("reply of the server is too long")
	errReplyForm    = errors.New("reply of the server is malformed")
	errEnvelope     = errors.New("address contains a character that would end a command")
	errNotLoopback  = errors.New("clear text is allowed only for loopback addresses")
)

// Error describes a send that failed.
type Error struct {
	Stage     string
	Permanent bool  // the server will reject the same message again
	MaybeSent bool  // the server may have accepted the mail; no reply arrived
	Err       error // an *smtp.SMTPError if the server replied; wraps ctx.Err() if the context ended

	// contentSent is true if content was written. A retry could then deliver
	// the mail twice.
	contentSent bool

	oneByOne bool // it may work without PIPELINING

	class otpevent.Class // if it is not that of the reply
}

// Error returns the stage and the cause, which may contain text from the
// server.
func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// newError classifies err, which occurred at stage in an operation with ctx.
func newError(ctx context.Context, stage string, err error) *Error {
	e := &Error{Stage: stage, Err: err}
	var early *Error
	var reply *smtp.SMTPError
	switch {
	case errors.As(err, &early):
		return early
	case errors.As(err, &reply):
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		// A dialer uses the deadline of the context and may notice it first.
		e.Err = context.DeadlineExceeded
	}
	if reply == nil {
		return e
	}
	if stage == StageAuth {
		// Some servers repeat the command that they reject.
		reply = &smtp.SMTPError{
			Code:         reply.Code,
			EnhancedCode: reply.EnhancedCode,
			Message:      "authentication rejected" + loginReason(reply.Message) + " (the server's text is omitted, since it may repeat the password)",
		}
	}
	// Before MAIL, a rejection does not concern the mail: a wrong password or a
	// blocked host must not count as a rejected recipient.
	e.Permanent = reply.Code >= 500 && (stage == StageMail || stage == StageRcpt || stage == StageData || stage == stageDot)
	e.Err = reply
	return e
}

// at names the server that did not answer in time.
func (e *Error) at(addr string) *Error {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		e.Err = fmt.Errorf("%s: %w", addr, e.Err)
	}
	return e
}

// loginReasons are what Microsoft and Google say when a login is refused though
// the password may be right. They are safe to show, since they are ours.
var loginReasons = []string{
	"SmtpClientAuthentication is disabled", "basic authentication is disabled", "security defaults policy",
	"Application-specific password required", "Username and Password not accepted", "Please log in via your web browser",
}

// loginReason returns which of them the text has.
func loginReason(text string) string {
	text = strings.ToLower(strings.ReplaceAll(text, "\n", " "))
	for _, reason := range loginReasons {
		if strings.Contains(text, strings.ToLower(reason)) {
			return ": " + reason
		}
	}
	return ""
}

// replyCode returns the code of the server's negative reply, or 0.
func (e *Error) replyCode() int {
	var reply *smtp.SMTPError
	if errors.As(e.Err, &reply) {
		return reply.Code
	}
	return 0
}

// dropped reports whether the peer closed the connection.
func (e *Error) dropped() bool {
	if errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return true
	}
	var op *net.OpError
	return errors.As(e.Err, &op) && (op.Op == "read" || op.Op == "write") && !op.Timeout()
}

// retryable reports whether a retry within the same call may succeed and cannot
// deliver the mail twice. A 4yz was surely not taken, even after the content
// (RFC 5321 section 4.2.5).
func (e *Error) retryable() bool {
	if e.oneByOne {
		return true
	}
	if e.replyCode() == 0 {
		return !e.contentSent && e.dropped()
	}
	// Another login so soon would make it worse, unless there is an open connection
	// to share, and neither a greylister nor a full mailbox changes its mind within
	// seconds.
	return e.replyCode() < 500 && (e.Stage != StageAuth || e.tooMany()) && e.RetryAfter() == 0 && e.Class() != otpevent.ClassMailbox
}

// misunderstood reports whether the server did not know the command or its turn.
func (e *Error) misunderstood() bool {
	if e == nil {
		return false
	}
	code := e.replyCode()
	return code == 500 || code == 502 || code == 503
}

// rejectedSender reports whether the server rejected MAIL permanently.
func (e *Error) rejectedSender() bool { return e.Stage == StageMail && e.replyCode() >= 500 }

// tooMany reports whether the server says that it has too many connections or
// sessions of ours: 421, 432 of Exchange Online, X.3.2 (system not accepting messages)
// and X.4.5 (congestion) of RFC 3463.
func (e *Error) tooMany() bool {
	var reply *smtp.SMTPError
	if !errors.As(e.Err, &reply) || reply.Code >= 500 {
		return false
	}
	code := reply.EnhancedCode
	return reply.Code == 421 || reply.Code == 432 || code[1] == 3 && code[2] == 2 || code[1] == 4 && code[2] == 5
}
