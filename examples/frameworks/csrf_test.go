package frameworks

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// CSRF middleware in front of the handler lets its forms through, with current
// browsers and with those that know nothing of Sec-Fetch-Site, and nothing else.
func TestCSRF(t *testing.T) {
	for name, app := range map[string]func(*otp.Verifier, onVerified) http.Handler{
		"gorilla/csrf": gorillaCSRF, "nosurf": nosurfCSRF, "echo": echoCSRF, "net/http": crossOriginProtection,
	} {
		for _, old := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", old browser"}[old], func(t *testing.T) {
				verified := 0
				s := serve(t, func(v *otp.Verifier) (http.Handler, error) {
					return app(v, func(http.ResponseWriter, *http.Request, otp.Challenge) { verified++ }), nil
				})
				b := s.browser(t)
				b.old = old
				b.signIn("/login/", "bob@example.com")
				require.Equal(t, 1, verified)

				// These are requests that the handler alone would accept.
				form := url.Values{"address": {"eve@example.com"}}
				sent := b.inbox.Len()
				if name == "net/http" { // it has no tokens
					b.post("/login/start", form, "Sec-Fetch-Site", "cross-site")
				} else {
					b.old = true // echo asks current browsers for no token
					b.post("/login/start", form)
				}
				require.Contains(t, []int{http.StatusBadRequest, http.StatusForbidden}, b.page.StatusCode)
				require.Empty(t, b.page.Header.Get("Content-Security-Policy"), "the handler has answered")
				require.Equal(t, sent, b.inbox.Len())
			})
		}
	}
}
