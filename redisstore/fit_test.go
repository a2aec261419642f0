package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/redisstore"
)

// B16: clients that read from replicas are refused, and others that cannot keep
// the contract. None of them needs a server.
func TestNew_refuses(t *testing.T) {
	const addr = "127.0.0.1:1"
	for name, client := range map[string]redis.UniversalClient{
		"ReadOnly":       redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ReadOnly: true}),
		"RouteByLatency": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, RouteByLatency: true}),
		"RouteRandomly":  redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{addr, addr}, RouteRandomly: true}),
		"ReadTimeout":    redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: -1, WriteTimeout: time.Second}),
		"WriteTimeout":   redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, WriteTimeout: -2}),
		"Ring":           redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": addr}}),
		"<nil>":          nil,
	} {
		_, err := redisstore.New(client, nil)
		require.ErrorContains(t, err, name)
		if client != nil {
			client.Close()
		}
	}
	failover := redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, ReplicaOnly: true})
	defer failover.Close()
	_, err := redisstore.New(failover, nil)
	require.ErrorContains(t, err, "ReadOnly")
}

// B16: on a replica nothing is read and nothing is written, also where New could
// not see that the client leads there.
func TestStore_replica(t *testing.T) {
	primary, replica := servers.StartRedisPair(t)
	prefix := newPrefix()
	_, err := storeAt(t, single(t, primary.Addr), prefix).CompareAndSwap(t.Context(), "k", nil, []byte("one"), time.Minute)
	require.NoError(t, err)
	s := storeAt(t, single(t, replica.Addr), prefix)
	storetest.RedisReplica(t, s)
	require.ErrorIs(t, s.Ping(t.Context()), redisstore.ErrReplica)
}

// B16: an eviction policy that may throw ledgers away is told of, on every
// primary.
func TestPing_eviction(t *testing.T) {
	server := servers.StartRedis(t)
	s := newStore(t, single(t, server.Addr))
	require.NoError(t, s.Ping(t.Context()))
	server.Must(t, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	require.NoError(t, s.Ping(t.Context())) // no maxmemory, so it never evicts
	server.Must(t, "CONFIG", "SET", "maxmemory", "100mb")
	err := s.Ping(t.Context())
	require.ErrorIs(t, err, redisstore.ErrEviction)
	require.ErrorContains(t, err, "volatile-ttl")
	server.Must(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	require.NoError(t, s.Ping(t.Context()))

	cluster := servers.StartRedisCluster(t)
	s = newStore(t, ofCluster(t, cluster))
	require.NoError(t, s.Ping(t.Context()))
	for _, primary := range cluster.Primaries {
		primary.Must(t, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru")
		require.ErrorIs(t, s.Ping(t.Context()), redisstore.ErrEviction)
		primary.Must(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	}
	require.NoError(t, s.Ping(t.Context()))
}

func TestStore_abandoned(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.RedisAbandoned(t, server, newStore(t, single(t, server.Addr)))
}

func TestStore_full(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.RedisFull(t, server, newStore(t, single(t, server.Addr)))
}

// The rights that the README names are enough; with fewer Ping says what is
// missing.
func TestPing_rights(t *testing.T) {
	rights := []string{"ACL", "SETUSER", "codes", "on", ">secret", "~otp:*", "+getex", "+evalsha", "+eval", "+get", "+set", "+del", "+info"}
	server := servers.StartRedis(t)
	server.Must(t, rights...)
	client := single(t, server.Addr, func(o *redis.Options) { o.Username, o.Password = "codes", "secret" })
	s := storeAt(t, client, "otp:")
	require.NoError(t, s.Ping(t.Context()))
	swapped, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("one"), time.Minute)
	require.NoError(t, err)
	require.True(t, swapped)
	swapped, err = s.CompareAndSwap(t.Context(), "k", []byte("one"), nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
	require.ErrorContains(t, storeAt(t, client, "elsewhere:").Ping(t.Context()), "NOPERM")
	for _, right := range []string{"getex", "evalsha", "get", "set", "del", "info"} {
		server.Must(t, "ACL", "SETUSER", "codes", "-"+right)
		err := s.Ping(t.Context())
		require.Error(t, err, right)
		require.Regexp(t, "NOPERM|can't run this command|"+right, err.Error())
		server.Must(t, "ACL", "SETUSER", "codes", "+"+right)
	}

	cluster := servers.StartRedisCluster(t)
	for _, node := range cluster.All() {
		node.Must(t, append(rights, "+cluster|slots", "+command")...)
	}
	ofCluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Username: "codes", Password: "secret"})
	defer ofCluster.Close()
	require.NoError(t, storeAt(t, ofCluster, "otp:").Ping(t.Context()))
}

// Every call ends with its context, whatever the client's own settings.
func TestStore_ends(t *testing.T) {
	t.Run("frozen", func(t *testing.T) {
		server := servers.StartRedis(t)
		s := newStore(t, single(t, server.Addr, func(o *redis.Options) { o.PoolSize = 2 }))
		require.NoError(t, s.Ping(t.Context()))
		server.Freeze()
		storetest.Ends(t, s)
		server.Thaw()
		servers.Wait(t, "the store to work again", func() error { return s.Ping(t.Context()) })
	})
	t.Run("frozen from the start", func(t *testing.T) {
		server := servers.StartRedis(t)
		server.Freeze()
		storetest.Ends(t, newStore(t, single(t, server.Addr, func(o *redis.Options) { o.ContextTimeoutEnabled = true })))
	})
	t.Run("slow", func(t *testing.T) {
		proxy := servers.StartRedisProxy(t, servers.StartRedis(t).Addr)
		s := newStore(t, single(t, proxy.Addr))
		require.NoError(t, s.Ping(t.Context()))
		proxy.Delay(time.Second)
		storetest.Ends(t, s)
	})
	t.Run("gone", func(t *testing.T) {
		server := servers.StartRedis(t)
		s := newStore(t, single(t, server.Addr))
		require.NoError(t, s.Ping(t.Context()))
		server.Kill()
		_, err := s.Load(t.Context(), "k")
		require.Error(t, err)
		swapped, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("v"), time.Minute)
		require.Error(t, err)
		require.False(t, swapped)
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := servers.StartRedisCluster(t)
		s := newStore(t, ofCluster(t, cluster))
		require.NoError(t, s.Ping(t.Context()))
		for _, server := range cluster.All() {
			server.Freeze()
		}
		storetest.Ends(t, s)
	})
}
