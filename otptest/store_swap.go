package otptest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// Values for cases in which they do not matter.
var (
	one   = []byte("one")
	two   = []byte("two")
	three = []byte("three")
)

// swapCases are about which swaps are made and what they store.
var swapCases = []storeCase{
	{
		"absent", "Load returns nil, nil when the key is absent.",
		func(ctx context.Context, e *storeEnv) {
			e.holds(ctx, e.key("k"), nil)
		},
	},
	{
		"create", "A nil old means no live value: then new is stored, and Load sees it.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"create on live", "A nil old does not match a live value, and nothing changes.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.keeps(ctx, e.key("k"), nil, two, long)
			e.keeps(ctx, e.key("k"), nil, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"replace", "If the live value equals old, new replaces it.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, two, long)
			e.holds(ctx, e.key("k"), two)
			e.swaps(ctx, e.key("k"), two, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"replace by the same", "A swap from a value to the same value is made and returns true.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, one, long)
			e.swaps(ctx, e.key("k"), one, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"replace with wrong old", "If the live value is not old, the result is false and nothing changes.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.keeps(ctx, e.key("k"), two, three, long)
			e.holds(ctx, e.key("k"), one)
			e.swaps(ctx, e.key("k"), one, two, long)
			e.keeps(ctx, e.key("k"), one, three, long)
			e.holds(ctx, e.key("k"), two)
		},
	},
	{
		"replace absent", "An absent value does not match a non-nil old, and a failed swap stores nothing.",
		func(ctx context.Context, e *storeEnv) {
			e.keeps(ctx, e.key("k"), one, two, long)
			e.holds(ctx, e.key("k"), nil)
		},
	},
	{
		"delete", "A nil new deletes the live value that equals old; ttl is ignored.",
		func(ctx context.Context, e *storeEnv) {
			for i, ttl := range []time.Duration{0, 1, long, -long} {
				key := e.key(fmt.Sprint("k", i))
				e.swaps(ctx, key, nil, one, long)
				e.swaps(ctx, key, one, nil, ttl)
				e.holds(ctx, key, nil)
			}
		},
	},
	{
		"delete with wrong old", "A delete compares too: with a different old the result is false and nothing changes.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.keeps(ctx, e.key("k"), two, nil, 0)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"delete absent", "An absent value cannot be deleted: the result is false.",
		func(ctx context.Context, e *storeEnv) {
			e.keeps(ctx, e.key("k"), one, nil, 0)
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, nil, 0)
			e.keeps(ctx, e.key("k"), one, nil, 0)
			e.holds(ctx, e.key("k"), nil)
		},
	},
	{
		"replace after delete", "A deleted value counts as absent: it matches a nil old and no other.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, nil, 0)
			e.keeps(ctx, e.key("k"), one, two, long)
			e.holds(ctx, e.key("k"), nil)
			e.swaps(ctx, e.key("k"), nil, three, long)
			e.holds(ctx, e.key("k"), three)
		},
	},
}

// byteCases are about values being arbitrary bytes.
var byteCases = []storeCase{
	{
		"arbitrary bytes", "Values are arbitrary bytes: each of the 256 is returned unchanged.",
		func(ctx context.Context, e *storeEnv) { e.roundTrip(ctx, allBytes(), []byte("\xff\xfe\xc3\x28")) },
	},
	{
		"zero bytes", "Values are arbitrary bytes: a NUL does not end a value, wherever it is.",
		func(ctx context.Context, e *storeEnv) {
			e.roundTrip(ctx, []byte("a\x00b"), []byte("\x00a"), []byte("a\x00\x00"), []byte("\x00"))
		},
	},
	{
		"trailing spaces", "Values are arbitrary bytes: leading and trailing white space stays.",
		func(ctx context.Context, e *storeEnv) {
			e.roundTrip(ctx, []byte("a  "), []byte("  a"), []byte(" \r\n\t"))
		},
	},
	{
		"smallest value", "Values have 1 byte or more.",
		func(ctx context.Context, e *storeEnv) { e.roundTrip(ctx, []byte("x"), []byte("\xff"), []byte("0")) },
	},
	{
		"largest value", "Values have up to 16384 bytes.",
		func(ctx context.Context, e *storeEnv) {
			e.roundTrip(ctx, bytes.Repeat(allBytes(), 64), bytes.Repeat([]byte{0xff}, 16384), bytes.Repeat([]byte{0}, 16383))
		},
	},
	{
		"compare to the last byte", "Old is compared byte by byte, including the last one.",
		func(ctx context.Context, e *storeEnv) {
			e.differ(ctx, []byte("value-a"), []byte("value-b"))
			large := bytes.Repeat(allBytes(), 64)
			other := bytes.Clone(large)
			other[len(other)-1] ^= 1
			e.differ(ctx, large, other)
		},
	},
	{
		"compare the length", "Old is compared byte by byte: a part of the value is a different value.",
		func(ctx context.Context, e *storeEnv) {
			e.differ(ctx, []byte("value"), []byte("value-and-more"))
			e.differ(ctx, []byte("value\x00"), []byte("value"))
			e.differ(ctx, []byte("value\x00a"), []byte("value\x00b"))
			e.differ(ctx, []byte("value "), []byte("value"))
		},
	},
	{
		"compare bytes, not text", "Old is compared byte by byte: case is not folded, and nothing is parsed as a number.",
		func(ctx context.Context, e *storeEnv) {
			e.differ(ctx, []byte("Value"), []byte("vALUE"))
			e.differ(ctx, []byte("\u00e9"), []byte("e\u0301"))
			e.differ(ctx, []byte("\u00e9"), []byte("e"))
			e.differ(ctx, []byte("1"), []byte("1.0"))
			e.differ(ctx, []byte("1"), []byte("01"))
			e.differ(ctx, []byte("\xff"), []byte("\xfe"))
		},
	},
}

