package redisstore_test

import (
	"testing"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
)

// pair returns two stores on the same ledgers, each over a client of its own.
func pair(t *testing.T, prefix string, cluster *servers.RedisCluster) []otp.Store {
	return []otp.Store{storeAt(t, ofCluster(t, cluster), prefix), storeAt(t, ofCluster(t, cluster), prefix)}
}

// B16, B1, B2
func TestCluster_failovers(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	storetest.RedisFailovers(t, cluster, pair(t, newPrefix(), cluster)...)
}

// B16, B1, B2
func TestCluster_slotMoves(t *testing.T) {
	cluster, prefix := servers.StartRedisCluster(t), "{"+newPrefix()+"}"
	storetest.RedisSlotMoves(t, cluster, prefix, pair(t, prefix, cluster)...)
}

// B16, B1, B2
func TestSingle_killed(t *testing.T) {
	server, prefix := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always"), newPrefix()
	storetest.RedisKilled(t, server, storeAt(t, single(t, server.Addr), prefix), storeAt(t, single(t, server.Addr), prefix))
}
