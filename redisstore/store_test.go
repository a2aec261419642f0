package redisstore_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/servers"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/redisstore"
)

// single returns a client of one server.
func single(t testing.TB, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// newStore returns a store with keys of its own.
func newStore(t testing.TB, client redis.UniversalClient) *redisstore.Store {
	s, err := redisstore.New(client, &redisstore.Options{Prefix: "otp-test:" + rand.Text() + ":"})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	client := single(t, servers.Redis(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}

func TestStore_cluster(t *testing.T) {
	began := time.Now()
	cluster := servers.StartRedisCluster(t)
	t.Logf("the cluster took %v", time.Since(began))
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	t.Cleanup(func() { client.Close() })
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}
