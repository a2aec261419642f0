package storetest

import (
	"strconv"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

// RedisFailovers lets replicas of a cluster take over in good order while 50
// clients ask and check. Nothing may be given back.
func RedisFailovers(t *testing.T, cluster *servers.RedisCluster, stores ...otp.Store) {
	t.Helper()
	traffic := StartTraffic(t, 50, 10*time.Second, stores...)
	traffic.Wait(t, 200)
	for i := range 4 {
		cluster.Failover(t, i%3)
		traffic.Wait(t, 100)
	}
	traffic.Stop()
	traffic.Audit(t, stores[0]).Kept(t)
}

// RedisSlotMoves lets the slot of the stores' prefix, a tag in braces, wander from
// shard to shard with all ledgers in it while 50 clients ask and check. Nothing
// may be given back.
func RedisSlotMoves(t *testing.T, cluster *servers.RedisCluster, prefix string, stores ...otp.Store) {
	t.Helper()
	slot, _ := strconv.Atoi(cluster.Primaries[0].Must(t, "CLUSTER", "KEYSLOT", prefix))
	home := slot * 3 / 16384
	traffic := StartTraffic(t, 50, 10*time.Second, stores...)
	for i := range 6 {
		traffic.Wait(t, 100)
		cluster.MoveSlot(t, (home+i)%3, (home+i+1)%3, slot)
	}
	traffic.Wait(t, 100)
	traffic.Stop()
	traffic.Audit(t, stores[0]).Kept(t)
}

// RedisKilled kills a server that syncs each write, three times in a thousand
// flows. Nothing may be given back.
func RedisKilled(t *testing.T, server *servers.RedisServer, stores ...otp.Store) {
	t.Helper()
	traffic := StartTraffic(t, 20, 10*time.Second, stores...)
	for range 3 {
		traffic.Wait(t, 250)
		server.Kill()
		server.Restart(t)
	}
	traffic.Wait(t, 250)
	traffic.Stop()
	traffic.Audit(t, stores[0]).Kept(t)
}
