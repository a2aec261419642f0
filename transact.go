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
	"github.com/go-mailotp/otp/otpevent"
)

// record is what a transaction changes: the ledger of an address, which holds
// everything that is remembered about it, or the starts of a client.
type record interface {
	Repair(now ledger.Ms) (repaired bool)
	Append([]byte) []byte
	TTL(now ledger.Ms) time.Duration
}

// action is what a decision does with a record.
type action int

const (
	keep    action = iota // change nothing
	write                 // store the changed record
	remove                // delete the record
	again                 // time has passed: decide anew on what was loaded
	confirm               // decide anew on what is loaded, not on what is remembered
)

// maxTries bounds lost races. Each lost race is somebody else's write, and
// budgets bound the writes in a window: with the defaults 64 always suffice.
// One more is for a held value that was out of date, and three are for decisions
// that are made anew.
const maxTries = 1 + 64 + 1 + 3

var errRaces = errors.New("otp: store: lost too many races for one key")

// transact changes what the store holds under a key, atomically. It loads the
// value, lets read fill r from it (nil means that there is none), lets decide
// change r, and swaps the result in; if the swap loses a race, it starts again.
// If decide returns again, what it did to r is dropped and it is called once
// more, with the bytes that were loaded and the time that it is then. If it
// returns confirm, the same happens with bytes that were loaded in this call.
// The error of decide is the caller's answer, which is returned only after the
// change has been stored. A refusal is written only if the clock had to be
// repaired.
//
// held is what the store is thought to hold, or nil; it is tried before the first
// load. transact returns what the store was last seen to hold, or nil.
//
// The functions are parameters and not fields of a struct with r, since all of
// them would then escape to the heap, for every Check.
func (c *core) transact(ctx context.Context, key seal.Key, held []byte, r record,
	read func(raw []byte, now ledger.Ms) error,
	decide func(now ledger.Ms) (action, error),
) (last []byte, err error) {
	name := key.String()
	var written []byte
	var answer error
	raw, known, loaded := held, held != nil, false
	for range maxTries {
		if !known {
			loaded = true
			if raw, err = c.load(ctx, name); err != nil {
				return nil, err
			}
			if written != nil && bytes.Equal(raw, written) {
				return written, answer // the swap was ours and only its reply was lost
			}
		}
		known = false
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		if err := read(raw, now); err != nil {
			return nil, err
		}
		repaired := r.Repair(now)
		what, err := decide(now)
		if what == again || what == confirm {
			known = what == again || loaded
			continue
		}
		if what == keep && repaired {
			what = write
		}
		var ttl time.Duration
		switch what {
		case keep:
			if !loaded {
				continue // a refusal is returned only after a load confirms it
			}
			return raw, err
		case write:
			written, ttl = c.encode(key, r), r.TTL(now)
		case remove:
			written = nil
		}
		answer = err
		swapped, err := c.store.CompareAndSwap(ctx, name, raw, written, ttl)
		if err != nil {
			return nil, fmt.Errorf("otp: store: swap: %w", err) // whether it was stored or not, the answer is withheld
		}
		if swapped {
			return written, answer
		}
	}
	return nil, errRaces
}

// missing says what to do if an address has no ledger.
type missing bool

const (
	isNew     missing = true  // start one
	isUnknown missing = false // ErrUnknown
)

// ledgers is a pool of empty ledgers. A decide function must not keep the
// ledger that it is given.
var ledgers = sync.Pool{New: func() any { return new(ledger.Ledger) }}

// update changes the ledger of an address. A Send always loads: its duration
// must not reveal whether the address was here before.
func (v *Verifier) update(ctx context.Context, key seal.Key, absent missing, decide func(*ledger.Ledger, ledger.Ms) (action, error)) error {
	l := ledgers.Get().(*ledger.Ledger)
	defer func() {
		l.Reset()
		ledgers.Put(l)
	}()
	var held []byte
	if absent == isUnknown {
		held = v.core.cache.take(key)
	}
	var unreadable []byte
	last, err := v.core.transact(ctx, key, held, l,
		func(raw []byte, now ledger.Ms) error {
			lost, err := v.read(ctx, l, key, absent, raw, now)
			if lost {
				unreadable = raw
			}
			return err
		},
		func(now ledger.Ms) (action, error) { return decide(l, now) })
	if unreadable == nil || !bytes.Equal(last, unreadable) { // else another Check would not ask the store
		v.core.cache.put(key, last)
	}
	if m := v.core.memory; m != nil {
		for range m.takeEvicted() {
			v.observe(ctx, otpevent.Evicted, seal.Key{}, &ledger.Challenge{})
		}
	}
	return err
}

// load reads the ledger of a challenge, and the time.
func (v *Verifier) load(ctx context.Context, key seal.Key) (l *ledger.Ledger, now ledger.Ms, err error) {
	raw, err := v.core.load(ctx, key.String())
	if err != nil {
		return nil, 0, err
	}
	if now, err = v.core.now(); err != nil {
		return nil, 0, err
	}
	l = new(ledger.Ledger)
	_, err = v.read(ctx, l, key, isUnknown, raw, now)
	return l, now, err
}

// read fills l from what the store holds. It reports whether the secret under
// which that was sealed is gone.
func (v *Verifier) read(ctx context.Context, l *ledger.Ledger, key seal.Key, absent missing, raw []byte, now ledger.Ms) (lost bool, err error) {
	buffer := plains.Get().(*[]byte)
	defer plains.Put(buffer)
	plain, lost, err := v.core.decode((*buffer)[:0], key, raw)
	if err != nil {
		return false, err
	}
	if plain != nil {
		defer clear(plain) // it holds codes and addresses
		*buffer = plain
	}
	if lost {
		v.observe(ctx, otpevent.UnknownKey, key, &ledger.Challenge{})
	}
	switch {
	case raw != nil && !lost:
		return false, l.Decode(plain)
	case absent == isUnknown:
		return lost, ErrUnknown
	case lost:
		*l = *ledger.Lost(now)
	default:
		l.Reset()
	}
	return lost, nil
}

// plains is a pool of buffers for encodings that are not sealed.
var plains = sync.Pool{New: func() any { return new([]byte) }}

// encode seals a record.
func (c *core) encode(key seal.Key, r record) []byte {
	buffer := plains.Get().(*[]byte)
	defer plains.Put(buffer)
	plain := r.Append((*buffer)[:0])
	defer clear(plain) // it holds codes and addresses
	*buffer = plain
	return c.keys.Seal(key, plain)
}

// decode opens what encode sealed and appends it to dst. It returns nil if raw is
// nil, and nil and lost if the secret under which the value was sealed is gone.
func (c *core) decode(dst []byte, key seal.Key, raw []byte) (plain []byte, lost bool, err error) {
	if raw == nil {
		return nil, false, nil
	}
	plain, err = c.keys.Open(dst, key, raw)
	if errors.Is(err, seal.ErrUnknownKey) {
		return nil, true, nil
	}
	return plain, false, err
}

// load reads what the store holds, nil for nothing.
func (c *core) load(ctx context.Context, name string) ([]byte, error) {
	raw, err := c.store.Load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("otp: store: load: %w", err)
	}
	return raw, nil
}

// now reads the clock. A time that a ledger cannot hold is an error before
// anything is written.
func (c *core) now() (ledger.Ms, error) {
	now := c.clock().UnixMilli()
	if !ledger.ValidTime(now) {
		return 0, errors.New("otp: Options.Now: returned an out-of-range time")
	}
	return now, nil
}
