package relay_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/relay"
)

// What a provider says.
var (
	errBusy = &otp.SendError{Temporary: true, Stage: "test", Err: errors.New("come back later")}
	errGone = &otp.SendError{Stage: "rcpt", Err: errors.New("no such mailbox")}
	errSpam = &otp.SendError{Stage: "data", Err: errors.New("not this mail")}
	errUs   = &otp.SendError{Stage: "rcpt", Class: otpevent.ClassUs, Err: errors.New("relay access denied")}
	errLost = &otp.SendError{Temporary: true, MaybeSent: true, Stage: "test", Err: errors.New("no answer after the mail")}
)

// book is a provider that keeps its own record of what it accepted, whatever it
// answered.
type book struct {
	answer func(n int, ctx context.Context, m otp.Message) (accepted bool, err error)

	mu       sync.Mutex
	asked    int
	accepted map[string]int // by the ID of the mail
}

func (b *book) Send(ctx context.Context, m otp.Message) error {
	b.mu.Lock()
	b.asked++
	n := b.asked
	b.mu.Unlock()
	accepted, err := b.answer(n, ctx, m)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accepted == nil {
		b.accepted = map[string]int{}
	}
	if accepted {
		b.accepted[m.ID]++
	}
	return err
}

func (b *book) times(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted[id]
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// says is a provider that always answers the same; success takes the mail.
func says(err error) *book {
	return &book{answer: func(int, context.Context, otp.Message) (bool, error) { return err == nil, err }}
}

// message is one that lives for ten minutes.
func message(t testing.TB, n int) otp.Message {
	t.Helper()
	to, err := otp.ParseEmail(fmt.Sprintf("somebody%d@example.com", n))
	require.NoError(t, err)
	now := time.Now()
	return otp.Message{ID: fmt.Sprint("mail", n), To: to, Code: "739164", Purpose: "login", SentAt: now, ExpiresAt: now.Add(10 * time.Minute)}
}

// reports collects what a queue tells.
type reports struct {
	mu  sync.Mutex
	all []relay.Report
}

func (r *reports) observe(_ context.Context, one relay.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

func (r *reports) outcomes() (list []otpevent.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		list = append(list, one.Outcome)
	}
	return list
}

// final are the outcomes of each mail but for Delayed.
func (r *reports) final() map[string][]otpevent.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string][]otpevent.Outcome{}
	for _, one := range r.all {
		if one.Outcome != otpevent.MailDelayed {
			all[one.Message] = append(all[one.Message], one.Outcome)
		}
	}
	return all
}
