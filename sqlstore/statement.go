package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// statement is one of the store's statements.
type statement struct {
	text     string
	prepared atomic.Pointer[sql.Stmt] // nil before its first use
}

// prepare returns the prepared statement, or nil with Options.Unprepared. On
// each new connection [sql.Stmt] prepares it again by itself. After an error
// the next call tries again.
func (s *Store) prepare(ctx context.Context, st *statement) (*sql.Stmt, error) {
	if p := st.prepared.Load(); p != nil || s.options.Unprepared {
		return p, nil
	}
	// Only one goroutine prepares, so that there is no duplicate to close:
	// Close takes no context.
	select {
	case s.preparer <- struct{}{}:
		defer func() { <-s.preparer }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p := st.prepared.Load(); p != nil {
		return p, nil
	}
	p, err := s.db.PrepareContext(ctx, st.text)
	if err != nil {
		return nil, err
	}
	st.prepared.Store(p)
	return p, nil
}

// queryRow runs a statement that returns at most one value.
func (s *Store) queryRow(ctx context.Context, st *statement, args ...any) scanner {
	p, err := s.prepare(ctx, st)
	switch {
	case err != nil:
		return failed{err}
	case p == nil:
		return s.db.QueryRowContext(ctx, st.text, args...)
	}
	return p.QueryRowContext(ctx, args...)
}

type scanner interface{ Scan(dest ...any) error }

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// exec runs a statement and reports whether it changed the row.
func (s *Store) exec(ctx context.Context, st *statement, args ...any) (bool, error) {
	p, err := s.prepare(ctx, st)
	if err != nil {
		return false, err
	}
	var result sql.Result
	if p == nil {
		result, err = s.db.ExecContext(ctx, st.text, args...)
	} else {
		result, err = p.ExecContext(ctx, args...)
	}
	if err != nil {
		return false, err
	}
	return s.dialect.changed(result)
}
