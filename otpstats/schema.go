package otpstats

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The grains of a roll-up. There are counts for all dimensions together by
// hour; for none or one of them (its number is added) by hour and by day; and
// by hour for the pairs that a page with one filter needs.
const (
	grainAll             = 0
	grainHour            = 10
	grainDay             = 20
	grainPurposeLanguage = 30
	grainPurposeDomain   = 31
	grainLanguageDomain  = 32
)

var dimensionColumns = map[Dimension]string{
	Purpose: "purpose", Language: "language", Domain: "domain", Provider: "provider", App: "app",
}

var prefixes = regexp.MustCompile(`^([A-Za-z0-9_]{1,40}\.)?[A-Za-z0-9_]{1,40}$`)

// sqlText translates text to a dialect: {p}name is a table, {i}name an index
// being created, {t}name its table, and ? an argument.
type sqlText struct {
	dialect Dialect
	prefix  string
}

func (q sqlText) text(text string) string {
	schema, prefix, found := strings.Cut(q.prefix, ".")
	if !found {
		schema, prefix = "", q.prefix
	}
	if schema != "" {
		schema = `"` + schema + `".`
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for argument := 0; ; {
		i := strings.IndexAny(text, "{?")
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		if text[i] == '?' {
			if argument++; q.dialect == PostgreSQL {
				b.WriteByte('$')
				b.WriteString(strconv.Itoa(argument))
			} else {
				b.WriteByte('?')
			}
			text = text[i+1:]
			continue
		}
		letter, rest := text[i+1], text[i+len("{p}"):]
		end := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
		if end < 0 {
			end = len(rest)
		}
		// PostgreSQL names the schema with the table, SQLite with the index.
		if !(letter == 'i' && q.dialect == PostgreSQL || letter == 't' && q.dialect == SQLite) {
			b.WriteString(schema)
		}
		b.WriteString(`"` + prefix + rest[:end] + `"`)
		text = rest[end:]
	}
}

// Schema returns the SQL statements, each ended by a semicolon, that create
// missing tables and indexes. Use it with your own migration tool, together
// with Options.Unmigrated. An empty prefix means the default one. It returns an
// error for an invalid dialect or prefix; see [Options].
func Schema(d Dialect, prefix string) (string, error) {
	q, err := newText(d, prefix)
	if err != nil {
		return "", err
	}
	return strings.Join(q.schema(), ";\n") + ";\n", nil
}

func newText(d Dialect, prefix string) (sqlText, error) {
	if prefix == "" {
		prefix = "otp_stats_"
	}
	if !prefixes.MatchString(prefix) {
		return sqlText{}, fmt.Errorf("otpstats: Options.Prefix: invalid prefix %q, want up to 40 letters, digits or underscores, optionally after a schema and a dot", prefix)
	}
	if d != SQLite && d != PostgreSQL {
		return sqlText{}, fmt.Errorf("otpstats: invalid dialect %d, want otpstats.SQLite or otpstats.PostgreSQL", d)
	}
	return sqlText{d, prefix}, nil
}

func (q sqlText) schema() []string {
	serial, long, hash := "INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER", "BLOB"
	without := " WITHOUT ROWID"
	if q.dialect == PostgreSQL {
		serial, long, hash, without = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigint", "bytea", ""
	}
	dimensions := "purpose text NOT NULL, language text NOT NULL, domain text NOT NULL, provider text NOT NULL, app text NOT NULL"
	var columns []string
	for i, name := range columnNames {
		size := " integer NOT NULL"
		if unlimited[i] {
			size = " {long} NOT NULL"
		}
		columns = append(columns, name+size)
	}
	statements := []string{
		"CREATE TABLE IF NOT EXISTS {p}events (id " + serial + ", time {long} NOT NULL, kind integer NOT NULL, resend integer NOT NULL, strong integer NOT NULL, decoy integer NOT NULL,\n" +
			"\tpurpose text NOT NULL, language text NOT NULL, domain text NOT NULL, app text NOT NULL,\n" +
			"\taddress {hash}, client {hash}, challenge {hash}, age {long} NOT NULL, wrongs integer NOT NULL, times {long} NOT NULL)",
		"CREATE INDEX IF NOT EXISTS {i}events_time ON {t}events (time)",
		"CREATE INDEX IF NOT EXISTS {i}events_address ON {t}events (address)",
		"CREATE TABLE IF NOT EXISTS {p}challenges (id {hash} PRIMARY KEY, opened {long} NOT NULL, address {hash},\n\t" + dimensions + ",\n" +
			"\tmails integer NOT NULL, lost integer NOT NULL, again integer NOT NULL, decoys integer NOT NULL, failed integer NOT NULL, wrong integer NOT NULL,\n" +
			"\tmalformed {long} NOT NULL, expired {long} NOT NULL, exhausted {long} NOT NULL, strong integer NOT NULL, age {long} NOT NULL, ended integer NOT NULL)" + without,
		"CREATE INDEX IF NOT EXISTS {i}challenges_opened ON {t}challenges (ended, opened)",
		"CREATE INDEX IF NOT EXISTS {i}challenges_address ON {t}challenges (address)",
		"CREATE TABLE IF NOT EXISTS {p}mails (id {hash} PRIMARY KEY, time {long} NOT NULL, challenge {hash}, provider text NOT NULL, lost integer NOT NULL)" + without,
		"CREATE INDEX IF NOT EXISTS {i}mails_time ON {t}mails (time)",
		"CREATE TABLE IF NOT EXISTS {p}rollups (grain integer NOT NULL, time {long} NOT NULL, " + dimensions + ",\n\t" + strings.Join(columns, ", ") + ",\n" +
			"\tPRIMARY KEY (grain, time, purpose, language, domain, provider, app))" + without,
		"CREATE TABLE IF NOT EXISTS {p}spreads (hour {long} NOT NULL, kind integer NOT NULL, subject text NOT NULL, count {long} NOT NULL, asked {long} NOT NULL,\n" +
			"\tPRIMARY KEY (hour, kind, subject))" + without,
		"CREATE INDEX IF NOT EXISTS {i}spreads_subject ON {t}spreads (subject)",
		"CREATE TABLE IF NOT EXISTS {p}anomalies (kind text NOT NULL, subject text NOT NULL, until {long} NOT NULL, since {long} NOT NULL,\n" +
			"\tcount {long} NOT NULL, seen double precision NOT NULL, usual double precision NOT NULL, teller text NOT NULL, PRIMARY KEY (kind, subject, since))" + without,
		"CREATE UNIQUE INDEX IF NOT EXISTS {i}anomalies_open ON {t}anomalies (kind, subject) WHERE until = 0",
		"CREATE TABLE IF NOT EXISTS {p}writers (id text PRIMARY KEY, batch {long} NOT NULL, time {long} NOT NULL)" + without,
		"INSERT INTO {p}writers (id, batch, time) VALUES ('', 0, 0) ON CONFLICT DO NOTHING",
	}
	for i, s := range statements {
		statements[i] = q.text(strings.NewReplacer("{long}", long, "{hash}", hash).Replace(s))
	}
	return statements
}

// migrate creates missing tables and indexes.
func (s *Stats) migrate(ctx context.Context) error {
	statements := s.sql.schema()
	if s.sql.dialect == PostgreSQL {
		// Two sessions that create a table at the same time collide despite IF
		// NOT EXISTS, so they take turns; the number is arbitrary. CREATE INDEX
		// locks its table even if the index exists. The lock that each writer
		// starts with comes first, so that they cannot deadlock.
		statements = []string{"DO $migrate$ BEGIN PERFORM pg_advisory_xact_lock(7095311947);\n" +
			s.sql.text("IF to_regclass('{p}writers') IS NOT NULL THEN LOCK TABLE {p}writers IN EXCLUSIVE MODE; END IF;\n") +
			strings.Join(statements, ";\n") + ";\nEND $migrate$"}
	}
	for _, text := range statements {
		if _, err := s.db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	return nil
}

// runner is a *sql.DB or a *sql.Tx.
type runner interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

func (s *Stats) query(ctx context.Context, on runner, text string, args ...any) (*sql.Rows, error) {
	return on.QueryContext(ctx, s.sql.text(text), args...)
}

func (s *Stats) exec(ctx context.Context, on runner, text string, args ...any) (int64, error) {
	result, err := on.ExecContext(ctx, s.sql.text(text), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// placeholders is a list of n arguments.
func placeholders(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// insert writes rows of equal width.
func (s *Stats) insert(ctx context.Context, tx *sql.Tx, head string, rows [][]any, tail string) error {
	if len(rows) == 0 {
		return nil
	}
	row := placeholders(len(rows[0]))
	if s.sql.dialect == SQLite { // parsing a statement for many rows takes longer than writing them
		stmt, err := tx.PrepareContext(ctx, s.sql.text(head+" VALUES "+row+tail))
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, args := range rows {
			// Watching a context costs the driver a goroutine for each row, and
			// tx ends with the context anyway.
			if _, err := stmt.ExecContext(context.WithoutCancel(ctx), args...); err != nil {
				return cmp.Or(ctx.Err(), err)
			}
		}
		return nil
	}
	for len(rows) > 0 { // each statement is a round trip to the server
		n := min(len(rows), max(1, 4000/len(rows[0]))) // the protocol allows 65535 arguments
		args := make([]any, 0, n*len(rows[0]))
		for _, values := range rows[:n] {
			args = append(args, values...)
		}
		if _, err := s.exec(ctx, tx, head+" VALUES "+row+strings.Repeat(", "+row, n-1)+tail, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// update runs f in a transaction that excludes all other writers of these
// tables: it holds the lock on the row of the writer "" throughout. A
// transaction that hangs blocks the others, so each ends after a minute.
func (s *Stats) update(ctx context.Context, f func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if s.sql.dialect == PostgreSQL {
		// If this process freezes or its connection is cut, the server ends
		// the transaction.
		if _, err := tx.ExecContext(ctx, "SELECT set_config('lock_timeout', '10s', true), set_config('idle_in_transaction_session_timeout', '30s', true)"); err != nil {
			return err
		}
	}
	if _, err := s.exec(ctx, tx, "UPDATE {p}writers SET batch = batch + 1 WHERE id = ''"); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
