package otptest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// Values for the cases that do not care.
var (
	one   = []byte("one")
	two   = []byte("two")
	three = []byte("three")
)

// swapCases are about which swaps are made and what they leave.
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
		"replace", "If the live value equals old, new takes its place.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, two, long)
			e.holds(ctx, e.key("k"), two)
			e.swaps(ctx, e.key("k"), two, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"replace by the same", "A swap to the bytes that are there already is made, and says true.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, one, long)
			e.swaps(ctx, e.key("k"), one, one, long)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"replace with wrong old", "If the live value is not old, the answer is false and nothing changes.",
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
		"replace absent", "An absent value equals no old, and a swap that fails makes nothing.",
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
		"delete with wrong old", "A delete compares too: with another old the answer is false and nothing changes.",
		func(ctx context.Context, e *storeEnv) {
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.keeps(ctx, e.key("k"), two, nil, 0)
			e.holds(ctx, e.key("k"), one)
		},
	},
	{
		"delete absent", "An absent value cannot be deleted: the answer is false.",
		func(ctx context.Context, e *storeEnv) {
			e.keeps(ctx, e.key("k"), one, nil, 0)
			e.swaps(ctx, e.key("k"), nil, one, long)
			e.swaps(ctx, e.key("k"), one, nil, 0)
			e.keeps(ctx, e.key("k"), one, nil, 0)
			e.holds(ctx, e.key("k"), nil)
		},
	},
	{
		"replace after delete", "A deleted value counts as absent: it matches nil and not itself.",
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

// byteCases are about values being bytes and nothing else.
var byteCases = []storeCase{
	{
		"arbitrary bytes", "Values are arbitrary bytes: each of the 256 comes back as it was.",
		func(ctx context.Context, e *storeEnv) { e.roundTrip(ctx, allBytes(), []byte("\xff\xfe\xc3\x28")) },
	},
	{
		"zero bytes", "Values are arbitrary bytes: a NUL ends nothing, in front, inside and behind.",
		func(ctx context.Context, e *storeEnv) {
			e.roundTrip(ctx, []byte("a\x00b"), []byte("\x00a"), []byte("a\x00\x00"), []byte("\x00"))
		},
	},
	{
		"trailing spaces", "Values are arbitrary bytes: white space stays, in front and behind.",
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
		"compare to the last byte", "Old is compared byte for byte, to the last one.",
		func(ctx context.Context, e *storeEnv) {
			e.differ(ctx, []byte("value-a"), []byte("value-b"))
			large := bytes.Repeat(allBytes(), 64)
			other := bytes.Clone(large)
			other[len(other)-1] ^= 1
			e.differ(ctx, large, other)
		},
	},
	{
		"compare the length", "Old is compared byte for byte: a part of the value is another value.",
		func(ctx context.Context, e *storeEnv) {
			e.differ(ctx, []byte("value"), []byte("value-and-more"))
			e.differ(ctx, []byte("value\x00"), []byte("value"))
			e.differ(ctx, []byte("value\x00a"), []byte("value\x00b"))
			e.differ(ctx, []byte("value "), []byte("value"))
		},
	},
	{
		"compare bytes, not text", "Old is compared byte for byte: no letters are folded and nothing is read as a number.",
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

// keyCases are about keys being told apart.
var keyCases = []storeCase{
	{
		"longest key", "Keys have up to 64 bytes, and all of them count.",
		func(ctx context.Context, e *storeEnv) {
			stem := e.prefix + strings.Repeat("x", 63-len(e.prefix))
			e.apart(ctx, stem+"a", stem+"b", stem)
		},
	},
	{
		"shortest key", "Keys have 1 byte or more.",
		func(ctx context.Context, e *storeEnv) {
			for _, key := range []string{"k", "7", "_", "-"} {
				// Such a key cannot be random. An earlier run may have left
				// something under it.
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
		"key signs", "Keys are made of A-Z, a-z, 0-9, _ and -, and each stands for itself.",
		func(ctx context.Context, e *storeEnv) {
			e.apart(ctx, e.key("a-b"), e.key("a_b"), e.key("axb"), e.key("ab"), e.key("ab-"), e.key("ab_"))
			e.apart(ctx, e.key("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), e.key("abcdefghijklmnopqrstuvwxyz"), e.key("0123456789_-"))
		},
	},
	{
		"key beginnings", "A key that begins with another key is another key.",
		func(ctx context.Context, e *storeEnv) {
			e.apart(ctx, e.key("k"), e.key("kk"), e.key("k0"), e.key("k00"))
		},
	},
}

// argumentCases are about whose memory is whose.
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
		"arguments not kept", "CompareAndSwap stores a copy of new: the caller may change its arguments afterwards.",
		func(ctx context.Context, e *storeEnv) {
			old, new := []byte("first"), []byte("second")
			e.swaps(ctx, e.key("k"), nil, old, long)
			clear(old)
			e.holds(ctx, e.key("k"), []byte("first"))
			old = []byte("first")
			e.swaps(ctx, e.key("k"), old, new, long)
			clear(old)
			clear(new)
			e.holds(ctx, e.key("k"), []byte("second"))
		},
	},
	{
		"arguments not changed", "CompareAndSwap does not change its arguments, nor the memory behind them.",
		func(ctx context.Context, e *storeEnv) {
			memory := []byte("one.two.three.")
			first, second, third := memory[0:3], memory[4:7], memory[8:13]
			e.swaps(ctx, e.key("k"), nil, first, long)
			e.keeps(ctx, e.key("k"), second, third, long)
			e.swaps(ctx, e.key("k"), first, second, long)
			e.swaps(ctx, e.key("k"), second, nil, 0)
			if e.err == nil && string(memory) != "one.two.three." {
				e.failf("the memory of the arguments went from %q to %q", "one.two.three.", memory)
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

// differ checks that a and b are told apart, either way round.
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

// apart checks that each key has a value of its own.
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
