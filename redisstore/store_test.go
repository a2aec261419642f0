package redisstore_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/redisstore"
)

func TestMain(m *testing.M) {
	storetest.Child(func(how string) (otp.Store, error) { // how is the address, a space, and the prefix
		addr, prefix, _ := strings.Cut(how, " ")
		return redisstore.New(redis.NewClient(&redis.Options{Addr: addr}), &redisstore.Options{Prefix: prefix})
	})
	os.Exit(m.Run())
}

// single returns a client of one server.
func single(t testing.TB, addr string, more ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: addr}
	for _, f := range more {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// ofCluster returns a client of a cluster.
func ofCluster(t testing.TB, c *servers.RedisCluster) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { client.Close() })
	return client
}

func newPrefix() string { return "otp-test:" + rand.Text() + ":" }

// newStore returns a store with keys of its own.
func newStore(t testing.TB, client redis.UniversalClient) *redisstore.Store {
	return storeAt(t, client, newPrefix())
}

func storeAt(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	s, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	t.Parallel() // it mostly waits
	client := single(t, servers.Redis(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}

func TestStore_cluster(t *testing.T) {
	t.Parallel()
	client := ofCluster(t, servers.StartRedisCluster(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
	t.Run("races", func(t *testing.T) {
		prefix := newPrefix()
		storetest.Races(t, storeAt(t, client, prefix), storeAt(t, client, prefix), 20)
	})
	require.NoError(t, newStore(t, client).Ping(t.Context()))
}

// B1, B2
func TestStore_races(t *testing.T) {
	addr, prefix := servers.Redis(t), newPrefix()
	storetest.Races(t, storeAt(t, single(t, addr), prefix), storeAt(t, single(t, addr), prefix), 50)
}

// B1, B2
func TestStore_processes(t *testing.T) {
	addr, prefix := servers.Redis(t), newPrefix()
	storetest.Processes(t, storeAt(t, single(t, addr), prefix), addr+" "+prefix, 20)
}

// behindProxy returns a server, a proxy before it, and a store that goes by it.
func behindProxy(t *testing.T) (*servers.RedisServer, *servers.RedisProxy, *redisstore.Store) {
	server := servers.StartRedis(t)
	proxy := servers.StartRedisProxy(t, server.Addr)
	return server, proxy, newStore(t, single(t, proxy.Addr))
}

// What a step of a flow costs.
func TestStore_trips(t *testing.T) {
	_, proxy, s := behindProxy(t)
	storetest.CheckTrips(t, s, proxy.Commands, storetest.RedisTrips)
}

func TestStore_script(t *testing.T) {
	server, proxy, s := behindProxy(t)
	storetest.RedisScript(t, server, proxy, s)
}

// Though the client's MaxRetries says 3.
func TestStore_lostAnswer(t *testing.T) {
	server, proxy, s := behindProxy(t)
	storetest.RedisLostAnswer(t, server, proxy, s)
}

func TestStore_foreignKeys(t *testing.T) {
	server := servers.StartRedis(t)
	s, err := redisstore.New(single(t, server.Addr), nil)
	require.NoError(t, err)
	storetest.RedisForeign(t, server, "otp:", s)
}
