// Package redisstore implements [otp.Store] on Redis or Valkey, using an
// existing go-redis client for a single server, Sentinel or Cluster. Package
// rueidisstore does the same with rueidis, and each of them can read the
// other's data.
//
//	store, err := redisstore.New(redis.NewClient(&redis.Options{Addr: "localhost:6379"}), nil)
//	if err != nil { ... }
//	if err := store.Ping(ctx); err != nil { ... } // may the server lose acknowledged writes?
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: ...})
//
// The store keeps one string for each key of the verifier. It needs Redis 6.2 or
// newer, or any version of Valkey.
package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/await"
	"github.com/go-mailotp/otp/internal/redisswap"
)

// DefaultPrefix is the default of Options.Prefix.
const DefaultPrefix = redisswap.Prefix

// Options configures a store. The zero value is valid.
type Options struct {
	// Prefix is the beginning of the name of each key. The default is
	// [DefaultPrefix]. Stores with different prefixes share no data. In a
	// Cluster, a part in braces (a hash tag) keeps all keys on one node.
	Prefix string
}

// Store is an [otp.Store] on a go-redis client. Create it with [New]. It is safe
// for concurrent use and needs no Close.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var _ otp.Store = (*Store)(nil)

// New returns a store that uses client: a *redis.Client (single server or
// Sentinel) or a *redis.ClusterClient. The caller keeps ownership of client and
// closes it. Nil opts means the defaults. New contacts no server; call
// [Store.Ping] to check the servers.
//
// New rejects three kinds of client:
//   - A client that reads from replicas (ReadOnly, RouteByLatency or
//     RouteRandomly), because replicas may return old values.
//   - A client whose ReadTimeout or WriteTimeout is disabled, because a call
//     whose context has ended would continue in the background forever.
//   - A *redis.Ring, because it moves keys to another server when one is
//     unavailable, and their counts would start again at zero.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &Options{}
	}
	return &Store{client: client, prefix: cmp.Or(opts.Prefix, DefaultPrefix)}, nil
}

func checkClient(client redis.UniversalClient) error {
	var read, write time.Duration
	switch c := client.(type) {
	case interface{ Options() *redis.Options }:
		o := c.Options()
		read, write = o.ReadTimeout, o.WriteTimeout
	case interface{ Options() *redis.ClusterOptions }:
		o := c.Options()
		read, write = o.ReadTimeout, o.WriteTimeout
		for _, f := range []struct {
			name string
			set  bool
		}{{"RouteByLatency", o.RouteByLatency}, {"RouteRandomly", o.RouteRandomly}, {"ReadOnly", o.ReadOnly}} {
			if f.set {
				return fmt.Errorf("redisstore: client option %s: reads from replicas, which may return old values", f.name)
			}
		}
	default:
		return fmt.Errorf("redisstore: client is a %T, want a *redis.Client or *redis.ClusterClient", client)
	}
	if read <= 0 || write <= 0 { // the client keeps -1 and -2 like this
		return errors.New("redisstore: client option ReadTimeout or WriteTimeout: disabled, so calls to a server that hangs would never end")
	}
	return nil
}

// Load implements [otp.Store]. It sends one GETEX without options, which is a GET
// that only a primary answers and that no client caches.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := await.Call(ctx, func() ([]byte, error) {
		cmd := redis.NewStringCmd(ctx, "getex", s.prefix+key)
		err := s.client.Process(ctx, cmd)
		if err == redis.Nil || err == nil && cmd.Val() == "" { //nolint:errorlint // no store writes an empty value; the client returns Nil itself
			return nil, nil
		}
		return []byte(cmd.Val()), err // a copy: cmd.Bytes is a string in disguise
	})
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	return value, nil
}

// CompareAndSwap implements [otp.Store]. It sends one EVALSHA, followed by an
// EVAL if the server does not know the script yet. A swap that may have been made
// is never retried, whatever the client's MaxRetries is.
func (s *Store) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, oldValue, newValue, ttl); err != nil {
		return false, err
	}
	oldValue, newValue = bytes.Clone(oldValue), bytes.Clone(newValue) // the call may outlive its context
	swapped, err := await.Call(ctx, func() (bool, error) {
		swapped, err := s.swap(ctx, "evalsha", redisswap.SHA, key, oldValue, newValue, ttl)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			swapped, err = s.swap(ctx, "eval", redisswap.Script, key, oldValue, newValue, ttl)
		}
		return swapped, err
	})
	if err != nil {
		return false, fmt.Errorf("redisstore: %w", err)
	}
	return swapped, nil
}

func (s *Store) swap(ctx context.Context, command, script, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	cmd := once{redis.NewCmd(ctx, command, script, 1, s.prefix+key, oldValue, newValue, redisswap.Milliseconds(ttl))}
	if err := s.client.Process(ctx, cmd); err != nil {
		return false, err
	}
	switch cmd.Val() {
	case int64(1):
		return true, nil
	case int64(0):
		return false, nil
	}
	return false, errors.New("unexpected reply to the swap script")
}

// once is a command that is not sent again after a lost reply.
type once struct{ *redis.Cmd }

// NoRetry tells go-redis not to send the command again.
func (once) NoRetry() bool { return true }
