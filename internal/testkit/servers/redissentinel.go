package servers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// StartRedisPair starts a primary and a replica of it, and waits until that
// follows.
func StartRedisPair(t testing.TB) (primary, replica *RedisServer) {
	t.Helper()
	primary, replica = StartRedis(t), StartRedis(t)
	replica.Follow(t, primary.Addr)
	return primary, replica
}

// Follow makes the server a replica of the one at addr, and waits until it is.
func (r *RedisServer) Follow(t testing.TB, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	r.Must(t, "REPLICAOF", host, port)
	Wait(t, "the replica", func() error {
		info, err := r.Do("INFO", "replication")
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
}

// StartRedisSentinel starts a Sentinel that watches primary under the name main,
// and waits until it knows a replica. It returns the Sentinel's address.
func StartRedisSentinel(t testing.TB, primary *RedisServer) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(primary.Addr)
	dir, own := t.TempDir(), FreePort(t)
	file := filepath.Join(dir, "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor main %s %s 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", own, host, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	Start(t, dir, redisProgram(t), file, "--sentinel")
	addr := fmt.Sprintf("127.0.0.1:%d", own)
	Wait(t, "the Sentinel", func() error {
		replicas, err := RedisDo(addr, "SENTINEL", "REPLICAS", "main")
		if err == nil && !strings.Contains(replicas, "master-link-status\nok") || strings.Contains(replicas, "disconnected") {
			err = errors.New("no replica yet")
		}
		return err
	})
	return addr
}
