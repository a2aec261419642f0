package otptest

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// steppedStore is a MemoryStore whose time the test moves.
type steppedStore struct {
	*otp.MemoryStore
	moved *atomic.Int64
}

func newSteppedStore() steppedStore {
	s := steppedStore{moved: new(atomic.Int64)}
	began := time.Now()
	s.MemoryStore = otp.NewMemoryStore(&otp.MemoryOptions{Now: func() time.Time {
		return began.Add(time.Duration(s.moved.Load()))
	}})
	return s
}

func (s steppedStore) Advance(d time.Duration) { s.moved.Add(int64(d)) }

func TestStore_memory(t *testing.T) {
	TestStore(t, func(*testing.T) otp.Store { return newSteppedStore() })
}

func TestStore_memoryInRealTime(t *testing.T) {
	if !testkit.Nightly() { // TestStoreCases_slowMachine does the same in a bubble's time
		t.Skip("waits for about twelve seconds: nightly")
	}
	TestStore(t, func(*testing.T) otp.Store { return otp.NewMemoryStore(nil) })
}

func TestStore_mapStore(t *testing.T) {
	TestStore(t, func(*testing.T) otp.Store { return newMapStore() })
}

// slowStore takes its time for each call.
type slowStore struct {
	otp.Store
	delay time.Duration
}

// wait never receives from a timer that is due already: where goroutines of one bubble do
// so side by side, the race detector's own runtime can crash (golang/go#78156).
func (s slowStore) wait() {
	if s.delay > 0 {
		<-time.After(s.delay)
	}
}

func (s slowStore) Load(ctx context.Context, key string) ([]byte, error) {
	s.wait()
	value, err := s.Store.Load(ctx, key)
	s.wait()
	return value, err
}

func (s slowStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.wait()
	swapped, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	s.wait()
	return swapped, err
}

// A machine that hardly gets on is no reason for an alarm. The time here is
// the bubble's, so that the delays are exact and nothing waits.
func TestStoreCases_slowMachine(t *testing.T) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
		for _, c := range storeCases() {
			t.Run(delay.String()+"/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
					defer cancel()
					require.NoError(t, c.check(ctx, slowStore{otp.NewMemoryStore(nil), delay}))
				})
			})
		}
	}
}

// The suite must also catch a store whose time it cannot move.
func TestStoreCases_brokenInRealTime(t *testing.T) {
	for name, ttl := range map[string]func(ttl time.Duration) time.Duration{
		"lives for its ttl":    func(ttl time.Duration) time.Duration { return ttl / 2 },
		"ttl not rounded down": func(ttl time.Duration) time.Duration { return max(1, ttl.Truncate(time.Second)) },
		"ends after its ttl":   func(ttl time.Duration) time.Duration { return ttl + 6*time.Second },
		"tiny ttl":             func(ttl time.Duration) time.Duration { return ttl + 6*time.Second },
		"replace for longer":   func(ttl time.Duration) time.Duration { return min(ttl, time.Second) },
		"replace for shorter":  func(ttl time.Duration) time.Duration { return max(ttl, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				require.Error(t, caseNamed(t, name).check(t.Context(), ttlStore{otp.NewMemoryStore(nil), ttl}))
			})
		})
	}
}

// ttlStore has ideas of its own about times to live.
type ttlStore struct {
	otp.Store
	ttl func(ttl time.Duration) time.Duration
}

func (s ttlStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if ttl > 0 {
		ttl = s.ttl(ttl)
	}
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// hungStore answers when nobody wants to know any more.
type hungStore struct{ otp.Store }

func (hungStore) Load(context.Context, string) ([]byte, error) {
	<-time.After(time.Hour)
	return nil, nil
}

func TestStoreCase_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), caseTime)
		defer cancel()
		require.ErrorContains(t, caseNamed(t, "absent").check(ctx, hungStore{}), "does not return")
		<-time.After(time.Hour) // Load comes back
	})
}

func caseNamed(t *testing.T, name string) storeCase {
	t.Helper()
	all := storeCases()
	i := slices.IndexFunc(all, func(c storeCase) bool { return c.name == name })
	require.GreaterOrEqual(t, i, 0, "no case %q", name)
	return all[i]
}

func TestStoreCases_namesAndRules(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range storeCases() {
		require.False(t, seen[c.name], c.name)
		seen[c.name] = true
		require.Regexp(t, `^[A-Z].*\.$`, c.rule, c.name)
		require.NotNil(t, c.run, c.name)
	}
	require.Greater(t, len(seen), 40)
}

// Each broken store must fail at least the cases that are named with it, and
// each case must be named with a broken store.
func TestStoreCases_brokenStores(t *testing.T) {
	named := map[string]bool{}
	for _, broken := range brokenStores {
		t.Run(broken.name, func(t *testing.T) {
			var failed []string
			for _, c := range storeCases() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if err := c.check(ctx, broken.make()); err != nil {
					failed = append(failed, c.name)
				}
				cancel()
			}
			require.NotEmpty(t, broken.caughtBy)
			require.Subset(t, failed, broken.caughtBy)
			t.Logf("caught by %q", failed)
		})
		for _, name := range broken.caughtBy {
			named[name] = true
		}
	}
	for _, c := range storeCases() {
		require.True(t, named[c.name], "no broken store shows that the case %q works", c.name)
	}
}

// With -short the cases that wait are skipped, unless the store has Advance.
func TestStoreCases_waits(t *testing.T) {
	var waiting []string
	for _, c := range storeCases() {
		if c.waits() {
			waiting = append(waiting, c.name)
		}
	}
	require.Len(t, waiting, len(expiryCases))
	require.Contains(t, waiting, "lives for its ttl")
}

// TestStore itself must fail, say which sentence is broken, and what was seen.
func TestStore_reports(t *testing.T) {
	const variable = "OTPTEST_BROKEN_STORE"
	if os.Getenv(variable) != "" {
		TestStore(t, func(*testing.T) otp.Store { return brokenStores[0].make() })
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStore_reports$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%v: %s", err, out)
	require.Contains(t, string(out), "--- FAIL: TestStore_reports/one_replaces")
	require.Contains(t, string(out), "rule: The swap is one atomic step: of many swaps from the same old, exactly one is made")
	require.Contains(t, string(out), "seen: ")
	require.NotContains(t, string(out), "--- FAIL: TestStore_reports/absent")
}
