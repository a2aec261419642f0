package otp

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var errStoreFull = errors.New("otp: memory store is full; raise MemoryOptions.MaxEntries or use a store on disk")

// MemoryOptions configure a [MemoryStore]. The zero value has every default.
type MemoryOptions struct {
	// MaxEntries is the maximum number of entries. An entry of an ordinary
	// address takes about 260 bytes. If it is negative, every CompareAndSwap
	// fails. Default: 1,000,000.
	MaxEntries int

	// Now is the clock by which entries expire. Any number of goroutines may
	// call it at once, and it must not call the store. Default: [time.Now],
	// which is not affected by steps of the wall clock.
	Now func() time.Time
}

// MemoryStore is a [Store] in the memory of one process: for tests, for
// development, and for a service that runs as a single process and may forget
// its codes and budgets when it restarts. Two processes with a MemoryStore each
// do not see each other's codes, and each of them allows the whole budget of
// guesses.
//
// It starts no goroutine and needs no Close. Each call removes at most a few
// expired entries, so no call takes long and a busy store holds few expired
// ones; an idle store keeps its expired entries. It never drops a live entry to
// make room: at MemoryOptions.MaxEntries it returns an error for a new key,
// which a [Verifier] reports as a failure of the system.
//
// A MemoryStore is safe for concurrent use. Make it with [NewMemoryStore], and do
// not copy it. Printing or logging it shows its size and nothing of its contents.
type MemoryStore struct {
	now    func() time.Time
	start  time.Time // expiry counts from here, by the monotonic clock if there is one
	max    int64
	held   atomic.Int64
	seed   maphash.Seed
	shards *[64]memoryShard // a pointer, so that fmt never prints the contents
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store. A nil o means every default.
func NewMemoryStore(o *MemoryOptions) *MemoryStore {
	s := &MemoryStore{now: time.Now, max: 1_000_000, seed: maphash.MakeSeed(), shards: new([64]memoryShard)}
	if o != nil && o.MaxEntries != 0 {
		s.max = int64(o.MaxEntries)
	}
	if o != nil && o.Now != nil {
		s.now = o.Now
	}
	s.start = s.now()
	for i := range s.shards {
		s.shards[i].entries = make(map[string]*memoryEntry)
	}
	return s
}

// Load implements [Store].
func (s *MemoryStore) Load(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.tidy(sh)
	e := sh.entries[key]
	if e == nil || e.expires <= now {
		return nil, nil
	}
	return []byte(e.value()), nil
}

// CompareAndSwap implements [Store]. It returns an error if key is new and the
// store is full; replacing and deleting always work.
func (s *MemoryStore) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := CheckSwap(key, oldValue, newValue, ttl); err != nil {
		return false, err
	}
	if s.max < 0 {
		return false, fmt.Errorf("otp: MemoryOptions.MaxEntries: %d, must not be negative", s.max)
	}
	sh := s.shard(key)
	swapped, err := s.swap(sh, key, oldValue, newValue, ttl)
	if err != nil {
		// Full. Other shards may hold expired entries that no call has seen.
		for i := range s.shards {
			s.tidyLocked(&s.shards[i])
		}
		swapped, err = s.swap(sh, key, oldValue, newValue, ttl)
	}
	return swapped, err
}

// swap is CompareAndSwap with valid arguments. Its only error is errStoreFull,
// and then nothing has changed.
func (s *MemoryStore) swap(sh *memoryShard, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.tidy(sh)
	e := sh.entries[key]
	live := e != nil && e.expires > now
	switch {
	case live != (oldValue != nil), live && e.value() != string(oldValue):
		return false, nil
	case newValue == nil:
		sh.remove(e)
		s.held.Add(-1)
	case e != nil:
		sh.replace(e, key, newValue, deadline(now, ttl))
	case !s.reserve():
		return false, errStoreFull
	default:
		sh.add(key, newValue, deadline(now, ttl))
	}
	return true, nil
}

// Len returns the number of entries in the store, including expired ones that
// have not been removed yet.
func (s *MemoryStore) Len() int { return int(s.held.Load()) }

