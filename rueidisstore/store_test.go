package rueidisstore_test

import (
	"crypto/rand"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/servers"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/rueidisstore"
)

// connect returns a client of the servers.
func connect(t testing.TB, addrs ...string) rueidis.Client {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// newStore returns a store with keys of its own.
func newStore(t testing.TB, client rueidis.Client) *rueidisstore.Store {
	s, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: "otp-test:" + rand.Text() + ":"})
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	client := connect(t, servers.Redis(t))
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}

func TestStore_cluster(t *testing.T) {
	client := connect(t, servers.StartRedisCluster(t).Addrs()...)
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newStore(t, client) })
}
