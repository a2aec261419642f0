package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/sqlstore"
)

// SQLite has no server to kill, so this test program acts as one: if remoteEnv is
// an address, a space and a DSN, it serves a store at that address.
const remoteEnv = "OTP_TEST_SQLITE_SERVER"

// Swap is a call of the store over net/rpc. Without Old and New it is a Load.
type Swap struct {
	Key      string
	Old, New []byte
	TTL      time.Duration
}

// Answer is the result of a Swap.
type Answer struct {
	Value   []byte
	Swapped bool
}

type remoteServer struct{ store *sqlstore.Store }

// Call makes one call of the store.
func (r remoteServer) Call(s Swap, a *Answer) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s.Old == nil && s.New == nil {
		a.Value, err = r.store.Load(ctx, s.Key)
		return err
	}
	a.Swapped, err = r.store.CompareAndSwap(ctx, s.Key, s.Old, s.New, s.TTL)
	return err
}

// serveRemote serves a store until the process is killed, if remoteEnv is set.
func serveRemote() {
	addr, dsn, _ := strings.Cut(os.Getenv(remoteEnv), " ")
	if addr == "" {
		return
	}
	db, err := sql.Open("sqlite", dsn)
	fail(err)
	db.SetMaxOpenConns(4)
	store, err := sqlstore.New(db, sqlstore.SQLite, nil)
	fail(err)
	fail(store.Migrate(context.Background()))
	fail(rpc.RegisterName("Store", remoteServer{store}))
	l, err := net.Listen("tcp", addr)
	fail(err)
	rpc.Accept(l)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// remote is a process with a store on an SQLite file, and a client of that store.
type remote struct {
	*servers.Process
	dir, addr, env string
}

// startRemote serves a file in dir with the given setting of synchronous.
func startRemote(t *testing.T, dir, synchronous string) *remote {
	r := &remote{dir: dir, addr: fmt.Sprint("127.0.0.1:", servers.FreePort(t))}
	r.env = remoteEnv + "=" + r.addr + " file:" + dir + "/otp.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")"
	r.Restart(t)
	return r
}

// Restart starts the process again and waits until it answers.
func (r *remote) Restart(t testing.TB) {
	self, err := os.Executable()
	require.NoError(t, err)
	r.Process = servers.Start(t, r.dir, "env", r.env, self)
	servers.Wait(t, "the process", func() error { _, err := r.Load(t.Context(), "k"); return err })
}

// Load implements otp.Store.
func (r *remote) Load(ctx context.Context, key string) ([]byte, error) {
	a, err := r.call(ctx, Swap{Key: key})
	return a.Value, err
}

// CompareAndSwap implements otp.Store.
func (r *remote) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	a, err := r.call(ctx, Swap{key, old, new, ttl})
	return a.Swapped, err
}

func (r *remote) call(ctx context.Context, s Swap) (a Answer, err error) {
	c, err := rpc.Dial("tcp", r.addr)
	if err != nil {
		return a, err
	}
	defer c.Close()
	call := c.Go("Store.Call", s, &a, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return a, call.Error
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}
