package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// purgeBatch is the maximum number of rows that one statement of a purge
// deletes. It is small so that no swap waits for long.
const purgeBatch = 500

// Purge deletes all expired rows and returns how many it deleted, even if it
// returns an error as well. It works in batches, each of which commits by
// itself. It can run concurrently with all other calls, and in several
// processes at once.
func (s *Store) Purge(ctx context.Context) (deleted int64, err error) {
	for {
		n, err := call(ctx, s, func() (int64, error) { return s.purgeSome(ctx) })
		deleted += n
		if err != nil || n < purgeBatch {
			return deleted, err
		}
	}
}

// Run purges once, and then again after each Options.PurgeInterval, until ctx
// ends. It returns the error of ctx. An error of a purge goes to
// Options.OnPurge, and Run continues. It is enough to call Run in one of
// several processes, but all of them may call it.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.options.PurgeInterval)
	defer ticker.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		deleted, err := s.Purge(ctx)
		if s.options.OnPurge != nil && ctx.Err() == nil {
			s.options.OnPurge(ctx, deleted, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// purgeSome deletes one batch.
func (s *Store) purgeSome(ctx context.Context) (int64, error) {
	text, args := s.dialect.purge, []any(nil)
	if s.dialect.expired != "" {
		var err error
		if args, err = s.expired(ctx); err != nil || len(args) == 0 {
			return 0, err
		}
		text += "(?" + strings.Repeat(", ?", len(args)-1) + ")"
	}
	result, err := s.db.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// expired returns the ids of one batch.
func (s *Store) expired(ctx context.Context) (ids []any, err error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.expired)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Schema returns the SQL that creates the table and its index if they are
// missing, for use with a migration tool. Each statement ends with a semicolon.
func (s *Store) Schema() string { return strings.Join(s.dialect.schema, ";\n") + ";\n" }

// Migrate creates the table and its index if they are missing. Several
// processes may call it at once. It needs the right to create tables;
// PostgreSQL requires that right even if there is nothing to create.
func (s *Store) Migrate(ctx context.Context) error {
	_, err := call(ctx, s, func() (none struct{}, err error) {
		for _, text := range s.dialect.migrate {
			if _, err := s.db.ExecContext(ctx, text); err != nil {
				return none, fmt.Errorf("migrate: %w", err)
			}
		}
		return none, nil
	})
	return err
}
