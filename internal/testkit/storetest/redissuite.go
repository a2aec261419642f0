package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/redisswap"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otptest"
)

// RedisStore is a store over a Redis client.
type RedisStore interface {
	otp.Store
	Ping(ctx context.Context) error
}

// RedisTarget says where a new client connects, and how.
type RedisTarget struct {
	Addrs          []string // one server, the servers of a cluster, or the Sentinels
	Master         string   // the name that the Sentinels know; "" without Sentinel
	Replicas       bool     // connect to replicas; only with Sentinel
	User, Password string
	Timeout        time.Duration // the client's own timeouts; 0 means its defaults
	Prefix         string        // the store's prefix; "" means its default
}

// OpenRedis opens a store over a new client. The returned function closes the
// client.
type OpenRedis func(RedisTarget) (store RedisStore, closeClient func(), err error)

// RedisDriver is the client library that a store uses.
type RedisDriver struct {
	// Open opens a store whose client has the library's default settings.
	Open OpenRedis

	// Settings open stores whose clients are set up in other ways, by name.
	// Their calls must also return when their contexts end.
	Settings map[string]OpenRedis

	// Lazy says that Open succeeds when the server does not answer.
	Lazy bool

	// Rights and ClusterRights are the ACL rules that the library needs in
	// addition to the commands of the store.
	Rights, ClusterRights []string
}

// RedisMain is TestMain for a package that calls [RedisSuite].
func RedisMain(m *testing.M, d RedisDriver) {
	Child(func(how string) (otp.Store, error) { // how is the address, a space, and the prefix
		addr, prefix, _ := strings.Cut(how, " ")
		store, _, err := d.Open(RedisTarget{Addrs: []string{addr}, Prefix: prefix})
		return store, err
	})
	Parallel(4)
	os.Exit(m.Run())
}

// RedisSuite tests a store against real servers: the contract of [otp.Store],
// guesses in a race, the commands that reach the server, and servers that hang,
// crash, evict, fail over or are replicas.
func RedisSuite(t *testing.T, d RedisDriver) {
	testkit.Long(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, RedisDriver)
	}{
		{"cluster", redisCluster}, // the longest first
		{"contract", redisContract},
		{"single", redisSingle},
		{"races", redisRaces},
		{"killed", redisKilled},
		{"Sentinel", redisSentinel},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel() // many parts mostly wait
			part.run(t, d)
		})
	}
}

// RedisPrefix returns a key prefix that no other store uses.
func RedisPrefix() string { return "otp-test:" + rand.Text() + ":" }

// open opens a store until the test ends. Its prefix is a new one unless the
// target names one.
func (open OpenRedis) open(t testing.TB, target RedisTarget) RedisStore {
	t.Helper()
	if target.Prefix == "" {
		target.Prefix = RedisPrefix()
	}
	store, closeClient, err := open(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeClient)
	return store
}

// at opens a store with default settings.
func (d RedisDriver) at(t testing.TB, addrs ...string) RedisStore {
	t.Helper()
	return d.Open.open(t, RedisTarget{Addrs: addrs})
}

// pair opens two stores on the same ledgers, each over its own client.
func (d RedisDriver) pair(t testing.TB, prefix string, addrs ...string) (a, b RedisStore) {
	t.Helper()
	target := RedisTarget{Addrs: addrs, Prefix: prefix}
	return d.Open.open(t, target), d.Open.open(t, target)
}

// movableRedis is a store whose keys [otptest.TestStore] lets expire.
type movableRedis struct {
	RedisStore
	advance func(d time.Duration)
}

func (m movableRedis) Advance(d time.Duration) { m.advance(d) }

// advance shortens the time to live of all keys with a prefix, which the servers
// cannot tell from time that passes. It moves the times at which they expire: what
// is left of them would grow by as long as the script is kept from running.
func advance(t *testing.T, primaries []*servers.RedisServer, prefix string, d time.Duration) {
	t.Helper()
	const script = `for _, key in ipairs(redis.call('KEYS', ARGV[1]..'*')) do
		redis.call('PEXPIREAT', key, redis.call('PEXPIRETIME', key) - ARGV[2])
	end`
	for _, server := range primaries {
		server.Must(t, "EVAL", script, "0", prefix, fmt.Sprint(d.Milliseconds()))
	}
}

// redisContract waits for the time to pass.
func redisContract(t *testing.T, d RedisDriver) {
	store := d.at(t, servers.Redis(t))
	otptest.TestStore(t, func(*testing.T) otp.Store { return store })
}

