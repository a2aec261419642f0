package redisswap

import (
	"crypto/sha1"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSHA(t *testing.T) {
	sum := sha1.Sum([]byte(Script))
	require.Equal(t, SHA, hex.EncodeToString(sum[:]))
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
