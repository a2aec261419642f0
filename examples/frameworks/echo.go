package frameworks

import (
	"errors"
	"net/http"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo/v5"
	"github.com/quasoft/memstore"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Echo is an application on echo, with the sessions of gorilla. (Those of
// echo-contrib are the same ones: session.Get(name, c) there is
// store.Get(c.Request(), name) here.)
func Echo(v *otp.Verifier) (http.Handler, error) {
	store := memstore.NewMemStore(newKey())
	store.Options = &sessions.Options{Path: "/", MaxAge: 86400, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	login, err := otphttp.New(v, &otphttp.Options{
		// The session belongs to the request, so echo.Context is not needed.
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			session, _ := store.Get(r, "session") // after an error it is a new one
			if err := renew(w, r, session, c.To.Key()); err != nil {
				http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			}
		},
	})
	pay, err2 := newPay(v)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	e := echo.New()
	e.Any("/login/*", echo.WrapHandler(login))
	e.Any("/pay/:invoice/*", echo.WrapHandler(pay)) // passes :invoice to Request.PathValue
	e.GET("/", func(c *echo.Context) error {
		session, _ := store.Get(c.Request(), "session")
		user, _ := session.Values["user"].(string)
		return c.String(http.StatusOK, whoIs(user))
	})
	e.POST("/logout", func(c *echo.Context) error {
		session, _ := store.Get(c.Request(), "session")
		session.Options.MaxAge = -1 // deletes the session and its cookie
		if err := session.Save(c.Request(), c.Response()); err != nil {
			return err
		}
		return c.Redirect(http.StatusSeeOther, "/")
	})
	return e, nil
}

// renew ends a session of gorilla and begins another one. A store makes a new ID
// for a session that has none. If the store keeps its sessions in the cookies
// themselves, there is no ID, and setting Values is all that matters.
func renew(w http.ResponseWriter, r *http.Request, session *sessions.Session, user string) error {
	if !session.IsNew {
		options := *session.Options
		session.Options.MaxAge = -1 // deletes the session
		if err := session.Save(r, w); err != nil {
			return err
		}
		session.Options = &options
	}
	session.ID, session.Values = "", map[any]any{"user": user}
	return session.Save(r, w)
}
