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
	"github.com/go-mailotp/otp/internal/redisswap"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

var one, two = []byte("one"), []byte("two")

// redisScript checks that a swap works when the server does not know the script, as
// after a restart or a failover. The store connects to the proxy.
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

// redisLostAnswer checks that a swap whose reply is lost is an error, is made once
// and is not retried, while a load is retried.
func redisLostAnswer(t *testing.T, server *servers.RedisServer, proxy *servers.RedisProxy, store otp.Store) {
	t.Helper()
	lost := func(from, to []byte, want ...string) {
		t.Helper()
		proxy.Commands()
		proxy.LoseAnswer(want[len(want)-1])
		if swapped, err := store.CompareAndSwap(t.Context(), "k", from, to, time.Minute); swapped || err == nil {
			t.Fatalf("with a lost reply: %v, %v", swapped, err)
		}
		sent(t, proxy, want...)
		proxy.LoseAnswer("GETEX")
		if value, err := store.Load(t.Context(), "k"); string(value) != string(to) || err != nil {
			t.Fatalf("Load gave %q, %v; want %q", value, err, to)
		}
		sent(t, proxy, "GETEX", "GETEX")
	}
	swap(t, store, nil, one)
	lost(one, two, "EVALSHA")
	server.Must(t, "SCRIPT", "FLUSH")
	lost(two, one, "EVALSHA", "EVAL")
}

// redisForeign checks how the store handles keys that no store wrote, how it names
// its own keys, and that they expire. The keys begin with prefix.
func redisForeign(t *testing.T, server *servers.RedisServer, prefix string, store otp.Store) {
	t.Helper()
	server.Must(t, "LPUSH", prefix+"list", "x")
	if _, err := store.Load(t.Context(), "list"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Load of a list gave %v", err)
	}
	if swapped, err := store.CompareAndSwap(t.Context(), "list", nil, one, time.Minute); swapped || err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("a swap of a list gave %v, %v", swapped, err)
	}
	server.Must(t, "SET", prefix+"k", "") // no store writes an empty value, so it counts as absent
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

// redisReplica checks that all calls fail if store is connected to a replica. A
// swap must not even return that the comparison failed, because the replica may be
// out of date.
func redisReplica(t *testing.T, store RedisStore) {
	t.Helper()
	pingFails(t, store, redisswap.ErrReplica)
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

// redisFull checks that a full server that does not evict rejects a swap, and still
// allows loads and deletes.
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

// redisAbandoned checks that a swap whose context has ended works on a copy of its
// arguments: the caller may change them after the call.
func redisAbandoned(t *testing.T, server *servers.RedisServer, store otp.Store) {
	t.Helper()
	swap(t, store, nil, one)
	server.Freeze()
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		from, to := bytes.Clone(one), bytes.Clone(two)
		if swapped, err := store.CompareAndSwap(ctx, "k", from, to, time.Minute); swapped || err == nil {
			t.Fatalf("on a frozen server: %v, %v", swapped, err)
		}
		cancel()
		copy(from, "xxx") // the caller owns them again
		copy(to, "xxx")
	}
	server.Thaw()
	value, err := store.Load(t.Context(), "k")
	if err != nil || !bytes.Equal(value, one) && !bytes.Equal(value, two) {
		t.Errorf("Load gave %q, %v; want one or two", value, err)
	}
}

func swap(t *testing.T, store otp.Store, from, to []byte) {
	t.Helper()
	if swapped, err := store.CompareAndSwap(t.Context(), "k", from, to, time.Minute); !swapped || err != nil {
		t.Fatalf("the swap of %q for %q gave %v, %v", from, to, swapped, err)
	}
}

func sent(t *testing.T, proxy *servers.RedisProxy, want ...string) {
	t.Helper()
	if got := proxy.Commands(); !slices.Equal(got, want) {
		t.Fatalf("sent %v, want %v", got, want)
	}
}
