// Package rueidisstore keeps the ledgers of package otp in Redis or Valkey, through
// a rueidis client: a single server, Sentinel or Cluster. Package redisstore does
// the same through go-redis, and each reads what the other wrote.
//
//	store, err := rueidisstore.New(client, nil)
//	if err != nil { ... }
//	if err := store.Ping(ctx); err != nil { ... } // does the server keep what it acknowledges?
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: ...})
//
// A ledger is one string under one key. Redis 6.2 or newer, or any Valkey.
package rueidisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

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

// Store is an [otp.Store] over a rueidis client. It is safe for concurrent use,
// opens and closes nothing, and must be made by [New].
type Store struct {
	client rueidis.Client
	prefix string
}

var _ otp.Store = (*Store)(nil)

// New returns a store over client, which stays the caller's to close; opts may
// be nil. It talks to no server: [Store.Ping] does.
//
// A rueidis client does not tell its options, so New cannot refuse one that is set
// to read from replicas. Nothing is read there all the same, because the store's
// commands are not read-only for rueidis, and replicas refuse them: with
// ReplicaOnly, or a SendToReplicas that says true for any command, calls fail.
func New(client rueidis.Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("rueidisstore: no client")
	}
	s := &Store{client: client, prefix: DefaultPrefix}
	if opts != nil && opts.Prefix != "" {
		s.prefix = opts.Prefix
	}
	return s, nil
}

// Load implements [otp.Store] by one GETEX without options: a GET that only a
// primary answers.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := await.Call(ctx, func() ([]byte, error) {
		cmd := s.client.B().Getex().Key(s.prefix + key).Build().ToRetryable()
		value, err := s.client.Do(ctx, cmd).ToString()
		if rueidis.IsRedisNil(err) || err == nil && value == "" { // no store writes an empty value
			return nil, nil
		}
		return []byte(value), err
	})
	if err != nil {
		return nil, fmt.Errorf("rueidisstore: %w", err)
	}
	return value, nil
}

// CompareAndSwap implements [otp.Store] by one EVALSHA, and an EVAL after it
// where the server does not know the script yet. A swap that may have been made
// is not sent again.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, old, new, ttl); err != nil {
		return false, err
	}
	old, new = bytes.Clone(old), bytes.Clone(new) // the call may outlive its context
	args := []string{rueidis.BinaryString(old), rueidis.BinaryString(new), strconv.FormatInt(redisswap.Milliseconds(ttl), 10)}
	swapped, err := await.Call(ctx, func() (bool, error) {
		swapped, err := s.swap(ctx, s.client.B().Evalsha().Sha1(redisswap.SHA).Numkeys(1).Key(s.prefix+key).Arg(args...).Build())
		if e, ok := rueidis.IsRedisErr(err); ok && e.IsNoScript() {
			swapped, err = s.swap(ctx, s.client.B().Eval().Script(redisswap.Script).Numkeys(1).Key(s.prefix+key).Arg(args...).Build())
		}
		return swapped, err
	})
	if err != nil {
		return false, fmt.Errorf("rueidisstore: %w", err)
	}
	return swapped, nil
}

func (s *Store) swap(ctx context.Context, cmd rueidis.Completed) (bool, error) {
	switch n, err := s.client.Do(ctx, cmd).ToInt64(); {
	case err != nil:
		return false, err
	case n == 1:
		return true, nil
	case n == 0:
		return false, nil
	}
	return false, errors.New("the server's answer to the swap is none")
}
