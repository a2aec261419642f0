package otp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// state says what a key of the store held.
type state int

const (
	absent state = iota
	lost         // sealed under a secret that is gone
	found
)

// policy says what a missing ledger means.
type policy bool

const (
	fresh    policy = true  // begin a new one
	existing policy = false // ErrUnknown
)

// load reads the ledger of a challenge, and the time.
func (v *Verifier) load(ctx context.Context, key seal.Key) (l *ledger.Ledger, now ledger.Ms, err error) {
	raw, err := v.core.load(ctx, key.String())
	if err != nil {
		return nil, 0, err
	}
	plain, st, err := v.core.open(key, raw)
	if err != nil {
		return nil, 0, err
	}
	if now, err = v.core.now(); err != nil {
		return nil, 0, err
	}
	l = new(ledger.Ledger)
	err = v.decode(ctx, l, key, existing, plain, st, now)
	return l, now, err
}

// decode fills l with what the store held.
func (v *Verifier) decode(ctx context.Context, l *ledger.Ledger, key seal.Key, p policy, plain []byte, st state, now ledger.Ms) error {
	if st == lost {
		v.observe(ctx, EventUnknownKey, key, &ledger.Challenge{}, Event{})
	}
	switch {
	case st == found:
		return l.Decode(plain)
	case p == existing:
		return ErrUnknown
	case st == lost:
		*l = *ledger.Lost(now)
	default:
		l.Reset()
	}
	return nil
}

// ledgers are empty ones. What decide is given must not be kept beyond it.
var ledgers = sync.Pool{New: func() any { return new(ledger.Ledger) }}

// update changes the ledger of an address, see the function update. A Send
// always loads: its time must not tell whether the address was here before.
func (v *Verifier) update(ctx context.Context, key seal.Key, p policy, decide func(*ledger.Ledger, ledger.Ms) (bool, error)) error {
	l := ledgers.Get().(*ledger.Ledger)
	defer func() {
		l.Reset()
		ledgers.Put(l)
	}()
	var held []byte
	if p == existing {
		held = v.core.recent.take(key)
	}
	held, err := update(ctx, v.core, key, held, func(plain []byte, st state, now ledger.Ms) (*ledger.Ledger, error) {
		return l, v.decode(ctx, l, key, p, plain, st, now)
	}, decide)
	v.core.recent.put(key, held)
	return err
}

// record is what update works on: a ledger or a client.
type record interface {
	Repair(now ledger.Ms) bool
	Append([]byte) []byte
	TTL(now ledger.Ms) time.Duration
}

// maxTries bounds lost races. Each lost race is another's write, and budgets
// bound the writes in a window: with the defaults 64 always suffice. One more
// is for what was remembered.
const maxTries = 1 + 64 + 1

var errRaces = errors.New("otp: too many lost races for one ledger")

// update loads a record, lets decide change it, and swaps it in, from the
// start again whenever another was faster. What decide returns last is told
// only after its change is kept. decide reports whether it changed anything;
// a refusal is written only if the clock had to be repaired.
//
// held is what the store is thought to hold, or nil; it takes the place of the
// first load. What the store was last seen to hold is returned, or nil.
func update[R record](ctx context.Context, c *core, key seal.Key, held []byte,
	decode func([]byte, state, ledger.Ms) (R, error),
	decide func(R, ledger.Ms) (changed bool, err error)) ([]byte, error) {
	var written []byte
	var verdict error
	name := key.String()
	for range maxTries {
		raw, loaded := held, held == nil
		if held = nil; loaded {
			var err error
			if raw, err = c.load(ctx, name); err != nil {
				return nil, err
			}
			if written != nil && bytes.Equal(raw, written) {
				return written, verdict // the swap was ours and only its answer was lost
			}
		}
		plain, st, err := c.open(key, raw)
		if err != nil {
			return nil, err
		}
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		r, err := decode(plain, st, now)
		if err != nil {
			return nil, err
		}
		repaired := r.Repair(now)
		changed, err := decide(r, now)
		if !changed && !repaired {
			if !loaded {
				continue // a refusal is not told before a load confirms it
			}
			return raw, err
		}
		verdict = err
		written = c.seal(key, r)
		swapped, err := c.store.CompareAndSwap(ctx, name, raw, written, r.TTL(now))
		if err != nil {
			return nil, fmt.Errorf("otp: swap: %w", err) // kept or not: nobody is told
		}
		if swapped {
			return written, verdict
		}
	}
	return nil, errRaces
}

// plains are buffers for encodings on their way to be sealed.
var plains = sync.Pool{New: func() any { return new([]byte) }}

// seal encodes a record and seals it.
func (c *core) seal(key seal.Key, r record) []byte {
	buffer := plains.Get().(*[]byte)
	defer plains.Put(buffer)
	plain := r.Append((*buffer)[:0])
	defer clear(plain) // it holds codes and addresses
	*buffer = plain
	return c.keys.Seal(key, plain)
}

// load reads what the store holds, nil for nothing.
func (c *core) load(ctx context.Context, name string) ([]byte, error) {
	raw, err := c.store.Load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("otp: load: %w", err)
	}
	return raw, nil
}

// open opens what load read.
func (c *core) open(key seal.Key, raw []byte) (plain []byte, st state, err error) {
	if raw == nil {
		return nil, absent, nil
	}
	plain, err = c.keys.Open(key, raw)
	if errors.Is(err, seal.ErrUnknownKey) {
		return nil, lost, nil
	}
	return plain, found, err
}

// now reads the clock. A time that a ledger cannot hold is refused before
// anything is written.
func (c *core) now() (ledger.Ms, error) {
	now := c.clock().UnixMilli()
	if !ledger.ValidTime(now) {
		return 0, errors.New("otp: Options.Now gives a time that cannot be")
	}
	return now, nil
}
