package frameworks

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// slashes are routers in which the handler sees "/login" instead of "/login/".
var slashes = map[string]func(login http.Handler) http.Handler{
	"echo, RemoveTrailingSlash": func(login http.Handler) http.Handler {
		e := echo.New()
		e.Pre(middleware.RemoveTrailingSlash())
		e.Any("/login", echo.WrapHandler(login))
		e.Any("/login/*", echo.WrapHandler(login))
		return e
	},
	"echo, RemoveTrailingSlash by redirect": func(login http.Handler) http.Handler {
		e := echo.New()
		e.Pre(middleware.RemoveTrailingSlashWithConfig(middleware.RemoveTrailingSlashConfig{RedirectCode: http.StatusMovedPermanently}))
		e.Any("/login", echo.WrapHandler(login))
		e.Any("/login/*", echo.WrapHandler(login))
		return e
	},
	"chi, StripSlashes": func(login http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.StripSlashes)
		r.Mount("/login", login)
		return r
	},
	"chi, RedirectSlashes": func(login http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(chimiddleware.RedirectSlashes)
		r.Mount("/login", login)
		return r
	},
	"net/http": func(login http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/login", login)
		mux.Handle("/login/", login)
		return mux
	},
}

// With Options.Path the handler works without its last slash, and with it.
// Without Path it works only with the slash, and OnError says why.
func TestSlashes(t *testing.T) {
	for name, mount := range slashes {
		t.Run(name, func(t *testing.T) {
			verified := 0
			var problem error
			options := otphttp.Options{
				OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) { verified++ },
				OnError:    func(_ *http.Request, err error) { problem = err },
			}
			app := func(v *otp.Verifier) (http.Handler, error) {
				login, err := otphttp.New(v, &options)
				return mount(login), err
			}
			b := serve(t, app).browser(t)
			b.get("/login")
			require.Equal(t, http.StatusNotFound, b.page.StatusCode)
			require.ErrorContains(t, problem, "set Options.Path")

			options.Path, problem = "/login/", nil
			b = serve(t, app).browser(t)
			b.signIn("/login", "bob@example.com")
			b.signIn("/login/?next=/cart", "carol@example.com")
			require.Equal(t, "/cart", b.page.Request.URL.Path)
			require.Equal(t, 2, verified)
			require.NoError(t, problem)
		})
	}
}
