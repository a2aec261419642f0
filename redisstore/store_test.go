package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/redisstore"
)

func TestMain(m *testing.M) { storetest.RedisMain(m, driver) }

var driver = storetest.RedisDriver{
	Open: openWith(nil),
	Settings: map[string]storetest.OpenRedis{
		"small pool": openWith(func(o *redis.UniversalOptions) { o.PoolSize = 2 }),
		"contexts":   openWith(func(o *redis.UniversalOptions) { o.ContextTimeoutEnabled = true }),
	},
	Lazy:          true,
	ClusterRights: []string{"+cluster|slots", "+command"},
}

func openWith(change func(*redis.UniversalOptions)) storetest.OpenRedis {
	return func(r storetest.RedisTarget) (storetest.RedisStore, func(), error) {
		o := &redis.UniversalOptions{
			Addrs: r.Addrs, MasterName: r.Master, ReadOnly: r.Replicas, Username: r.User, Password: r.Password,
			ReadTimeout: r.Timeout, WriteTimeout: r.Timeout,
		}
		if change != nil {
			change(o)
		}
		client := redis.NewUniversalClient(o)
		store, err := redisstore.New(client, &redisstore.Options{Prefix: r.Prefix})
		return store, func() { client.Close() }, err
	}
}

// B1, B2: guesses in a race, in one process and in several.
// B16: replicas, evictions, failovers and crashes.
func TestStore(t *testing.T) { storetest.RedisSuite(t, driver) }

// B16: New rejects clients that read from replicas, and others that cannot keep
// the contract. None of them needs a server.
func TestNew_rejects(t *testing.T) {
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
