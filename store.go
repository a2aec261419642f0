package otp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Store keeps the ledgers: a register of sealed bytes under opaque keys,
// changed by compare-and-swap, that forgets after a time to live. It knows
// nothing of codes, guesses or limits; those rules are the [Verifier]'s, so
// every store gives the same guarantees. A store that loses or rolls back
// what it acknowledged gives back the guesses and codes in it.
//
// All methods may be called by many goroutines at once. Keys are 1 to 64
// bytes of [A-Za-z0-9_-] and case-sensitive. Values are 1 to 16384 arbitrary
// bytes. Other keys and values are refused with an error.
//
// Implementations refuse bad arguments by [CheckKey] and [CheckSwap] and
// should run otptest.TestStore.
type Store interface {
	// Load returns the live value under key, in a copy that the caller may
	// keep and change; nil, nil when the key is absent or past its time to
	// live. It sees what the last acknowledged CompareAndSwap wrote: no
	// replicas, no caches. It returns, with an error, when ctx ends.
	Load(ctx context.Context, key string) (value []byte, err error)

	// CompareAndSwap does, in one atomic step: if the live value under key
	// equals old byte for byte, store a copy of new to live for ttl from now,
	// and return true.
	//
	// A nil old means "no live value"; an expired one counts as none. A nil
	// new means delete, and ttl is ignored; otherwise ttl must be positive,
	// and may be rounded up, never down. An empty but non-nil old or new,
	// or both nil, is an error.
	//
	// false, nil says that the comparison failed and nothing changed. (A
	// driver that replays a command whose answer was lost may say false for a
	// swap that it made; Verifier allows for that.) Every unknown outcome is
	// an error, and the swap may then have been made or not. An implementation
	// never retries, never joins a caller's transaction, neither keeps nor
	// changes its arguments, and returns, with an error, when ctx ends.
	CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (swapped bool, err error)
}

// The bounds of a [Store], in bytes.
const (
	maxStoreKey   = 64
	maxStoreValue = 16384
)

// CheckKey returns an error unless a [Store] takes key: for the Load of an
// implementation.
func CheckKey(key string) error {
	if len(key) < 1 || len(key) > maxStoreKey {
		return fmt.Errorf("otp: a store key of %d bytes, not 1 to %d", len(key), maxStoreKey)
	}
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return errors.New("otp: a store key with a byte outside of [A-Za-z0-9_-]")
		}
	}
	return nil
}

// CheckSwap returns an error unless a [Store] takes the arguments of a
// CompareAndSwap: for an implementation, to begin with.
func CheckSwap(key string, old, new []byte, ttl time.Duration) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if old == nil && new == nil {
		return errors.New("otp: a swap with neither an old nor a new value")
	}
	for _, value := range [][]byte{old, new} {
		if value != nil && (len(value) < 1 || len(value) > maxStoreValue) {
			return fmt.Errorf("otp: a store value of %d bytes, not 1 to %d", len(value), maxStoreValue)
		}
	}
	if new != nil && ttl <= 0 {
		return fmt.Errorf("otp: a time to live of %v, not above 0", ttl)
	}
	return nil
}
