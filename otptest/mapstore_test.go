package otptest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
)

// mapStore is a plain store that keeps the contract. Its parts are functions,
// so that a broken store is one with another part.
type mapStore struct {
	mu    sync.Mutex
	clock time.Duration
	items map[string]mapItem

	check func(ctx context.Context, key string, old, new []byte, ttl time.Duration) error
	key   func(key string) string
	in    func(value []byte) []byte                  // what is stored of new
	out   func(value []byte) []byte                  // what Load returns of it
	live  func(item mapItem, now time.Duration) bool // for the comparison
	match func(live, old []byte) bool
	end   func(now, before, ttl time.Duration) time.Duration // before is 0 for an absent key
	miss  func(item *mapItem, end time.Duration)             // what a failed swap does
}

type mapItem struct {
	value []byte
	end   time.Duration
}

func newMapStore() *mapStore {
	return &mapStore{
		items: map[string]mapItem{},
		check: checkArguments,
		key:   func(key string) string { return key },
		in:    bytes.Clone,
		out:   bytes.Clone,
		live:  func(item mapItem, now time.Duration) bool { return item.value != nil && now < item.end },
		match: func(live, old []byte) bool { return (live == nil) == (old == nil) && bytes.Equal(live, old) },
		end:   func(now, _, ttl time.Duration) time.Duration { return now + ttl },
		miss:  func(*mapItem, time.Duration) {},
	}
}

func (s *mapStore) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock += d
}

func (s *mapStore) now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *mapStore) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(ctx, key, one, nil, 0); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	item := s.items[s.key(key)]
	if item.value == nil || s.clock >= item.end {
		return nil, nil
	}
	return s.out(item.value), nil
}

func (s *mapStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := s.check(ctx, key, old, new, ttl); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key = s.key(key)
	item, end := s.items[key], time.Duration(0)
	if s.live(item, s.clock) {
		end = item.end
	} else {
		item.value = nil
	}
	if !s.match(item.value, old) {
		if item.value != nil {
			s.miss(&item, s.clock+ttl)
			s.items[key] = item
		}
		return false, nil
	}
	if new == nil {
		delete(s.items, key)
	} else {
		s.items[key] = mapItem{s.in(new), s.end(s.clock, end, ttl)}
	}
	return true, nil
}

func checkArguments(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
	bad := func(v []byte) bool { return v != nil && (len(v) < 1 || len(v) > 16384) }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !goodKey(key):
		return errors.New("bad key")
	case old == nil && new == nil, bad(old), bad(new):
		return errors.New("bad value")
	case new != nil && ttl <= 0:
		return errors.New("bad ttl")
	}
	return nil
}

func goodKey(key string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return len(key) >= 1 && len(key) <= 64 && strings.Trim(key, alphabet) == ""
}

// wrapped is a mapStore with another Load or CompareAndSwap around it.
type wrapped struct {
	*mapStore
	load func(ctx context.Context, key string) ([]byte, error)
	swap func(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error)
}

func (w wrapped) Load(ctx context.Context, key string) ([]byte, error) {
	if w.load == nil {
		return w.mapStore.Load(ctx, key)
	}
	return w.load(ctx, key)
}

func (w wrapped) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if w.swap == nil {
		return w.mapStore.CompareAndSwap(ctx, key, old, new, ttl)
	}
	return w.swap(ctx, key, old, new, ttl)
}

// notAtomic compares first and writes later, as a Get and a Set do.
func notAtomic(onlyDelete bool) otp.Store {
	s := newMapStore()
	return wrapped{mapStore: s, swap: func(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
		if onlyDelete && new != nil || s.check(ctx, key, old, new, ttl) != nil {
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}
		if live, err := s.Load(ctx, key); err != nil || !s.match(live, old) {
			return false, err
		}
		runtime.Gosched()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.items[key] = mapItem{bytes.Clone(new), s.clock + ttl}
		return true, nil
	}}
}

// stale answers each Load with what an earlier Load saw, as a cache does.
func stale() otp.Store {
	s := newMapStore()
	var mu sync.Mutex
	cache := map[string][]byte{}
	return wrapped{mapStore: s, load: func(ctx context.Context, key string) ([]byte, error) {
		value, err := s.Load(ctx, key)
		mu.Lock()
		defer mu.Unlock()
		if value != nil && err == nil {
			value, cache[key] = cache[key], value
			if value == nil {
				value = bytes.Clone(cache[key])
			}
		}
		return value, err
	}}
}

// copiesAll swaps in a copy of all keys and puts that in the place of the whole.
func copiesAll() otp.Store {
	s := newMapStore()
	return wrapped{mapStore: s, swap: func(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
		s.mu.Lock()
		mine := newMapStore()
		mine.clock, mine.items = s.clock, maps.Clone(s.items)
		s.mu.Unlock()
		swapped, err := mine.CompareAndSwap(ctx, key, old, new, ttl)
		runtime.Gosched()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.items = mine.items
		return swapped, err
	}}
}

// with makes a mapStore with a change.
func with(change func(s *mapStore)) func() otp.Store {
	return func() otp.Store {
		s := newMapStore()
		change(s)
		return s
	}
}

// swapping makes a mapStore with another CompareAndSwap.
func swapping(f func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error)) func() otp.Store {
	return func() otp.Store {
		s := newMapStore()
		return wrapped{mapStore: s, swap: func(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			return f(s, ctx, key, old, new, ttl)
		}}
	}
}

// loading makes a mapStore with another Load.
func loading(f func(s *mapStore, ctx context.Context, key string) ([]byte, error)) func() otp.Store {
	return func() otp.Store {
		s := newMapStore()
		return wrapped{mapStore: s, load: func(ctx context.Context, key string) ([]byte, error) { return f(s, ctx, key) }}
	}
}

// forgets makes a store that accepts the bad arguments that f picks.
func forgets(f func(old, new []byte, ttl time.Duration) bool) func() otp.Store {
	return with(func(s *mapStore) {
		s.check = func(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
			if f(old, new, ttl) {
				return ctx.Err()
			}
			return checkArguments(ctx, key, old, new, ttl)
		}
	})
}
