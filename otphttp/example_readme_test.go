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
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}, // your proxy, if any
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			renewSession(w, r, c.To.String()) // yours: give the visitor a new session ID
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/login/", login) // the path must end in a slash
}
