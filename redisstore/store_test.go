package redisstore_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/servers"
	"github.com/go-mailotp/otp/internal/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/redisstore"
)

func TestMain(m *testing.M) {
	storetest.Child(func(how string) (otp.Store, error) { // how is the address, a space, and the prefix
		addr, prefix, _ := strings.Cut(how, " ")
		return redisstore.New(redis.NewClient(&redis.Options{Addr: addr}), &redisstore.Options{Prefix: prefix})
	})
	os.Exit(m.Run())
}

// single returns a client of one server.
func single(t testing.TB, addr string, more ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: addr}
	for _, f := range more {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// ofCluster returns a client of a cluster.
func ofCluster(t testing.TB, c *servers.RedisCluster) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { client.Close() })
	return client
}

func newPrefix() string { return "otp-test:" + rand.Text() + ":" }

// newStore returns a store with keys of its own.
func newStore(t testing.TB, client redis.UniversalClient) *redisstore.Store {
	return storeAt(t, client, newPrefix())
}

func storeAt(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	s, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	client := single(t, servers.Redis(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}

func TestStore_cluster(t *testing.T) {
	client := ofCluster(t, servers.StartRedisCluster(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
	t.Run("races", func(t *testing.T) {
		prefix := newPrefix()
		storetest.Races(t, storeAt(t, client, prefix), storeAt(t, client, prefix), 20)
	})
	require.NoError(t, newStore(t, client).Ping(t.Context()))
}

// B1, B2
func TestStore_races(t *testing.T) {
	addr, prefix := servers.Redis(t), newPrefix()
	storetest.Races(t, storeAt(t, single(t, addr), prefix), storeAt(t, single(t, addr), prefix), 50)
}

// B1, B2
func TestStore_processes(t *testing.T) {
	addr, prefix := servers.Redis(t), newPrefix()
	storetest.Processes(t, storeAt(t, single(t, addr), prefix), addr+" "+prefix, 20)
}

// What a step of a flow costs. A verifier that remembers its last write needs
// no load for a check.
func TestStore_trips(t *testing.T) {
	const load, swap = "GETEX", "EVALSHA"
	proxy := servers.StartRedisProxy(t, servers.StartRedis(t).Addr)
	storetest.CheckTrips(t, newStore(t, single(t, proxy.Addr)), proxy.Commands, storetest.Trips{
		Send:           []string{load, swap},
		SendWithClient: []string{load, swap, load, swap},
		CheckWrong:     []string{load, swap},
		CheckRight:     []string{load, swap},
		CheckElsewhere: []string{load, swap},
	})
}

// The server's copy of the script is gone after a restart or a failover.
func TestStore_scriptFlush(t *testing.T) {
	server := servers.StartRedis(t)
	proxy := servers.StartRedisProxy(t, server.Addr)
	s := newStore(t, single(t, proxy.Addr))
	one, two := []byte("one"), []byte("two")
	swapped, err := s.CompareAndSwap(t.Context(), "k", nil, one, time.Minute)
	require.NoError(t, err)
	require.True(t, swapped)
	server.Must(t, "SCRIPT", "FLUSH")
	proxy.Commands()
	swapped, err = s.CompareAndSwap(t.Context(), "k", one, two, time.Minute)
	require.NoError(t, err)
	require.True(t, swapped)
	require.Equal(t, []string{"EVALSHA", "EVAL"}, proxy.Commands())
	swapped, err = s.CompareAndSwap(t.Context(), "k", two, nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
	require.Equal(t, []string{"EVALSHA"}, proxy.Commands())
}

// A swap whose answer is lost is an error, is made once, and is not sent again,
// though the client's MaxRetries says 3; a load is.
func TestStore_lostAnswer(t *testing.T) {
	server := servers.StartRedis(t)
	proxy := servers.StartRedisProxy(t, server.Addr)
	s := newStore(t, single(t, proxy.Addr))
	one, two := []byte("one"), []byte("two")
	for _, lost := range []struct {
		command  string
		old, new []byte
	}{{"EVALSHA", one, two}, {"EVAL", two, one}} {
		if lost.command == "EVAL" {
			server.Must(t, "SCRIPT", "FLUSH")
		} else {
			_, err := s.CompareAndSwap(t.Context(), "k", nil, one, time.Minute)
			require.NoError(t, err)
		}
		proxy.Commands()
		proxy.LoseAnswer(lost.command)
		swapped, err := s.CompareAndSwap(t.Context(), "k", lost.old, lost.new, time.Minute)
		require.Error(t, err)
		require.False(t, swapped)
		sent := proxy.Commands()
		require.Equal(t, lost.command, sent[len(sent)-1])
		require.LessOrEqual(t, len(sent), 2)

		proxy.LoseAnswer("GETEX")
		value, err := s.Load(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, lost.new, value)
		require.Equal(t, []string{"GETEX", "GETEX"}, proxy.Commands())
	}
}

// What a program finds under a key that no store wrote is an error or nothing.
func TestStore_foreignValues(t *testing.T) {
	server, prefix := servers.StartRedis(t), newPrefix()
	s := storeAt(t, single(t, server.Addr), prefix)
	server.Must(t, "LPUSH", prefix+"list", "x")
	_, err := s.Load(t.Context(), "list")
	require.ErrorContains(t, err, "WRONGTYPE")
	_, err = s.CompareAndSwap(t.Context(), "list", nil, []byte("x"), time.Minute)
	require.ErrorContains(t, err, "WRONGTYPE")

	server.Must(t, "SET", prefix+"empty", "")
	value, err := s.Load(t.Context(), "empty")
	require.NoError(t, err)
	require.Nil(t, value)
	swapped, err := s.CompareAndSwap(t.Context(), "empty", nil, []byte("x"), time.Minute)
	require.NoError(t, err)
	require.True(t, swapped)
}

// Keys are the prefix and the verifier's name for a ledger, and nothing lives
// for ever.
func TestStore_names(t *testing.T) {
	server := servers.StartRedis(t)
	s, err := redisstore.New(single(t, server.Addr), nil)
	require.NoError(t, err)
	_, err = s.CompareAndSwap(t.Context(), "k", nil, []byte("a\x00b\r\n\xff"), time.Minute)
	require.NoError(t, err)
	require.Equal(t, "otp:k", server.Must(t, "KEYS", "*"))
	require.Equal(t, "a\x00b\r\n\xff", server.Must(t, "GET", "otp:k"))
	require.Regexp(t, `^(60000|59\d\d\d)$`, server.Must(t, "PTTL", "otp:k"))
}
