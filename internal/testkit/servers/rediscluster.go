package servers

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// RedisCluster is a private cluster of three primaries and a replica of each.
type RedisCluster struct {
	Primaries [3]*RedisServer // at the start; failovers change the roles
	Replicas  [3]*RedisServer // of the primaries with the same index
}

// slots are the ranges of slots that the primaries begin with.
var slots = [3][2]string{{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}}

// StartRedisCluster starts a cluster whose servers have additional configuration,
// and waits until every replica is connected.
func StartRedisCluster(t testing.TB, config ...string) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	for _, half := range []*[3]*RedisServer{&c.Primaries, &c.Replicas} {
		for i := range half {
			half[i] = StartRedis(t, append([]string{
				"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "5000",
				"--cluster-port", freePort,
			}, config...)...)
		}
	}
	for i, p := range c.Primaries {
		p.Must(t, "CLUSTER", "ADDSLOTSRANGE", slots[i][0], slots[i][1])
		p.Must(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, s := range c.All()[1:] {
		host, port, _ := net.SplitHostPort(s.Addr)
		bus := s.args[indexOf(s.args, "--cluster-port")+1]
		c.Primaries[0].Must(t, "CLUSTER", "MEET", host, port, bus)
	}
	for i, r := range c.Replicas {
		id := c.Primaries[i].Must(t, "CLUSTER", "MYID")
		Wait(t, "a replica to know its primary", func() error { _, err := r.Do("CLUSTER", "REPLICATE", id); return err })
	}
	c.WaitReady(t)
	return c
}

// All returns the primaries, then the replicas.
func (c *RedisCluster) All() []*RedisServer { return append(c.Primaries[:], c.Replicas[:]...) }

// Addrs returns the addresses of all servers.
func (c *RedisCluster) Addrs() []string {
	var all []string
	for _, s := range c.All() {
		all = append(all, s.Addr)
	}
	return all
}

// WaitReady waits until all servers agree that three primaries serve all slots and
// that each of them has a connected replica.
func (c *RedisCluster) WaitReady(t testing.TB) {
	t.Helper()
	Wait(t, "the cluster", func() error {
		for _, s := range c.All() {
			info, err := s.Do("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:6") {
				return fmt.Errorf("%s: %s", s.Addr, info)
			}
			role, err := s.Do("INFO", "replication")
			if err != nil {
				return err
			}
			if !strings.Contains(role, "state=online") && !strings.Contains(role, "master_link_status:up") {
				return fmt.Errorf("%s: %s", s.Addr, role)
			}
			nodes, err := s.Do("CLUSTER", "NODES")
			if n := strings.Count(nodes, " slave ") + strings.Count(nodes, ",slave "); err != nil || n != 3 {
				return fmt.Errorf("%s knows %d replicas, %w", s.Addr, n, err)
			}
		}
		return nil
	})
}

func indexOf(all []string, one string) int {
	for i, s := range all {
		if s == one {
			return i
		}
	}
	return -1
}

// Primary reports whether the server is a primary now.
func (r *RedisServer) Primary() bool {
	info, err := r.Do("INFO", "replication")
	return err == nil && strings.Contains(info, "role:master")
}

// Shard returns the current primary and replica of the i-th shard.
func (c *RedisCluster) Shard(t testing.TB, i int) (primary, replica *RedisServer) {
	t.Helper()
	a, b := c.Primaries[i], c.Replicas[i]
	switch {
	case a.Primary() && !b.Primary():
		return a, b
	case b.Primary() && !a.Primary():
		return b, a
	}
	t.Fatalf("shard %d has no single primary", i)
	return nil, nil
}

// Failover promotes the replica of the i-th shard with a planned failover, and waits
// until all servers agree.
func (c *RedisCluster) Failover(t testing.TB, i int) {
	t.Helper()
	_, replica := c.Shard(t, i)
	Wait(t, "the replica to take over", func() error {
		if replica.Primary() {
			return nil
		}
		_, err := replica.Do("CLUSTER", "FAILOVER")
		if err == nil {
			err = errors.New("not yet")
		}
		return err
	})
	c.WaitReady(t)
}

// MoveSlot moves a slot with its keys from one shard to another, as a resharding
// does.
func (c *RedisCluster) MoveSlot(t testing.TB, from, to, slot int) {
	t.Helper()
	source, _ := c.Shard(t, from)
	target, _ := c.Shard(t, to)
	sourceID, targetID := source.Must(t, "CLUSTER", "MYID"), target.Must(t, "CLUSTER", "MYID")
	host, port, _ := net.SplitHostPort(target.Addr)
	number := strconv.Itoa(slot)
	target.Must(t, "CLUSTER", "SETSLOT", number, "IMPORTING", sourceID)
	source.Must(t, "CLUSTER", "SETSLOT", number, "MIGRATING", targetID)
	for {
		keys := source.Must(t, "CLUSTER", "GETKEYSINSLOT", number, "100")
		if keys == "" {
			break
		}
		source.Must(t, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, strings.Split(keys, "\n")...)...)
	}
	target.Must(t, "CLUSTER", "SETSLOT", number, "NODE", targetID)
	source.Must(t, "CLUSTER", "SETSLOT", number, "NODE", targetID)
}
