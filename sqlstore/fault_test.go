package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/sqlstore"
)

// works checks that a store answers.
func works(t *testing.T, s otp.Store) {
	t.Helper()
	value, err := s.Load(t.Context(), "works")
	require.NoError(t, err)
	swapped, err := s.CompareAndSwap(t.Context(), "works", value, append(value, 'x'), time.Hour)
	require.NoError(t, err)
	require.True(t, swapped)
}

// Calls return when their contexts end though another session has locked the
// table.
func TestFault_lockedTable(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		if p.driver == "sqlite" { // readers wait for writers only without a WAL
			p = newFile(t, "journal_mode(DELETE)", "busy_timeout(3600000)")
		}
		s := storeAt(t, p)
		works(t, s)
		other, err := openAt(t, p).Conn(t.Context())
		require.NoError(t, err)
		do := func(texts ...string) {
			for _, text := range texts {
				must(t, other, text)
			}
		}
		switch p.driver {
		case "pgx":
			do("BEGIN", "LOCK TABLE otp_ledgers IN ACCESS EXCLUSIVE MODE")
		case "mysql":
			do("LOCK TABLES otp_ledgers WRITE")
		default:
			do("BEGIN EXCLUSIVE")
		}
		storetest.Ends(t, s)
		unprepared := storeUnmade(t, p, openAt(t, p))
		patient, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(2*time.Minute, cancel).Stop() // if the test fails
		first := make(chan error)
		go func() { // this call prepares the statement, and waits
			_, err := unprepared.Load(patient, "k")
			first <- err
		}()
		storetest.Ends(t, unprepared)
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		if p.driver == "mysql" {
			do("UNLOCK TABLES")
		} else {
			do("ROLLBACK")
		}
		works(t, s)
	})
}

// Calls return when their contexts end though the pool has no free connection.
func TestFault_exhaustedPool(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		db := openAt(t, p)
		s := storeIn(t, p, db, nil)
		db.SetMaxOpenConns(1)
		taken, err := db.Conn(t.Context())
		require.NoError(t, err)
		storetest.Ends(t, s)
		storetest.Ends(t, storeUnmade(t, p, db))
		require.NoError(t, taken.Close())
		works(t, s)
	})
}

// Calls return when their contexts end though SQLite waits for its disk, which no
// driver can interrupt. Their statements finish later, with copies of the
// arguments.
func TestFault_hangingDisk(t *testing.T) {
	p := newFile(t, "journal_mode(WAL)")
	spy, db := spyOn(t, p)
	db.SetMaxOpenConns(4)
	s := storeIn(t, p, db, nil)
	one, next := []byte("one"), []byte("next")
	swapped, err := s.CompareAndSwap(t.Context(), "swapped", nil, one, time.Hour)
	require.NoError(t, err)
	require.True(t, swapped)
	goOn := spy.hang()
	defer time.AfterFunc(2*time.Minute, goOn).Stop() // if the test fails
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	swapped, err = s.CompareAndSwap(ctx, "swapped", one, next, time.Hour)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, swapped)
	copy(next, "xxxx") // the caller owns it again
	storetest.Ends(t, s)
	_, err = s.Purge(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, s.Migrate(ctx), context.DeadlineExceeded)
	goOn()
	require.Eventually(t, func() bool {
		value, err := s.Load(t.Context(), "swapped")
		return err == nil && string(value) == "next"
	}, 10*time.Second, 10*time.Millisecond)
	works(t, s)
}

// Some drivers return their own error when a context ends.
func TestFault_rudeDriver(t *testing.T) {
	p := engines[0].make(t)
	spy, db := spyOn(t, p)
	s := storeIn(t, p, db, nil)
	spy.rude = errors.New("canceling statement due to user request")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := s.Load(ctx, "k")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, spy.rude)
}

// storeUnmade returns a store that has prepared no statement yet.
func storeUnmade(t testing.TB, p place, db *sql.DB) *sqlstore.Store {
	s, err := sqlstore.New(db, dialects[p.driver], nil)
	require.NoError(t, err)
	return s
}

