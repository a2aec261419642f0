package otp

import (
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

	"github.com/go-mailotp/otp/internal/ledger"
)

var errStoreFull = errors.New("otp: memory store is full of values too young to drop; raise MemoryOptions.MaxEntries or use a store on disk")

// MemoryOptions configure a [MemoryStore]. The zero value has every default.
type MemoryOptions struct {
	// MaxEntries is the maximum number of entries. An entry of an ordinary
	// address takes about 280 bytes. If it is negative, every CompareAndSwap
	// fails. Default: 1,000,000.
	//
	// Each address and each client takes an entry. The store never drops an
	// entry that was written within a time F: two hours or, if that is longer,
	// an hour and three minutes more than the longest TTL of a code in any
	// Verifier over the store. Set MaxEntries to at least eight times the
	// number of codes that are started in your busiest F. Strangers can start
	// at most a quarter of MaxEntries in F (see Options.StrangerStarts). A kind
	// of purpose whose codes live for more than two hours makes F longer for
	// everything in the store: give such a kind a store of its own.
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
// ones; an idle store keeps its expired entries.
//
// At MemoryOptions.MaxEntries, a new entry takes the place of an old one, so
// that a flood of requests cannot keep the store full. An entry that was
// written less than two hours ago is never dropped, nor one that can hold a
// valid code. Of the others, the store first drops those that were written with
// a TTL of less than two days, which remember no wrong guesses; among these, it
// drops about the one that was written longest ago. Only if every entry is too
// young does CompareAndSwap return an error, which a [Verifier] reports as a
// failure of the system.
//
// When the entry of an address is dropped, everything in it is forgotten: its
// counts of mails and wrong guesses restart at zero, device tokens that were
// revoked for it are accepted again, and a challenge that was passed becomes
// [ErrUnknown]. An attacker who asks from very many client addresses can cause
// this for a chosen address. If your service must never forget, use a store on
// disk.
//
// A MemoryStore is safe for concurrent use. Make it with [NewMemoryStore], and
// do not copy it. Printing or logging it shows its size and nothing of its
// contents.
type MemoryStore struct {
	now       func() time.Time
	start     time.Time // times count from here, by the monotonic clock if there is one
	max       int64
	held      atomic.Int64
	keep      atomic.Int64 // nanoseconds for which a written value is safe
	evicted   atomic.Int64 // young values dropped and not yet reported
	strangers *ledger.Ceiling
	seed      maphash.Seed
	shards    *[64]memoryShard // a pointer, so that fmt never prints the contents
}

const (
	// shortestKeep is how long a value is safe from being dropped at least. It
	// is longer than a code of the longest TTL of an unnamed kind can be used.
	shortestKeep = 2 * time.Hour
	// keepMargin is how long after the deadline of a code its value is safe: as
	// long as it can be resent, and what clocks may differ.
	keepMargin = ledger.Afterlife + 3*time.Minute
	// coldTTL divides the values: those with a shorter TTL are dropped first.
	// Wrong guesses are kept for longer, mails and clients are not.
	coldTTL = 48 * time.Hour
	// evictedYoung is the age below which a dropped value is reported.
	evictedYoung = 24 * time.Hour
)

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
	s.keep.Store(int64(shortestKeep))
	n, per := s.strangerLimit()
	s.strangers = ledger.NewCeiling([]ledger.Limit{{N: n, Per: per}})
	for i := range s.shards {
		s.shards[i].entries = make(map[string]int32)
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
	e := sh.at(sh.entries[key])
	if e == nil || e.expires <= now {
		return nil, nil
	}
	return []byte(e.value()), nil
}

// CompareAndSwap implements [Store]. It returns an error if key is new, the
// store is full and no entry may be dropped; replacing and deleting always
// work.
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
	for {
		swapped, err := s.swap(sh, key, oldValue, newValue, ttl)
		if err == nil || !s.makeRoom(sh) {
			return swapped, err
		}
		// Another call may take the place first; then there is another to drop.
	}
}

// swap is CompareAndSwap with valid arguments. Its only error is errStoreFull,
// and then nothing has changed.
func (s *MemoryStore) swap(sh *memoryShard, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.tidy(sh)
	i := sh.entries[key]
	e := sh.at(i)
	live := e != nil && e.expires > now
	switch {
	case live != (oldValue != nil), live && e.value() != string(oldValue):
		return false, nil
	case newValue == nil:
		sh.remove(i)
		s.held.Add(-1)
	case e != nil:
		sh.replace(i, key, newValue, ttl)
	case !s.reserve():
		return false, errStoreFull
	default:
		sh.add(key, newValue, ttl)
	}
	return true, nil
}

