package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp/internal/await"
	"github.com/go-mailotp/otp/internal/redisswap"
)

// Errors of [Store.Ping], for errors.Is.
var (
	// ErrEviction says that a server has a maxmemory and a maxmemory-policy
	// other than noeviction: when it is full it throws live ledgers away, and
	// with them the guesses that were counted.
	ErrEviction = redisswap.ErrEviction

	// ErrReplica says that the client was led to a replica, by its
	// configuration or in the middle of a failover.
	ErrReplica = redisswap.ErrReplica
)

// Ping says whether the servers can keep ledgers: for the start of a program,
// and for a health check. It asks every primary for INFO (all a managed service
// allows; CONFIG it often does not), then reads, writes and deletes one key, "ping"
// after the prefix, so that missing rights show. It returns
// [ErrEviction], [ErrReplica], or what else went wrong. How a server writes to
// disk and to its replicas it cannot tell; see the README.
func (s *Store) Ping(ctx context.Context) error {
	_, err := await.Call(ctx, func() (struct{}, error) {
		if c, ok := s.client.(interface {
			ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
		}); ok {
			return struct{}{}, c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
				return checkPrimary(ctx, node)
			})
		}
		return struct{}{}, checkPrimary(ctx, s.client)
	})
	if err != nil {
		return fmt.Errorf("redisstore: %w", err)
	}
	return redisswap.Rights(ctx, s)
}

func checkPrimary(ctx context.Context, node redis.Cmdable) error {
	info, err := node.Info(ctx).Result()
	if err != nil {
		return err
	}
	return redisswap.CheckPrimary(info)
}