// B5: if the server rejects writes, as a replica does, no code is verified, and the
// results do not depend on the code.
func TestFault_readOnly(t *testing.T) {
	for name, places := range map[string]func(t *testing.T) (p, readOnly place){
		"PostgreSQL": func(t *testing.T) (p, readOnly place) {
			p = engines[0].make(t)
			return p, with(p, "&default_transaction_read_only=on")
		},
		"MariaDB": func(t *testing.T) (p, readOnly place) {
			readOnly = mysqlWith(t, "read_only", "1")
			p.driver, p.dsn = readOnly.driver, strings.SplitN(readOnly.dsn, "?", 2)[0]
			return p, readOnly
		},
		"SQLite": func(t *testing.T) (p, readOnly place) {
			p = engines[2].make(t)
			return p, with(p, "&_pragma=query_only(1)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, readOnly := places(t)
			inbox := new(otptest.Inbox)
			v := storetest.NewVerifier(t, storeAt(t, p), inbox)
			ch, err := v.Send(t.Context(), otp.Request{To: "ann@example.com"})
			require.NoError(t, err)
			code := inbox.Code("ann@example.com")

			s := storeUnmade(t, p, openAt(t, readOnly))
			fixed := storetest.NewVerifier(t, s, inbox)
			for _, guess := range []string{code, "000000", "111111", code} {
				answer, err := fixed.Check(t.Context(), ch.ID, guess)
				require.Error(t, err)
				require.NotErrorIs(t, err, otp.ErrCode)
				require.Zero(t, answer)
				t.Log(err)
			}
			_, err = fixed.Send(t.Context(), otp.Request{To: "bob@example.com"})
			require.Error(t, err)
			require.Len(t, inbox.Messages(), 1)
			_, err = v.Check(t.Context(), ch.ID, code)
			require.NoError(t, err)
		})
	}
}

// B5: a full disk causes an error and loses nothing.
func TestFault_fullDisk(t *testing.T) {
	s := storeAt(t, newFile(t, "journal_mode(WAL)", "max_page_count(50)"))
	value := make([]byte, 4000)
	for i := range value {
		value[i] = 'v'
	}
	full := 0
	for ; full < 100; full++ {
		swapped, err := s.CompareAndSwap(t.Context(), fmt.Sprint("k", full), nil, value, time.Hour)
		if err != nil {
			require.False(t, swapped)
			t.Log(err)
			break
		}
		require.True(t, swapped)
	}
	require.Less(t, full, 100)
	require.Greater(t, full, 5)
	absent, err := s.Load(t.Context(), fmt.Sprint("k", full))
	require.NoError(t, err)
	require.Nil(t, absent)
	for i := range full {
		got, err := s.Load(t.Context(), fmt.Sprint("k", i))
		require.NoError(t, err)
		require.Equal(t, value, got)
	}
	swapped, err := s.CompareAndSwap(t.Context(), "k0", value, nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
}

// A store fails without its table, and works as soon as the table exists.
func TestFault_noTable(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		s := storeUnmade(t, p, openAt(t, p))
		value, err := s.Load(t.Context(), "k")
		require.ErrorContains(t, err, "otp_ledgers")
		require.Nil(t, value)
		swapped, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("v"), time.Hour)
		require.ErrorContains(t, err, "otp_ledgers")
		require.False(t, swapped)
		require.NoError(t, s.Migrate(t.Context()))
		works(t, s)
	})
}

// New rejects invalid options.
func TestNew(t *testing.T) {
	p := newFile(t, "journal_mode(WAL)")
	db := openAt(t, p)
	for name, err := range map[string]error{
		"no database":       errOf(sqlstore.New(nil, sqlstore.SQLite, nil)),
		"no dialect":        errOf(sqlstore.New(db, 0, nil)),
		"unknown dialect":   errOf(sqlstore.New(db, 4, nil)),
		"negative interval": errOf(sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{PurgeInterval: -1})),
	} {
		require.Error(t, err, name)
	}
	for _, table := range []string{`a"b`, "a`b", "a.b.c", ".a", "a.", "a b", "a;b", "ä", "a\n", "$migrate$", fmt.Sprintf("%049d", 0)} {
		require.Error(t, errOf(sqlstore.New(db, sqlstore.PostgreSQL, &sqlstore.Options{Table: table})), table)
	}
}

func errOf(_ *sqlstore.Store, err error) error { return err }
