package redisstore_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/servers"
	"github.com/go-mailotp/otp/internal/storetest"
)

// flowsFrom waits until n more flows have ended.
func flowsFrom(t *testing.T, traffic *storetest.Traffic, n int) {
	t.Helper()
	began := traffic.Done()
	servers.Wait(t, "flows", func() error {
		if traffic.Done() < began+n {
			return errors.New("too few")
		}
		return nil
	})
}

// kept checks that nothing told was taken back.
func kept(t *testing.T, r storetest.Result) {
	t.Helper()
	t.Log(r)
	require.NotZero(t, r.Right)
	require.NotZero(t, r.Wrong)
	require.Zero(t, r.Twice, "a code was accepted twice")
	require.Zero(t, r.GivenBack, "more verdicts were told than are counted")
	require.Zero(t, r.Gone, "a ledger was lost")
	require.Less(t, r.Late, time.Second)
}

// B16, B1, B2: failovers in good order, while 50 clients ask and check, give
// nothing back.
func TestCluster_failovers(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	prefix := newPrefix()
	a, b := storeAt(t, ofCluster(t, cluster), prefix), storeAt(t, ofCluster(t, cluster), prefix)
	traffic := storetest.StartTraffic(t, 50, 10*time.Second, a, b)
	flowsFrom(t, traffic, 200)
	for i := range 4 {
		cluster.Failover(t, i%3)
		flowsFrom(t, traffic, 100)
	}
	traffic.Stop()
	kept(t, traffic.Audit(t, a))
}

// B16, B1, B2: nor does a resharding. All ledgers are in one slot here, which
// wanders about with them.
func TestCluster_slotMoves(t *testing.T) {
	cluster := servers.StartRedisCluster(t)
	prefix := "{" + newPrefix() + "}"
	slot, err := strconv.Atoi(cluster.Primaries[0].Must(t, "CLUSTER", "KEYSLOT", prefix))
	require.NoError(t, err)
	a, b := storeAt(t, ofCluster(t, cluster), prefix), storeAt(t, ofCluster(t, cluster), prefix)
	traffic := storetest.StartTraffic(t, 50, 10*time.Second, a, b)
	home := slot * 3 / 16384
	for i := range 6 {
		flowsFrom(t, traffic, 100)
		cluster.MoveSlot(t, (home+i)%3, (home+i+1)%3, slot)
	}
	flowsFrom(t, traffic, 100)
	traffic.Stop()
	kept(t, traffic.Audit(t, a))
}

// B16, B1, B2: a server that syncs each write is killed in the midst of a thousand
// flows and comes back with every one of them.
func TestSingle_killed(t *testing.T) {
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	prefix := newPrefix()
	a, b := storeAt(t, single(t, server.Addr), prefix), storeAt(t, single(t, server.Addr), prefix)
	traffic := storetest.StartTraffic(t, 20, 10*time.Second, a, b)
	for range 3 {
		flowsFrom(t, traffic, 250)
		server.Kill()
		server.Restart(t)
	}
	flowsFrom(t, traffic, 250)
	traffic.Stop()
	kept(t, traffic.Audit(t, a))
}
