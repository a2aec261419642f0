package rueidisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/rueidisstore"
)

func TestNew_noClient(t *testing.T) {
	_, err := rueidisstore.New(nil, nil)
	require.Error(t, err)
}

// B16: on a replica nothing is read and nothing is written.
func TestStore_replica(t *testing.T) {
	_, replica := servers.StartRedisPair(t)
	s := newStore(t, connect(t, replica.Addr))
	storetest.RedisReplica(t, s)
	require.ErrorIs(t, s.Ping(t.Context()), rueidisstore.ErrReplica)
}

// B16: no ledger is read from a replica of a cluster, however the client is set.
func TestStore_replicaOfCluster(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	for name, o := range map[string]rueidis.ClientOption{
		"reads":       {SendToReplicas: func(c rueidis.Completed) bool { return c.IsReadOnly() }},
		"all":         {SendToReplicas: func(rueidis.Completed) bool { return true }},
		"ReplicaOnly": {ReplicaOnly: true},
	} {
		o.InitAddress = cluster.Addrs()
		s := newStore(t, connectBy(t, o))
		for i := range 20 { // on every node
			key, value := string(rune('a'+i)), []byte("one")
			swapped, err := s.CompareAndSwap(t.Context(), key, nil, value, time.Minute)
			if name == "reads" {
				require.NoError(t, err)
			}
			if err != nil {
				require.ErrorContains(t, err, "READONLY", name)
				continue
			}
			require.True(t, swapped)
			got, err := s.Load(t.Context(), key)
			require.NoError(t, err, name)
			require.Equal(t, value, got)
		}
	}
	for _, server := range cluster.All() {
		stats := server.Must(t, "INFO", "commandstats")
		if !server.Primary() {
			for _, line := range strings.Split(stats, "\n") {
				if strings.HasPrefix(line, "cmdstat_getex:") {
					require.Contains(t, line, "calls=0,", "a replica answered")
				}
			}
		}
	}
}

// B16: an eviction policy that may throw ledgers away is told of, on every
// primary.
func TestPing_eviction(t *testing.T) {
	server := servers.StartRedis(t)
	s := newStore(t, connect(t, server.Addr))
	require.NoError(t, s.Ping(t.Context()))
	server.Must(t, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
	require.ErrorIs(t, s.Ping(t.Context()), rueidisstore.ErrEviction)

	cluster := servers.StartRedisCluster(t)
	s = newStore(t, connect(t, cluster.Addrs()...))
	require.NoError(t, s.Ping(t.Context()))
	for _, primary := range cluster.Primaries {
		primary.Must(t, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru")
		require.ErrorIs(t, s.Ping(t.Context()), rueidisstore.ErrEviction)
		primary.Must(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	}
	require.NoError(t, s.Ping(t.Context()))
}

// The rights that the README names are enough.
func TestPing_rights(t *testing.T) {
	rights := []string{"ACL", "SETUSER", "codes", "on", ">secret", "~otp:*", "+getex", "+evalsha", "+eval", "+get", "+set", "+del", "+info", "+client|tracking"}
	server, cluster := servers.StartRedis(t), servers.StartRedisCluster(t)
	server.Must(t, rights...)
	for _, node := range cluster.All() {
		node.Must(t, append(rights, "+cluster|slots", "+cluster|shards")...)
	}
	for _, addrs := range [][]string{{server.Addr}, cluster.Addrs()} {
		client := connectBy(t, rueidis.ClientOption{InitAddress: addrs, Username: "codes", Password: "secret"})
		require.NoError(t, storeAt(t, client, "otp:").Ping(t.Context()))
		require.ErrorContains(t, storeAt(t, client, "elsewhere:").Ping(t.Context()), "NOPERM")
	}
}

func TestStore_abandoned(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.RedisAbandoned(t, server, newStore(t, connect(t, server.Addr)))
}

func TestStore_full(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.RedisFull(t, server, newStore(t, connect(t, server.Addr)))
}

// Every call ends with its context, whatever the client's own settings.
func TestStore_ends(t *testing.T) {
	for name, o := range map[string]rueidis.ClientOption{
		"default":   {},
		"pooled":    {DisableAutoPipelining: true, BlockingPoolSize: 2},
		"pipelined": {AlwaysPipelining: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := servers.StartRedis(t)
			o.InitAddress = []string{server.Addr}
			s := newStore(t, connectBy(t, o))
			require.NoError(t, s.Ping(t.Context()))
			server.Freeze()
			storetest.Ends(t, s)
			server.Thaw()
			servers.Wait(t, "the store to work again", func() error { return s.Ping(t.Context()) })
		})
	}
	t.Run("slow", func(t *testing.T) {
		proxy := servers.StartRedisProxy(t, servers.StartRedis(t).Addr)
		s := newStore(t, connect(t, proxy.Addr))
		require.NoError(t, s.Ping(t.Context()))
		proxy.Delay(time.Second)
		storetest.Ends(t, s)
	})
}
