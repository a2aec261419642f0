package otptest

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

const (
	// short is a time to live that ends while a case waits.
	short = time.Second

	// early is how long before its end a value is loaded to check that it is
	// still live.
	early = 100 * time.Millisecond

	// roundUp is by how much a store may round a time to live up.
	roundUp = 5 * time.Second
)

// expiryCases are about values that expire.
var expiryCases = []storeCase{
	{
		"lives for its ttl", "A value is live until its ttl has passed.",
		func(ctx context.Context, e *storeEnv) { e.lives(ctx, short) },
	},
	{
		"ttl not rounded down", "The ttl may be rounded up, never down.",
		func(ctx context.Context, e *storeEnv) {
			e.lives(ctx, 1400*time.Millisecond)
			e.lives(ctx, 400*time.Millisecond)
		},
	},
	{
		"tiny ttl", "Every positive ttl is valid, even one nanosecond, and the value expires.",
		func(ctx context.Context, e *storeEnv) {
			for i, ttl := range []time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond - 1} {
				key := e.key(fmt.Sprint("k", i))
				began := e.now()
				e.swaps(ctx, key, nil, one, ttl)
				e.ends(ctx, key, one, began+ttl)
			}
		},
	},
	{
		"ttl of 31 days", "A ttl may be long: the verifier uses up to 31 days.",
		func(ctx context.Context, e *storeEnv) {
			const ttl = 31 * 24 * time.Hour
			began := e.now()
			e.swaps(ctx, e.key("k"), nil, one, ttl)
			e.holds(ctx, e.key("k"), one)
			if e.advance != nil {
				e.until(ctx, began+ttl-time.Minute)
				e.holds(ctx, e.key("k"), one)
				e.ends(ctx, e.key("k"), one, began+ttl)
			}
		},
	},
	{
		"ends after its ttl", "Load returns nil, nil when the ttl of the key has passed, however often it was read.",
		func(ctx context.Context, e *storeEnv) {
			began := e.now()
			e.swaps(ctx, e.key("k"), nil, one, short)
			e.until(ctx, began+short/2)
			e.load(ctx, e.key("k"))
			e.ends(ctx, e.key("k"), one, began+short)
		},
	},
	{
		"expired is no old", "An expired value counts as absent: a swap or a delete with it as old returns false.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("replace"), nil, one, short)
			e.swaps(ctx, e.key("delete"), nil, one, short)
			e.control(ctx)
			e.keeps(ctx, e.key("replace"), one, two, long)
			e.keeps(ctx, e.key("delete"), one, nil, 0)
			e.holds(ctx, e.key("replace"), nil)
			e.holds(ctx, e.key("delete"), nil)
		},
	},
	{
		"create after expiry", "An expired value counts as absent: a nil old matches, and new is stored for its own ttl.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, short)
			e.control(ctx)
			e.swaps(ctx, e.key("k"), nil, two, long)
			e.holds(ctx, e.key("k"), two)
			e.control(ctx)
			e.holds(ctx, e.key("k"), two)
			e.swaps(ctx, e.key("k"), two, three, long)
		},
	},
	{
		"replace for longer", "New lives for ttl from the swap, even if old had less time left.",
		func(ctx context.Context, e *storeEnv) {
			var k, same string
			e.within(short, func(try string) {
				k, same = e.key("k"+try), e.key("same"+try)
				e.swaps(ctx, k, nil, one, short)
				e.swaps(ctx, k, one, two, long)
				e.swaps(ctx, same, nil, one, short)
				e.swaps(ctx, same, one, one, long)
			})
			e.control(ctx)
			e.holds(ctx, k, two)
			e.holds(ctx, same, one)
		},
	},
	{
		"replace for shorter", "New lives for ttl from the swap, even if old had more time left.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("same"), nil, one, long)
			began := e.now()
			e.swaps(ctx, e.key("k"), one, two, short)
			e.swaps(ctx, e.key("same"), one, one, short)
			e.ends(ctx, e.key("k"), two, began+short)
			e.ends(ctx, e.key("same"), one, began+short)
		},
	},
	{
		"create after delete", "Deleting a value also deletes its ttl: a new value lives for its own.",
		func(ctx context.Context, e *storeEnv) {
			var k string
			e.within(short, func(try string) {
				k = e.key("k" + try)
				e.swaps(ctx, k, nil, one, short)
				e.swaps(ctx, k, one, nil, 0)
				e.swaps(ctx, k, nil, two, long)
			})
			e.control(ctx)
			e.holds(ctx, k, two)
		},
	},
	{
		"failed swap keeps the ttl", "When the comparison fails nothing changes, not even the ttl.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("long"), nil, one, long)
			e.keeps(ctx, e.key("long"), two, three, short)
			e.keeps(ctx, e.key("long"), nil, three, short)
			e.control(ctx)
			e.holds(ctx, e.key("long"), one)

			var k string
			e.within(short, func(try string) {
				k = e.key("short" + try)
				e.swaps(ctx, k, nil, one, short)
				e.keeps(ctx, k, two, three, long)
				e.keeps(ctx, k, nil, three, long)
			})
			e.ends(ctx, k, one, e.now()+short)
		},
	},
}

// lives checks that a value with this ttl is still there shortly before its
// end.
func (e *storeEnv) lives(ctx context.Context, ttl time.Duration) {
	e.within(ttl, func(try string) {
		key := e.key(fmt.Sprint("lives", ttl.Milliseconds(), "-", try))
		began := e.now()
		e.swaps(ctx, key, nil, one, ttl)
		e.until(ctx, began+ttl-early)
		e.holds(ctx, key, one)
	})
}

// within runs steps whose result only means something if they finish before the
// ttl of a value that they store has passed. If they took longer, within
// discards their result and runs them again, up to five times; each time they
// must use keys with a different ending. If they are always too slow, the case
// ends without a result.
func (e *storeEnv) within(ttl time.Duration, steps func(try string)) {
	for try := range 5 {
		if e.err != nil {
			return
		}
		began := e.now()
		steps(fmt.Sprint(try))
		if e.err == nil || e.now()-began < ttl {
			return
		}
		e.err = nil
	}
	e.err = errTooSlow
}

// ends waits until end and checks that key loses its value soon after that.
func (e *storeEnv) ends(ctx context.Context, key string, value []byte, end time.Duration) {
	e.until(ctx, end)
	for e.err == nil {
		late := e.now() - end
		got := e.load(ctx, key)
		switch {
		case e.err != nil || got == nil:
			return
		case !bytes.Equal(got, value):
			e.failf("Load(%q) gave %s, want %s or nil", key, show(got), show(value))
		case late > roundUp:
			e.failf("Load(%q) still gave %s %v after the ttl had passed", key, show(got), late)
		}
		e.until(ctx, e.now()+early)
	}
}

// control waits until all values that were stored with the short ttl have
// expired, without touching them: it stores one more and waits until a little
// after that has expired, since a store of several servers has several clocks.
func (e *storeEnv) control(ctx context.Context) {
	key := e.key(fmt.Sprint("control", e.now().Nanoseconds()))
	began := e.now()
	e.swaps(ctx, key, nil, one, short)
	e.ends(ctx, key, one, began+short)
	e.until(ctx, e.now()+early)
}
