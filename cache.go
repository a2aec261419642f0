package otp

import (
	"sync"

	"github.com/go-mailotp/otp/internal/seal"
)

// cache remembers the values that the store was last seen to hold under some
// keys, so that the process that mailed a code checks it in one round trip. It
// may forget any value, and any value may be out of date: it is only offered to
// a swap, and no answer that rests on it is given before a swap or a load has
// confirmed it. It holds about cacheBytes of sealed values.
//
// A nil *cache remembers nothing. It is safe for concurrent use.
type cache struct {
	mu    sync.Mutex
	young map[seal.Key][]byte
	old   map[seal.Key][]byte // what was young until half the room was used
	used  int                 // bytes in young
}

const (
	cacheBytes = 2 << 20
	cacheEntry = 128 // about what an entry takes in addition to its value
)

func newCache() *cache { return &cache{young: map[seal.Key][]byte{}} }

// take returns the remembered value, or nil, and forgets it: concurrent callers
// that got the same value would only lose the race to swap it.
func (m *cache) take(key seal.Key) []byte {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.young[key]
	if ok {
		m.used -= cacheEntry + len(value)
	} else {
		value = m.old[key]
	}
	delete(m.young, key)
	delete(m.old, key)
	return value
}

// put remembers a value, which must not be changed afterwards. A nil value is
// ignored.
func (m *cache) put(key seal.Key, value []byte) {
	if m == nil || value == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.young[key]; ok {
		m.used -= cacheEntry + len(before)
	}
	m.young[key] = value
	m.used += cacheEntry + len(value)
	if m.used > cacheBytes/2 {
		m.young, m.old, m.used = map[seal.Key][]byte{}, m.young, 0
	}
}
