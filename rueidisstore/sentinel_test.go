package rueidisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/rueidisstore"
)

// A Sentinel promotes the replica of a primary that died, and the store goes on.
// What was lost on the way depends on the replica.
func TestSentinel(t *testing.T) {
	primary, replica := servers.StartRedisPair(t)
	sentinel := servers.StartRedisSentinel(t, primary)
	options := rueidis.ClientOption{InitAddress: []string{sentinel}, Sentinel: rueidis.SentinelOption{MasterSet: "main"}}
	s := newStore(t, connectBy(t, options))
	require.NoError(t, s.Ping(t.Context()))

	// B16: replicas refuse.
	options.ReplicaOnly = true
	r := newStore(t, connectBy(t, options))
	storetest.RedisReplica(t, r)
	require.ErrorIs(t, r.Ping(t.Context()), rueidisstore.ErrReplica)

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
