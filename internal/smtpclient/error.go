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
	StageConnect = "connect" // waiting for a connection, dialling
	StageTLS     = "tls"     // STARTTLS, handshake
	StageHello   = "hello"   // greeting, EHLO
	StageAuth    = "auth"
	StageMail    = "mail"
	StageRcpt    = "rcpt"
	StageData    = "data" // DATA, the content and the reply to it
)

var (
	// ErrClosed says that the pool has been closed.
	ErrClosed = errors.New("sender is closed")

	// ErrNoSMTPUTF8 says that the server cannot take a non-ASCII address.
	ErrNoSMTPUTF8 = errors.New("server does not offer SMTPUTF8, which this address needs")

	errNoAuth       = errors.New("server does not offer AUTH")
	errNoStartTLS   = errors.New("server does not offer STARTTLS")
	errInjected     = errors.New("server sent plain text after its reply to STARTTLS")
	errReplyTooLong = errors.New("reply of the server is too long")
	errReplyForm    = errors.New("reply of the server is malformed")
	errEnvelope     = errors.New("address with a sign that would end a command")
	errNotLoopback  = errors.New("clear text is for loopback only, and this host is elsewhere")
)

// Error says where and how a send failed.
type Error struct {
	Stage     string
	Permanent bool  // the same message will be refused again
	MaybeSent bool  // the final dot may have been read and no reply came
	Err       error // *smtp.SMTPError if the server replied; ctx.Err() if the context ended it

	// contentSent says that content was written, so that a retry could
	// deliver it twice.
	contentSent bool
}

// Error gives the stage and the cause, which may hold words of the server.
func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// newError sorts err, which happened at stage while ctx ruled.
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
		// A dialer's deadline is the context's and may fire first.
		e.Err = context.DeadlineExceeded
	case errors.As(err, &protoErr):
		e.Err = errReplyForm // its text is the server's, unescaped (GO-2026-5039)
	}
	if reply == nil {
		return e
	}
	if stage == StageAuth {
		// Servers are known to repeat the command that they refuse.
		reply = &smtp.SMTPError{
			Code:         reply.Code,
			EnhancedCode: reply.EnhancedCode,
			Message:      "authentication refused (the server's words are left out, they may repeat the password)",
		}
	}
	switch reply.Code / 100 {
	case 5:
		// Before MAIL nothing was said of the mail: a wrong password or a
		// block of this host must not count against the recipient.
		e.Permanent = stage == StageMail || stage == StageRcpt || stage == StageData || stage == stageDot
		fallthrough
	case 4:
		e.Err = reply
	default:
		e.Err = errReplyForm // neither what was asked for nor a refusal
	}
	return e
}

// authError is why a mechanism gave up, without its text: that may hold the
// server's words, and these may repeat the password.
type authError struct{ err error }

// Error leaves the words of the cause out.
func (e *authError) Error() string {
	return "authentication failed (the words of the mechanism are left out, they may repeat the password)"
}

// Unwrap returns the cause.
func (e *authError) Unwrap() error { return e.err }

// Format prints what Error returns, whatever the verb.
func (e *authError) Format(f fmt.State, _ rune) { io.WriteString(f, e.Error()) }

// replyCode returns the code of the server's refusal, 0 if there was none.
func (e *Error) replyCode() int {
	var reply *smtp.SMTPError
	if errors.As(e.Err, &reply) {
		return reply.Code
	}
	return 0
}

// dropped reports whether the peer ended the connection.
func (e *Error) dropped() bool {
	if errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return true
	}
	var op *net.OpError
	return errors.As(e.Err, &op) && (op.Op == "read" || op.Op == "write") && !op.Timeout()
}

// retryable reports whether trying again at once on a new connection may help
// and cannot deliver twice.
func (e *Error) retryable() bool {
	return !e.contentSent && (e.replyCode()/100 == 4 || e.dropped())
}

// refusal is a reply with its enhanced code (RFC 2034), which stands before each
// line, taken apart.
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
