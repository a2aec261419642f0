package sqlstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/sqlstore"
)

// B1, B2: two verifiers, each with its own pool.
func TestStore_races(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		rounds := testkit.Rounds(2, 5)
		if p.driver == "sqlite" { // slow under the race detector
			rounds = testkit.Rounds(1, 5)
		}
		storetest.Races(t, storeAt(t, p), storeAt(t, p), rounds)
	})
}

// B1, B2: several processes.
func TestStore_processes(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		storetest.Processes(t, storeAt(t, p), p.driver+" "+p.dsn, testkit.Rounds(1, 3))
	})
}

// Of many concurrent swaps from one value, exactly one is made at every isolation
// level. None returns an error, even where the server rolls back the others.
func TestStore_isolation(t *testing.T) {
	const level = "&default_transaction_isolation="
	for name, p := range map[string]place{
		"PostgreSQL, read committed":  with(engines[0].make(t), level+"read%20committed"),
		"PostgreSQL, repeatable read": with(engines[0].make(t), level+"repeatable%20read"),
		"PostgreSQL, serializable":    with(engines[0].make(t), level+"serializable"),
		"MariaDB, read uncommitted":   mysqlWith(t, "isolation", "%27READ-UNCOMMITTED%27"),
		"MariaDB, repeatable read":    mysqlWith(t, "isolation", "%27REPEATABLE-READ%27"),
		"MariaDB, serializable":       mysqlWith(t, "isolation", "%27SERIALIZABLE%27"),
	} {
		t.Run(name, func(t *testing.T) {
			s := storeAt(t, p)
			last := map[string][]byte{}
			for round := range testkit.Rounds(24, 60) {
				key := fmt.Sprint("k", round%3) // absent at first, then to be replaced or deleted
				old := last[key]
				var mu sync.Mutex
				made := 0
				var all sync.WaitGroup
				for i := range 10 {
					value := fmt.Appendf(nil, "%d by %d", round, i)
					if old != nil && (round+i)%4 == 0 {
						value = nil
					}
					all.Go(func() {
						swapped, err := s.CompareAndSwap(t.Context(), key, old, value, time.Hour)
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							t.Error(err)
						}
						if swapped {
							made++
							last[key] = value
						}
					})
				}
				all.Wait()
				require.Equal(t, 1, made)
				value, err := s.Load(t.Context(), key)
				require.NoError(t, err)
				require.Equal(t, last[key], value)
			}
		})
	}
}

// B4: a guess stays counted, and a used code stays used, when the transaction of the
// request around it is rolled back.
func TestStore_callersTransaction(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		db := openAt(t, p)
		inbox := new(otptest.Inbox)
		v := storetest.NewVerifier(t, storeIn(t, p, db, nil), inbox)
		ch, err := v.Send(t.Context(), otp.Request{To: "ann@example.com"})
		require.NoError(t, err)
		code := inbox.Code("ann@example.com")
		inTransaction := func(f func()) {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			var one int
			require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT 1").Scan(&one))
			f()
			require.NoError(t, tx.Rollback())
		}
		inTransaction(func() {
			_, err := v.Check(t.Context(), ch.ID, testkit.WrongCode(code))
			require.ErrorIs(t, err, otp.ErrCode)
		})
		status, err := v.Status(t.Context(), ch.ID)
		require.NoError(t, err)
		require.Equal(t, 5-1, status.GuessesLeft)
		inTransaction(func() {
			_, err := v.Check(t.Context(), ch.ID, code)
			require.NoError(t, err)
		})
		_, err = v.Check(t.Context(), ch.ID, code)
		require.ErrorIs(t, err, otp.ErrUnknown)
	})
}

// Several processes may migrate at once.
func TestStore_migrateAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		db := openAt(t, p)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				s, err := sqlstore.New(db, dialects[p.driver], nil)
				if err == nil {
					err = s.Migrate(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// A swap from a value to the same value is made, even within one millisecond and
// with the same ttl, when the row would not change.
func TestStore_sameValue(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		s := storeAt(t, p)
		one := []byte("one")
		swapped, err := s.CompareAndSwap(t.Context(), "k", nil, one, time.Hour)
		require.NoError(t, err)
		require.True(t, swapped)
		for range testkit.Rounds(100, 300) {
			swapped, err := s.CompareAndSwap(t.Context(), "k", one, one, time.Hour)
			require.NoError(t, err)
			require.True(t, swapped)
		}
	})
}

// Sessions in different time zones see the same expiry.
func TestStore_timeZones(t *testing.T) {
	for i, parameter := range []string{"&TimeZone=", "?time_zone="} {
		t.Run(engines[i].name, func(t *testing.T) {
			p := engines[i].make(t)
			zones := []string{"%27-08:00%27", "%27%2B10:00%27"}
			if i == 0 {
				zones = []string{"America/Los_Angeles", "Australia/Sydney"}
			}
			west, east := storeAt(t, with(p, parameter+zones[0])), storeAt(t, with(p, parameter+zones[1]))
			one := []byte("one")
			for _, pair := range [][2]*sqlstore.Store{{west, east}, {east, west}} {
				swapped, err := pair[0].CompareAndSwap(t.Context(), "k", nil, one, time.Minute)
				require.NoError(t, err)
				require.True(t, swapped)
				value, err := pair[1].Load(t.Context(), "k")
				require.NoError(t, err)
				require.Equal(t, one, value)
				swapped, err = pair[1].CompareAndSwap(t.Context(), "k", one, nil, 0)
				require.NoError(t, err)
				require.True(t, swapped)

				swapped, err = pair[0].CompareAndSwap(t.Context(), "ends", nil, one, 1)
				require.NoError(t, err)
				require.True(t, swapped)
				require.Eventually(t, func() bool {
					value, err := pair[1].Load(t.Context(), "ends")
					return err == nil && value == nil
				}, 5*time.Second, time.Millisecond)
			}
		})
	}
}
