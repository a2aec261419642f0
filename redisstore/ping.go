package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp/internal/await"
	"github.com/go-mailotp/otp/internal/redisswap"
)

// Errors that [Store.Ping] returns, for errors.Is.
var (
	// ErrEviction means that a server has a maxmemory and a maxmemory-policy
	// other than noeviction. When it is full it deletes live data, including
	// the guesses that were counted.
	ErrEviction = redisswap.ErrEviction

	// ErrReplica means that the client is connected to a replica, because of
	// its configuration or because a failover is in progress.
	ErrReplica = redisswap.ErrReplica
)

// Ping checks whether the servers are set up to keep data. Call it when a
// program starts and in health checks. It sends INFO to every primary (managed
// services often forbid CONFIG), then reads, writes and deletes the key "ping"
// under the prefix, so that missing rights show. It returns [ErrEviction],
// [ErrReplica] or the error of a command. Ping cannot check how a server writes
// to its disk and its replicas; see the README for that.
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
