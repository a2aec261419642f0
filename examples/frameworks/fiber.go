package frameworks

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/session"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Fiber is an application on fiber, with its own sessions. fiber turns its
// request into one of net/http, which is good until the handler returns: clone
// the strings that you keep.
func Fiber(v *otp.Verifier) (http.Handler, error) {
	login, err := otphttp.New(v, &otphttp.Options{
		// The context of the request is that of fasthttp, which has what
		// fiber.Ctx has in its Locals: the session, too.
		OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			s := session.FromContext(r.Context())
			if err := s.Reset(); err != nil { // ends the session and begins another one
				http.Error(w, "Internal Server Error", http.StatusInternalServerError)
				return
			}
			s.Set("user", c.To.Key())
		},
	})
	pay, err2 := newPay(v)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	app := fiber.New(fiber.Config{ReadTimeout: 10 * time.Second}) // fiber reads the body before otphttp can limit the time
	app.Use(session.New(session.Config{CookieSecure: true, CookieHTTPOnly: true}))
	app.All("/login/*", login) // fiber adapts handlers of net/http
	app.All("/pay/:invoice/*", func(c fiber.Ctx) error {
		invoice := strings.Clone(c.Params("invoice"))
		return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("invoice", invoice)
			pay.ServeHTTP(w, r)
		})(c)
	})
	app.Get("/", func(c fiber.Ctx) error {
		user, _ := session.FromContext(c).Get("user").(string)
		return c.SendString(whoIs(user))
	})
	app.Post("/logout", func(c fiber.Ctx) error {
		if err := session.FromContext(c).Destroy(); err != nil {
			return err
		}
		return c.Redirect().Status(fiber.StatusSeeOther).To("/")
	})
	return adaptor.FiberApp(app), nil // an application calls app.Listen instead
}
