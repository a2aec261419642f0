package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
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
	Err       error // an *smtp.SMTPError if the server replied; ctx.Err() if the context ended

	// contentSent is true if content was written. A retry could then deliver
	// the mail twice.
	contentSent bool
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
	var protoReply *textproto.Error
	var protoErr textproto.ProtocolError
	switch {
	case errors.As(err, &early):
		return early
	case errors.As(err, &protoReply):
		reply = refusal(protoReply)
	case errors.As(err, &reply):
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		// A dialer uses the deadline of the context and may notice it first.
		e.Err = context.DeadlineExceeded
	case errors.As(err, &protoErr):
		e.Err = errReplyForm // its text is unescaped text of the server (GO-2026-5039)
	}
	if reply == nil {
		return e
	}
	if stage == StageAuth {
		// Some servers repeat the command that they reject.
		reply = &smtp.SMTPError{
			Code:         reply.Code,
			EnhancedCode: reply.EnhancedCode,
			Message:      "authentication rejected (the server's text is omitted, since it may repeat the password)",
		}
	}
	switch reply.Code / 100 {
	case 5:
		// Before MAIL, a rejection does not concern the mail: a wrong password
		// or a blocked host must not count as a rejected recipient.
		e.Permanent = stage == StageMail || stage == StageRcpt || stage == StageData || stage == stageDot
		fallthrough
	case 4:
		e.Err = reply
	default:
		e.Err = errReplyForm // neither the expected reply nor a rejection
	}
	return e
}

// authError is the error of a SASL mechanism without its text, which may
// contain text of the server that repeats the password.
type authError struct{ err error }

// Error omits the text of the cause.
func (e *authError) Error() string {
	return "authentication failed (the mechanism's text is omitted, since it may repeat the password)"
}

// Unwrap returns the cause.
func (e *authError) Unwrap() error { return e.err }

// Format prints the result of Error for every verb.
func (e *authError) Format(f fmt.State, _ rune) { io.WriteString(f, e.Error()) }

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

// retryable reports whether a retry on a new connection may succeed and cannot
// deliver the mail twice.
func (e *Error) retryable() bool {
	return !e.contentSent && (e.replyCode()/100 == 4 || e.dropped())
}

// refusal converts a reply and separates its enhanced code (RFC 2034), which is
// at the beginning of each line, from the text.
func refusal(e *textproto.Error) *smtp.SMTPError {
	reply := &smtp.SMTPError{Code: e.Code, Message: e.Msg}
	prefix, _, found := strings.Cut(e.Msg, " ")
	var code smtp.EnhancedCode
	parts := strings.Split(prefix, ".")
	if !found || len(parts) != len(code) {
		return reply
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return reply
		}
		code[i] = int(n)
	}
	lines := strings.Split(e.Msg, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], prefix+" ")
	}
	reply.EnhancedCode, reply.Message = code, strings.Join(lines, "\n")
	return reply
}
