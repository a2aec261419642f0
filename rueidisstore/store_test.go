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

func TestMain(m *testing.M) { storetest.RedisMain(m, driver) }

var driver = storetest.RedisDriver{
	Open: openWith(rueidis.ClientOption{}),
	Settings: map[string]storetest.OpenRedis{
		"pooled":    openWith(rueidis.ClientOption{DisableAutoPipelining: true, BlockingPoolSize: 2}),
		"pipelined": openWith(rueidis.ClientOption{AlwaysPipelining: true}),
	},
	Rights:        []string{"+client|tracking"},
	ClusterRights: []string{"+cluster|slots", "+cluster|shards"},
}

func openWith(o rueidis.ClientOption) storetest.OpenRedis {
	return func(r storetest.RedisTarget) (storetest.RedisStore, func(), error) {
		o := o
		o.InitAddress, o.Username, o.Password = r.Addrs, r.User, r.Password
		o.Sentinel.MasterSet, o.ReplicaOnly = r.Master, r.Replicas
		o.Dialer.Timeout, o.ConnWriteTimeout = r.Timeout, r.Timeout
		client, err := rueidis.NewClient(o)
		if err != nil {
			return nil, nil, err
		}
		store, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: r.Prefix})
		return store, client.Close, err
	}
}

// B1, B2: guesses in a race, in one process and in several.
// B16: replicas, evictions, failovers and crashes.
func TestStore(t *testing.T) { storetest.RedisSuite(t, driver) }

func TestNew_noClient(t *testing.T) {
	_, err := rueidisstore.New(nil, nil)
	require.Error(t, err)
}

// B16: no ledger is read from a replica of a cluster, however the client is set.
func TestStore_replicaOfCluster(t *testing.T) {
	t.Parallel()
	cluster := servers.StartRedisCluster(t)
	for name, o := range map[string]rueidis.ClientOption{
		"reads":       {SendToReplicas: func(c rueidis.Completed) bool { return c.IsReadOnly() }},
		"all":         {SendToReplicas: func(rueidis.Completed) bool { return true }},
		"ReplicaOnly": {ReplicaOnly: true},
	} {
		o.InitAddress = cluster.Addrs()
		client, err := rueidis.NewClient(o)
		require.NoError(t, err)
		defer client.Close()
		s, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: storetest.RedisPrefix()})
		require.NoError(t, err)
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
