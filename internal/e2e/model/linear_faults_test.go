package model

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
)

// A linCall is one call of a Verifier under way, carried in its context.
type linCall struct {
	dice  *rand.Rand
	mails int
	code  string // of the last mail

	denied  bool   // a swap was made, and the answer said that it was not
	written []byte // by that swap
	again   int    // how often others overwrote such a swap before this call looked
}

type linCallKey struct{}

func linCallOf(ctx context.Context) *linCall { return ctx.Value(linCallKey{}).(*linCall) }

// linKeepCode is the sender. It gives the call the code that was mailed.
func linKeepCode(ctx context.Context, m otp.Message) error {
	c := linCallOf(ctx)
	c.mails++
	c.code = m.Code
	return nil
}

// A linFailingStore lets other clients run during its calls, and it fails. Of a
// hundred calls, about as many as faults says end in an error: a third of them do
// nothing, a third make their swap, and a third make it later. Twice as many swaps
// are made and denied, as by a driver that replays a command whose answer was lost.
type linFailingStore struct {
	otp.Store
	faults int
	late   sync.WaitGroup // swaps that are still to be made
}

var errLinFault = errors.New("the store failed")

func (s *linFailingStore) Load(ctx context.Context, key string) ([]byte, error) {
	c := linCallOf(ctx)
	linPause(c.dice)
	if c.dice.IntN(100) < s.faults/3 {
		return nil, errLinFault
	}
	value, err := s.Store.Load(ctx, key)
	if c.denied && !bytes.Equal(value, c.written) {
		c.again++
	}
	c.denied = false
	linPause(c.dice)
	return value, err
}

func (s *linFailingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	c := linCallOf(ctx)
	linPause(c.dice)
	chance := c.dice.IntN(100)
	switch {
	case chance < s.faults/3:
		return false, errLinFault
	case chance < s.faults*2/3:
		s.Store.CompareAndSwap(ctx, key, old, new, ttl)
		return false, errLinFault
	case chance < s.faults:
		old, new, turns := bytes.Clone(old), bytes.Clone(new), c.dice.IntN(50)
		s.late.Go(func() {
			for range turns {
				runtime.Gosched()
			}
			s.Store.CompareAndSwap(ctx, key, old, new, ttl)
		})
		return false, errLinFault
	}
	swapped, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	if swapped && chance < s.faults*3 {
		c.denied, c.written = true, bytes.Clone(new)
		swapped = false
	}
	linPause(c.dice)
	return swapped, err
}
