package frameworks

import (
	"context"
	"log"
	"net/http"

	"github.com/gorilla/csrf"
	"github.com/justinas/nosurf"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// The code in docs/recipes.md, section "Behind CSRF middleware", is from here.
// TestCSRF signs in through all of these.

type onVerified = func(http.ResponseWriter, *http.Request, otp.Challenge)

func gorillaCSRF(verifier *otp.Verifier, signIn onVerified) http.Handler {
	mux, key := http.NewServeMux(), newKey()

	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: signIn,
		Page: func(r *http.Request, p *otphttp.Page) {
			p.Fields = map[string]string{"gorilla.csrf.Token": csrf.Token(r)}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/login/", csrf.Protect(key, csrf.Path("/"))(login))

	return mux
}

func nosurfCSRF(verifier *otp.Verifier, signIn onVerified) http.Handler {
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: signIn,
		Page: func(r *http.Request, p *otphttp.Page) {
			p.Fields = map[string]string{nosurf.FormFieldName: nosurf.Token(r)}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	return nosurf.New(login)
}

func echoCSRF(verifier *otp.Verifier, signIn onVerified) http.Handler {
	type tokenKey struct{}
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: signIn,
		Page: func(r *http.Request, p *otphttp.Page) {
			token, _ := r.Context().Value(tokenKey{}).(string)
			p.Fields = map[string]string{"csrf": token}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	e := echo.New()

	e.Use(middleware.CSRFWithConfig(middleware.CSRFConfig{TokenLookup: "form:csrf"}))
	e.Any("/login/*", func(c *echo.Context) error {
		r := c.Request()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), tokenKey{}, c.Get("csrf"))))
		return echo.WrapHandler(login)(c)
	})

	return e
}

func crossOriginProtection(verifier *otp.Verifier, signIn onVerified) http.Handler {
	login, err := otphttp.New(verifier, &otphttp.Options{OnVerified: signIn})
	if err != nil {
		log.Fatal(err)
	}
	return http.NewCrossOriginProtection().Handler(login)
}
