package otptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// TestStore checks that a store fulfills the contract of [otp.Store], with one
// subtest for each sentence. Each subtest calls newStore once; it must return a
// store that nothing else writes to, and it may use t.Cleanup. The keys are
// random, so data of earlier runs does no harm.
//
// The suite tests expiry by waiting, about twelve seconds in all. A store may
// round a time to live up by at most five seconds. To avoid the waiting, let
// newStore return a store with a method that moves its clock forward:
//
//	Advance(d time.Duration)
//
// With go test -short, a store without that method skips the subtests that
// wait.
func TestStore(t *testing.T, newStore func(t *testing.T) otp.Store) {
	t.Helper()
	for _, c := range storeCases() {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(t)
			if _, ok := store.(advancer); c.waits() && !ok && testing.Short() {
				t.Skip("waits in real time: not with -short")
			}
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			report(t, c.rule, c.check(ctx, store))
		})
	}
}

// storeCase is one sentence of the contract.
type storeCase struct {
	name string
	rule string // the sentence, for the message when a store breaks it
	run  func(ctx context.Context, e *storeEnv)
}

// waits reports whether the case lets time pass.
func (c storeCase) waits() bool {
	return slices.ContainsFunc(expiryCases, func(e storeCase) bool { return e.name == c.name })
}

// advancer is a store whose clock the suite can move.
type advancer interface{ Advance(d time.Duration) }

// storeCases returns the whole suite.
func storeCases() []storeCase {
	var all []storeCase
	for _, part := range [][]storeCase{swapCases, byteCases, keyCases, argumentCases, expiryCases, refusalCases, contextCases, raceCases} {
		all = append(all, part...)
	}
	return all
}

// check runs the case on a fresh store.
func (c storeCase) check(ctx context.Context, store otp.Store) error {
	return bound(ctx, func() error {
		e := newStoreEnv(store)
		c.run(ctx, e)
		if errors.Is(e.err, errTooSlow) {
			return nil
		}
		return e.err
	})
}

// errTooSlow ends a case for which the machine is too slow.
var errTooSlow = errors.New("too slow to tell")

// long is a time to live that outlasts a test.
const long = time.Hour

// storeEnv is the environment of a case: the store, a prefix for keys that no
// other case uses, a clock, and the checks.
type storeEnv struct {
	failure
	store    otp.Store
	prefix   string
	advance  func(time.Duration) // nil if the test cannot move the store's clock
	began    time.Time
	advanced time.Duration
}

func newStoreEnv(store otp.Store) *storeEnv {
	e := &storeEnv{store: store, prefix: rand.Text()[:12], began: time.Now()}
	if a, ok := store.(advancer); ok {
		e.advance = a.Advance
	}
	return e
}

// key returns a key that only this case uses.
func (e *storeEnv) key(name string) string { return e.prefix + name }

// load returns the value under key.
func (e *storeEnv) load(ctx context.Context, key string) []byte {
	if e.err != nil {
		return nil
	}
	value, err := e.store.Load(ctx, key)
	if err != nil {
		e.failf("Load(%q): %v", key, err)
	}
	return value
}

// holds checks that key has the value; nil means that it has none.
func (e *storeEnv) holds(ctx context.Context, key string, value []byte) {
	got := e.load(ctx, key)
	switch {
	case e.err != nil:
	case value == nil && got != nil:
		e.failf("Load(%q) gave %s, want nil", key, show(got))
	case !bytes.Equal(got, value):
		e.failf("Load(%q) gave %s, want %s", key, show(got), show(value))
	}
}

// swaps checks that the swap is made.
func (e *storeEnv) swaps(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) {
	e.answers(ctx, true, key, oldValue, newValue, ttl)
}

// keeps checks that the comparison fails, so that the swap is not made.
func (e *storeEnv) keeps(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) {
	e.answers(ctx, false, key, oldValue, newValue, ttl)
}

func (e *storeEnv) answers(ctx context.Context, want bool, key string, oldValue, newValue []byte, ttl time.Duration) {
	if e.err != nil {
		return
	}
	got, err := e.store.CompareAndSwap(ctx, key, oldValue, newValue, ttl)
	if err != nil || got != want {
		e.failf("CompareAndSwap(%q, old %s, new %s, ttl %v) gave %v, %v; want %v", key, show(oldValue), show(newValue), ttl, got, err, want)
	}
}

// refuses checks that the swap returns an error.
func (e *storeEnv) refuses(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) {
	if e.err != nil {
		return
	}
	swapped, err := e.store.CompareAndSwap(ctx, key, oldValue, newValue, ttl)
	if err == nil || swapped {
		e.failf("CompareAndSwap(%q, old %s, new %s, ttl %v) gave %v, %v; want false and an error", key, show(oldValue), show(newValue), ttl, swapped, err)
	}
}

// loadFails checks that Load returns an error.
func (e *storeEnv) loadFails(ctx context.Context, key string) {
	if e.err != nil {
		return
	}
	if value, err := e.store.Load(ctx, key); err == nil {
		e.failf("Load(%q) gave %s and no error", key, show(value))
	}
}

// now returns the time since the case began, by its own clock. The clock of the
// store is never ahead of it. A clock that only Advance moves is a little
// behind.
func (e *storeEnv) now() time.Duration { return time.Since(e.began) + e.advanced }

// until lets time pass until now returns t.
func (e *storeEnv) until(ctx context.Context, t time.Duration) {
	d := t - e.now()
	if e.err != nil || d <= 0 {
		return
	}
	if e.advance != nil {
		e.advance(d)
		e.advanced += d
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		e.failf("waiting for time to pass: %v", ctx.Err())
	}
}

// show formats a value for a message and shortens it.
func show(value []byte) string {
	const most = 40
	switch {
	case value == nil:
		return "nil"
	case len(value) <= most:
		return fmt.Sprintf("%q", value)
	default:
		return fmt.Sprintf("%q...%q (%d bytes)", value[:most/2], value[len(value)-most/2:], len(value))
	}
}
