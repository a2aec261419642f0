package storetest

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

var one, two = []byte("one"), []byte("two")

// redisScript checks what becomes of a swap when the server has forgotten the
// script, as after a restart or a failover: store reaches the server by the proxy.
func redisScript(t *testing.T, server *servers.RedisServer, proxy *servers.RedisProxy, store otp.Store) {
	t.Helper()
	swap(t, store, nil, one)
	server.Must(t, "SCRIPT", "FLUSH")
	proxy.Commands()
	swap(t, store, one, two)
	sent(t, proxy, "EVALSHA", "EVAL")
	swap(t, store, two, nil)
	sent(t, proxy, "EVALSHA")
}

// redisLostAnswer checks that a swap whose answer is lost is an error, is made
// once and is not sent again, while a load is.
func redisLostAnswer(t *testing.T, server *servers.RedisServer, proxy *servers.RedisProxy, store otp.Store) {
	t.Helper()
	lost := func(old, new []byte, want ...string) {
		t.Helper()
		proxy.Commands()
		proxy.LoseAnswer(want[len(want)-1])
		if swapped, err := store.CompareAndSwap(t.Context(), "k", old, new, time.Minute); swapped || err == nil {
			t.Fatalf("with a lost answer: %v, %v", swapped, err)
		}
		sent(t, proxy, want...)
		proxy.LoseAnswer("GETEX")
		if value, err := store.Load(t.Context(), "k"); string(value) != string(new) || err != nil {
			t.Fatalf("Load gave %q, %v; want %q", value, err, new)
		}
		sent(t, proxy, "GETEX", "GETEX")
	}
	swap(t, store, nil, one)
	lost(one, two, "EVALSHA")
	server.Must(t, "SCRIPT", "FLUSH")
	lost(two, one, "EVALSHA", "EVAL")
}

// redisForeign checks what the store makes of keys that no store wrote, how it
// names its own, and that they end. The keys begin with prefix.
func redisForeign(t *testing.T, server *servers.RedisServer, prefix string, store otp.Store) {
	t.Helper()
	server.Must(t, "LPUSH", prefix+"list", "x")
	if _, err := store.Load(t.Context(), "list"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Load of a list gave %v", err)
	}
	if swapped, err := store.CompareAndSwap(t.Context(), "list", nil, one, time.Minute); swapped || err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("a swap of a list gave %v, %v", swapped, err)
	}
	server.Must(t, "SET", prefix+"k", "") // no store writes an empty value, so it is none
	if value, err := store.Load(t.Context(), "k"); value != nil || err != nil {
		t.Errorf("Load of an empty value gave %q, %v", value, err)
	}
	raw := []byte("a\x00b\r\n\xff")
	swap(t, store, nil, raw)
	if got := server.Must(t, "GET", prefix+"k"); got != string(raw) {
		t.Errorf("the server has %q, want %q", got, raw)
	}
	if ms, _ := strconv.Atoi(server.Must(t, "PTTL", prefix+"k")); ms < 50_000 || ms > 60_000 {
		t.Errorf("the key lives for %d ms, want a minute", ms)
	}
	swap(t, store, raw, nil)
}

// redisReplica checks that nothing is answered where store leads to a replica: not
// even that a comparison failed, since a replica may be late.
func redisReplica(t *testing.T, store otp.Store) {
	t.Helper()
	if value, err := store.Load(t.Context(), "k"); value != nil || err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("Load gave %q, %v", value, err)
	}
	for _, args := range [][2][]byte{{nil, one}, {one, two}, {two, one}, {one, nil}, {two, nil}} {
		swapped, err := store.CompareAndSwap(t.Context(), "k", args[0], args[1], time.Minute)
		if swapped || err == nil || !strings.Contains(err.Error(), "READONLY") {
			t.Errorf("a swap of %q for %q gave %v, %v", args[0], args[1], swapped, err)
		}
	}
}

// redisFull checks that a full server that does not evict refuses a swap, and
// still lets read and delete.
func redisFull(t *testing.T, server *servers.RedisServer, store otp.Store) {
	t.Helper()
	swap(t, store, nil, one)
	server.Must(t, "CONFIG", "SET", "maxmemory", "1")
	defer server.Must(t, "CONFIG", "SET", "maxmemory", "0")
	if swapped, err := store.CompareAndSwap(t.Context(), "k", one, two, time.Minute); swapped || err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("a swap gave %v, %v", swapped, err)
	}
	if value, err := store.Load(t.Context(), "k"); string(value) != "one" || err != nil {
		t.Errorf("Load gave %q, %v", value, err)
	}
	swap(t, store, one, nil)
}

// redisAbandoned checks that a swap that its caller gave up works on what it was
// given, whatever the caller then does with it.
func redisAbandoned(t *testing.T, server *servers.RedisServer, store otp.Store) {
	t.Helper()
	swap(t, store, nil, one)
	server.Freeze()
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		old, new := bytes.Clone(one), bytes.Clone(two)
		if swapped, err := store.CompareAndSwap(ctx, "k", old, new, time.Minute); swapped || err == nil {
			t.Fatalf("on a frozen server: %v, %v", swapped, err)
		}
		cancel()
		copy(old, "xxx") // the caller's again
		copy(new, "xxx")
	}
	server.Thaw()
	value, err := store.Load(t.Context(), "k")
	if err != nil || !bytes.Equal(value, one) && !bytes.Equal(value, two) {
		t.Errorf("Load gave %q, %v; want one or two", value, err)
	}
}

func swap(t *testing.T, store otp.Store, old, new []byte) {
	t.Helper()
	if swapped, err := store.CompareAndSwap(t.Context(), "k", old, new, time.Minute); !swapped || err != nil {
		t.Fatalf("the swap of %q for %q gave %v, %v", old, new, swapped, err)
	}
}

func sent(t *testing.T, proxy *servers.RedisProxy, want ...string) {
	t.Helper()
	if got := proxy.Commands(); !slices.Equal(got, want) {
		t.Fatalf("sent %v, want %v", got, want)
	}
}