// makeRoom removes expired entries from all shards or, if there are none, drops
// the old entry that matters least, from the shard own if that has one of its
// class. It returns false if the store stays full. It locks one shard at a
// time, so the store may change while it looks; whoever calls it tries again.
func (s *MemoryStore) makeRoom(own *memoryShard) bool {
	var coldest [classes]struct {
		in      *memoryShard
		written int64
	}
	for i := range s.shards {
		sh := &s.shards[i]
		for class, written := range s.heads(sh) {
			c := &coldest[class]
			if written != nothingOld && (c.in == nil || sh == own || c.in != own && written < c.written) {
				c.in, c.written = sh, written
			}
		}
	}
	if s.held.Load() < s.max {
		return true
	}
	for class, c := range coldest {
		if c.in != nil {
			s.evict(c.in, class)
			return true
		}
	}
	return false
}

const nothingOld = math.MaxInt64

// heads tidies sh and returns when the oldest entry of each class was written,
// or nothingOld if none may be dropped.
func (s *MemoryStore) heads(sh *memoryShard) (written [classes]int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.tidy(sh)
	for class := range written {
		written[class] = nothingOld
		if e := sh.at(sh.oldest[class]); e != nil && now-e.written > s.keep.Load() {
			written[class] = e.written
		}
	}
	return written
}

// evict drops the oldest entry of a class from sh, unless a call that came in
// between has left no old one.
func (s *MemoryStore) evict(sh *memoryShard, class int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.oldest[class]
	e := sh.at(i)
	if e == nil || sh.latest-e.written <= s.keep.Load() {
		return
	}
	if sh.latest-e.written < int64(evictedYoung) {
		s.evicted.Add(1)
	}
	sh.remove(i)
	s.held.Add(-1)
}

// takeEvicted returns how many values were dropped since the last call that had
// been written less than a day before. If there are any, MaxEntries is too low
// or somebody floods the service.
func (s *MemoryStore) takeEvicted() int {
	if s.evicted.Load() == 0 {
		return 0
	}
	return int(s.evicted.Swap(0))
}

// keepAtLeast makes sure that values are not dropped while a code with the TTL
// ttl can be used or resent. It never makes that time shorter.
func (s *MemoryStore) keepAtLeast(ttl time.Duration) {
	want := int64(ttl + keepMargin)
	for {
		have := s.keep.Load()
		if have >= want {
			return
		}
		if s.keep.CompareAndSwap(have, want) {
			s.strangers.Widen(time.Duration(want))
			return
		}
	}
}

// strangerLimit returns how many challenges strangers may open, in the time for
// which values are safe: so many that what they write in it, together with what
// known devices write, does not fill the store.
func (s *MemoryStore) strangerLimit() (n int, per time.Duration) {
	return max(1, s.limit()/4), time.Duration(s.keep.Load())
}

// elapsed is the store's clock, by which s.strangers counts.
func (s *MemoryStore) elapsed() ledger.Ms { return ledger.Of(s.now().Sub(s.start)) }

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
// Everything that looks at a shard calls it, with sh locked: since each call
// adds at most one entry and removes more, expired ones do not accumulate.
func (s *MemoryStore) tidy(sh *memoryShard) (now int64) {
	const few = 4
	// A clock that steps back must not revive expired entries.
	sh.latest = max(sh.latest, int64(s.now().Sub(s.start)))
	for range few {
		if len(sh.queue) == 0 || sh.at(sh.queue[0]).expires > sh.latest {
			break
		}
		sh.remove(sh.queue[0])
		s.held.Add(-1)
	}
	return sh.latest
}

// deadline is now + ttl, or the end of time.
func deadline(now int64, ttl time.Duration) int64 {
	if int64(ttl) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(ttl)
}

// The classes of entries, in the order in which they are dropped, by the TTL
// with which they were written.
const (
	classCold = iota
	classRest
	classes
)

// memoryShard is one part of a MemoryStore, with its own lock. Its entries have
// numbers from 1 on, which take half the memory of pointers; 0 is no entry.
type memoryShard struct {
	mu      sync.Mutex
	latest  int64            // the latest time seen, in nanoseconds since MemoryStore.start
	entries map[string]int32 // the keys share memory with the entries
	chunks  []*[memoryChunk]memoryEntry
	unused  int32   // the first of the entries that are free, linked by next
	queue   []int32 // a heap with the entry that expires first at the top

	// Of each class, the entries by when they were written.
	oldest, newest [classes]int32
}

