package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/relay"
)

// The first of two providers has closed the account, so the second sends the mail.
func Example_providers() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "otpstats")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "stats.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	stats, err := otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{Key: []byte("another 32 bytes from the vault.")})
	if err != nil {
		log.Fatal(err)
	}
	defer stats.Close(ctx)
	north, south := new(otptest.Inbox), new(otptest.Inbox)
	north.FailWith(&otp.SendError{Stage: "mail", Err: errors.New("550 5.7.1 account suspended")})

	providers, err := relay.NewFailover([]relay.Provider{{Name: "north", Sender: north}, {Name: "south", Sender: south}}, &relay.FailoverOptions{
		OnAttempt: func(_ context.Context, a relay.Attempt) { stats.Mail(a.Message, a.Provider, a.Outcome) },
	})
	if err != nil {
		log.Fatal(err)
	}
	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
		OnReport: func(_ context.Context, r relay.Report) { stats.Mail(r.Message, "", r.Outcome) },
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), queue, &otp.Options{Observer: stats})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := verifier.Send(ctx, otp.Request{To: "ann@example.org"}); err != nil {
		log.Fatal(err)
	}
	if err := queue.Close(ctx); err != nil { // sends what is queued
		log.Fatal(err)
	}
	if err := stats.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	rows, err := stats.Funnel(ctx, otpstats.Filter{}, otpstats.Provider)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows {
		if r.Value != "" { // some numbers have no provider, such as Asked
			fmt.Printf("%s sent %d, lost %d, failed tries %d\n", r.Value, r.Sent, r.FailedMails, r.FailedTries)
		}
	}
	// Output:
	// south sent 1, lost 0, failed tries 0
	// north sent 0, lost 0, failed tries 1
}
