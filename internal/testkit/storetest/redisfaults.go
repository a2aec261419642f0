package storetest

import (
	"strconv"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

// RedisFailovers promotes replicas of a cluster in good order while 50 clients
// send and check. Nothing acknowledged may be lost.
func RedisFailovers(t *testing.T, cluster *servers.RedisCluster, stores ...otp.Store) {
	t.Helper()
	traffic := StartTraffic(t, 50, 10*time.Second, stores...)
	traffic.Wait(t, testkit.Rounds(50, 200))
	for i := range testkit.Rounds(2, 4) {
		cluster.Failover(t, i%3)
		traffic.Wait(t, testkit.Rounds(50, 100))
	}
	traffic.Stop()
	traffic.Audit(t, stores[0]).Kept(t)
}

// redisSlotMoves moves the slot of the stores' prefix, a tag in braces, from shard
// to shard with all ledgers in it while 50 clients send and check. Nothing
// acknowledged may be lost.
func redisSlotMoves(t *testing.T, cluster *servers.RedisCluster, prefix string, stores ...otp.Store) {
	t.Helper()
	slot, _ := strconv.Atoi(cluster.Primaries[0].Must(t, "CLUSTER", "KEYSLOT", prefix))
	home := slot * 3 / 16384
	traffic := StartTraffic(t, 50, 10*time.Second, stores...)
	for i := range testkit.Rounds(3, 6) {
		traffic.Wait(t, testkit.Rounds(50, 100))
		cluster.MoveSlot(t, (home+i)%3, (home+i+1)%3, slot)
	}
	traffic.Wait(t, testkit.Rounds(50, 100))
	traffic.Stop()
	traffic.Audit(t, stores[0]).Kept(t)
}

// redisKilled kills a server that syncs each write while clients send and check.
// Nothing acknowledged may be lost.
func redisKilled(t *testing.T, d RedisDriver) {
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := d.pair(t, RedisPrefix(), server.Addr)
	traffic := StartTraffic(t, 20, 10*time.Second, a, b)
	for range testkit.Rounds(2, 3) {
		traffic.Wait(t, testkit.Rounds(60, 250))
		server.Kill()
		server.Restart(t)
	}
	traffic.Wait(t, testkit.Rounds(60, 250))
	traffic.Stop()
	traffic.Audit(t, a).Kept(t)
}