// memoryChunk is how many entries are allocated at once.
const memoryChunk = 16

// memoryEntry is one key and its value, in one string: it takes 48 bytes and
// one allocation.
type memoryEntry struct {
	data       string // key, then value; empty if the entry is free
	expires    int64  // in nanoseconds since MemoryStore.start
	written    int64  // the same
	place      int32  // in the queue
	prev, next int32  // the ones of its class that were written before and after it
	keyLen     uint8
	class      uint8
}

func (e *memoryEntry) key() string { return e.data[:e.keyLen] }

func (e *memoryEntry) value() string { return e.data[e.keyLen:] }

// at returns entry number i, or nil for 0.
func (sh *memoryShard) at(i int32) *memoryEntry {
	if i == 0 {
		return nil
	}
	return &sh.chunks[(i-1)/memoryChunk][(i-1)%memoryChunk]
}

func (sh *memoryShard) add(key string, value []byte, ttl time.Duration) {
	if sh.unused == 0 {
		first := int32(len(sh.chunks) * memoryChunk)
		sh.chunks = append(sh.chunks, new([memoryChunk]memoryEntry))
		for i := first + memoryChunk; i > first; i-- {
			sh.at(i).next, sh.unused = sh.unused, i
		}
	}
	i := sh.unused
	e := sh.at(i)
	sh.unused = e.next
	e.place = int32(len(sh.queue))
	sh.queue = append(sh.queue, i)
	sh.write(i, key, value, ttl)
}

func (sh *memoryShard) replace(i int32, key string, value []byte, ttl time.Duration) {
	// Delete and add it again: an assignment alone may keep the old key and,
	// with it, the old value.
	delete(sh.entries, key)
	sh.unlink(i)
	sh.write(i, key, value, ttl)
}

// write fills entry i, which is in the queue but in no list.
func (sh *memoryShard) write(i int32, key string, value []byte, ttl time.Duration) {
	e := sh.at(i)
	e.data, e.keyLen = joinEntry(key, value), uint8(len(key))
	e.expires, e.written = deadline(sh.latest, ttl), sh.latest
	e.class = classRest
	if ttl < coldTTL {
		e.class = classCold
	}
	sh.entries[e.key()] = i
	sh.link(i)
	sh.fix(e.place)
}

func (sh *memoryShard) remove(i int32) {
	e := sh.at(i)
	delete(sh.entries, e.key())
	sh.unlink(i)
	last := int32(len(sh.queue) - 1)
	place := e.place
	sh.swap(place, last)
	sh.queue = sh.queue[:last]
	if place < last {
		sh.fix(place)
	}
	*e = memoryEntry{next: sh.unused}
	sh.unused = i
}

// link makes entry i the newest of its class.
func (sh *memoryShard) link(i int32) {
	e := sh.at(i)
	e.prev, e.next = sh.newest[e.class], 0
	if e.prev == 0 {
		sh.oldest[e.class] = i
	} else {
		sh.at(e.prev).next = i
	}
	sh.newest[e.class] = i
}

func (sh *memoryShard) unlink(i int32) {
	e := sh.at(i)
	if e.prev == 0 {
		sh.oldest[e.class] = e.next
	} else {
		sh.at(e.prev).next = e.next
	}
	if e.next == 0 {
		sh.newest[e.class] = e.prev
	} else {
		sh.at(e.next).prev = e.prev
	}
}

// fix moves the entry at a place of the queue to where it belongs.
func (sh *memoryShard) fix(place int32) {
	for place > 0 && sh.less(place, (place-1)/2) {
		sh.swap(place, (place-1)/2)
		place = (place - 1) / 2
	}
	for {
		least := place
		for child := 2*place + 1; child <= 2*place+2 && int(child) < len(sh.queue); child++ {
			if sh.less(child, least) {
				least = child
			}
		}
		if least == place {
			return
		}
		sh.swap(place, least)
		place = least
	}
}

func (sh *memoryShard) less(a, b int32) bool {
	return sh.at(sh.queue[a]).expires < sh.at(sh.queue[b]).expires
}

func (sh *memoryShard) swap(a, b int32) {
	sh.queue[a], sh.queue[b] = sh.queue[b], sh.queue[a]
	sh.at(sh.queue[a]).place, sh.at(sh.queue[b]).place = a, b
}

// joinEntry is key + string(value) without the copy in between.
func joinEntry(key string, value []byte) string {
	var b strings.Builder
	b.Grow(len(key) + len(value))
	b.WriteString(key)
	b.Write(value)
	return b.String()
}
