package frameworks

import (
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Chi is an application on chi, with the sessions of scs. chi passes the
// parameters of a path to Request.PathValue.
func Chi(v *otp.Verifier) (http.Handler, error) {
	s := newSCS()
	login, err := otphttp.New(v, &otphttp.Options{OnVerified: s.onVerified})
	pay, err2 := newPay(v)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Use(s.LoadAndSave)
	r.Mount("/login/", login)
	r.Mount("/pay/{invoice}/", pay)
	r.Get("/", s.home)
	r.Post("/logout", s.logout)
	return r, nil
}
