package dashboard_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpstats"
	"github.com/go-mailotp/otp/otpstats/dashboard"
	"github.com/go-mailotp/otp/otptest"
)

// The page, behind the login of an application's administrators.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "stats.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	key := []byte("another 32 bytes from the vault.")
	store, sender, secrets := otp.NewMemoryStore(nil), new(otptest.Inbox), [][]byte{[]byte("32 bytes or more from a vault...")}
	mux := http.NewServeMux()
	requireAdmin := func(h http.Handler) http.Handler { return h } // your own

	stats, err := otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{
		Key:       key, // 32 random bytes, used for nothing else
		OnAnomaly: func(_ context.Context, a otpstats.Anomaly) { log.Print("codes: ", a.Kind, " ", a.Subject) },
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Secrets:  secrets,
		Observer: otp.MultiObserver(otp.NewLogObserver(nil), stats), // the log has masked addresses
	})
	if err != nil {
		log.Fatal(err)
	}
	board, err := dashboard.New(stats, nil)
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/admin/codes", requireAdmin(board))

	defer stats.Close(ctx)
	fmt.Println(verifier.Purpose())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/admin/codes", nil))
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "Nothing unusual"))
	// Output:
	// login
	// 200 true
}
