package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// Ends checks that calls return an error when their context ends, by a deadline
// or by a cancellation, while store's server does not answer. It makes many calls
// at once, so that a connection pool is exhausted too.
//
// The driver's own timeouts must be longer than a minute: a call that only they
// end fails the test.
func Ends(t *testing.T, store otp.Store) {
	t.Helper()
	const patience = 200 * time.Millisecond
	late, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()
	early, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	defer time.AfterFunc(patience, cancel).Stop()

	var all sync.WaitGroup
	for range 12 {
		for name, ctx := range map[string]context.Context{
			"deadline": late, "cancelled": cancelled, "cancelled before the deadline": early,
		} {
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
	}
	returned := make(chan struct{})
	go func() { all.Wait(); close(returned) }()
	select {
	case <-returned:
	case <-time.After(30 * time.Second): // far less than the driver's timeouts
		t.Fatal("calls do not return, though their contexts have ended")
	}
}
