package otpstats_test

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/readme"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otptest"
)

var (
	//go:embed example_test.go
	examples string
	//go:embed dashboard/example_test.go
	boards string
)

func TestREADME(t *testing.T) {
	// It is in another module, since it needs relay.
	providers, err := os.ReadFile("../examples/analytics/example_test.go")
	require.NoError(t, err)
	readme.Check(t, examples+boards+string(providers), readme.Blocks(t, "go"))
}

// Events in a SQLite file, and the funnel of a week.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "otpstats")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "stats.db")
	key := []byte("another 32 bytes from the vault.")
	store, inbox, secrets := otp.NewMemoryStore(nil), new(otptest.Inbox), [][]byte{[]byte("32 bytes or more from a vault...")}

	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	stats, err := otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{
		Key:     key,
		OnError: func(_ context.Context, err error) { log.Print(err) },
		OnAnomaly: func(_ context.Context, a otpstats.Anomaly) {
			log.Printf("%s %s: %.2f, usually %.2f", a.Kind, a.Subject, a.Seen, a.Usual)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(store, inbox, &otp.Options{Secrets: secrets, Observer: stats})
	if err != nil {
		log.Fatal(err)
	}
	c, err := verifier.Send(ctx, otp.Request{To: "ann@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	m, err := inbox.Wait(ctx, "ann@example.org")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := verifier.Check(ctx, c.ID, m.Code); err != nil {
		log.Fatal(err)
	}
	if err := stats.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	weekAgo := time.Now().AddDate(0, 0, -7)

	rows, err := stats.Funnel(ctx, otpstats.Filter{From: weekAgo, Purpose: "login"}, otpstats.Domain)
	for _, r := range rows {
		fmt.Println(r.Value, r.Asked, r.Sent, r.Answered, r.Verified)
	}

	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = stats.Close(ctx) // writes all queued events; call it before db.Close
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: example.org 1 1 1 1
}
