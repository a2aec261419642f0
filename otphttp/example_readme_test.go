package otphttp_test

import (
	"log"
	"net/http"
	"net/netip"
	"os"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// What the README shows of this package.
func Example() {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stdout), nil)
	if err != nil {
		log.Fatal(err)
	}
	renewSession := func(w http.ResponseWriter, r *http.Request, user string) {}
	mux := http.NewServeMux()

	login, err := otphttp.New(verifier, &otphttp.Options{
		Brand:          "Acme",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // else X-Forwarded-For is ignored
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			renewSession(w, r, c.To.String()) // yours: a new session ID, never the old one
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/login/", login) // a page at /login/, an API at /login/start, check, resend and status
}
