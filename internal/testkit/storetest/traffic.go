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
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otptest"
)

// Traffic is a number of clients that send and check codes without pause, and
// records the verdicts that they got. Faults may happen meanwhile: a call that fails
// gives no verdict, and its client continues.
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

// flow is one challenge and its verdicts.
type flow struct {
	id, code string
	right    bool // two of its guesses are right
	mu       sync.Mutex
	verdicts map[string]int
}

// StartTraffic starts clients of the stores, with one verifier for each store. The
// context of each call ends after patience.
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

// Done returns how many flows have ended so far.
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

// Stop stops the clients and waits until each has ended its flow.
func (tr *Traffic) Stop() {
	close(tr.stop)
	tr.clients.Wait()
	tr.late -= tr.stalled()
}

// run is one flow: a mail and then several guesses at once. In every other flow
// there are two right and two wrong guesses, and in the others three wrong ones.
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
	f := &flow{id: id, code: tr.inbox.Code(to), right: n%2 == 0, verdicts: map[string]int{}}
	tr.mu.Lock()
	tr.flows = append(tr.flows, f)
	tr.mu.Unlock()
	list := []string{testkit.WrongCode(f.code), testkit.WrongCode(f.code), testkit.WrongCode(f.code)}
	if f.right {
		list = []string{testkit.WrongCode(f.code), f.code, testkit.WrongCode(f.code), f.code}
	}
	together(len(list), func(i int) error { return tr.guess(f, (n+i)%len(tr.verifiers), list[i]) })
	tr.done.Add(1)
}

// guess makes one guess and records its verdict.
func (tr *Traffic) guess(f *flow, verifier int, guess string) error {
	err := tr.call(func(ctx context.Context) error {
		_, err := tr.verifiers[verifier%len(tr.verifiers)].Check(ctx, f.id, guess)
		return err
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	switch v := verdict(err); v {
	case "right", "wrong":
		f.verdicts[v]++
	case "unknown", "exhausted":
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

// Result is the result of [Traffic.Audit].
type Result struct {
	Flows     int           // that were sent
	Right     int           // guesses whose verdict was right
	Wrong     int           // guesses whose verdict was wrong
	Failed    int           // guesses that failed
	Twice     int           // codes that were accepted more than once
	GivenBack int           // wrong guesses with a verdict that are not counted
	Gone      int           // ledgers of unanswered challenges that are lost
	Late      time.Duration // the longest that a call outlived its context, less the machine's longest stall
}

// String returns the result as one line.
func (r Result) String() string {
	return fmt.Sprintf("%d flows, %d right, %d wrong, %d guesses failed: %d codes accepted twice, %d wrong guesses not counted, %d ledgers lost",
		r.Flows, r.Right, r.Wrong, r.Failed, r.Twice, r.GivenBack, r.Gone)
}

// Kept fails t if anything acknowledged was lost.
func (r Result) Kept(t testing.TB) {
	t.Helper()
	t.Log(r)
	switch {
	case r.Right == 0 || r.Wrong == 0:
		t.Error("the traffic proves nothing")
	case r.Twice > 0:
		t.Error("a code was accepted twice")
	case r.GivenBack > 0:
		t.Error("wrong guesses are not counted any more")
	case r.Gone > 0:
		t.Error("ledgers were lost")
	case r.Late > time.Second:
		t.Errorf("a call returned %v after its context had ended", r.Late)
	}
}

// Audit checks every flow again after Stop. It waits until the store works. A code
// that was accepted must not be accepted again, and a live challenge must have
// counted every wrong guess that got a verdict.
func (tr *Traffic) Audit(t testing.TB, store otp.Store) Result {
	t.Helper()
	r := Result{Flows: len(tr.flows), Failed: int(tr.failed.Load()), Late: max(0, tr.late)}
	v := NewVerifier(t, store, tr.inbox)
	for _, f := range tr.flows {
		accepted := f.verdicts["right"]
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
		case err == nil, errors.Is(err, otp.ErrExhausted):
			r.GivenBack += max(0, f.verdicts["wrong"]-(guesses-ch.GuessesLeft))
		case errors.Is(err, otp.ErrUnknown):
			if !f.right {
				r.Gone++
			}
		}
		_, err = v.Check(t.Context(), f.id, f.code)
		switch verdict(err) {
		case "right":
			accepted++
		case "unknown", "exhausted":
		default:
			t.Fatal("audit: ", err)
		}
		if accepted > 1 {
			r.Twice++
		}
		r.Right += f.verdicts["right"]
		r.Wrong += f.verdicts["wrong"]
	}
	return r
}
