package rueidisstore_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/rueidisstore"
)

func TestMain(m *testing.M) {
	storetest.Child(func(how string) (otp.Store, error) { // how is the address, a space, and the prefix
		addr, prefix, _ := strings.Cut(how, " ")
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
		if err != nil {
			return nil, err
		}
		return rueidisstore.New(client, &rueidisstore.Options{Prefix: prefix})
	})
	os.Exit(m.Run())
}

// connect returns a client of the servers.
func connect(t testing.TB, addrs ...string) rueidis.Client {
	return connectBy(t, rueidis.ClientOption{InitAddress: addrs})
}

func connectBy(t testing.TB, o rueidis.ClientOption) rueidis.Client {
	c, err := rueidis.NewClient(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func newPrefix() string { return "otp-test:" + rand.Text() + ":" }

// newStore returns a store with keys of its own.
func newStore(t testing.TB, client rueidis.Client) *rueidisstore.Store {
	return storeAt(t, client, newPrefix())
}

func storeAt(t testing.TB, client rueidis.Client, prefix string) *rueidisstore.Store {
	s, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: prefix})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	t.Parallel() // it mostly waits
	client := connect(t, servers.Redis(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}

func TestStore_cluster(t *testing.T) {
	t.Parallel()
	client := connect(t, servers.StartRedisCluster(t).Addrs()...)
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
	storetest.Races(t, storeAt(t, connect(t, addr), prefix), storeAt(t, connect(t, addr), prefix), 50)
}

// B1, B2
func TestStore_processes(t *testing.T) {
	addr, prefix := servers.Redis(t), newPrefix()
	storetest.Processes(t, storeAt(t, connect(t, addr), prefix), addr+" "+prefix, 20)
}

// behindProxy returns a server, a proxy before it, and a store that goes by it.
func behindProxy(t *testing.T) (*servers.RedisServer, *servers.RedisProxy, *rueidisstore.Store) {
	server := servers.StartRedis(t)
	proxy := servers.StartRedisProxy(t, server.Addr)
	return server, proxy, newStore(t, connect(t, proxy.Addr))
}

// What a step of a flow costs.
func TestStore_trips(t *testing.T) {
	_, proxy, s := behindProxy(t)
	storetest.CheckTrips(t, s, proxy.Commands, storetest.RedisTrips)
}

func TestStore_script(t *testing.T) {
	server, proxy, s := behindProxy(t)
	storetest.RedisScript(t, server, proxy, s)
}

func TestStore_lostAnswer(t *testing.T) {
	server, proxy, s := behindProxy(t)
	storetest.RedisLostAnswer(t, server, proxy, s)
}

func TestStore_foreignKeys(t *testing.T) {
	server := servers.StartRedis(t)
	s, err := rueidisstore.New(connect(t, server.Addr), nil)
	require.NoError(t, err)
	storetest.RedisForeign(t, server, "otp:", s)
}
