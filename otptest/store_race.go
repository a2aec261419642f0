package otptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	crowd  = 12 // goroutines that do the same at once
	rounds = 25 // how often they do it
)

// raceCases are about many goroutines at once. They fail if the store returns
// an error, because the contract requires a store to be safe for concurrent
// use.
var raceCases = []storeCase{
	{
		"one replaces", "The swap is one atomic step: of many swaps from the same old, exactly one is made, and its value stays.",
		func(ctx context.Context, e *storeEnv) {
			for round := range rounds {
				key := e.key(fmt.Sprint("k", round))
				e.swaps(ctx, key, nil, one, long)
				winner := e.oneOf(ctx, key, one, func(i int) []byte { return fmt.Appendf(nil, "by %d", i) })
				e.holds(ctx, key, winner)
			}
		},
	},
	{
		"one creates", "The swap is one atomic step: of many swaps with a nil old, exactly one is made.",
		func(ctx context.Context, e *storeEnv) {
			for round := range rounds {
				key := e.key(fmt.Sprint("k", round))
				winner := e.oneOf(ctx, key, nil, func(i int) []byte { return fmt.Appendf(nil, "by %d", i) })
				e.holds(ctx, key, winner)
			}
		},
	},
	{
		"one deletes", "The swap is one atomic step: of many deletes of the same value, exactly one is made.",
		func(ctx context.Context, e *storeEnv) {
			for round := range rounds {
				key := e.key(fmt.Sprint("k", round))
				e.swaps(ctx, key, nil, one, long)
				e.oneOf(ctx, key, one, func(int) []byte { return nil })
				e.holds(ctx, key, nil)
			}
		},
	},
	{
		"delete or replace", "The swap is one atomic step: of deletes and replacements of the same value, exactly one is made.",
		func(ctx context.Context, e *storeEnv) {
			for round := range rounds {
				key := e.key(fmt.Sprint("k", round))
				e.swaps(ctx, key, nil, one, long)
				winner := e.oneOf(ctx, key, one, func(i int) []byte {
					if (i+round)%2 == 0 {
						return nil
					}
					return fmt.Appendf(nil, "by %d", i)
				})
				e.holds(ctx, key, winner)
			}
		},
	},
	{
		"no count is lost", "The swap is one atomic step: a counter that many goroutines increment by swaps loses no increment.",
		func(ctx context.Context, e *storeEnv) {
			key := e.key("counter")
			e.swaps(ctx, key, nil, []byte("0"), long)
			e.together(crowd, func(int) error {
				for range rounds {
					if err := raise(ctx, e, key); err != nil {
						return err
					}
				}
				return nil
			})
			e.holds(ctx, key, []byte(strconv.Itoa(crowd*rounds)))
		},
	},
	{
		"keys do not meet", "Each key has its own value, even when many goroutines work at once.",
		func(ctx context.Context, e *storeEnv) {
			var last [crowd][]byte
			e.together(crowd, func(i int) error {
				own := &storeEnv{store: e.store}
				key := e.key(fmt.Sprint("k", i))
				for n := range rounds {
					next := bytes.Repeat(fmt.Appendf(nil, "%d of %d;", n, i), 1+n*i)
					own.holds(ctx, key, last[i])
					own.swaps(ctx, key, last[i], next, long)
					last[i] = next
				}
				return own.err
			})
			for i, value := range last {
				e.holds(ctx, e.key(fmt.Sprint("k", i)), value)
			}
		},
	},
	{
		"Load sees the last swap", "Load sees what the last acknowledged CompareAndSwap wrote, whole and never an older value.",
		func(ctx context.Context, e *storeEnv) {
			const last = 4 * rounds
			key := e.key("k")
			e.swaps(ctx, key, nil, version(0), long)
			var acknowledged atomic.Int64
			reading, done := make(chan struct{}), make(chan struct{})
			e.together(4, func(i int) error {
				own := &storeEnv{store: e.store}
				if i == 0 {
					defer close(done)
					for n := range last {
						own.swaps(ctx, key, version(n), version(n+1), long)
						acknowledged.Store(int64(n + 1))
						own.holds(ctx, key, version(n+1))
						if own.err != nil {
							break
						}
						<-reading // one of the others reads during the next swap
					}
					return own.err
				}
				for {
					select {
					case reading <- struct{}{}:
						own.readsVersion(ctx, key, int(acknowledged.Load()))
					case <-done:
						return own.err
					}
				}
			})
			e.holds(ctx, key, version(last))
		},
	},
}

// readsVersion checks that key holds version n of a value or a later one.
func (e *storeEnv) readsVersion(ctx context.Context, key string, n int) {
	value := e.load(ctx, key)
	digits, _, _ := bytes.Cut(value, []byte("."))
	got, _ := strconv.Atoi(string(digits))
	switch {
	case e.err != nil:
	case !bytes.Equal(value, version(got)):
		e.failf("Load gave %s, which was never stored", show(value))
	case got < n:
		e.failf("Load gave version %d after the swap to version %d had returned", got, n)
	}
}

// version returns a value that shows if it was truncated or mixed with another.
func version(n int) []byte {
	return bytes.Repeat([]byte((strconv.Itoa(n) + "........")[:8]), 1+n%50)
}

// raise increments the decimal number under key. Each time that it loses a
// race, another goroutine has won one.
func raise(ctx context.Context, e *storeEnv, key string) error {
	for range crowd * rounds {
		old, err := e.store.Load(ctx, key)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(old))
		if err != nil {
			return fmt.Errorf("the counter holds %s", show(old))
		}
		swapped, err := e.store.CompareAndSwap(ctx, key, old, []byte(strconv.Itoa(n+1)), long)
		if err != nil || swapped {
			return err
		}
	}
	return errors.New("a swap from the loaded value never succeeds")
}

// oneOf lets each goroutine swap old for a different new value at once. It
// checks that exactly one swap is made and returns its new value.
func (e *storeEnv) oneOf(ctx context.Context, key string, old []byte, news func(i int) []byte) (winner []byte) {
	var mu sync.Mutex
	var winners []int
	e.together(crowd, func(i int) error {
		swapped, err := e.store.CompareAndSwap(ctx, key, bytes.Clone(old), news(i), long)
		if swapped {
			mu.Lock()
			defer mu.Unlock()
			winners = append(winners, i)
		}
		return err
	})
	if e.err != nil {
		return nil
	}
	if len(winners) != 1 {
		e.failf("%d of %d swaps from %s at once gave true, want 1", len(winners), crowd, show(old))
		return nil
	}
	return news(winners[0])
}

// together runs f in n goroutines that start at once, and waits for them.
func (e *storeEnv) together(n int, f func(i int) error) {
	if e.err != nil {
		return
	}
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		e.failf("%v", err)
	}
}
