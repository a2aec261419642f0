// Package frameworks mounts the handlers of package otphttp in net/http, chi,
// echo and gin. The handlers need a path that ends in a slash and all methods.
// If a function in otphttp.Options calls [http.Request.PathValue], they also
// need the parameters of the path.
package frameworks

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
)

// NetHTTP returns a router of the standard library.
func NetHTTP(login, pay http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
	mux.Handle("/pay/{invoice}/", pay)
	return mux
}

// Chi returns a router of chi, which passes path parameters to the request
// itself.
func Chi(login, pay http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Mount("/login/", login)
	r.Mount("/pay/{invoice}/", pay)
	return r
}

// Echo returns a router of echo.
func Echo(login, pay http.Handler) http.Handler {
	e := echo.New()
	e.Any("/login/*", echo.WrapHandler(login))
	e.Any("/pay/:invoice/*", func(c echo.Context) error {
		c.Request().SetPathValue("invoice", c.Param("invoice"))
		pay.ServeHTTP(c.Response(), c.Request())
		return nil
	})
	return e
}

// Gin returns a router of gin.
func Gin(login, pay http.Handler) http.Handler {
	g := gin.New()
	g.Use(gin.Recovery())
	g.Any("/login/*step", gin.WrapH(login))
	g.Any("/pay/:invoice/*step", func(c *gin.Context) {
		c.Request.SetPathValue("invoice", c.Param("invoice"))
		pay.ServeHTTP(c.Writer, c.Request)
	})
	return g
}
