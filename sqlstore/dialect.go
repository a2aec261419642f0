package sqlstore

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"
)

// Dialect is the SQL dialect of a database. The zero value is invalid.
type Dialect int

// The supported dialects.
const (
	PostgreSQL Dialect = iota + 1 // version 12 or later
	MySQL                         // MySQL 5.7 or later, MariaDB 10.2 or later, with InnoDB
	SQLite                        // version 3.24 or later
)

// dialect holds the statements of a Dialect for one table. In all of them a row
// is live while its expiry is later than now.
type dialect struct {
	load    string // the live value; id
	create  string // insert, or replace an expired row
	replace string // replace a live value
	remove  string // delete a live value; id, old
	schema  []string
	migrate []string

	// purge deletes at most purgeBatch expired rows. If expired is set, it
	// selects their ids, and a list of these is appended to purge.
	purge, expired string

	createArgs     func(id, newValue []byte, ms int64) []any
	replaceArgs    func(id, oldValue, newValue []byte, ms int64) []any
	changed        func(sql.Result) (bool, error)
	ignoresContext bool
}

var tableName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,48}(\.[A-Za-z0-9_-]{1,48})?$`)

func newDialect(d Dialect, table string) (dialect, error) {
	if !tableName.MatchString(table) {
		return dialect{}, fmt.Errorf("sqlstore: Options.Table: invalid name %q, want 1 to 48 characters of [A-Za-z0-9_-], or two such names with a dot", table)
	}
	switch d {
	case PostgreSQL:
		return postgresDialect(table), nil
	case MySQL:
		return mysqlDialect(table), nil
	case SQLite:
		return sqliteDialect(table), nil
	}
	return dialect{}, fmt.Errorf("sqlstore: unknown dialect %d, want PostgreSQL, MySQL or SQLite", d)
}

// texts returns a function that fills the names and the clock into a statement.
func texts(table, quote, now string) func(string) string {
	quoted := quote + strings.ReplaceAll(table, ".", quote+"."+quote) + quote
	schema, name, found := strings.Cut(table, ".")
	if !found {
		schema, name = "", table
	}
	index := quote + name + "_expires" + quote
	prefix := ""
	if schema != "" {
		prefix = quote + schema + quote + "."
	}
	return strings.NewReplacer(
		"{table}", quoted, "{name}", quote+name+quote, "{index}", index, "{schema.}", prefix, "{now}", now,
		"{batch}", fmt.Sprint(purgeBatch),
	).Replace
}

// oneRow is the changed function of engines that count matched rows.
func oneRow(r sql.Result) (bool, error) {
	n, err := r.RowsAffected()
	return err == nil && n == 1, err
}

func postgresDialect(table string) dialect {
	// clock_timestamp advances while a statement waits for a row, and is
	// evaluated again when the statement continues with that row.
	text := texts(table, `"`, `floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`)
	d := dialect{
		load: text(`SELECT value FROM {table} WHERE id = $1 AND expires > {now}`),
		create: text(`INSERT INTO {table} AS l (id, value, expires) VALUES ($1, $2, {now} + $3)
			ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE l.expires <= {now}`),
		replace: text(`UPDATE {table} SET value = $1, expires = {now} + $2 WHERE id = $3 AND value = $4 AND expires > {now}`),
		remove:  text(`DELETE FROM {table} WHERE id = $1 AND value = $2 AND expires > {now}`),
		// now() is constant during the statement, so the planner can use the
		// index. Rows that a swap has locked are left for the next purge. An
		// array is computed once, but the planner may run a subquery of IN
		// several times.
		purge: texts(table, `"`, `floor(extract(epoch FROM now()) * 1000)::bigint`)(
			`DELETE FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM {table}
				WHERE expires <= {now} ORDER BY expires LIMIT {batch} FOR UPDATE SKIP LOCKED))`),
		schema: []string{
			text(`CREATE TABLE IF NOT EXISTS {table} (id bytea PRIMARY KEY, value bytea NOT NULL, expires bigint NOT NULL)`),
			text(`CREATE INDEX IF NOT EXISTS {index} ON {table} (expires)`),
		},
		createArgs:  plainCreate,
		replaceArgs: plainReplace,
		changed:     oneRow,
	}
	// Two sessions that create the same table at once collide in spite of IF
	// NOT EXISTS, so a lock makes them take turns. Its number is arbitrary.
	d.migrate = []string{"DO $migrate$ BEGIN PERFORM pg_advisory_xact_lock(7095311946);\n" +
		strings.Join(d.schema, ";\n") + ";\nEND $migrate$"}
	return d
}

