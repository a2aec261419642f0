package otp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mailotp/otp/otpevent"
)

// The errors that a visitor can cause. Match them with [errors.Is]; their texts
// contain no code, secret, challenge ID or whole address. Any other error from
// a [Verifier] is a failure of the system (store, clock, configuration) and
// means "not verified".
var (
	// ErrAddress means that the address cannot be mailed. The error that wraps
	// it gives the reason.
	ErrAddress = errors.New("otp: invalid address")

	// ErrMalformed means that the input does not look like the code that was
	// mailed: it has the wrong length or invalid characters. It is not counted
	// as a guess.
	ErrMalformed = errors.New("otp: input does not look like a code")

	// ErrCode means that the code is wrong. The guess has been counted;
	// Challenge.GuessesLeft is the number that remain, down to 0.
	ErrCode = errors.New("otp: wrong code")

	// ErrExpired means that the code has expired: offer a resend.
	ErrExpired = errors.New("otp: code has expired")

	// ErrExhausted means that the challenge had no guess left: offer a resend.
	ErrExhausted = errors.New("otp: no guesses left for this code")

	// ErrUnknown means that there is no such challenge: it never existed, was
	// used already, has another purpose, or expired more than an hour ago.
	// Start again.
	ErrUnknown = errors.New("otp: no such challenge")

	// ErrLimited means that a budget of sends or starts is spent. The error is
	// a *[LimitError].
	ErrLimited = errors.New("otp: too many requests")

	// ErrSend means that the sender reported a failure. The error is a
	// *[SendError].
	ErrSend = errors.New("otp: sending failed")
)

// NeedsResend reports whether err means that this challenge can no longer be
// passed and that [Verifier.Resend] helps, or, after Request.NoRenewal, another
// Send: [ErrExpired] or [ErrExhausted].
func NeedsResend(err error) bool {
	return errors.Is(err, ErrExpired) || errors.Is(err, ErrExhausted)
}

// LimitError is the error for [ErrLimited]; it says when to retry.
type LimitError struct {
	// RetryAfter is how long to wait until the budget allows another attempt.
	// It is always positive. Where the mails of others are in the way it is in
	// whole minutes. For an HTTP Retry-After header, round it up to whole
	// seconds.
	RetryAfter time.Duration

	// Scope says whose budget is spent: "address" (that of the address),
	// "client" (that of Request.Client) or "all" (that of all strangers; see
	// Options.StrangerStarts).
	Scope string
}

// Error returns how long to wait, rounded up to seconds.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: try again in %v", ErrLimited, (e.RetryAfter + time.Second - 1).Truncate(time.Second))
}

// Is makes errors.Is(err, ErrLimited) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimited }

// SendError is the error for [ErrSend]. A [Sender] returns it to say what
// became of the message. A [Verifier] passes it on, but not if the mail may have
// been sent or its recipient was refused: the challenge then goes on. A Verifier
// treats any other error of a Sender as a SendError with MaybeSent set.
type SendError struct {
	// Temporary means that the same message may be accepted later: SMTP 4yz, a
	// lost connection, a rejected login. If it is false, the recipient or the
	// message was rejected permanently (5yz).
	Temporary bool

	// MaybeSent means that the outcome is unknown and the mail may arrive. It
	// takes precedence over Temporary: the code stays usable, and the send is
	// not refunded.
	MaybeSent bool

	// Stage names the step that failed, in a short word of the sender's choice.
	// Package smtpsender uses compose, sign, connect, tls, hello, auth, mail,
	// rcpt and data. A sender without classes names a refused recipient with
	// "rcpt"; see [SendError.RefusedRecipient].
	Stage string

	// Class says whose fault the failure is; see package otpevent for the
	// classes. Package smtpsender always sets it. Empty means that the sender
	// does not know classes.
	Class otpevent.Class

	// RetryAfter is how long the other side asked to wait before the next
	// attempt; 0 if it did not say.
	RetryAfter time.Duration

	// Err is the cause. A sender keeps codes and whole addresses out of its
	// text; a [Verifier] masks those that it knows.
	Err error
}

// Error returns the stage and the cause.
func (e *SendError) Error() string {
	if e == nil {
		return ErrSend.Error() + ": a nil *SendError"
	}
	var b strings.Builder
	if e.MaybeSent {
		b.WriteString("otp: the mail may or may not have been sent")
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

// RefusedRecipient reports whether the recipient was rejected permanently, for
// example because of a typo in the address: neither Temporary nor MaybeSent,
// and of the class [otpevent.ClassRecipient] or, without a class, at the stage
// "rcpt". Any other failure may concern every mail. It is false for nil.
func (e *SendError) RefusedRecipient() bool {
	return e != nil && !e.Temporary && !e.MaybeSent &&
		(e.Class == otpevent.ClassRecipient || e.Class == "" && e.Stage == stageRcpt)
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
