package frameworks

import (
	"errors"
	"net/http"

	"github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Gin is an application on gin, with the sessions of gin-contrib.
func Gin(v *otp.Verifier) (http.Handler, error) {
	store := memstore.NewStore(newKey())
	options := sessions.Options{Path: "/", MaxAge: 86400, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	store.Options(options)
	login, err := otphttp.New(v, &otphttp.Options{
		// The sessions of gin-contrib are those of gorilla, which belong to the
		// request, so gin.Context is not needed. They alone can get a new ID.
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
	g := gin.New()
	g.Use(gin.Recovery(), sessions.Sessions("session", store))
	g.Any("/login/*step", gin.WrapH(login))
	g.Any("/pay/:invoice/*step", func(c *gin.Context) {
		c.Request.SetPathValue("invoice", c.Param("invoice"))
		pay.ServeHTTP(c.Writer, c.Request)
	})
	g.GET("/", func(c *gin.Context) {
		user, _ := sessions.Default(c).Get("user").(string)
		c.String(http.StatusOK, "%s", whoIs(user))
	})
	g.POST("/logout", func(c *gin.Context) {
		session := sessions.Default(c)
		ended := options
		ended.MaxAge = -1 // deletes the session and its cookie
		session.Options(ended)
		if err := session.Save(); err != nil {
			c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		c.Redirect(http.StatusSeeOther, "/")
	})
	return g, nil
}