// limit returns the maximum number of entries.
func (s *MemoryStore) limit() int { return int(max(0, s.max)) }

// String returns the size of the store.
func (s *MemoryStore) String() string {
	return fmt.Sprintf("MemoryStore{Len: %d, Cap: %d}", s.Len(), s.limit())
}

// Format prints what String returns, whatever the verb.
func (s *MemoryStore) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue logs what String shows.
func (s *MemoryStore) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("len", s.Len()), slog.Int("cap", s.limit()))
}

// shard returns the part of the store that key belongs to.
func (s *MemoryStore) shard(key string) *memoryShard {
	return &s.shards[maphash.String(s.seed, key)%uint64(len(s.shards))]
}

// reserve counts one more entry, and returns false if the store is full.
func (s *MemoryStore) reserve() bool {
	for {
		n := s.held.Load()
		if n >= s.max {
			return false
		}
		if s.held.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// tidy reads the clock and removes the few entries of sh that expired first.
// Everything that looks at a shard calls it, with sh locked: since each call adds
// at most one entry and removes more, expired ones do not accumulate.
func (s *MemoryStore) tidy(sh *memoryShard) (now int64) {
	const few = 4
	// A clock that steps back must not revive expired entries.
	sh.latest = max(sh.latest, int64(s.now().Sub(s.start)))
	for range few {
		if len(sh.queue) == 0 || sh.queue[0].expires > sh.latest {
			break
		}
		sh.remove(sh.queue[0])
		s.held.Add(-1)
	}
	return sh.latest
}

// tidyLocked locks sh and tidies it.
func (s *MemoryStore) tidyLocked(sh *memoryShard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.tidy(sh)
}

// deadline is now + ttl, or the end of time.
func deadline(now int64, ttl time.Duration) int64 {
	if int64(ttl) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(ttl)
}

// memoryShard is one part of a MemoryStore, with its own lock.
type memoryShard struct {
	mu      sync.Mutex
	latest  int64                   // the latest time seen, in nanoseconds since MemoryStore.start
	entries map[string]*memoryEntry // the keys share memory with the entries
	queue   memoryQueue
}

func (sh *memoryShard) add(key string, value []byte, expires int64) {
	e := &memoryEntry{data: joinEntry(key, value), expires: expires, keyLen: uint8(len(key))}
	sh.entries[e.key()] = e
	heap.Push(&sh.queue, e)
}

func (sh *memoryShard) replace(e *memoryEntry, key string, value []byte, expires int64) {
	e.data, e.expires = joinEntry(key, value), expires
	// Delete and add it again: an assignment alone may keep the old key and,
	// with it, the old value.
	delete(sh.entries, key)
	sh.entries[e.key()] = e
	heap.Fix(&sh.queue, int(e.place))
}

func (sh *memoryShard) remove(e *memoryEntry) {
	delete(sh.entries, e.key())
	heap.Remove(&sh.queue, int(e.place))
}

// memoryEntry is one key and its value, in one string: it takes 32 bytes and
// one more allocation.
type memoryEntry struct {
	data    string // key, then value
	expires int64  // in nanoseconds since MemoryStore.start
	place   int32  // in the queue
	keyLen  uint8
}

func (e *memoryEntry) key() string { return e.data[:e.keyLen] }

func (e *memoryEntry) value() string { return e.data[e.keyLen:] }

// joinEntry is key + string(value) without the copy in between.
func joinEntry(key string, value []byte) string {
	var b strings.Builder
	b.Grow(len(key) + len(value))
	b.WriteString(key)
	b.Write(value)
	return b.String()
}

// memoryQueue is a heap with the entry that expires first at the top.
type memoryQueue []*memoryEntry

func (q memoryQueue) Len() int { return len(q) }

func (q memoryQueue) Less(i, j int) bool { return q[i].expires < q[j].expires }

func (q memoryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i), int32(j)
}

func (q *memoryQueue) Push(x any) {
	e := x.(*memoryEntry)
	e.place = int32(len(*q))
	*q = append(*q, e)
}

func (q *memoryQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
