package sim

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/go-mailotp/otp"
)

// A fault is what goes wrong at one call of the store.
type fault int

const (
	none   fault = iota
	failed       // an error, and nothing has changed
	lost         // the swap is made, but its reply is an error
	denied       // the swap is made, but its reply is false, as after a driver's own retry
)

func (f fault) String() string { return [...]string{"", " FAILED", " LOST", " DENIED"}[f] }

// A visit is one call of a store.
type visit struct {
	call *call // the verifier's call that makes it
	swap bool
	key  string
}

func (v visit) String() string {
	if v.swap {
		return "swap"
	}
	return "load"
}

// A store is an otp.Store in a map, by a clock that the test moves. Only one
// goroutine may use it at a time.
type store struct {
	now    func() time.Time
	values map[string]value
	before func(visit) fault // is asked before each call; may be nil
}

type value struct {
	bytes []byte
	ends  time.Time
}

var errStore = errors.New("the store is down")

// live returns the live value under key, or nil.
func (s *store) live(key string) []byte {
	if v, ok := s.values[key]; ok && s.now().Before(v.ends) {
		return v.bytes
	}
	return nil
}

func (s *store) ask(ctx context.Context, v visit) fault {
	v.call, _ = ctx.Value(callKey{}).(*call)
	if s.before == nil || v.call == nil {
		return none
	}
	f := s.before(v)
	v.call.faulty = v.call.faulty || f != none
	return f
}

// Load implements otp.Store.
func (s *store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), otp.CheckKey(key)); err != nil {
		return nil, err
	}
	if s.ask(ctx, visit{key: key}) != none {
		return nil, errStore
	}
	return bytes.Clone(s.live(key)), nil
}

// CompareAndSwap implements otp.Store.
func (s *store) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := errors.Join(ctx.Err(), otp.CheckSwap(key, old, new, ttl)); err != nil {
		return false, err
	}
	if bytes.Equal(old, new) {
		return false, errors.New("a swap that changes nothing")
	}
	f := s.ask(ctx, visit{key: key, swap: true})
	if f == failed {
		return false, errStore
	}
	swapped := bytes.Equal(s.live(key), old)
	if swapped {
		if c, ok := ctx.Value(callKey{}).(*call); ok {
			c.changed = append(c.changed, key)
		}
		if new == nil {
			delete(s.values, key)
		} else {
			s.values[key] = value{bytes: bytes.Clone(new), ends: s.now().Add(ttl)}
		}
	}
	if f == lost {
		return false, errStore
	}
	return swapped && f != denied, nil
}

// A call is one call of a verifier. It travels in the context, through which
// the store and the sender know who calls them.
type call struct {
	client *client       // of the scheduler; nil if nobody schedules it
	fails  error         // what the sender returns
	mails  []otp.Message // what the sender was given
	faulty bool          // a call of the store went wrong

	node    *node // of the simulator
	account *account
	changed []string // the keys of the swaps that were made
}

type callKey struct{}

// context returns a context that carries the call.
func (c *call) context() context.Context {
	return context.WithValue(context.Background(), callKey{}, c)
}

// deliver is the sender: it notes the mail in the call that sends it.
func deliver(ctx context.Context, m otp.Message) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return errors.New("the sender was given a context without the caller's values")
	}
	c.mails = append(c.mails, m)
	return c.fails
}

// snapshot returns a copy of what the store holds.
func (s *store) snapshot() map[string]value { return maps.Clone(s.values) }