func redisRaces(t *testing.T, d RedisDriver) {
	addr, prefix := servers.Redis(t), RedisPrefix()
	a, b := d.pair(t, prefix, addr)
	t.Run("verifiers", func(t *testing.T) { Races(t, a, b, testkit.Rounds(4, 50)) })
	t.Run("processes", func(t *testing.T) { Processes(t, a, addr+" "+prefix, testkit.Rounds(2, 20)) })
}

// redisSingle runs the tests that share one private server.
func redisSingle(t *testing.T, d RedisDriver) {
	server := servers.StartRedis(t)
	proxy := servers.StartRedisProxy(t, server.Addr)
	proxied := d.at(t, proxy.Addr)

	t.Run("round trips", func(t *testing.T) {
		CheckTrips(t, proxied, proxy.Commands, Trips{Load: "GETEX", Create: "EVALSHA", Swap: "EVALSHA"})
	})
	t.Run("script", func(t *testing.T) { redisScript(t, server, proxy, d.at(t, proxy.Addr)) })
	t.Run("lost answer", func(t *testing.T) { redisLostAnswer(t, server, proxy, d.at(t, proxy.Addr)) })
	t.Run("foreign keys", func(t *testing.T) {
		store, closeClient, err := d.Open(RedisTarget{Addrs: []string{server.Addr}})
		if err != nil {
			t.Fatal(err)
		}
		defer closeClient()
		redisForeign(t, server, redisswap.Prefix, store)
	})
	t.Run("eviction", func(t *testing.T) { redisEviction(t, server, d.at(t, server.Addr)) })
	t.Run("rights", func(t *testing.T) { redisRights(t, server, d) })
	t.Run("abandoned swap", func(t *testing.T) { redisAbandoned(t, server, d.at(t, server.Addr)) })
	t.Run("full", func(t *testing.T) { redisFull(t, server, d.at(t, server.Addr)) })

	target := RedisTarget{Addrs: []string{server.Addr}, Timeout: time.Hour}
	t.Run("frozen", func(t *testing.T) {
		redisFrozen(t, server, d.Open.open(t, target))
		for name, open := range d.Settings {
			t.Run(name, func(t *testing.T) { redisFrozen(t, server, open.open(t, target)) })
		}
	})
	if d.Lazy {
		t.Run("frozen from the start", func(t *testing.T) {
			server.Freeze()
			store := d.Open.open(t, target)
			t.Cleanup(server.Thaw)
			Ends(t, store)
		})
	}
	t.Run("slow", func(t *testing.T) {
		store := d.Open.open(t, RedisTarget{Addrs: []string{proxy.Addr}, Timeout: time.Hour})
		ping(t, store)
		proxy.Delay(time.Minute)
		defer proxy.Delay(0)
		Ends(t, store)
		proxy.Delay(0) // late answers must not be taken for those to later calls
		ping(t, store)
		if value, err := store.Load(t.Context(), "k"); value != nil && string(value) != "v" || err != nil {
			t.Errorf("Load gave %q, %v", value, err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		store := d.Open.open(t, target)
		ping(t, store)
		server.Kill()
		Ends(t, store)
	})
}

// redisCluster runs the tests that share one cluster.
func redisCluster(t *testing.T, d RedisDriver) {
	cluster := servers.StartRedisCluster(t)
	addrs := cluster.Addrs()

	t.Run("contract", func(t *testing.T) {
		prefix := RedisPrefix()
		store := d.Open.open(t, RedisTarget{Addrs: addrs, Prefix: prefix})
		otptest.TestStore(t, func(t *testing.T) otp.Store {
			return movableRedis{store, func(d time.Duration) { advance(t, cluster.Primaries[:], prefix, d) }}
		})
	})
	t.Run("races", func(t *testing.T) {
		a, b := d.pair(t, RedisPrefix(), addrs...)
		Races(t, a, b, testkit.Rounds(1, 20))
	})
	t.Run("eviction", func(t *testing.T) {
		store := d.at(t, addrs...)
		ping(t, store)
		for _, primary := range cluster.Primaries {
			primary.Must(t, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru")
			pingFails(t, store, redisswap.ErrEviction)
			primary.Must(t, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "0")
		}
		ping(t, store)
	})
	t.Run("rights", func(t *testing.T) {
		for _, node := range cluster.All() {
			node.Must(t, slices.Concat(redisUser, d.Rights, d.ClusterRights)...)
		}
		target := RedisTarget{Addrs: addrs, User: "codes", Password: "secret", Prefix: redisswap.Prefix}
		ping(t, d.Open.open(t, target))
	})
	t.Run("failovers", func(t *testing.T) {
		a, b := d.pair(t, RedisPrefix(), addrs...)
		RedisFailovers(t, cluster, a, b)
	})
	t.Run("slot moves", func(t *testing.T) {
		prefix := "{" + RedisPrefix() + "}"
		a, b := d.pair(t, prefix, addrs...)
		redisSlotMoves(t, cluster, prefix, a, b)
	})
	t.Run("frozen", func(t *testing.T) {
		store := d.Open.open(t, RedisTarget{Addrs: addrs, Timeout: time.Hour})
		ping(t, store)
		for _, server := range cluster.All() {
			server.Freeze()
			t.Cleanup(server.Thaw) // some clients cannot be closed before
		}
		Ends(t, store)
	})
}

// redisSentinel runs the tests that share a primary and its replica, of which
// the last one lets a Sentinel promote the replica.
func redisSentinel(t *testing.T, d RedisDriver) {
	primary, replica := servers.StartRedisPair(t)
	t.Run("replica", func(t *testing.T) {
		prefix := RedisPrefix()
		swap(t, d.Open.open(t, RedisTarget{Addrs: []string{primary.Addr}, Prefix: prefix}), nil, one)
		redisReplica(t, d.Open.open(t, RedisTarget{Addrs: []string{replica.Addr}, Prefix: prefix}))
	})

	sentinels := RedisTarget{Addrs: []string{servers.StartRedisSentinel(t, primary)}, Master: "main"}
	store := d.Open.open(t, sentinels)
	ping(t, store)
	sentinels.Replicas = true
	redisReplica(t, d.Open.open(t, sentinels))

	traffic := StartTraffic(t, 20, 5*time.Second, store)
	traffic.Wait(t, 50)
	primary.Kill()
	servers.Wait(t, "the Sentinel to promote", func() error {
		if !replica.Primary() {
			return errors.New("not yet")
		}
		return nil
	})
	traffic.Wait(t, 50)
	traffic.Stop()
	t.Log(traffic.Audit(t, store)) // the replica may have lagged, so something may be lost
	ping(t, store)
}

// redisUser is an ACL command that gives a user all rights that a store needs,
// and no others.
var redisUser = []string{
	"ACL", "SETUSER", "codes", "on", ">secret", "~" + redisswap.Prefix + "*",
	"+getex", "+evalsha", "+eval", "+get", "+set", "+del", "+info",
}

// redisRights checks that those rights are enough, and that Ping names a missing
// one.
func redisRights(t *testing.T, server *servers.RedisServer, d RedisDriver) {
	t.Helper()
	server.Must(t, slices.Concat(redisUser, d.Rights)...)
	target := RedisTarget{Addrs: []string{server.Addr}, User: "codes", Password: "secret", Prefix: redisswap.Prefix}
	store := d.Open.open(t, target)
	ping(t, store)
	swap(t, store, nil, one)
	swap(t, store, one, nil)
	target.Prefix = "elsewhere:"
	if err := d.Open.open(t, target).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("Ping with a prefix that the user may not use gave %v", err)
	}
	for _, right := range []string{"getex", "evalsha", "get", "set", "del", "info"} {
		server.Must(t, "ACL", "SETUSER", "codes", "-"+right)
		err := store.Ping(t.Context())
		if err == nil || !regexp.MustCompile("NOPERM|can't run this command|"+right).MatchString(err.Error()) {
			t.Errorf("Ping without the right to %s gave %v", right, err)
		}
		server.Must(t, "ACL", "SETUSER", "codes", "+"+right)
	}
}

// redisEviction checks that Ping reports a policy that may evict ledgers, but
// only where the server has a limit.
func redisEviction(t *testing.T, server *servers.RedisServer, store RedisStore) {
	t.Helper()
	ping(t, store)
	server.Must(t, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	ping(t, store)
	server.Must(t, "CONFIG", "SET", "maxmemory", "100mb")
	if err := pingFails(t, store, redisswap.ErrEviction); !strings.Contains(fmt.Sprint(err), "volatile-ttl") {
		t.Errorf("the error does not name the policy: %v", err)
	}
	server.Must(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	ping(t, store)
	server.Must(t, "CONFIG", "SET", "maxmemory", "0")
}

// redisFrozen checks that calls end while the server is frozen, and that the
// store works again after that.
func redisFrozen(t *testing.T, server *servers.RedisServer, store RedisStore) {
	t.Helper()
	ping(t, store)
	server.Freeze()
	defer server.Thaw()
	Ends(t, store)
	server.Thaw()
	servers.Wait(t, "the store to work again", func() error { return store.Ping(t.Context()) })
}

func ping(t testing.TB, store RedisStore) {
	t.Helper()
	if err := store.Ping(t.Context()); err != nil {
		t.Fatalf("Ping: %v", err)
	}
}

func pingFails(t testing.TB, store RedisStore, want error) error {
	t.Helper()
	err := store.Ping(t.Context())
	if !errors.Is(err, want) {
		t.Errorf("Ping gave %v, want %v", err, want)
	}
	return err
}
