package frameworks

import (
	"errors"
	"net/http"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// NetHTTP is an application on the router of the standard library, with the
// sessions of scs.
func NetHTTP(v *otp.Verifier) (http.Handler, error) {
	s := newSCS()
	mux, err := newMux(v, s)
	return s.LoadAndSave(mux), err
}

func newMux(v *otp.Verifier, s scsSessions) (*http.ServeMux, error) {
	login, err := otphttp.New(v, &otphttp.Options{OnVerified: s.onVerified})
	pay, err2 := newPay(v)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
	mux.Handle("/pay/{invoice}/", pay)
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /logout", s.logout)
	return mux, nil
}
