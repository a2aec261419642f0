package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/redisstore"
)

// A Sentinel promotes the replica of a primary that died, and the store goes on.
// What was lost on the way depends on the replica; see TestLosses_primaryDies.
func TestSentinel(t *testing.T) {
	primary, replica := servers.StartRedisPair(t)
	sentinel := servers.StartRedisSentinel(t, primary)
	options := redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{sentinel}}
	client := redis.NewFailoverClient(&options)
	defer client.Close()
	s := newStore(t, client)
	require.NoError(t, s.Ping(t.Context()))

	// B16: New cannot see that this one leads to replicas; they refuse.
	options.ReplicaOnly = true
	reader := redis.NewFailoverClient(&options)
	defer reader.Close()
	r := newStore(t, reader)
	storetest.RedisReplica(t, r)
	require.ErrorIs(t, r.Ping(t.Context()), redisstore.ErrReplica)

	traffic := storetest.StartTraffic(t, 20, 5*time.Second, s)
	traffic.Wait(t, 100)
	primary.Kill()
	servers.Wait(t, "the Sentinel to promote", func() error {
		if !replica.Primary() {
			return errors.New("not yet")
		}
		return nil
	})
	traffic.Wait(t, 100)
	traffic.Stop()
	t.Log(traffic.Audit(t, s))
	require.NoError(t, s.Ping(t.Context()))
}
