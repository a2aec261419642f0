package bench

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/redisswap"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/redisstore"
	"github.com/go-mailotp/otp/rueidisstore"
	"github.com/go-mailotp/otp/sqlstore"
)

// BenchmarkStores is [BenchmarkLogin] over real servers, against the bare
// commands of the driver that Send and Check in one process come to: a load and
// two swaps.
func BenchmarkStores(b *testing.B) {
	for _, server := range []struct {
		name string
		open func(b *testing.B) (otp.Store, commands)
	}{
		{"redis-go-redis", openRedis},
		{"redis-rueidis", openRueidis},
		{"postgresql", openPostgreSQL},
		{"mariadb", openMariaDB},
		{"sqlite", openSQLite},
	} {
		b.Run(server.name, func(b *testing.B) {
			store, bare := server.open(b)
			f, sizes := newFlow(b, store, hand, nil), ledgerSizes(b)
			var turns atomic.Int64
			compare(b, 256, []int{1, 64}, way{"bare", nil, func(int) error {
				ctx, cancel := context.WithCancel(context.Background()) // as that of a request
				defer cancel()
				sent, checked := make([]byte, sizes.sent+overhead), make([]byte, sizes.right+overhead)
				rand.Read(sent)
				rand.Read(checked)
				return bare(ctx, fmt.Sprintf("bare%018d", turns.Add(1)), sent, checked)
			}}, way{"library", nil, func(int) error {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				box := &mailbox{Context: ctx}
				c, err := f.Send(box, otp.Request{To: fmt.Sprintf("person%d@example.org", turns.Add(1))})
				if err != nil {
					return err
				}
				_, err = f.Check(box, c.ID, box.code)
				return err
			}})
		})
	}
}

// commands loads nothing, writes sent and replaces it with checked.
type commands func(ctx context.Context, key string, sent, checked []byte) error

const day = 24 * time.Hour

func openRedis(b *testing.B) (otp.Store, commands) {
	client := redis.NewClient(&redis.Options{Addr: servers.StartRedis(b).Addr, PoolSize: 64})
	b.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, nil)
	require.NoError(b, err)
	require.NoError(b, client.ScriptLoad(b.Context(), redisswap.Script).Err())
	swap := func(ctx context.Context, key string, old, value []byte) error {
		n, err := client.EvalSha(ctx, redisswap.SHA, []string{key}, old, value, day.Milliseconds()).Int()
		return made(n == 1, err)
	}
	return store, func(ctx context.Context, key string, sent, checked []byte) error {
		if err := client.Get(ctx, key).Err(); err != redis.Nil {
			return made(false, err)
		}
		return errors.Join(swap(ctx, key, nil, sent), swap(ctx, key, sent, checked))
	}
}

func openRueidis(b *testing.B) (otp.Store, commands) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{servers.StartRedis(b).Addr}, DisableCache: true})
	require.NoError(b, err)
	b.Cleanup(client.Close)
	store, err := rueidisstore.New(client, nil)
	require.NoError(b, err)
	require.NoError(b, client.Do(b.Context(), client.B().ScriptLoad().Script(redisswap.Script).Build()).Error())
	swap := func(ctx context.Context, key string, old, value []byte) error {
		n, err := client.Do(ctx, client.B().Evalsha().Sha1(redisswap.SHA).Numkeys(1).Key(key).
			Arg(rueidis.BinaryString(old), rueidis.BinaryString(value), fmt.Sprint(day.Milliseconds())).Build()).AsInt64()
		return made(n == 1, err)
	}
	return store, func(ctx context.Context, key string, sent, checked []byte) error {
		if err := client.Do(ctx, client.B().Get().Key(key).Build()).Error(); !rueidis.IsRedisNil(err) {
			return made(false, err)
		}
		return errors.Join(swap(ctx, key, nil, sent), swap(ctx, key, sent, checked))
	}
}

func openPostgreSQL(b *testing.B) (otp.Store, commands) {
	return openSQL(b, "pgx", servers.Postgres(b, ping("pgx")), sqlstore.PostgreSQL)
}

func openMariaDB(b *testing.B) (otp.Store, commands) {
	return openSQL(b, "mysql", servers.MySQL(b, ping("mysql")), sqlstore.MySQL)
}

func openSQLite(b *testing.B) (otp.Store, commands) {
	file := filepath.Join(servers.Dir(b), "otp.db")
	return openSQL(b, "sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", sqlstore.SQLite)
}

func ping(driver string) func(dsn string) error {
	return func(dsn string) error {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return err
		}
		defer db.Close()
		return db.Ping()
	}
}

// openSQL makes two tables of the store's form, one for the bare statements. In
// a server, they are in a schema that ends with the benchmark.
func openSQL(b *testing.B, driver, dsn string, dialect sqlstore.Dialect) (otp.Store, commands) {
	db, err := sql.Open(driver, dsn)
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	schema, conns := "otpbench_"+strings.ToLower(rand.Text())+".", 64
	if dialect == sqlstore.SQLite {
		schema, conns = "", 1
	} else {
		_, err := db.Exec("CREATE SCHEMA " + schema[:len(schema)-1])
		require.NoError(b, err)
		b.Cleanup(func() {
			db.Exec("DROP TABLE " + schema + "ours")
			db.Exec("DROP TABLE " + schema + "bare")
			db.Exec("DROP SCHEMA " + schema[:len(schema)-1])
		})
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	var stores []*sqlstore.Store
	for _, table := range []string{"ours", "bare"} {
		store, err := sqlstore.New(db, dialect, &sqlstore.Options{Table: schema + table})
		require.NoError(b, err)
		require.NoError(b, store.Migrate(b.Context()))
		stores = append(stores, store)
	}
	prepare := func(text string) *sql.Stmt {
		text = strings.Replace(text, "TABLE", schema+"bare", 1)
		for n := 1; dialect == sqlstore.PostgreSQL && strings.Contains(text, "?"); n++ {
			text = strings.Replace(text, "?", fmt.Sprintf("$%d", n), 1)
		}
		s, err := db.Prepare(text)
		require.NoError(b, err, text)
		return s
	}
	load := prepare("SELECT value FROM TABLE WHERE id = ? AND expires > ?")
	create := prepare("INSERT INTO TABLE (id, value, expires) VALUES (?, ?, ?)")
	replace := prepare("UPDATE TABLE SET value = ?, expires = ? WHERE id = ? AND value = ?")
	write := func(ctx context.Context, s *sql.Stmt, args ...any) error {
		result, err := s.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		return made(n == 1, err)
	}
	return stores[0], func(ctx context.Context, key string, sent, checked []byte) error {
		now := time.Now()
		id, expires := []byte(key), now.Add(day).UnixMilli()
		var value []byte
		if err := load.QueryRowContext(ctx, id, now.UnixMilli()).Scan(&value); err != sql.ErrNoRows {
			return made(false, err)
		}
		if err := write(ctx, create, id, sent, expires); err != nil {
			return err
		}
		return write(ctx, replace, checked, expires, id, sent)
	}
}
