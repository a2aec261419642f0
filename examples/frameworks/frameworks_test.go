package frameworks

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

var apps = map[string]func(*otp.Verifier) (http.Handler, error){
	"net/http": NetHTTP, "chi": Chi, "echo": Echo, "gin": Gin, "fiber": Fiber, "huma": Huma,
}

func init() { gin.SetMode(gin.TestMode) }

// A code signs in, with a session that nobody had before.
func TestFrameworks_session(t *testing.T) {
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			s := serve(t, app)
			// Eve has a session, and makes Bob's browser use it.
			eve := s.browser(t)
			eve.requireUser("nobody")
			eve.signIn("/login/?next=/", "eve@example.com")
			eve.requireUser("eve@example.com")
			bob := s.browser(t)
			bob.take(eve.session)
			bob.requireUser("eve@example.com")
			bob.signIn("/login/", "bob@example.com")
			bob.requireUser("bob@example.com")
			require.NotEqual(t, eve.session.Value, bob.session.Value)
			require.True(t, bob.session.Secure)
			require.True(t, bob.session.HttpOnly)
			require.Equal(t, http.SameSiteLaxMode, bob.session.SameSite)
			require.Equal(t, "/", bob.session.Path)
			eve.requireUser("nobody")

			// Once Bob has signed out, a copy of his cookie is worth nothing.
			thief := s.browser(t)
			thief.take(bob.session)
			thief.requireUser("bob@example.com")
			bob.post("/logout", nil)
			require.Equal(t, "nobody is signed in\n", bob.body)
			thief.requireUser("nobody")
		})
	}
}

// The handlers get the parameters of a path, all methods, and what their answers
// say arrives. C7, C10
func TestFrameworks_paths(t *testing.T) {
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			b := serve(t, app).browser(t)
			m := b.signIn("/pay/inv-7/", "bob@example.com")
			require.Equal(t, "confirmed pay:inv-7\n", b.body)
			require.Equal(t, "pay:inv-7", m.Purpose)
			b.get("/pay/inv-7/")
			b.submit("start", "address", "carol@example.com")
			m, _ = b.inbox.Last("carol@example.com")
			b.post("/pay/inv-8/check", url.Values{"reference": {m.Reference}, "code": {m.Code}})
			require.Equal(t, http.StatusNotFound, b.page.StatusCode)

			for _, c := range []struct {
				method, path, allow string
				status              int
			}{
				{"HEAD", "/login/", "", http.StatusOK},
				{"GET", "/login/status", "POST", http.StatusMethodNotAllowed},
				{"DELETE", "/pay/inv-7/", "GET, HEAD", http.StatusMethodNotAllowed},
				{"OPTIONS", "/login/start", "POST", http.StatusMethodNotAllowed},
				{"POST", "/login/code", "GET, HEAD", http.StatusMethodNotAllowed},
				{"GET", "/login/other", "", http.StatusNotFound},
				{"GET", "/pay/inv-7/a/b", "", http.StatusNotFound},
			} {
				b.do(c.method, c.path, "", "")
				require.Equal(t, c.status, b.page.StatusCode, "%s %s", c.method, c.path)
				header := b.page.Header
				require.Equal(t, c.allow, header.Get("Allow"), "%s %s", c.method, c.path)
				require.Contains(t, header.Get("Cache-Control"), "no-store", "%s %s", c.method, c.path)
				require.Equal(t, "DENY", header.Get("X-Frame-Options"))
				require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
			}
			b.post("/login/start", url.Values{"address": {"dave@example.com"}}, "Sec-Fetch-Site", "cross-site")
			require.Equal(t, http.StatusForbidden, b.page.StatusCode)
		})
	}
}
