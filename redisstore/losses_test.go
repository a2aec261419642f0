package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/redisstore"
)

// The tests in this file measure for the README how much servers lose that
// acknowledge a write before it is safe, in as many runs as OTP_TEST_RUNS says.
// Settings that must lose nothing are also tested every night.

// runs returns how often something is measured, and skips t if that is never.
func runs(t *testing.T, mustKeep bool) int {
	n, _ := strconv.Atoi(os.Getenv("OTP_TEST_RUNS"))
	if mustKeep && testkit.Nightly() {
		n = max(1, n)
	}
	if n == 0 {
		t.Skip("only measures: set OTP_TEST_RUNS")
	}
	return n
}

func storeAt(t *testing.T, client redis.UniversalClient, prefix string) *redisstore.Store {
	s, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return s
}

// losses adds up the results of some runs.
type losses struct {
	storetest.Result
	runs, with, worst int // runs, those that lost something, and the most that one lost
	rate              float64
}

func (l *losses) add(r storetest.Result, rate float64) {
	lost := r.Twice + r.GivenBack + r.Gone
	l.Flows += r.Flows
	l.Right += r.Right
	l.Wrong += r.Wrong
	l.Failed += r.Failed
	l.Twice += r.Twice
	l.GivenBack += r.GivenBack
	l.Gone += r.Gone
	l.runs++
	l.with += min(1, lost)
	l.worst = max(l.worst, lost)
	l.rate += rate
}

// tell logs the sum, and fails t if something was lost that must be kept.
func (l *losses) tell(t *testing.T, mustKeep bool) {
	t.Helper()
	t.Logf("%d of %d runs lost something, the worst %d; %.0f flows/s; %v", l.with, l.runs, l.worst, l.rate/float64(max(1, l.runs)), l.Result)
	if mustKeep {
		require.Zero(t, l.worst)
	}
}

// waiting is a store that acknowledges a swap only once a replica has it. WAIT
// counts from the last write on its own connection, so a write that changes
// nothing is sent before it.
type waiting struct {
	*redisstore.Store
	node   func(ctx context.Context, key string) (*redis.Client, error)
	prefix string
}

func (w waiting) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	swapped, err := w.Store.CompareAndSwap(ctx, key, oldValue, newValue, ttl)
	if err != nil || !swapped || newValue == nil {
		return swapped, err
	}
	node, err := w.node(ctx, w.prefix+key)
	if err != nil {
		return false, err
	}
	pipe := node.Pipeline() // one connection
	touched := pipe.PExpire(ctx, w.prefix+key, ttl)
	replicas := pipe.Do(ctx, "wait", 1, 1000)
	if _, err := pipe.Exec(ctx); err != nil {
		return false, err
	}
	if n, _ := replicas.Int(); !touched.Val() || n < 1 {
		return false, errors.New("no replica has it")
	}
	return true, nil
}

// A primary of a cluster is killed, and its replica takes over.
func TestLosses_clusterPrimaryKilled(t *testing.T) {
	for _, c := range []struct {
		name   string
		config []string
		wait   bool
	}{
		{name: "default"},
		{"min-replicas-to-write 1", []string{"--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"}, false},
		{name: "WAIT 1", wait: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := runs(t, c.wait)
			cluster := servers.StartRedisCluster(t, append(c.config, "--cluster-node-timeout", "2000")...)
			var sum losses
			for run := range runs {
				client, prefix := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}), storetest.RedisPrefix()
				t.Cleanup(func() { client.Close() })
				plain := storeAt(t, client, prefix)
				var s otp.Store = plain
				if c.wait {
					s = waiting{plain, client.MasterForKey, prefix}
				}
				began := time.Now()
				traffic := storetest.StartTraffic(t, 50, 10*time.Second, s)
				traffic.Wait(t, 300)
				primary, replica := cluster.Shard(t, run%3)
				primary.Kill()
				rate := float64(traffic.Done()) / time.Since(began).Seconds()
				servers.Wait(t, "the replica to take over", func() error {
					if !replica.Primary() {
						return errors.New("not yet")
					}
					return nil
				})
				primary.Restart(t)
				cluster.WaitReady(t)
				traffic.Wait(t, 100)
				traffic.Stop()
				sum.add(traffic.Audit(t, plain), rate)
			}
			sum.tell(t, c.wait)
		})
	}
}

