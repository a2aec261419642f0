package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/redisswap"
	"github.com/go-mailotp/otp/redisstore"
	"github.com/go-mailotp/otp/rueidisstore"
	"github.com/go-mailotp/otp/sqlstore"
)

// storesTitle selects all engines.
const storesTitle = "Send and Check on stores"

// storeTurns are the turns of a worker in a block over a real engine.
const storeTurns = 32

// engine is a store and the bare commands of its driver that Send and Check in
// one process come to: a load, a swap and a swap.
type engine struct {
	name  string
	store otp.Store
	bare  func(ctx context.Context, key string, sent, checked []byte) error
	close func()
}

// atStores compares each engine that can be reached with its bare commands, by
// one worker and by many.
func atStores(w io.Writer, blocks int) error {
	sizes, err := ledgerSizes()
	if err != nil {
		return err
	}
	for _, open := range []func() (*engine, error){openRedis, openRueidis, openPostgres, openMariaDB, openSQLite} {
		e, err := open()
		if err != nil {
			fmt.Fprintf(w, "\nLEFT OUT: %v\n", err)
			continue
		}
		list, err := e.variants(sizes)
		if err == nil {
			err = table(w, "Send and Check on "+e.name, blocks, []int{1, 64}, list...)
		}
		e.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// variants are the bare commands and the library on the engine, with addresses that are
// never used again.
func (e *engine) variants(s sizes) ([]*variant, error) {
	f, err := newFlow(e.store, hand, nil)
	if err != nil {
		return nil, err
	}
	const sealed = 4 + 12 + 16
	var person, record atomic.Int64
	return []*variant{
		{name: "bare: load, swap, swap", size: storeTurns, run: func(int, int) error {
			ctx, cancel := context.WithCancel(context.Background()) // as that of a request
			defer cancel()
			key := fmt.Sprintf("bare%018d", record.Add(1))
			return e.bare(ctx, key, random(s.sent+sealed), random(s.checked+sealed))
		}},
		{name: "library: Send and Check", size: storeTurns, run: func(int, int) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			box := &mailbox{Context: ctx}
			c, err := f.Send(box, otp.Request{To: fmt.Sprintf("person%d@example.org", person.Add(1))})
			if err != nil {
				return err
			}
			_, err = f.Check(box, c.ID, box.code)
			return err
		}},
	}, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// environment is a setting of the tests of the stores, or its default.
func environment(name, standard string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return standard
}

const day = 24 * time.Hour

func openRedis() (*engine, error) {
	client := redis.NewClient(&redis.Options{Addr: environment("OTP_TEST_REDIS", "127.0.0.1:6379"), ContextTimeoutEnabled: true, PoolSize: 64})
	ctx := context.Background()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("go-redis: %w", err)
	}
	prefix := "otpbench:" + rand.Text() + ":"
	store, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	if err := client.ScriptLoad(ctx, redisswap.Script).Err(); err != nil {
		return nil, err
	}
	swap := func(ctx context.Context, key string, old, new []byte) error {
		n, err := client.EvalSha(ctx, redisswap.SHA, []string{key}, old, new, day.Milliseconds()).Int()
		return wanted(n == 1, err)
	}
	return &engine{
		name: "Redis, go-redis", store: store,
		bare: func(ctx context.Context, key string, sent, checked []byte) error {
			key = prefix + key
			if err := client.Get(ctx, key).Err(); err != redis.Nil {
				return wanted(false, err)
			}
			return errors.Join(swap(ctx, key, nil, sent), swap(ctx, key, sent, checked))
		},
		close: func() {
			keys := client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
			for keys.Next(ctx) {
				client.Unlink(ctx, keys.Val())
			}
			client.Close()
		},
	}, nil
}

func openRueidis() (*engine, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{environment("OTP_TEST_REDIS", "127.0.0.1:6379")}, DisableCache: true})
	if err != nil {
		return nil, fmt.Errorf("rueidis: %w", err)
	}
	ctx := context.Background()
	prefix := "otpbench:" + rand.Text() + ":"
	store, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	if err := client.Do(ctx, client.B().ScriptLoad().Script(redisswap.Script).Build()).Error(); err != nil {
		return nil, err
	}
	swap := func(ctx context.Context, key string, old, new []byte) error {
		n, err := client.Do(ctx, client.B().Evalsha().Sha1(redisswap.SHA).Numkeys(1).Key(key).
			Arg(rueidis.BinaryString(old), rueidis.BinaryString(new), fmt.Sprint(day.Milliseconds())).Build()).AsInt64()
		return wanted(n == 1, err)
	}
	return &engine{
		name: "Redis, rueidis", store: store,
		bare: func(ctx context.Context, key string, sent, checked []byte) error {
			key = prefix + key
			if err := client.Do(ctx, client.B().Get().Key(key).Build()).Error(); !rueidis.IsRedisNil(err) {
				return wanted(false, err)
			}
			return errors.Join(swap(ctx, key, nil, sent), swap(ctx, key, sent, checked))
		},
		close: func() {
			for cursor, more := uint64(0), true; more; more = cursor != 0 {
				page, err := client.Do(ctx, client.B().Scan().Cursor(cursor).Match(prefix+"*").Count(1000).Build()).AsScanEntry()
				if err != nil {
					break
				}
				if len(page.Elements) > 0 {
					client.Do(ctx, client.B().Unlink().Key(page.Elements...).Build())
				}
				cursor = page.Cursor
			}
			client.Close()
		},
	}, nil
}

