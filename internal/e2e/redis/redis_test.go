// Package redis tests the two Redis stores together: each must read what the
// other wrote. It is outside their modules so that neither requires the other's
// driver.
package redis

import (
	"bytes"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/redisstore"
	"github.com/go-mailotp/otp/rueidisstore"
)

// both returns the two stores on the same ledgers.
func both(t *testing.T, prefix string, addrs ...string) (*redisstore.Store, *rueidisstore.Store) {
	a := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs})
	t.Cleanup(func() { a.Close() })
	first, err := redisstore.New(a, &redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	b, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	second, err := rueidisstore.New(b, &rueidisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return first, second
}

func TestSameLedgers(t *testing.T) {
	require.Equal(t, redisstore.DefaultPrefix, rueidisstore.DefaultPrefix)
	a, b := both(t, storetest.RedisPrefix(), servers.Redis(t))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	values := [][]byte{all, {0}, bytes.Repeat([]byte("\r\n$5"), 4096), []byte("last")}
	var old []byte
	for i, value := range values {
		from, to := otp.Store(a), otp.Store(b)
		if i%2 == 1 {
			from, to = to, from
		}
		swapped, err := from.CompareAndSwap(t.Context(), "k", old, value, time.Minute)
		require.NoError(t, err)
		require.True(t, swapped)
		got, err := to.Load(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, value, got)
		old = value
	}
	swapped, err := a.CompareAndSwap(t.Context(), "k", old, nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
	got, err := b.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Nil(t, got)
}

// B1, B2: two verifiers, each over the other driver, share every budget.
func TestRaces(t *testing.T) {
	a, b := both(t, storetest.RedisPrefix(), servers.Redis(t))
	storetest.Races(t, a, b, testkit.Rounds(3, 20))
}

// B16, B1, B2
func TestRaces_failovers(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	a, b := both(t, storetest.RedisPrefix(), cluster.Addrs()...)
	storetest.RedisFailovers(t, cluster, a, b)
}
