package otptest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// refusalCases are about invalid arguments.
var refusalCases = []storeCase{
	{
		"both nil", "Both old and new nil is an error.",
		func(ctx context.Context, e *storeEnv) {
			e.refuses(ctx, e.key("k"), nil, nil, long)
			e.refuses(ctx, e.key("k"), nil, nil, 0)
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.refuses(ctx, e.key("k"), nil, nil, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"empty old", "An empty but non-nil old is an error: only nil means absent.",
		func(ctx context.Context, e *storeEnv) {
			e.refuses(ctx, e.key("k"), []byte{}, one, long)
			e.refuses(ctx, e.key("k"), []byte{}, nil, 0)
			e.holds(ctx, e.key("k"), nil)
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.refuses(ctx, e.key("k"), []byte{}, two, long)
			e.refuses(ctx, e.key("k"), []byte{}, nil, 0)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"empty new", "An empty but non-nil new is an error: only nil means delete, and a value is never empty.",
		func(ctx context.Context, e *storeEnv) {
			e.refuses(ctx, e.key("k"), nil, []byte{}, long)
			e.holds(ctx, e.key("k"), nil)
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.refuses(ctx, e.key("k"), one, []byte{}, long)
			e.refuses(ctx, e.key("k"), one, []byte{}, 0)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"ttl not positive", "Unless new is nil, a ttl of zero or less is an error.",
		func(ctx context.Context, e *storeEnv) {
			for i, ttl := range []time.Duration{0, -1, -time.Second, -long} {
				key := e.key(fmt.Sprint("k", i))
				e.refuses(ctx, key, nil, one, ttl)
				e.holds(ctx, key, nil)
				e.swaps(ctx, key, nil, one, long)
				e.refuses(ctx, key, one, two, ttl)
				e.holds(ctx, key, one)
			}
		},
	},
	{
		"value too large", "A value of more than 16384 bytes is an error.",
		func(ctx context.Context, e *storeEnv) {
			for i, size := range []int{16385, 65536} {
				key, large := e.key(fmt.Sprint("k", i)), bytes.Repeat([]byte("x"), size)
				e.refuses(ctx, key, nil, large, long)
				e.refuses(ctx, key, large, one, long)
				e.holds(ctx, key, nil)
				e.swaps(ctx, key, nil, one, long)
				e.refuses(ctx, key, one, large, long)
				e.holds(ctx, key, one)
			}
		},
	},
	{
		"bad key", "A key other than 1 to 64 bytes of [A-Za-z0-9_-] is an error in both methods.",
		func(ctx context.Context, e *storeEnv) {
			bad := []string{
				"", strings.Repeat("k", 65), strings.Repeat("k", 1000),
				"a b", "a:b", "a.b", "a/b", `a\b`, "a*b", "a%b", "a+b", "a=b", "a'b", `a"b`, "{a}b",
				" ", "a\n", "a\x00", "a\x00b", "\x7f", "\u00e9", "\u212a", "a\xff",
			}
			for _, key := range bad {
				e.loadFails(ctx, key)
				e.refuses(ctx, key, nil, one, long)
				e.refuses(ctx, key, one, two, long)
				e.refuses(ctx, key, one, nil, 0)
			}
		},
	},
}

// contextCases are about contexts that have ended.
var contextCases = []storeCase{
	{
		"Load with ended context", "Load returns an error when ctx ends: a value that it could not load is not absent.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			for _, ended := range endedContexts(ctx) {
				e.loadFails(ended, e.key("k"))
				e.loadFails(ended, e.key("absent"))
			}
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"swap with ended context", "CompareAndSwap returns an error when ctx ends. A false without an error would mean that the comparison failed.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			for _, ended := range endedContexts(ctx) {
				e.refuses(ended, e.key("k"), one, two, long)
				e.refuses(ended, e.key("k"), two, three, long)
				e.refuses(ended, e.key("k"), one, nil, 0)
				e.refuses(ended, e.key("k"), nil, two, long)
				e.refuses(ended, e.key("absent"), nil, one, long)
				e.refuses(ended, e.key("absent"), one, two, long)
			}
			// The contexts had ended before the calls, so nothing was begun.
			e.holds(ctx, e.key("k"), one)
			e.holds(ctx, e.key("absent"), nil)
		},
	},
}

// endedContexts returns a cancelled context and one past its deadline.
func endedContexts(ctx context.Context) []context.Context {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Unix(1, 0))
	cancel()
	return []context.Context{cancelled, late}
}