func openPostgres() (*engine, error) {
	dsn := environment("OTP_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/test?sslmode=disable")
	return openSQL("PostgreSQL", "pgx", dsn, sqlstore.PostgreSQL, 64,
		"SELECT value FROM %s WHERE id = $1 AND expires > $2",
		"INSERT INTO %s (id, value, expires) VALUES ($1, $2, $3)",
		"UPDATE %s SET value = $1, expires = $2 WHERE id = $3 AND value = $4")
}

func openMariaDB() (*engine, error) {
	dsn := environment("OTP_TEST_MYSQL", "root@tcp(127.0.0.1:3306)/test")
	return openSQL("MariaDB", "mysql", dsn, sqlstore.MySQL, 64, questions...)
}

// questions are the bare statements with question marks.
var questions = []string{
	"SELECT value FROM %s WHERE id = ? AND expires > ?",
	"INSERT INTO %s (id, value, expires) VALUES (?, ?, ?)",
	"UPDATE %s SET value = ?, expires = ? WHERE id = ? AND value = ?",
}

func openSQLite() (*engine, error) {
	dir, err := os.MkdirTemp("", "otpbench")
	if err != nil {
		return nil, err
	}
	dsn := "file:" + filepath.Join(dir, "otp.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	e, err := openSQL("SQLite", "sqlite", dsn, sqlstore.SQLite, 1, questions...)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	closeDB := e.close
	e.close = func() {
		closeDB()
		os.RemoveAll(dir)
	}
	return e, nil
}

// openSQL makes two tables of the store's form, one for the bare statements.
func openSQL(name, driver, dsn string, dialect sqlstore.Dialect, conns int, statements ...string) (*engine, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	ctx := context.Background()
	ours, bare := "otpbench_"+rand.Text()[:8], "otpbench_"+rand.Text()[:8]
	drop := func() {
		db.Exec("DROP TABLE " + quoted(driver, ours))
		db.Exec("DROP TABLE " + quoted(driver, bare))
		db.Close()
	}
	store, err := migrated(ctx, db, dialect, ours)
	if err == nil {
		_, err = migrated(ctx, db, dialect, bare)
	}
	var prepared []*sql.Stmt
	for _, text := range statements {
		if err == nil {
			var s *sql.Stmt
			s, err = db.Prepare(fmt.Sprintf(text, quoted(driver, bare)))
			prepared = append(prepared, s)
		}
	}
	if err != nil {
		drop()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	exec := func(ctx context.Context, s *sql.Stmt, args ...any) error {
		done, err := s.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		return wanted(n == 1, err)
	}
	return &engine{
		name: name, store: store, close: drop,
		bare: func(ctx context.Context, key string, sent, checked []byte) error {
			now := time.Now()
			id, end := []byte(key), now.Add(day).UnixMilli()
			var value []byte
			if err := prepared[0].QueryRowContext(ctx, id, now.UnixMilli()).Scan(&value); err != sql.ErrNoRows {
				return wanted(false, err)
			}
			if err := exec(ctx, prepared[1], id, sent, end); err != nil {
				return err
			}
			return exec(ctx, prepared[2], checked, end, id, sent)
		},
	}, nil
}

func migrated(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect, table string) (*sqlstore.Store, error) {
	store, err := sqlstore.New(db, dialect, &sqlstore.Options{Table: table})
	if err != nil {
		return nil, err
	}
	return store, store.Migrate(ctx)
}

func quoted(driver, table string) string {
	if driver == "mysql" {
		return "`" + table + "`"
	}
	return `"` + table + `"`
}

// wanted is an error unless ok.
func wanted(ok bool, err error) error {
	if !ok && err == nil {
		return errBroken
	}
	return err
}
