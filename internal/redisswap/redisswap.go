// Package redisswap is what redisstore and rueidisstore have in common, so that
// each reads what the other wrote: the script, the names and the question
// whether a server is fit.
package redisswap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// Prefix begins the name of each ledger unless the caller chooses another.
const Prefix = "otp:"

// Script is the swap: KEYS[1] is the ledger, ARGV the old value, the new value
// and the time to live in milliseconds; an empty value stands for none. It
// returns 1 if the swap was made. GETEX without options changes nothing, but a
// replica refuses it: else a stale one would answer 0. It is no substitute for
// GET, since a full server lets a script write on that has begun to write.
const Script = `if (redis.call('GET',KEYS[1]) or '')~=ARGV[1] then redis.call('GETEX',KEYS[1]) return 0 end
if ARGV[2]=='' then redis.call('DEL',KEYS[1]) else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end
return 1`

// SHA names Script in EVALSHA. It stands here as text because FIPS 140-only
// programs may not compute a SHA-1.
const SHA = "c82b485bacd0dd7205ba61ee6040c91c52f0fdce"

// Milliseconds is ttl as PX takes it, rounded up; 1 if there is no ttl, which
// the script then ignores.
func Milliseconds(ttl time.Duration) int64 {
	return max(1, int64(ttl/time.Millisecond)+min(1, int64(ttl%time.Millisecond)))
}

// Errors that say why a server is not fit to keep ledgers.
var (
	ErrEviction = errors.New("the server may evict live ledgers, and with them counted guesses; set maxmemory-policy noeviction")
	ErrReplica  = errors.New("the server is a replica; ledgers are read and written on the primary only")
)

// CheckPrimary reads the answer to INFO of a server that must be a primary. It
// returns ErrReplica, ErrEviction or nil.
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
		return errors.New("the server's INFO has no maxmemory_policy: it does not tell whether it evicts live ledgers")
	default:
		return fmt.Errorf("%w (now %.40q)", ErrEviction, policy)
	}
}

// Field returns one field of an answer to INFO, "" if it is not there.
func Field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Rights reads, writes and deletes one key of store, "ping", so that missing rights
// show.
func Rights(ctx context.Context, store otp.Store) error {
	const key = "ping"
	value := []byte(key)
	old, err := store.Load(ctx, key)
	if err != nil {
		return err
	}
	// false is no fault: it is somebody else's Ping.
	if _, err := store.CompareAndSwap(ctx, key, old, value, time.Second); err != nil {
		return err
	}
	_, err = store.CompareAndSwap(ctx, key, value, nil, 0)
	return err
}