// A primary dies with what was on its way to the replica, which takes over, as
// with Sentinel.
func TestLosses_primaryDies(t *testing.T) {
	for _, c := range []struct {
		lag  time.Duration
		wait bool
	}{{time.Millisecond, false}, {10 * time.Millisecond, false}, {100 * time.Millisecond, false}, {10 * time.Millisecond, true}} {
		t.Run(fmt.Sprintf("lag %v, WAIT %t", c.lag, c.wait), func(t *testing.T) {
			var sum losses
			for range runs(t, c.wait) {
				primary, replica := servers.StartRedis(t), servers.StartRedis(t)
				wire := servers.StartLag(t, primary.Addr, c.lag)
				replica.Follow(t, wire.Addr)
				var current atomic.Value
				current.Store(primary.Addr)
				client := redis.NewClient(&redis.Options{Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, current.Load().(string))
				}})
				t.Cleanup(func() { client.Close() })
				prefix := storetest.RedisPrefix()
				plain := storeAt(t, client, prefix)
				var s otp.Store = plain
				if c.wait {
					s = waiting{plain, func(context.Context, string) (*redis.Client, error) { return client, nil }, prefix}
				}
				began := time.Now()
				traffic := storetest.StartTraffic(t, 50, 5*time.Second, s)
				traffic.Wait(t, 300)
				wire.Cut()
				primary.Kill()
				rate := float64(traffic.Done()) / time.Since(began).Seconds()
				replica.Must(t, "REPLICAOF", "NO", "ONE")
				current.Store(replica.Addr)
				if !c.wait { // the new primary has no replica yet
					traffic.Wait(t, 100)
				}
				traffic.Stop()
				sum.add(traffic.Audit(t, plain), rate)
			}
			sum.tell(t, c.wait)
		})
	}
}

// A server dies and starts again with what it finds on its disk.
func TestLosses_serverDies(t *testing.T) {
	for _, c := range []struct {
		name     string
		config   []string
		powerCut time.Duration // so much of the file was not on the disk yet
		mustKeep bool
	}{
		{"always, kill -9", []string{"--appendonly", "yes", "--appendfsync", "always"}, 0, true},
		{"everysec, kill -9", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, 0, false},
		{"everysec, power cut", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, time.Second, false},
		{"no, kill -9", []string{"--appendonly", "yes", "--appendfsync", "no"}, 0, false},
		{"no appendonly, kill -9", nil, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sum losses
			for range runs(t, c.mustKeep) {
				server := servers.StartRedis(t, c.config...)
				client := redis.NewClient(&redis.Options{Addr: server.Addr})
				t.Cleanup(func() { client.Close() })
				plain := storeAt(t, client, storetest.RedisPrefix())
				began := time.Now()
				traffic := storetest.StartTraffic(t, 50, 10*time.Second, plain)
				traffic.Wait(t, 500)
				before := int64(0)
				if c.powerCut > 0 {
					before = fileSize(t, server)
					time.Sleep(c.powerCut) // traffic goes on
				}
				server.Kill()
				rate := float64(traffic.Done()) / time.Since(began).Seconds()
				if c.powerCut > 0 {
					require.NoError(t, os.Truncate(appendFile(t, server), before))
				}
				server.Restart(t)
				traffic.Wait(t, 100)
				traffic.Stop()
				sum.add(traffic.Audit(t, plain), rate)
			}
			sum.tell(t, c.mustKeep)
		})
	}
}

// appendFile returns the file that a server writes to.
func appendFile(t *testing.T, server *servers.RedisServer) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(server.Dir, "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

func fileSize(t *testing.T, server *servers.RedisServer) int64 {
	t.Helper()
	info, err := os.Stat(appendFile(t, server))
	require.NoError(t, err)
	return info.Size()
}