func sqliteDialect(table string) dialect {
	// julianday works in every version. As a double it is precise to 0.05 ms.
	text := texts(table, `"`, `CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)`)
	d := dialect{
		load: text(`SELECT value FROM {table} WHERE id = ? AND expires > {now}`),
		create: text(`INSERT INTO {table} AS l (id, value, expires) VALUES (?, ?, {now} + ?)
			ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE l.expires <= {now}`),
		replace: text(`UPDATE {table} SET value = ?, expires = {now} + ? WHERE id = ? AND value = ? AND expires > {now}`),
		remove:  text(`DELETE FROM {table} WHERE id = ? AND value = ? AND expires > {now}`),
		purge:   text(`DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires <= {now} ORDER BY expires LIMIT {batch})`),
		schema: []string{
			text(`CREATE TABLE IF NOT EXISTS {table} (id BLOB PRIMARY KEY, value BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID`),
			text(`CREATE INDEX IF NOT EXISTS {schema.}{index} ON {name} (expires)`),
		},
		createArgs:     plainCreate,
		replaceArgs:    plainReplace,
		changed:        oneRow,
		ignoresContext: true,
	}
	d.migrate = d.schema
	return d
}

func plainCreate(id, newValue []byte, ms int64) []any { return []any{id, newValue, ms} }

func plainReplace(id, oldValue, newValue []byte, ms int64) []any {
	return []any{newValue, ms, id, oldValue}
}

func mysqlDialect(table string) dialect {
	// The clock is UTC_TIMESTAMP because local time is ambiguous for an hour
	// each year.
	text := texts(table, "`", `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000`)
	d := dialect{
		load: text(`SELECT value FROM {table} WHERE id = ? AND expires > {now}`),
		// Assignments run from left to right, so value comes first. A row that
		// stays unchanged must not be mistaken for an inserted one: with
		// clientFoundRows, both affect 1 row. The former leaves a last insert
		// ID of 1, the latter none.
		create: text(`INSERT INTO {table} (id, value, expires) VALUES (?, ?, {now} + ?)
			ON DUPLICATE KEY UPDATE value = IF(expires <= {now}, ?, value),
			expires = IF(expires <= {now}, {now} + ?, expires + LAST_INSERT_ID(1) - 1)`),
		// Without clientFoundRows a row counts only if it changes. A different
		// expiry makes sure that it does.
		replace: text(`UPDATE {table} SET value = ?, expires = {now} + ? + (expires = {now} + ?)
			WHERE id = ? AND value = ? AND expires > {now}`),
		remove: text(`DELETE FROM {table} WHERE id = ? AND value = ? AND expires > {now}`),
		// The purge has two steps, and the first one locks nothing. A delete
		// that finds its rows by expiry takes locks in the opposite order of a
		// swap, so the server would end one of the two as a deadlock. It would
		// choose the index on expiry when few rows have expired, hence FORCE
		// INDEX. There is no alias, because an alias belongs to the database of
		// the session, which may have none.
		expired: text(`SELECT id FROM {table} WHERE expires <= {now} ORDER BY expires LIMIT {batch}`),
		purge:   text(`DELETE {table} FROM {table} FORCE INDEX (PRIMARY) WHERE expires <= {now} AND id IN `),
		schema: []string{text("CREATE TABLE IF NOT EXISTS {table} (id varbinary(64) PRIMARY KEY, value varbinary(16384) NOT NULL,\n" +
			"\texpires bigint NOT NULL, KEY {index} (expires)) ENGINE=InnoDB")},
		createArgs: func(id, newValue []byte, ms int64) []any {
			return []any{id, newValue, ms, newValue, ms}
		},
		replaceArgs: func(id, oldValue, newValue []byte, ms int64) []any {
			return []any{newValue, ms, ms, id, oldValue}
		},
		changed: func(r sql.Result) (bool, error) {
			n, err := r.RowsAffected()
			if err != nil || n == 0 {
				return false, err
			}
			kept, err := r.LastInsertId()
			return err == nil && kept == 0, err
		},
	}
	d.migrate = d.schema
	return d
}
