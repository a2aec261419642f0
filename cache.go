package otp

import (
	"sync"

	"github.com/go-mailotp/otp/internal/seal"
)

// recent remembers the values that the store was last seen to hold under some
// keys, so that the process that mailed a code checks it in one round trip. It
// may forget any of them and any may be out of date: a value from it is only
// ever offered to a swap, and nothing that rests on one is told before a swap
// or a load has confirmed it. It holds sealed values of this many bytes, about.
//
// A nil *recent remembers nothing. It is safe for concurrent use.
type recent struct {
	mu    sync.Mutex
	young map[seal.Key][]byte
	old   map[seal.Key][]byte // what was young until half the room was used
	used  int                 // bytes in young
}

const (
	recentBytes = 2 << 20
	recentEntry = 128 // about what an entry takes beside its value
)

func newRecent() *recent { return &recent{young: map[seal.Key][]byte{}} }

// take returns what is remembered, or nil, and forgets it: others that ask at the same
// time would only lose the race to swap it.
func (m *recent) take(key seal.Key) []byte {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.young[key]
	if ok {
		m.used -= recentEntry + len(value)
	} else {
		value = m.old[key]
	}
	delete(m.young, key)
	delete(m.old, key)
	return value
}

// put remembers a value, which must not be changed afterwards; nil is nothing
// to remember.
func (m *recent) put(key seal.Key, value []byte) {
	if m == nil || value == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.young[key]; ok {
		m.used -= recentEntry + len(before)
	}
	m.young[key] = value
	m.used += recentEntry + len(value)
	if m.used > recentBytes/2 {
		m.young, m.old, m.used = map[seal.Key][]byte{}, m.young, 0
	}
}
