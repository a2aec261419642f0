package rueidisstore_test

import (
	"testing"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
)

// pair returns two stores on the same ledgers, each over a client of its own.
func pair(t *testing.T, prefix string, addrs ...string) []otp.Store {
	return []otp.Store{storeAt(t, connect(t, addrs...), prefix), storeAt(t, connect(t, addrs...), prefix)}
}

// B16, B1, B2
func TestCluster_failovers(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	storetest.RedisFailovers(t, cluster, pair(t, newPrefix(), cluster.Addrs()...)...)
}

// B16, B1, B2
func TestCluster_slotMoves(t *testing.T) {
	cluster, prefix := servers.StartRedisCluster(t), "{"+newPrefix()+"}"
	storetest.RedisSlotMoves(t, cluster, prefix, pair(t, prefix, cluster.Addrs()...)...)
}

// B16, B1, B2
func TestSingle_killed(t *testing.T) {
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	storetest.RedisKilled(t, server, pair(t, newPrefix(), server.Addr)...)
}
