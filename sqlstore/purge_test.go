package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/sqlstore"
)

// fill stores values under n keys. If ttl is less than a second, fill returns when
// they have expired.
func fill(t *testing.T, s *sqlstore.Store, prefix string, n int, ttl time.Duration) {
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			var last string
			for i := w; i < n; i += 8 {
				last = fmt.Sprint(prefix, i)
				swapped, err := s.CompareAndSwap(t.Context(), last, nil, []byte("v"), ttl)
				if !swapped || err != nil {
					t.Error(swapped, err)
				}
			}
			for live := last != "" && ttl < time.Second; live; {
				value, err := s.Load(t.Context(), last)
				if err != nil {
					t.Error(err)
				}
				live = value != nil
			}
		})
	}
	all.Wait()
}

// A purge deletes only expired rows, in batches.
func TestPurge(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		spy, db := spyOn(t, p)
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
		s := storeIn(t, p, db, nil)
		fill(t, s, "live", 60, time.Hour)
		var dead []string
		for i := range 1234 {
			dead = append(dead, fmt.Sprintf("('dead%d', 'v', 1)", i)) // expired in 1970
		}
		must(t, db, "INSERT INTO otp_ledgers VALUES "+strings.Join(dead, ", "))
		spy.commands()
		deleted, err := s.Purge(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1234, deleted)
		batches := []string{"DELETE", "DELETE", "DELETE"}
		if p.driver == "mysql" {
			batches = []string{"SELECT", "DELETE", "SELECT", "DELETE", "SELECT", "DELETE"}
		}
		require.Equal(t, batches, spy.commands())
		deleted, err = s.Purge(t.Context())
		require.NoError(t, err)
		require.Zero(t, deleted)
		for i := range 60 {
			value, err := s.Load(t.Context(), fmt.Sprint("live", i))
			require.NoError(t, err)
			require.Equal(t, "v", string(value))
		}
		var rows int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM otp_ledgers").Scan(&rows))
		require.Equal(t, 60, rows)
	})
}

// Concurrent purges do not disturb swaps that create and delete the same keys: no
// call fails, and no live row is deleted.
func TestPurge_besideSwaps(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		s := storeAt(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		enough := int64(testkit.Rounds(50, 1000))
		var deleted, revived atomic.Int64
		failed := func(err error) bool {
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			return err != nil
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for ctx.Err() == nil {
					n, err := s.Purge(ctx)
					failed(err)
					if deleted.Add(n) > enough && revived.Load() > enough {
						cancel()
					}
				}
			})
		}
		for i := range 40 {
			all.Go(func() {
				key, live := fmt.Sprint("k", i), []byte("live")
				for ctx.Err() == nil {
					swapped, err := s.CompareAndSwap(ctx, key, nil, []byte("ends"), 1)
					if failed(err) || !swapped {
						continue // it has not expired yet
					}
					for swapped = false; !swapped && err == nil; {
						swapped, err = s.CompareAndSwap(ctx, key, nil, live, time.Hour)
					}
					if failed(err) {
						return
					}
					if swapped, err = s.CompareAndSwap(ctx, key, live, nil, 0); !swapped && err == nil {
						t.Error("a live value was deleted")
					}
					revived.Add(1)
				}
			})
		}
		all.Wait()
		t.Logf("%d rows purged, %d values lived", deleted.Load(), revived.Load())
	})
}

// Run purges at once and after each interval, reports each purge, continues after an
// error, and returns when its context ends.
func TestRun(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		type purge struct {
			deleted int64
			err     error
		}
		purges := make(chan purge, 1000)
		s, err := sqlstore.New(openAt(t, p), dialects[p.driver], &sqlstore.Options{
			PurgeInterval: 10 * time.Millisecond,
			OnPurge:       func(_ context.Context, n int64, err error) { purges <- purge{n, err} },
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx); close(purges) }()
		require.Error(t, (<-purges).err) // there is no table
		require.NoError(t, s.Migrate(ctx))
		fill(t, s, "dead", 7, 1)
		var sum int64
		servers.Wait(t, "the purge", func() error {
			if sum += (<-purges).deleted; sum != 7 {
				return fmt.Errorf("%d deleted", sum)
			}
			return nil
		})
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.ErrorIs(t, s.Run(ctx), context.Canceled)
		_, err = s.Purge(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// The statements of each step of a flow.
func TestStore_trips(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		spy, db := spyOn(t, p)
		storetest.CheckTrips(t, storeIn(t, p, db, nil), spy.commands, storetest.Trips{Load: "SELECT", Create: "INSERT", Swap: "UPDATE"})
	})
}
