package rueidisstore

import (
	"context"
	"fmt"

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
		// The client's nodes are primaries and replicas. The latter count only if
		// there is nothing else.
		verdict := redisswap.ErrReplica
		for _, node := range s.client.Nodes() {
			info, err := node.Do(ctx, node.B().Info().Build()).ToString()
			if err != nil {
				return struct{}{}, err
			}
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
