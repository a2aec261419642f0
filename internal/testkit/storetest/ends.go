package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// Ends checks that calls return when their context ends, by a deadline or by
// hand, while store's server does not answer: many at once, so that a pool of
// connections is exhausted too.
func Ends(t *testing.T, store otp.Store) {
	t.Helper()
	const patience = 300 * time.Millisecond
	for name, limited := range map[string]func() (context.Context, context.CancelFunc){
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), patience)
		},
		"cancelled": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(patience, cancel)
			return ctx, cancel
		},
		"cancelled before the deadline": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			time.AfterFunc(patience, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := limited()
		stalled := stalls()
		began := time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if value, err := store.Load(ctx, "k"); value != nil || err == nil {
					t.Errorf("%s: Load gave %q, %v", name, value, err)
				}
			})
			all.Go(func() {
				swapped, err := store.CompareAndSwap(ctx, "k", nil, []byte("v"), time.Minute)
				if swapped || err == nil {
					t.Errorf("%s: CompareAndSwap gave %v, %v", name, swapped, err)
				}
			})
		}
		all.Wait()
		if late := time.Since(began) - patience - stalled(); late > time.Second {
			t.Errorf("%s: the calls returned %v late", name, late)
		}
		cancel()
	}
}
