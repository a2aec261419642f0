package otptest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/go-mailotp/otp"
)

// Inbox is an [otp.Sender] for tests. It keeps mails instead of sending them.
// The zero value is ready to use. An Inbox must not be copied. It is safe for
// concurrent use.
//
// Methods compare a recipient byte by byte with the String of the
// [otp.Address], so pass an address as [otp.ParseEmail] normalizes it.
//
// An Inbox is also an [http.Handler], so that a test in another process can
// read the mails; see [Inbox.ServeHTTP].
//
// Printing an Inbox shows the number of its mails and no code.
type Inbox struct {
	mu      sync.Mutex
	mails   []*otp.Message // pointers, so that fmt never prints the contents
	waited  map[string]int // by recipient: how many mails Wait has returned
	arrival chan struct{}  // closed by the next Send; nil if nobody waits
	failure error
}

var _ otp.Sender = (*Inbox)(nil)

// Send keeps m, unless ctx has ended or [Inbox.FailWith] is in effect.
func (b *Inbox) Send(ctx context.Context, m otp.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return &otp.SendError{Temporary: true, Stage: "inbox", Err: err}
	}
	if b.failure != nil {
		return b.failure
	}
	m = cloneMessage(m)
	b.mails = append(b.mails, &m)
	if b.arrival != nil {
		close(b.arrival)
		b.arrival = nil
	}
	return nil
}

// FailWith makes every later Send return err and keep nothing, until FailWith
// is called with nil. Use an [otp.SendError] to say whether the mail may have
// been sent.
func (b *Inbox) FailWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failure = err
}

// Messages returns all mails, oldest first.
func (b *Inbox) Messages() []otp.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]otp.Message, len(b.mails))
	for i, m := range b.mails {
		all[i] = cloneMessage(*m)
	}
	return all
}

// Len returns how many mails there are.
func (b *Inbox) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mails)
}

// Last returns the newest mail to a recipient, and false if there is none.
func (b *Inbox) Last(to string) (otp.Message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range slices.Backward(b.mails) {
		if m.To.String() == to {
			return cloneMessage(*m), true
		}
	}
	return otp.Message{}, false
}

// Code returns the code in the newest mail to a recipient, or "" if there is
// none.
func (b *Inbox) Code(to string) string {
	m, _ := b.Last(to)
	return m.Code
}

// Wait returns the oldest mail to a recipient that Wait has not returned yet.
// If there is none, it waits until one arrives, or returns an error when ctx
// ends. So the first Wait returns the first mail, even if it arrived earlier,
// and the next Wait returns the second one. The other methods ignore what Wait
// has returned.
func (b *Inbox) Wait(ctx context.Context, to string) (otp.Message, error) {
	for {
		m, arrival := b.take(to)
		if arrival == nil {
			return m, nil
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			return otp.Message{}, fmt.Errorf("otptest: waiting for a mail: %w", ctx.Err())
		}
	}
}

// take returns the next mail for Wait, or a channel that is closed when a mail
// arrives.
func (b *Inbox) take(to string) (otp.Message, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	skip := b.waited[to]
	for _, m := range b.mails {
		if m.To.String() != to {
			continue
		}
		if skip == 0 {
			if b.waited == nil {
				b.waited = make(map[string]int)
			}
			b.waited[to]++
			return cloneMessage(*m), nil
		}
		skip--
	}
	return otp.Message{}, b.nextArrival()
}

// nextArrival returns a channel that the next Send closes. The caller holds
// b.mu.
func (b *Inbox) nextArrival() <-chan struct{} {
	if b.arrival == nil {
		b.arrival = make(chan struct{})
	}
	return b.arrival
}

// Reset discards all mails, and the effects of Wait and FailWith. A Wait in
// progress continues to wait.
func (b *Inbox) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails, b.waited, b.failure = nil, nil, nil
}

// String returns the number of mails.
func (b *Inbox) String() string { return fmt.Sprintf("Inbox{Len: %d}", b.Len()) }

// Format prints what String returns, whatever the verb.
func (b *Inbox) Format(f fmt.State, _ rune) { io.WriteString(f, b.String()) }

// cloneMessage returns m with a copy of Vars.
func cloneMessage(m otp.Message) otp.Message {
	m.Vars = maps.Clone(m.Vars)
	return m
}
