// Package rueidisstore implements [otp.Store] on Redis or Valkey, using a
// rueidis client for a single server, Sentinel or Cluster. Package redisstore
// does the same with go-redis, and each of them can read the other's data.
//
//	store, err := rueidisstore.New(client, nil)
//	if err != nil { ... }
//	if err := store.Ping(ctx); err != nil { ... } // may the server lose acknowledged writes?
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: ...})
//
// The store keeps one string for each key of the verifier. It needs Redis 6.2
// or newer, or any version of Valkey.
package rueidisstore

import (
	"bytes"
	"cmp"
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

// DefaultPrefix is the default of Options.Prefix.
const DefaultPrefix = redisswap.Prefix

// Options configures a store. The zero value is valid.
type Options struct {
	// Prefix is the beginning of the name of each key. The default is
	// [DefaultPrefix]. Stores with different prefixes share no data. In a
	// Cluster, a part in braces (a hash tag) keeps all keys on one node.
	Prefix string
}

// Store is an [otp.Store] on a rueidis client. Create it with [New]. It is safe
// for concurrent use and needs no Close.
type Store struct {
	client rueidis.Client
	prefix string
}

var _ otp.Store = (*Store)(nil)

// New returns a store that uses client. The caller keeps ownership of client
// and closes it. Nil opts means the defaults. New contacts no server; call
// [Store.Ping] to check the servers.
//
// A rueidis client does not reveal its options, so New cannot reject one that
// reads from replicas. The store still never reads from a replica: rueidis does
// not treat its commands as read-only, and replicas reject them. With
// ReplicaOnly, or a SendToReplicas that returns true for every command, calls
// therefore fail.
func New(client rueidis.Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("rueidisstore: New: client is nil")
	}
	if opts == nil {
		opts = &Options{}
	}
	return &Store{client: client, prefix: cmp.Or(opts.Prefix, DefaultPrefix)}, nil
}

// Load implements [otp.Store]. It sends one GETEX without options, which is a
// GET that only a primary answers.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	value, err := await.Call(ctx, func() ([]byte, error) {
		// Pinned: once a retry has been answered, the client would use the command
		// again while the writer of the lost connection may still be reading it.
		cmd := s.client.B().Getex().Key(s.prefix + key).Build().ToRetryable().Pin()
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

// CompareAndSwap implements [otp.Store]. It sends one EVALSHA, followed by an
// EVAL if the server does not know the script yet. A swap that may have been
// made is never retried.
func (s *Store) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, oldValue, newValue, ttl); err != nil {
		return false, err
	}
	oldValue, newValue = bytes.Clone(oldValue), bytes.Clone(newValue) // the call may outlive its context
	args := []string{rueidis.BinaryString(oldValue), rueidis.BinaryString(newValue), strconv.FormatInt(redisswap.Milliseconds(ttl), 10)}
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
	return false, errors.New("unexpected reply to the swap script")
}
