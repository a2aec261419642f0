package layout

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// Both layouts lead from the address to a session, in the visitor's language,
// and show every problem on the way.
func TestLayouts(t *testing.T) {
	for name, pages := range map[string]func(*otp.Verifier) (*otphttp.Handler, error){"template": WithTemplate, "gomponents": WithGomponents} {
		t.Run(name, func(t *testing.T) {
			inbox := &otptest.Inbox{}
			verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
			require.NoError(t, err)
			login, err := pages(verifier)
			require.NoError(t, err)
			mux := http.NewServeMux()
			mux.Handle("/login/", login)
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, user(r)) })
			server := httptest.NewTLSServer(mux)
			defer server.Close()
			client := server.Client()
			client.Jar, err = cookiejar.New(nil)
			require.NoError(t, err)
			visit := func(step string, form url.Values) (status int, body string) {
				r, err := http.NewRequest(http.MethodGet, server.URL+"/login/"+step, nil)
				if form != nil {
					r, err = http.NewRequest(http.MethodPost, server.URL+"/login/"+step, strings.NewReader(form.Encode()))
				}
				require.NoError(t, err)
				if form != nil {
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				r.Header.Set("Accept", "text/html")
				r.Header.Set("Accept-Language", "de")
				answer, err := client.Do(r)
				require.NoError(t, err)
				defer answer.Body.Close()
				b, err := io.ReadAll(answer.Body)
				require.NoError(t, err)
				return answer.StatusCode, string(b)
			}

			_, body := visit("", nil)
			require.Contains(t, body, "Example, nobody")
			require.Contains(t, body, "<h1>Anmelden</h1>")
			require.Contains(t, body, `lang="de"`)
			status, body := visit("start", url.Values{"address": {"bob"}})
			require.Equal(t, http.StatusUnprocessableEntity, status)
			require.Contains(t, body, `value="bob"`)
			require.Contains(t, body, "help@example.com")
			_, body = visit("start", url.Values{"address": {"bob@example.com"}})
			m, ok := inbox.Last("bob@example.com")
			require.True(t, ok)
			require.Contains(t, body, m.Reference)
			require.Contains(t, body, `autocomplete="one-time-code"`)
			_, body = visit("check", url.Values{"reference": {m.Reference}, "code": {testkit.WrongCode(m.Code)}})
			require.Contains(t, body, "Verbleibende Versuche: <bdi>4</bdi>")
			_, body = visit("check", url.Values{"reference": {m.Reference}, "code": {m.Code}})
			require.Equal(t, "bob@example.com", body)
			_, body = visit("code", nil)
			require.Contains(t, body, "Example, bob@example.com")
			require.Contains(t, body, `href="./"`)
		})
	}
}
