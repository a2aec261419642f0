package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/sqlstore"
)

// The whole flow with a file. The verifier calls the store.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "otp-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "otp.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err)
	}

	var mailed string
	sender := otp.SenderFunc(func(_ context.Context, m otp.Message) error {
		mailed = m.Code
		return nil
	})
	secret := make([]byte, 32) // in production, keep it outside the database
	rand.Read(secret)
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: [][]byte{secret}})
	if err != nil {
		log.Fatal(err)
	}
	challenge, err := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	proven, err := verifier.Check(ctx, challenge.ID, mailed)
	fmt.Println(proven.To.String(), err)
	_, err = verifier.Check(ctx, challenge.ID, mailed)
	fmt.Println(err)
	// Output:
	// bob@example.com <nil>
	// otp: no such challenge
}

// Connection pools for PostgreSQL and PgBouncer, and the purge that runs in the
// background.
func ExampleStore_Run() {
	postgres := func() (*sqlstore.Store, error) {
		// import _ "github.com/jackc/pgx/v5/stdlib"
		db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(20)
		db.SetMaxIdleConns(20) // the same: each new connection prepares the statements again
		return sqlstore.New(db, sqlstore.PostgreSQL, nil)
	}
	behindPgBouncer := func() (*sqlstore.Store, error) {
		db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")+"?default_query_exec_mode=exec")
		if err != nil {
			return nil, err
		}
		return sqlstore.New(db, sqlstore.PostgreSQL, &sqlstore.Options{Table: "auth.otp_ledgers", Unprepared: true})
	}
	_ = behindPgBouncer
	if os.Getenv("DATABASE_URL") == "" {
		return
	}
	store, err := postgres()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()

	if err := store.Migrate(ctx); err != nil { // or run store.Schema() with your migration tool
		log.Fatal(err)
	}
	go store.Run(ctx) // deletes expired rows until ctx ends
}
