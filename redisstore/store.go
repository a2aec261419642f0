// Package redisstore keeps the ledgers of package otp in Redis or Valkey, through
// the go-redis client that a program has already: a single server, Sentinel or
// Cluster. Package rueidisstore does the same through rueidis, and each reads
// what the other wrote.
//
//	store, err := redisstore.New(redis.NewClient(&redis.Options{Addr: "localhost:6379"}), nil)
//	if err != nil { ... }
//	if err := store.Ping(ctx); err != nil { ... } // does the server keep what it acknowledges?
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: ...})
//
// A ledger is one string under one key. Redis 6.2 or newer, or any Valkey.
package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/await"
	"github.com/go-mailotp/otp/internal/redisswap"
)

// DefaultPrefix begins the name of each key unless Options.Prefix is set.
const DefaultPrefix = redisswap.Prefix

// Options are the choices for [New]. The zero value is good.
type Options struct {
	// Prefix begins the name of each key; empty means [DefaultPrefix]. Stores
	// with different prefixes know nothing of each other. With a Cluster a part
	// in braces would keep all ledgers on one node.
	Prefix string
}

// Store is an [otp.Store] over a go-redis client. It is safe for concurrent use,
// opens and closes nothing, and must be made by [New].
type Store struct {
	client redis.UniversalClient
	prefix string
}

var _ otp.Store = (*Store)(nil)

// New returns a store over client, a *redis.Client (single or Sentinel) or a
// *redis.ClusterClient, which stays the caller's to close; opts may be nil. It
// talks to no server: [Store.Ping] does.
//
// It refuses a client that is set to read from replicas (ReadOnly,
// RouteByLatency, RouteRandomly), whose answers may be old; one whose ReadTimeout
// or WriteTimeout is switched off, since a call whose context was cancelled then
// goes on in the background for ever; and a *redis.Ring, which moves ledgers to
// another server when one is away, and their counts begin anew.
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	s := &Store{client: client, prefix: DefaultPrefix}
	if opts != nil && opts.Prefix != "" {
		s.prefix = opts.Prefix
	}
	return s, nil
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
				return fmt.Errorf("redisstore: the client's %s is set: it would read from replicas", f.name)
			}
		}
	default:
		return fmt.Errorf("redisstore: a client of type %T, not a *redis.Client or *redis.ClusterClient", client)
	}
	if read <= 0 || write <= 0 { // so the client keeps -1 and -2
		return errors.New("redisstore: the client's ReadTimeout or WriteTimeout is off: calls to a server that hangs would never end")
	}
	return nil
}

// Load implements [otp.Store] by one GETEX without options: a GET that only a
// primary answers, and no cache in the client.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := await.Call(ctx, func() ([]byte, error) {
		cmd := redis.NewStringCmd(ctx, "getex", s.prefix+key)
		err := s.client.Process(ctx, cmd)
		if err == redis.Nil || err == nil && cmd.Val() == "" { // no store writes an empty value
			return nil, nil
		}
		return []byte(cmd.Val()), err // a copy: cmd.Bytes is a string in disguise
	})
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	return value, nil
}

// CompareAndSwap implements [otp.Store] by one EVALSHA, and an EVAL after it
// where the server does not know the script yet. Whatever the client's
// MaxRetries, a swap that may have been made is not sent again.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, old, new, ttl); err != nil {
		return false, err
	}
	old, new = bytes.Clone(old), bytes.Clone(new) // the call may outlive its context
	swapped, err := await.Call(ctx, func() (bool, error) {
		swapped, err := s.swap(ctx, "evalsha", redisswap.SHA, key, old, new, ttl)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			swapped, err = s.swap(ctx, "eval", redisswap.Script, key, old, new, ttl)
		}
		return swapped, err
	})
	if err != nil {
		return false, fmt.Errorf("redisstore: %w", err)
	}
	return swapped, nil
}

func (s *Store) swap(ctx context.Context, command, script, key string, old, new []byte, ttl time.Duration) (bool, error) {
	cmd := once{redis.NewCmd(ctx, command, script, 1, s.prefix+key, old, new, redisswap.Milliseconds(ttl))}
	if err := s.client.Process(ctx, cmd); err != nil {
		return false, err
	}
	switch cmd.Val() {
	case int64(1):
		return true, nil
	case int64(0):
		return false, nil
	}
	return false, errors.New("the server's answer to the swap is none")
}

// once is a command that go-redis does not send again after a lost answer.
type once struct{ *redis.Cmd }

// NoRetry tells go-redis so.
func (once) NoRetry() bool { return true }
