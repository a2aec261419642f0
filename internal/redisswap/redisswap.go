// Package redisswap has the parts that redisstore and rueidisstore share, so
// that each can read the other's data: the script, the key prefix, and the
// checks of a server's settings.
package redisswap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// Prefix is the default beginning of the name of each key.
const Prefix = "otp:"

// Script is the swap. KEYS[1] is the key; ARGV holds the old value, the new
// value and the time to live in milliseconds. An empty value stands for none.
// The script returns 1 if it made the swap. GETEX without options changes
// nothing, but a replica rejects it; without it, a stale replica would answer
// 0. It must not replace the GET, because a full server lets a script that has
// begun to write go on writing.
const Script = `if (redis.call('GET',KEYS[1]) or '')~=ARGV[1] then redis.call('GETEX',KEYS[1]) return 0 end
if ARGV[2]=='' then redis.call('DEL',KEYS[1]) else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end
return 1`

// SHA is the name of Script in EVALSHA. It is a constant because programs that
// are restricted to FIPS 140 may not compute a SHA-1.
const SHA = "c82b485bacd0dd7205ba61ee6040c91c52f0fdce"

// Milliseconds returns ttl for the PX option, rounded up. It returns 1 if there
// is no ttl, which the script then ignores.
func Milliseconds(ttl time.Duration) int64 {
	return max(1, int64(ttl/time.Millisecond)+min(1, int64(ttl%time.Millisecond)))
}

// Errors of a server whose settings are wrong for a store.
var (
	ErrEviction = errors.New("server may evict live data, including counted guesses; set maxmemory-policy noeviction")
	ErrReplica  = errors.New("server is a replica, want a primary")
)

// CheckPrimary checks the reply to INFO of a server that must be a primary. It
// returns ErrReplica, ErrEviction, or an error if the policy is unknown.
func CheckPrimary(info string) error {
	if Field(info, "role") == "slave" {
		return ErrReplica
	}
	if limit := Field(info, "maxmemory"); limit == "0" {
		return nil // without a limit nothing is evicted, whatever the policy
	}
	switch policy := Field(info, "maxmemory_policy"); policy {
	case "noeviction":
		return nil
	case "":
		return errors.New("reply to INFO has no maxmemory_policy: cannot check whether the server evicts live data")
	default:
		return fmt.Errorf("%w (now %.40q)", ErrEviction, policy)
	}
}

// Field returns one field of a reply to INFO, or "" if it is missing.
func Field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Rights reads, writes and deletes the key "ping" of store, so that missing
// rights show.
func Rights(ctx context.Context, store otp.Store) error {
	const key = "ping"
	value := []byte(key)
	old, err := store.Load(ctx, key)
	if err != nil {
		return err
	}
	// The result false is not an error: another Ping got in between.
	if _, err := store.CompareAndSwap(ctx, key, old, value, time.Second); err != nil {
		return err
	}
	_, err = store.CompareAndSwap(ctx, key, value, nil, 0)
	return err
}
