package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otptest"
)

// Traffic is clients that ask and check without pause, and what they were told.
// Faults may happen meanwhile: a call that fails has told nothing, and its client
// goes on.
type Traffic struct {
	verifiers []*otp.Verifier
	inbox     *otptest.Inbox
	patience  time.Duration
	stop      chan struct{}
	stalled   func() time.Duration
	clients   sync.WaitGroup
	failed    atomic.Int64
	done      atomic.Int64

	mu    sync.Mutex
	flows []*flow
	late  time.Duration
}

// flow is one challenge and what was told about it.
type flow struct {
	id, code string
	right    bool // two of its guesses are right
	mu       sync.Mutex
	told     map[string]int
}

// StartTraffic starts clients over the stores, one verifier for each store. A call
// gets patience to return.
func StartTraffic(t testing.TB, clients int, patience time.Duration, stores ...otp.Store) *Traffic {
	t.Helper()
	tr := &Traffic{inbox: new(otptest.Inbox), patience: patience, stop: make(chan struct{}), stalled: stalls()}
	for _, s := range stores {
		tr.verifiers = append(tr.verifiers, NewVerifier(t, s, tr.inbox))
	}
	for c := range clients {
		tr.clients.Go(func() {
			for n := c; ; n++ {
				select {
				case <-tr.stop:
					return
				default:
					tr.run(n)
				}
			}
		})
	}
	return tr
}

// Done says how many flows have ended so far.
func (tr *Traffic) Done() int { return int(tr.done.Load()) }

// Wait waits until n more flows have ended.
func (tr *Traffic) Wait(t testing.TB, n int) {
	t.Helper()
	enough := tr.Done() + n
	servers.Wait(t, "flows", func() error {
		if done := tr.Done(); done < enough {
			return fmt.Errorf("%d of %d", done, enough)
		}
		return nil
	})
}

// Stop ends the traffic once every client has ended its flow.
func (tr *Traffic) Stop() {
	close(tr.stop)
	tr.clients.Wait()
	tr.late -= tr.stalled()
}

// run is one flow: a mail, then six guesses at once. In every other flow two of
// them are right; else three are wrong and that is all.
func (tr *Traffic) run(n int) {
	to := newAddress()
	var id string
	err := tr.call(func(ctx context.Context) error {
		ch, err := tr.verifiers[n%len(tr.verifiers)].Send(ctx, otp.Request{To: to})
		id = ch.ID
		return err
	})
	if err != nil {
		return
	}
	f := &flow{id: id, code: tr.inbox.Code(to), right: n%2 == 0, told: map[string]int{}}
	tr.mu.Lock()
	tr.flows = append(tr.flows, f)
	tr.mu.Unlock()
	list := []string{wrong(f.code), wrong(f.code), wrong(f.code)}
	if f.right {
		list = []string{wrong(f.code), f.code, wrong(f.code), f.code}
	}
	together(len(list), func(i int) error { return tr.guess(f, (n+i)%len(tr.verifiers), list[i]) })
	tr.done.Add(1)
}

// guess makes one guess and keeps what was told.
func (tr *Traffic) guess(f *flow, verifier int, guess string) error {
	err := tr.call(func(ctx context.Context) error {
		_, err := tr.verifiers[verifier%len(tr.verifiers)].Check(ctx, f.id, guess)
		return err
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	switch told := verdict(err); told {
	case "right", "wrong":
		f.told[told]++
	case "unknown", "exhausted", "escalated":
	default:
		tr.failed.Add(1)
	}
	return err
}

func (tr *Traffic) call(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), tr.patience)
	defer cancel()
	began := time.Now()
	err := f(ctx)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.late = max(tr.late, time.Since(began)-tr.patience)
	return err
}

// Result is what Audit found.
type Result struct {
	Flows     int           // that were sent
	Right     int           // guesses that were told to be right
	Wrong     int           // guesses that were told to be wrong
	Failed    int           // guesses that failed
	Twice     int           // codes that were accepted more than once
	GivenBack int           // wrong guesses that were told and are not counted
	Gone      int           // ledgers of unanswered challenges that are not there any more
	Late      time.Duration // the longest that a call outlived its context, less the machine's longest stall
}

// String is the result in a line.
func (r Result) String() string {
	return fmt.Sprintf("%d flows, %d told right, %d told wrong, %d guesses failed: %d codes accepted twice, %d told guesses not counted, %d ledgers gone",
		r.Flows, r.Right, r.Wrong, r.Failed, r.Twice, r.GivenBack, r.Gone)
}

// Kept fails t unless nothing that was told was taken back.
func (r Result) Kept(t testing.TB) {
	t.Helper()
	t.Log(r)
	switch {
	case r.Right == 0 || r.Wrong == 0:
		t.Error("the traffic proves nothing")
	case r.Twice > 0:
		t.Error("a code was accepted twice")
	case r.GivenBack > 0:
		t.Error("more verdicts were told than are counted")
	case r.Gone > 0:
		t.Error("ledgers were lost")
	case r.Late > time.Second:
		t.Errorf("a call returned %v after its context had ended", r.Late)
	}
}

// Audit asks again about every flow, once the traffic has stopped, over a store
// that may have to get well first: a code that was accepted must not be accepted
// again, and of a challenge that still lives as many guesses must be counted as
// were told.
func (tr *Traffic) Audit(t testing.TB, store otp.Store) Result {
	t.Helper()
	r := Result{Flows: len(tr.flows), Failed: int(tr.failed.Load()), Late: max(0, tr.late)}
	v := NewVerifier(t, store, tr.inbox)
	for _, f := range tr.flows {
		accepted := f.told["right"]
		var ch otp.Challenge
		var err error
		servers.Wait(t, "the store", func() error {
			ch, err = v.Status(t.Context(), f.id)
			if strings.HasPrefix(verdict(err), "failed") {
				return err
			}
			return nil
		})
		switch {
		case err == nil, errors.Is(err, otp.ErrExhausted), errors.Is(err, otp.ErrEscalated):
			r.GivenBack += max(0, f.told["wrong"]-(guesses-ch.GuessesLeft))
		case errors.Is(err, otp.ErrUnknown):
			if !f.right {
				r.Gone++
			}
		}
		_, err = v.Check(t.Context(), f.id, f.code)
		switch verdict(err) {
		case "right":
			accepted++
		case "unknown", "exhausted", "escalated":
		default:
			t.Fatal("audit: ", err)
		}
		if accepted > 1 {
			r.Twice++
		}
		r.Right += f.told["right"]
		r.Wrong += f.told["wrong"]
	}
	return r
}
