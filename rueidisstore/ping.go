package rueidisstore

import (
	"context"
	"fmt"

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
		// The client's nodes are primaries and replicas. Replicas are an error
		// only if there is no primary.
		verdict := redisswap.ErrReplica
		for _, node := range s.client.Nodes() {
			info, err := node.Do(ctx, node.B().Info().Build()).ToString()
			if err != nil {
				return struct{}{}, err
			}
			//nolint:errorlint // it returns ErrReplica itself
			switch err := redisswap.CheckPrimary(info); err {
			case redisswap.ErrReplica:
			case nil:
				verdict = nil
			default:
				return struct{}{}, err
			}
		}
		return struct{}{}, verdict
	})
	if err != nil {
		return fmt.Errorf("rueidisstore: %w", err)
	}
	return redisswap.Rights(ctx, s)
}
