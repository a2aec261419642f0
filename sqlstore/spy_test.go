package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/sqlstore"
)

// spy wraps a driver. It records the statements that are executed, and can hang.
type spy struct {
	driver driver.Driver
	dsn    string

	mu       sync.Mutex
	executed []string      // the first word of each statement
	prepared int           // statements
	hung     chan struct{} // if not nil, nothing is executed before it is closed, whatever the context
	rude     error         // if not nil, what an execution returns once its context ends
	failure  error         // if not nil, what an execution returns at once
	failures int           // how many executions that is; 0 means all
}

// spyOn opens a pool through a spy.
func spyOn(t testing.TB, p place) (*spy, *sql.DB) {
	s := &spy{driver: openAt(t, p).Driver(), dsn: p.dsn}
	db := sql.OpenDB(s)
	t.Cleanup(func() { db.Close() })
	return s, db
}

// commands returns what was executed since it was last called.
func (s *spy) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.executed = nil }()
	return slices.Clone(s.executed)
}

// hang makes every execution hang until the returned function is called.
func (s *spy) hang() (goOn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hung := make(chan struct{})
	s.hung = hung
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hung = nil
		close(hung)
	})
}

// note is called before each execution and returns the context for it.
func (s *spy) note(ctx context.Context, text string) (context.Context, error) {
	s.mu.Lock()
	s.executed = append(s.executed, strings.Fields(text)[0])
	hung, rude, failure := s.hung, s.rude, s.failure
	if s.failures > 0 {
		if s.failures--; s.failures == 0 {
			s.failure = nil
		}
	}
	s.mu.Unlock()
	switch {
	case failure != nil:
		return ctx, failure
	case rude != nil:
		<-ctx.Done()
		return ctx, rude
	case hung != nil:
		<-hung
		return context.WithoutCancel(ctx), nil // a statement that waits for a disk continues
	}
	return ctx, nil
}

// Connect implements driver.Connector.
func (s *spy) Connect(context.Context) (driver.Conn, error) {
	c, err := s.driver.Open(s.dsn)
	return spyConn{c, s}, err
}

// Driver implements driver.Connector.
func (s *spy) Driver() driver.Driver { return s.driver }

type spyConn struct {
	driver.Conn
	spy *spy
}

func (c spyConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	st, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	c.spy.mu.Lock()
	defer c.spy.mu.Unlock()
	c.spy.prepared++
	return spyStmt{st, c.spy, text}, err
}

type spyStmt struct {
	driver.Stmt
	spy  *spy
	text string
}

func (s spyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	ctx, err := s.spy.note(ctx, s.text)
	if err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s spyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	ctx, err := s.spy.note(ctx, s.text)
	if err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

var (
	_ driver.Connector          = (*spy)(nil)
	_ driver.ConnPrepareContext = spyConn{}
)

// A load and a swap are one statement each, and each statement is prepared once on a
// connection.
func TestStore_statements(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		s, db := spyOn(t, p)
		db.SetMaxOpenConns(1)
		store := storeIn(t, p, db, nil)
		s.commands()
		before := s.prepared
		one, two := []byte("one"), []byte("two")
		for range 3 {
			for _, step := range []struct {
				old, new []byte
				want     string
			}{{nil, one, "INSERT"}, {one, two, "UPDATE"}, {two, nil, "DELETE"}} {
				swapped, err := store.CompareAndSwap(t.Context(), "k", step.old, step.new, 1e9)
				require.NoError(t, err)
				require.True(t, swapped)
				require.Equal(t, []string{step.want}, s.commands())
				value, err := store.Load(t.Context(), "k")
				require.NoError(t, err)
				require.Equal(t, step.new, value)
				require.Equal(t, []string{"SELECT"}, s.commands())
			}
		}
		require.Equal(t, 4, s.prepared-before)

		store = storeIn(t, p, db, &sqlstore.Options{Unprepared: true})
		before = s.prepared
		for range 5 {
			_, err := store.Load(t.Context(), "k")
			require.NoError(t, err)
		}
		require.Equal(t, 5, s.prepared-before, "database/sql prepares them, since this driver can do nothing else")
	})
}
