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

// TestStore checks that a store does what the contract of [otp.Store] says:
// one subtest for each sentence. newStore is called once in each subtest and
// returns a store that nothing else writes to; it may use t.Cleanup. The keys
// of the suite are random, so that what an earlier run left behind does no
// harm.
//
// Expiry is tested by waiting, some twelve seconds in all, and a store may
// round a time to live up by at most five seconds. If the store that newStore
// returns has a method
//
//	Advance(d time.Duration)
//
// that moves its clock forward, the suite calls that and waits for nothing.
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
	rule string // the sentence, for whoever has broken it
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

// errTooSlow ends a case that the machine is too slow for.
var errTooSlow = errors.New("too slow to tell")

// long is a time to live that does not end during a test.
const long = time.Hour

// storeEnv is what a case works with: the store, keys of its own, a clock and
// the checks.
type storeEnv struct {
	failure
	store    otp.Store
	prefix   string
	advance  func(time.Duration) // nil if the test cannot move the store's time
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

// holds checks that value is under key; nil means that nothing is.
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
func (e *storeEnv) swaps(ctx context.Context, key string, old, new []byte, ttl time.Duration) {
	e.answers(ctx, true, key, old, new, ttl)
}

// keeps checks that the comparison fails.
func (e *storeEnv) keeps(ctx context.Context, key string, old, new []byte, ttl time.Duration) {
	e.answers(ctx, false, key, old, new, ttl)
}

func (e *storeEnv) answers(ctx context.Context, want bool, key string, old, new []byte, ttl time.Duration) {
	if e.err != nil {
		return
	}
	got, err := e.store.CompareAndSwap(ctx, key, old, new, ttl)
	if err != nil || got != want {
		e.failf("CompareAndSwap(%q, old %s, new %s, ttl %v) gave %v, %v; want %v", key, show(old), show(new), ttl, got, err, want)
	}
}

// refuses checks that the swap is an error and not an answer.
func (e *storeEnv) refuses(ctx context.Context, key string, old, new []byte, ttl time.Duration) {
	if e.err != nil {
		return
	}
	swapped, err := e.store.CompareAndSwap(ctx, key, old, new, ttl)
	if err == nil || swapped {
		e.failf("CompareAndSwap(%q, old %s, new %s, ttl %v) gave %v, %v; want false and an error", key, show(old), show(new), ttl, swapped, err)
	}
}

// loadFails checks that Load is an error.
func (e *storeEnv) loadFails(ctx context.Context, key string) {
	if e.err != nil {
		return
	}
	if value, err := e.store.Load(ctx, key); err == nil {
		e.failf("Load(%q) gave %s and no error", key, show(value))
	}
}

// now is the time since the case began, by its clock. No time that the store
// sees runs ahead of it, and one that only moves by Advance lags a little.
func (e *storeEnv) now() time.Duration { return time.Since(e.began) + e.advanced }

// until lets the time pass to t, as now counts it.
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
		e.failf("waiting for the time to pass: %v", ctx.Err())
	}
}

// show prints a value for a failure, shortened.
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
