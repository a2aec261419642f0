package redisswap

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSHA(t *testing.T) {
	sum := sha1.Sum([]byte(Script))
	require.Equal(t, hex.EncodeToString(sum[:]), SHA)
}

func TestMilliseconds(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{
		0: 1, 1: 1, time.Microsecond: 1, time.Millisecond: 1, time.Millisecond + 1: 2, 1400 * time.Millisecond: 1400,
		time.Second - 1: 1000, 31 * 24 * time.Hour: 31 * 24 * 3600_000, math.MaxInt64: math.MaxInt64/1_000_000 + 1,
	} {
		require.Equal(t, want, Milliseconds(ttl), "%d", ttl)
	}
}

// B16: a server that may evict ledgers, or is a replica, is found out.
func TestCheckPrimary(t *testing.T) {
	info := func(role, limit, policy string) string {
		return "# Memory\r\nused_memory:1\r\nmaxmemory:" + limit + "\r\nmaxmemory_human:0B\r\nmaxmemory_policy:" + policy + "\r\nrole:" + role + "\r\n"
	}
	require.NoError(t, CheckPrimary(info("master", "0", "allkeys-lru")))
	require.NoError(t, CheckPrimary(info("master", "1000", "noeviction")))
	for _, policy := range []string{"allkeys-lru", "volatile-ttl", "volatile-lru", "eviction"} {
		err := CheckPrimary(info("master", "1000", policy))
		require.ErrorIs(t, err, ErrEviction)
		require.ErrorContains(t, err, policy)
	}
	require.ErrorIs(t, CheckPrimary(info("slave", "0", "noeviction")), ErrReplica)
	err := CheckPrimary("role:master\r\n")
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrEviction)
}

func TestAwait(t *testing.T) {
	boom := errors.New("boom")
	got, err := Await(t.Context(), func() (int, error) { return 7, boom })
	require.Equal(t, 7, got)
	require.Equal(t, boom, err)
	got, err = Await(context.Background(), func() (int, error) { return 8, nil }) // never ends
	require.Equal(t, 8, got)
	require.NoError(t, err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Await(ended, func() (int, error) { t.Error("begun after the end"); return 0, nil })
	require.ErrorIs(t, err, context.Canceled)

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := Await(ctx, func() (int, error) { time.Sleep(time.Minute); return 0, nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		time.Sleep(time.Hour) // the call ends by itself
	})
}
