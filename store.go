package otp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Store keeps sealed bytes under opaque keys, changes them by
// compare-and-swap, and drops them after a time to live (TTL). It knows nothing
// of codes, guesses or limits: those rules belong to the [Verifier], so every
// store gives the same guarantees. If a store loses or rolls back writes that
// it acknowledged, exactly the guesses and codes in them become usable again.
//
// Any number of goroutines may call all methods at once. Keys have 1 to 64
// bytes of [A-Za-z0-9_-] and are case-sensitive. Values have 1 to 16384
// arbitrary bytes. Any other key or value is an error.
//
// Implementations validate arguments with [CheckKey] and [CheckSwap] and should
// run otptest.TestStore.
type Store interface {
	// Load returns a copy of the live value under key, which the caller may
	// keep and change, or nil, nil if the key is absent or its TTL has passed.
	// It sees what the last acknowledged CompareAndSwap wrote, so it must not
	// read from replicas or caches. It returns, with an error, when ctx ends.
	Load(ctx context.Context, key string) (value []byte, err error)

	// CompareAndSwap does one thing, atomically: if the live value under key
	// equals old byte for byte, it stores a copy of new, which lives for ttl
	// from now, and returns true.
	//
	// A nil old means that there must be no live value; an expired value counts
	// as none. A nil new means delete, and ttl is ignored. Otherwise ttl must
	// be positive; it may be rounded up, never down. It is an error if old or
	// new is empty but not nil, or if both are nil.
	//
	// The result false, nil means that the comparison failed and nothing has
	// changed. (A driver that repeats a command after losing its reply may
	// return false for a swap that it made; Verifier allows for that.) Every
	// unknown outcome is an error, after which the swap may or may not have
	// happened. An implementation never retries, never joins a caller's
	// transaction, neither keeps nor changes its arguments, and returns, with
	// an error, when ctx ends.
	CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (swapped bool, err error)
}

// The bounds of a [Store], in bytes.
const (
	maxStoreKey   = 64
	maxStoreValue = 16384
)

// CheckKey returns an error if key is not a valid key of a [Store].
// Implementations of Load call it first.
func CheckKey(key string) error {
	if len(key) < 1 || len(key) > maxStoreKey {
		return fmt.Errorf("otp: store key is %d bytes, want 1 to %d", len(key), maxStoreKey)
	}
	for _, c := range []byte(key) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return errors.New("otp: store key contains a byte outside of [A-Za-z0-9_-]")
		}
	}
	return nil
}

// CheckSwap returns an error if the arguments of a CompareAndSwap are invalid.
// Implementations of CompareAndSwap call it first.
func CheckSwap(key string, oldValue, newValue []byte, ttl time.Duration) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if oldValue == nil && newValue == nil {
		return errors.New("otp: swap has neither an old nor a new value")
	}
	for _, value := range [][]byte{oldValue, newValue} {
		if value != nil && (len(value) < 1 || len(value) > maxStoreValue) {
			return fmt.Errorf("otp: store value is %d bytes, want 1 to %d", len(value), maxStoreValue)
		}
	}
	if newValue != nil && ttl <= 0 {
		return fmt.Errorf("otp: TTL must be positive, got %v", ttl)
	}
	return nil
}
