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

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/otpevent"
)

// A Sender delivers a [Message].
//
// Any number of goroutines may call Send at once. Implementations should run
// otptest.TestSender.
type Sender interface {
	// Send is called by a [Verifier] once for each mail, after everything that
	// must be remembered is in the [Store]. It returns nil once another system
	// has taken responsibility for the message. It must return when ctx ends.
	//
	// A failure should be a *[SendError], which says whether the message may
	// have been sent and whether a retry can help. Any other error means that
	// the message may have been sent. Errors must contain neither the code nor
	// the whole address. An implementation must neither keep nor change m.Vars.
	Send(ctx context.Context, m Message) error
}

// SenderFunc is a function that implements [Sender].
type SenderFunc func(ctx context.Context, m Message) error

// Send calls f.
func (f SenderFunc) Send(ctx context.Context, m Message) error { return f(ctx, m) }

// Message is one code to deliver to one person. It is secret: packages fmt,
// log/slog and encoding/json print it without the code, the vars and the whole
// address. Package fmt cannot call methods on unexported fields, so a struct
// that keeps a Message in one prints all of it, unless the struct has its own
// Format method.
type Message struct {
	// ID is random for each mail and unrelated to the challenge, so it can
	// serve as Message-ID or idempotency key. It has 26 letters and digits.
	ID string

	// To is the recipient.
	To Address

	// Code is the secret, in the form in which to show it to the recipient.
	Code string

	// Purpose is what the code may be used for; see Kind.
	Purpose string

	// Locale is empty, a BCP 47 tag, or several tags separated by commas, best
	// first; at most 35 bytes.
	Locale string

	// Reference is the short word that the page shows too, so that people find
	// the right mail.
	Reference string

	// Vars are those of the Request, for templates. Nil if there are none.
	Vars map[string]string

	// Known means that the request drew on the budget of known devices; see
	// Request.Device. A queue can keep places for such messages.
	Known bool

	// SentAt is when the verifier handed the message over, by its clock.
	SentAt time.Time

	// ExpiresAt is when the code expires, by the verifier's clock. Do not send
	// the message after this time.
	ExpiresAt time.Time
}

// Kind returns the part of Purpose before the first colon, which selects the
// words of the mail.
func (m Message) Kind() string { return kindOf(m.Purpose) }

// Minutes returns how long the code is valid from SentAt on, for the text of
// the mail: in whole minutes, rounded down, at least 1.
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

// MarshalJSON encodes what String shows. A sender that encodes a message as
// JSON for its provider must name the fields itself.
func (m Message) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        string `json:"id"`
		To        string `json:"to"`
		Purpose   string `json:"purpose"`
		Reference string `json:"reference"`
	}{m.ID, m.To.Masked(), m.Kind(), m.Reference})
}

// NewLogSender returns a [Sender] for development. It sends nothing, but writes
// each code to w, one line for each message. Never use it where others can read
// w. It is safe for concurrent use if nothing else writes to w.
func NewLogSender(w io.Writer) Sender {
	var mu sync.Mutex
	return SenderFunc(func(ctx context.Context, m Message) error {
		if err := ctx.Err(); err != nil {
			return &SendError{Temporary: true, Err: err}
		}
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintf(w, "otp: code for %s (%s, reference %s, valid for %d min): %s\n",
			m.To.Masked(), m.Kind(), m.Reference, m.Minutes(), m.Code)
		if err != nil {
			return &SendError{Temporary: true, MaybeSent: true, Err: err}
		}
		return nil
	})
}

// asSendError converts the error of a sender into a SendError that does not
// repeat the code or the address.
func asSendError(err error, m Message) *SendError {
	var said *SendError
	if !errors.As(err, &said) {
		return &SendError{MaybeSent: true, Err: masked(err, m)}
	}
	if said == nil { // a nil pointer in an error: the outcome is unknown
		return &SendError{MaybeSent: true, Err: errors.New("the sender returned a nil *SendError")}
	}
	out := *said
	out.Stage = safetext.Cut(maskText(said.Stage, m), 60) // meant to be a word
	out.Class = otpevent.Class(safetext.Cut(maskText(string(said.Class), m), 60))
	text := ""
	if said.Err != nil {
		text = maskText(said.Err.Error(), m)
	}
	out.Err = &safetext.Error{Text: text, Err: err}
	return &out
}

// masked returns err with a text that does not repeat code and address.
func masked(err error, m Message) error {
	return &safetext.Error{Text: maskText(err.Error(), m), Err: err}
}

// maskText is safetext.Text for a message.
func maskText(text string, m Message) string {
	return safetext.Text(text, m.Code, m.To.String(), m.To.Masked())
}

// mailContext is the context of a mail whose send is reserved. A visitor who
// hangs up does not end it, so that the mail goes out that was counted. It ends
// when the code does, by the verifier's clock, and at the caller's deadline, or
// after 30 seconds if there is none. Its timer starts when somebody waits for
// it, which most senders never do: with it, a Send would take a tenth longer.
type mailContext struct {
	context.Context // has the caller's values, and no end
	deadline        time.Time

	mu     sync.Mutex
	timed  context.Context // set when somebody waits
	cancel context.CancelFunc
	ended  bool
}

// mailContext also reports whether it is too late for the mail.
func (v *Verifier) mailContext(ctx context.Context, c *ledger.Challenge) (m *mailContext, late bool) {
	start := time.Now()
	now, err := ledger.Ms(start.UnixMilli()), error(nil)
	if v.core.ownClock {
		now, err = v.core.now()
	}
	left := time.Duration(0)
	if err == nil {
		left = time.Duration(c.Deadline-now) * time.Millisecond
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = start.Add(mailTime)
	}
	if end := start.Add(left); end.Before(deadline) {
		deadline = end
	}
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	return &mailContext{Context: ctx, deadline: deadline}, !start.Before(deadline)
}

// wait starts the timer.
func (m *mailContext) wait() context.Context {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timed == nil {
		m.timed, m.cancel = context.WithDeadline(m.Context, m.deadline)
		if m.ended {
			m.cancel()
		}
	}
	return m.timed
}

// end releases the timer. Whoever still waits is told that it is over.
func (m *mailContext) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.cancel != nil {
		m.cancel()
	}
}

// Deadline implements [context.Context].
func (m *mailContext) Deadline() (time.Time, bool) { return m.deadline, true }

// Done implements [context.Context].
func (m *mailContext) Done() <-chan struct{} { return m.wait().Done() }

// Err implements [context.Context].
func (m *mailContext) Err() error {
	m.mu.Lock()
	idle := m.timed == nil && !m.ended
	m.mu.Unlock()
	if idle && time.Now().Before(m.deadline) {
		return nil
	}
	return m.wait().Err()
}

// Value implements [context.Context].
func (m *mailContext) Value(key any) any {
	m.mu.Lock()
	values := m.Context
	if m.timed != nil {
		values = m.timed // a child of a context looks for its canceler like this
	}
	m.mu.Unlock()
	return values.Value(key)
}

const mailTime = 30 * time.Second
