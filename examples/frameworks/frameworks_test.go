package frameworks

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

func TestFrameworks(t *testing.T) { // C7, C10
	gin.SetMode(gin.TestMode)
	for name, mount := range map[string]func(login, pay http.Handler) http.Handler{
		"net/http": NetHTTP, "chi": Chi, "echo": Echo, "gin": Gin,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, mount)
			answer, body := s.get("/login/?next=/cart")
			require.Equal(t, http.StatusOK, answer.StatusCode)
			require.Contains(t, body, "<h1>Sign in</h1>")
			require.Contains(t, body, "/cart")
			s.flow("/login/", "login")

			_, body = s.get("/pay/inv-7/")
			require.Contains(t, body, "<h1>Confirm the payment</h1>")
			m := s.flow("/pay/inv-7/", "pay:inv-7")
			answer, _ = s.post("/pay/inv-8/check", "reference", m.Reference, "code", m.Code)
			require.Equal(t, http.StatusNotFound, answer.StatusCode)

			for _, c := range []struct {
				method, path  string
				status        int
				allow, header string
			}{
				{"GET", "/login/start", http.StatusMethodNotAllowed, "POST", ""},
				{"PUT", "/login/check", http.StatusMethodNotAllowed, "POST", ""},
				{"DELETE", "/pay/inv-7/", http.StatusMethodNotAllowed, "GET, HEAD", ""},
				{"OPTIONS", "/login/start", http.StatusMethodNotAllowed, "POST", ""},
				{"POST", "/login/code", http.StatusMethodNotAllowed, "GET, HEAD", ""},
				{"GET", "/login/other", http.StatusNotFound, "", ""},
				{"GET", "/pay/inv-7/a/b", http.StatusNotFound, "", ""},
				{"HEAD", "/login/", http.StatusOK, "", ""},
				{"POST", "/login/start", http.StatusForbidden, "", "cross-site"},
			} {
				answer, _ := s.do(c.method, c.path, "", c.header)
				require.Equal(t, c.status, answer.StatusCode, "%s %s", c.method, c.path)
				require.Equal(t, c.allow, answer.Header.Get("Allow"), "%s %s", c.method, c.path)
				require.Equal(t, "no-store", answer.Header.Get("Cache-Control"), "%s %s", c.method, c.path)
				require.Equal(t, "DENY", answer.Header.Get("X-Frame-Options"))
				require.Contains(t, answer.Header.Get("Content-Security-Policy"), "default-src 'none'")
			}
		})
	}
}

// site is both handlers in a router on a server, and a browser.
type site struct {
	*testing.T
	inbox    *otptest.Inbox
	verified []string // purposes
	server   *httptest.Server
	client   *http.Client
}

func newSite(t *testing.T, mount func(login, pay http.Handler) http.Handler) *site {
	s := &site{T: t, inbox: &otptest.Inbox{}}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), s.inbox, nil)
	require.NoError(t, err)
	proven := func(_ http.ResponseWriter, _ *http.Request, c otp.Challenge) {
		s.verified = append(s.verified, c.Purpose)
	}
	login, err := otphttp.New(verifier, &otphttp.Options{OnVerified: proven})
	require.NoError(t, err)
	pay, err := otphttp.New(verifier, &otphttp.Options{
		Purpose:    func(r *http.Request) (string, error) { return "pay:" + r.PathValue("invoice"), nil },
		OnVerified: proven,
	})
	require.NoError(t, err)
	s.server = httptest.NewTLSServer(mount(login, pay))
	t.Cleanup(s.server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s.client = &http.Client{
		Transport: s.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

func (s *site) do(method, path, body, fetchSite string) (*http.Response, string) {
	s.Helper()
	r, err := http.NewRequest(method, s.server.URL+path, strings.NewReader(body))
	require.NoError(s, err)
	r.Header.Set("Accept", "text/html")
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if fetchSite != "" {
		r.Header.Set("Sec-Fetch-Site", fetchSite)
	}
	answer, err := s.client.Do(r)
	require.NoError(s, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(s, err)
	return answer, string(text)
}

func (s *site) get(path string) (*http.Response, string) { return s.do(http.MethodGet, path, "", "") }

func (s *site) post(path string, pairs ...string) (*http.Response, string) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return s.do(http.MethodPost, path, form.Encode(), "same-origin")
}

// flow goes from the address to the correct code and types a wrong code first.
func (s *site) flow(path, purpose string) otp.Message {
	s.Helper()
	to := "bob@" + strings.Trim(path, "/")[:3] + ".example" // each flow has its own rate limit
	answer, _ := s.post(path+"start", "address", to)
	require.Equal(s, http.StatusSeeOther, answer.StatusCode)
	m, ok := s.inbox.Last(to)
	require.True(s, ok)
	require.Equal(s, "code?ref="+m.Reference, answer.Header.Get("Location"))
	_, body := s.get(path + answer.Header.Get("Location"))
	require.Contains(s, body, m.Reference)
	require.Contains(s, body, `autocomplete="one-time-code"`)

	bad := testkit.WrongCode(m.Code)
	answer, _ = s.post(path+"check", "reference", m.Reference, "code", bad)
	require.Contains(s, answer.Header.Get("Location"), "say=wrong")
	_, body = s.get(path + answer.Header.Get("Location"))
	require.Contains(s, body, "That code is not right.")
	before := len(s.verified)
	answer, _ = s.post(path+"check", "reference", m.Reference, "code", m.Code)
	require.Equal(s, http.StatusSeeOther, answer.StatusCode)
	require.Equal(s, "/", answer.Header.Get("Location"))
	require.Equal(s, append(s.verified[:before:before], purpose), s.verified)
	return m
}
