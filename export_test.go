package otp

import (
	"hash/maphash"
	"time"
)

// What the tests need from inside.
var (
	Pick         = pick
	IDNALookup   = idnaLookup
	ErrStoreFull = errStoreFull

	NewAlarmObserver = newAlarmObserver
	Alarming         = alarming
)

// AlarmGap is the shortest time between two log lines about one kind of event.
const AlarmGap = alarmGap

// ASCIIDomain returns the domain s as an Address has it.
func ASCIIDomain(s string) (string, error) { return asciiDomain(s, false) }

// ThrottleKey returns the form of a that is counted.
func ThrottleKey(a Address) string { return a.throttle }

// GeneratorBits returns the strength that g states, in bits.
func GeneratorBits(g Generator) float64 { return g.(sized).Bits() }

// StoreLimit returns the maximum number of entries of s.
func StoreLimit(s *MemoryStore) int { return s.limit() }

// What a Verifier asks a MemoryStore.
func KeepAtLeast(s *MemoryStore, ttl time.Duration)           { s.keepAtLeast(ttl) }
func StrangerLimit(s *MemoryStore) (n int, per time.Duration) { return s.strangerLimit() }
func TakeEvicted(s *MemoryStore) int                          { return s.takeEvicted() }
func TakeStranger(s *MemoryStore) (wait time.Duration, ok, crowded bool, giveBack func()) {
	at := s.elapsed()
	if wait, ok, crowded = s.strangers.Take(at); ok {
		giveBack = func() { s.strangers.GiveBack(at) }
	}
	return wait, ok, crowded, giveBack
}

// StoreShard returns the number of the shard that key belongs to.
func StoreShard(s *MemoryStore, key string) int {
	return int(maphash.String(s.seed, key) % uint64(len(s.shards)))
}
