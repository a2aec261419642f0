package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/url"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/redisstore"
	"github.com/go-mailotp/otp/sqlstore"
)

// openStore opens the store at a URL. Your application uses one database, so it
// needs only one of these cases.
func openStore(ctx context.Context, storeURL string) (otp.Store, error) {
	u, err := url.Parse(storeURL)
	if err != nil {
		return nil, errors.New("-store: invalid URL") // err would show the password
	}
	switch u.Scheme {
	case "redis", "rediss":
		return openRedis(ctx, storeURL)
	case "postgres", "postgresql":
		return openSQL(ctx, "pgx", storeURL, sqlstore.PostgreSQL)
	case "mysql":
		password, _ := u.User.Password()
		c := mysql.NewConfig()
		c.User, c.Passwd, c.Net, c.Addr, c.DBName = u.User.Username(), password, "tcp", u.Host, u.Path[min(1, len(u.Path)):]
		return openSQL(ctx, "mysql", c.FormatDSN(), sqlstore.MySQL)
	case "sqlite":
		dsn := "file:" + u.Path + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
		return openSQL(ctx, "sqlite", dsn, sqlstore.SQLite)
	}
	return nil, fmt.Errorf("-store: unknown scheme %q, want redis, postgres, mysql or sqlite", u.Scheme)
}

func openRedis(ctx context.Context, storeURL string) (otp.Store, error) {
	opts, err := redis.ParseURL(storeURL)
	if err != nil {
		return nil, errors.New("-store: invalid Redis URL")
	}
	opts.ContextTimeoutEnabled = true
	store, err := redisstore.New(redis.NewClient(opts), nil)
	if err != nil {
		return nil, err
	}
	if err := store.Ping(ctx); err != nil { // for example, the server may evict live data
		log.Print(err)
	}
	return store, nil
}

func openSQL(ctx context.Context, driver, dsn string, dialect sqlstore.Dialect) (otp.Store, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	store, err := sqlstore.New(db, dialect, nil)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	go store.Run(ctx) // deletes expired rows
	return store, nil
}
