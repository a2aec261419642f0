package otp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/go-mailotp/otp/internal/safetext"
)

// A Sender brings a [Message] to its address.
//
// Send may be called by many goroutines at once. Implementations should run
// otptest.TestSender.
type Sender interface {
	// Send is called by a [Verifier] once for each mail, after everything that
	// must be remembered is in the [Store]. It returns nil once somebody else
	// has taken responsibility for the message, and gives up when ctx ends.
	//
	// A failure is a *[SendError] that says whether the message may have gone
	// out and whether trying later can help; any other error counts as "may
	// have gone out". Errors hold neither the code nor the whole address. An
	// implementation neither keeps nor changes m.Vars.
	Send(ctx context.Context, m Message) error
}

// SenderFunc is a function that is a [Sender].
type SenderFunc func(ctx context.Context, m Message) error

// Send calls f.
func (f SenderFunc) Send(ctx context.Context, m Message) error { return f(ctx, m) }

// Message is one code on its way to one person. It is secret: fmt, slog and
// encoding/json show it without code, vars and whole address. Package fmt
// cannot call methods on unexported fields: a struct that keeps a Message in one
// prints it whole unless it has a Format method of its own.
type Message struct {
	// ID is random for each mail and unrelated to the challenge: fit for a
	// Message-ID or an idempotency key. 26 letters and digits.
	ID string

	// To is the one recipient.
	To Address

	// Code is the secret, in the form in which it is shown.
	Code string

	// Purpose is what the code is good for. The part before the first colon
	// is its kind, which chooses the words of the mail.
	Purpose string

	// Locale is empty, a BCP 47 tag, or several with commas, best first; at
	// most 35 bytes.
	Locale string

	// Reference is the short word that the page shows too.
	Reference string

	// Vars are the request's, for templates. Nil when there are none.
	Vars map[string]string

	// SentAt is when the verifier handed the message over, by its clock.
	SentAt time.Time

	// ExpiresAt is when the code ends, by the verifier's clock. After this
	// the message is worthless: do not send it.
	ExpiresAt time.Time
}

// Kind returns the part of Purpose before the first colon, which selects the
// words of the mail.
func (m Message) Kind() string { return kindOf(m.Purpose) }

// Minutes is how long the code lives from SentAt on, in whole minutes rounded
// down, at least 1: what a mail says.
func (m Message) Minutes() int {
	return max(1, int(m.ExpiresAt.Sub(m.SentAt)/time.Minute))
}

// String describes the message without its secrets.
func (m Message) String() string {
	return fmt.Sprintf("Message{ID: %s, To: %s, Purpose: %s, Reference: %s}", m.ID, m.To.Masked(), m.Kind(), m.Reference)
}

// Format prints what String returns, whatever the verb.
func (m Message) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// LogValue logs what String shows.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", m.ID),
		slog.String("to", m.To.Masked()),
		slog.String("purpose", m.Kind()),
		slog.String("reference", m.Reference),
	)
}

// MarshalJSON encodes what String shows. A sender that puts a message into
// JSON for its provider names the fields itself.
func (m Message) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string `json:"id"`
		To        string `json:"to"`
		Purpose   string `json:"purpose"`
		Reference string `json:"reference"`
	}{m.ID, m.To.Masked(), m.Kind(), m.Reference})
}

// NewLogSender returns a [Sender] for development that writes each code to w,
// one line a message, and sends nothing. It prints the code: never use it
// where others can read w. It may be used concurrently if nothing else writes
// to w.
func NewLogSender(w io.Writer) Sender {
	var mu sync.Mutex
	return SenderFunc(func(ctx context.Context, m Message) error {
		if err := ctx.Err(); err != nil {
			return &SendError{Temporary: true, Err: err}
		}
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintf(w, "otp: code for %s (%s, reference %s, good for %d min): %s\n",
			m.To.Masked(), m.Kind(), m.Reference, m.Minutes(), m.Code)
		if err != nil {
			return &SendError{Temporary: true, MaybeSent: true, Err: err}
		}
		return nil
	})
}

// asSendError brings what a sender said into a SendError that does not repeat
// the code or the address.
func asSendError(err error, m Message) *SendError {
	var said *SendError
	if !errors.As(err, &said) {
		return &SendError{MaybeSent: true, Err: masked(err, m)}
	}
	if said == nil { // a nil pointer in an error: nobody knows
		return &SendError{MaybeSent: true, Err: errors.New("the sender returned a nil *SendError")}
	}
	out := *said
	out.Stage = safetext.Cut(maskText(said.Stage, m), 60) // meant to be a word
	text := ""
	if said.Err != nil {
		text = maskText(said.Err.Error(), m)
	}
	out.Err = &safetext.Error{Text: text, Err: err}
	return &out
}

// masked is err with a text that does not repeat code and address.
func masked(err error, m Message) error {
	return &safetext.Error{Text: maskText(err.Error(), m), Err: err}
}

// maskText is safetext.Text for a message.
func maskText(text string, m Message) string {
	return safetext.Text(text, m.Code, m.To.String(), m.To.Masked())
}

// Outcome is what became of one mail after a [Sender] was asked to deliver it.
// Package relay reports outcomes, and package otpstats counts them.
type Outcome string

// The outcomes of a mail.
const (
	// OutcomeSent means that the sender accepted the mail.
	OutcomeSent Outcome = "sent"

	// OutcomeUnknown means that the mail may or may not have been sent
	// (SendError.MaybeSent). It counts as sent.
	OutcomeUnknown Outcome = "unknown"

	// OutcomeRefused means that the mail was rejected permanently; no other
	// provider will be tried.
	OutcomeRefused Outcome = "refused"

	// OutcomeExpired means that the code expired before a sender accepted the
	// mail.
	OutcomeExpired Outcome = "expired"

	// OutcomeDropped means that the queue was closed before it sent the mail.
	OutcomeDropped Outcome = "dropped"

	// OutcomeDelayed means that an attempt failed temporarily and the mail
	// will be tried again.
	OutcomeDelayed Outcome = "delayed"

	// OutcomeFailed means that one provider failed, temporarily or
	// permanently, and that another provider may still accept the mail.
	OutcomeFailed Outcome = "failed"
)