// keyCases are about distinguishing keys.
var keyCases = []storeCase{
	{
		"longest key", "Keys have up to 64 bytes, and all of them are significant.",
		func(ctx context.Context, e *storeEnv) {
			stem := e.prefix + strings.Repeat("x", 63-len(e.prefix))
			e.apart(ctx, stem+"a", stem+"b", stem)
		},
	},
	{
		"shortest key", "Keys have 1 byte or more.",
		func(ctx context.Context, e *storeEnv) {
			for _, key := range []string{"k", "7", "_", "-"} {
				// Such a key cannot be random, so an earlier run may have left
				// a value under it.
				if old := e.load(ctx, key); old != nil {
					e.swaps(ctx, key, old, nil, 0)
				}
			}
			e.apart(ctx, "k", "7", "_", "-")
			for _, key := range []string{"k", "7", "_", "-"} {
				e.swaps(ctx, key, []byte("of "+key), nil, 0)
			}
		},
	},
	{
		"key letters", "Keys are case-sensitive.",
		func(ctx context.Context, e *storeEnv) { e.apart(ctx, e.key("key"), e.key("Key"), e.key("KEY")) },
	},
	{
		"key characters", "Keys consist of A-Z, a-z, 0-9, _ and -, and none of these has a special meaning.",
		func(ctx context.Context, e *storeEnv) {
			e.apart(ctx, e.key("a-b"), e.key("a_b"), e.key("axb"), e.key("ab"), e.key("ab-"), e.key("ab_"))
			e.apart(ctx, e.key("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), e.key("abcdefghijklmnopqrstuvwxyz"), e.key("0123456789_-"))
		},
	},
	{
		"key prefixes", "A key that begins with another key is a different key.",
		func(ctx context.Context, e *storeEnv) {
			e.apart(ctx, e.key("k"), e.key("kk"), e.key("k0"), e.key("k00"))
		},
	},
}

// argumentCases are about the ownership of memory.
var argumentCases = []storeCase{
	{
		"Load copies", "Load returns a copy that the caller may change.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, []byte("precious"), long)
			for range 2 {
				value := e.load(ctx, e.key("k"))
				clear(value)
				_ = append(value, "and more"...)
				e.holds(ctx, e.key("k"), []byte("precious"))
			}
			e.swaps(ctx, e.key("k"), []byte("precious"), two, long)
		},
	},
	{
		"arguments not kept", "CompareAndSwap stores a copy of new: the caller may change the arguments afterwards.",
		func(ctx context.Context, e *storeEnv) {
			first, second := []byte("first"), []byte("second")
			e.swaps(ctx, e.key("k"), nil, first, long)
			clear(first)
			e.holds(ctx, e.key("k"), []byte("first"))
			first = []byte("first")
			e.swaps(ctx, e.key("k"), first, second, long)
			clear(first)
			clear(second)
			e.holds(ctx, e.key("k"), []byte("second"))
		},
	},
	{
		"arguments not changed", "CompareAndSwap changes neither its arguments nor the memory after them.",
		func(ctx context.Context, e *storeEnv) {
			memory := []byte("one.two.three.")
			first, second, third := memory[0:3], memory[4:7], memory[8:13]
			e.swaps(ctx, e.key("k"), nil, first, long)
			e.keeps(ctx, e.key("k"), second, third, long)
			e.swaps(ctx, e.key("k"), first, second, long)
			e.swaps(ctx, e.key("k"), second, nil, 0)
			if e.err == nil && string(memory) != "one.two.three." {
				e.failf("the memory of the arguments changed from %q to %q", "one.two.three.", memory)
			}
		},
	},
}

// roundTrip checks that each value is stored, loaded, compared and deleted
// unchanged.
func (e *storeEnv) roundTrip(ctx context.Context, values ...[]byte) {
	for i, value := range values {
		key := e.key(fmt.Sprint("k", i))
		e.swaps(ctx, key, nil, value, long)
		e.holds(ctx, key, value)
		e.swaps(ctx, key, value, one, long)
		e.swaps(ctx, key, one, value, long)
		e.holds(ctx, key, value)
		e.swaps(ctx, key, value, nil, 0)
		e.holds(ctx, key, nil)
	}
}

// differ checks that a and b are different values, in both directions.
func (e *storeEnv) differ(ctx context.Context, a, b []byte) {
	for _, pair := range [][2][]byte{{a, b}, {b, a}} {
		live, other := pair[0], pair[1]
		e.swaps(ctx, e.key("k"), nil, live, long)
		e.keeps(ctx, e.key("k"), other, three, long)
		e.keeps(ctx, e.key("k"), other, nil, 0)
		e.holds(ctx, e.key("k"), live)
		e.swaps(ctx, e.key("k"), live, nil, 0)
	}
}

// apart checks that each key has its own value.
func (e *storeEnv) apart(ctx context.Context, keys ...string) {
	for i, key := range keys {
		for _, later := range keys[i:] {
			e.holds(ctx, later, nil)
		}
		e.swaps(ctx, key, nil, []byte("of "+key), long)
	}
	for _, key := range keys {
		e.holds(ctx, key, []byte("of "+key))
	}
	e.swaps(ctx, keys[0], []byte("of "+keys[0]), nil, 0)
	e.holds(ctx, keys[0], nil)
	for _, key := range keys[1:] {
		e.holds(ctx, key, []byte("of "+key))
	}
	e.swaps(ctx, keys[0], nil, []byte("of "+keys[0]), long)
}

// allBytes returns the 256 bytes in order.
func allBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}
