package otp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors that a person can cause. Match them with [errors.Is]; their
// texts carry no code, secret, challenge ID or whole address. Any other error
// from a [Verifier] is a failure of the system (store, clock, configuration)
// and means "not verified".
var (
	// ErrAddress says that the address is not one that can be mailed. The
	// error that wraps it gives the reason.
	ErrAddress = errors.New("otp: not a usable address")

	// ErrMalformed says that the input cannot be a code: it has the wrong
	// length or signs in it. It is not counted as a guess.
	ErrMalformed = errors.New("otp: the input does not have the shape of a code")

	// ErrCode says that the code is wrong. The guess has been counted;
	// Challenge.GuessesLeft says how many remain, down to 0.
	ErrCode = errors.New("otp: wrong code")

	// ErrExpired says that the code's time is over: offer a resend.
	ErrExpired = errors.New("otp: the code has expired")

	// ErrExhausted says that the challenge had no guess left before this one:
	// offer a resend.
	ErrExhausted = errors.New("otp: no guesses left for this code")

	// ErrEscalated says that too many wrong short codes were typed for this
	// address, so that short codes no longer count: offer a resend, which
	// mails a longer code.
	ErrEscalated = errors.New("otp: short codes are stopped for this address, a longer one is needed")

	// ErrUnknown says that there is no such challenge: never made, used
	// already, made for another purpose or long over. Start again.
	ErrUnknown = errors.New("otp: no such challenge")

	// ErrLimited says that a budget of sends or starts is spent. The error is
	// a *[LimitError].
	ErrLimited = errors.New("otp: too many requests")

	// ErrSend says that the sender reported a failure. The error is a
	// *[SendError].
	ErrSend = errors.New("otp: sending failed")
)

// NeedsResend reports whether err means that this challenge cannot be passed
// any more and [Verifier.Resend] will help: [ErrExpired], [ErrExhausted] or
// [ErrEscalated].
func NeedsResend(err error) bool {
	return errors.Is(err, ErrExpired) || errors.Is(err, ErrExhausted) || errors.Is(err, ErrEscalated)
}

// LimitError is the [ErrLimited] that says when to come back.
type LimitError struct {
	// RetryAfter is how long to wait until the budget has room again; always
	// positive. For an HTTP Retry-After header round it up to whole seconds.
	RetryAfter time.Duration
}

// Error says how long to wait, rounded up to seconds.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v, try again in %v", ErrLimited, (e.RetryAfter + time.Second - 1).Truncate(time.Second))
}

// Is makes errors.Is(err, ErrLimited) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimited }

// SendError is what a [Sender] returns to say what became of the message, and
// the [ErrSend] that a [Verifier] returns. A Sender's error of another type
// counts as one with MaybeSent set.
type SendError struct {
	// Temporary says that the same message may go through later: SMTP 4yz, a
	// dropped connection, a refused login. Not temporary means that the
	// recipient or the message was refused for good (5yz).
	Temporary bool

	// MaybeSent says that the outcome is unknown and the mail may arrive.
	// It outranks Temporary: the code stays usable and nothing is given back.
	MaybeSent bool

	// Stage names where it failed, in a short word of the sender's own:
	// the [SMTPSender] uses compose, sign, connect, tls, hello, auth, mail,
	// rcpt and data. For what concerns only this recipient use rcpt, or none:
	// see [SendError.RefusedRecipient].
	Stage string

	// Err is the cause. A sender keeps codes and whole addresses out of its
	// text; a [Verifier] masks the ones it knows.
	Err error
}

// Error gives the stage and the cause.
func (e *SendError) Error() string {
	if e == nil {
		return ErrSend.Error() + ": a nil *SendError"
	}
	var b strings.Builder
	if e.MaybeSent {
		b.WriteString("otp: the mail may or may not have gone out")
	} else {
		b.WriteString(ErrSend.Error())
	}
	if e.Stage != "" {
		b.WriteString(" (" + e.Stage + ")")
	}
	if e.Err != nil && e.Err.Error() != "" {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// stageRcpt is the stage at which a sender names a recipient.
const stageRcpt = "rcpt"

// RefusedRecipient reports whether the recipient was refused for good, as after a typo in
// an address: neither Temporary nor MaybeSent, and at the stage rcpt or by a sender
// that names no stage. Any other failure may concern every mail. It is false for nil.
func (e *SendError) RefusedRecipient() bool {
	return e != nil && !e.Temporary && !e.MaybeSent && (e.Stage == stageRcpt || e.Stage == "")
}

// Is makes errors.Is(err, ErrSend) true.
func (e *SendError) Is(target error) bool { return target == ErrSend }

// Unwrap returns the cause.
func (e *SendError) Unwrap() error {
	if e == nil { // which some senders return by mistake
		return nil
	}
	return e.Err
}
