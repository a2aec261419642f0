package otphttp_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// With Options.Path the handler works where middleware has removed the slash,
// since its forms and links name whole paths.
func TestPath_withoutSlash(t *testing.T) {
	for _, path := range []string{"/login/", "/login", "/code", "/user/check"} {
		s := newSite(t, otphttp.Options{Path: strings.TrimSuffix(path, "/") + "/"}, nil)
		b := s.browser()
		answer, body := b.get(path + "?next=/cart")
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Contains(t, body, `action="`+strings.TrimSuffix(path, "/")+`/start"`)
		answer, _ = b.do(post(strings.TrimSuffix(path, "/")+"/start", url.Values{"address": {"bob@example.com"}}))
		to := answer.Header.Get("Location")
		require.True(t, strings.HasPrefix(to, strings.TrimSuffix(path, "/")+"/code?ref="), to)
		_, body = b.get(to)
		require.Contains(t, body, `name="code"`)
		require.Contains(t, body, `href="`+strings.TrimSuffix(path, "/")+`/?ref=`)
	}
}

// Names in the path are filled in, for Start too.
func TestPath_values(t *testing.T) {
	s := newSite(t, otphttp.Options{Path: "/pay/{invoice}/", Address: func(*http.Request) (string, error) { return "bob@example.com", nil }}, nil)
	handler := s.handler.(*otphttp.Handler)
	mux := http.NewServeMux()
	mux.Handle("/pay/{invoice}/", handler)
	mux.Handle("GET /pay/{invoice}", handler) // as after middleware that removes the slash
	mux.HandleFunc("POST /bills/{invoice}", func(w http.ResponseWriter, r *http.Request) { handler.Start(w, r, otp.Request{}) })
	s.handler = mux
	b := s.browser()
	for _, path := range []string{"/pay/a%20b/", "/pay/a%20b"} {
		_, body := b.get(path)
		require.Contains(t, body, `action="/pay/a%20b/start"`)
	}
	answer, _ := b.do(post("/bills/42", nil))
	to := answer.Header.Get("Location")
	require.True(t, strings.HasPrefix(to, "/pay/42/code?ref="), to)
	_, body := b.get(to)
	require.Contains(t, body, `action="/pay/42/check"`)
}

// Without it, a handler that is mounted in the wrong place says so, once.
func TestPath_reported(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	for range 3 {
		answer, _ := s.browser().get("/login")
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
	}
	require.Len(t, s.errors, 1)
	require.ErrorContains(t, s.errors[0], `"/login": mount the handler at a path that ends in a slash`)

	s = newSite(t, otphttp.Options{}, nil)
	s.browser().get("/login/")
	s.browser().get("/login/wp-admin.php")
	require.Empty(t, s.errors, "a scanner is no fault of the application")
}

// Middleware may parse the form. A field twice is refused all the same.
func TestForm_parsedBefore(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	inner := s.handler
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.FormValue("csrf_token")
		inner.ServeHTTP(w, r)
	})
	b := s.browser()
	_, body := b.post("start", url.Values{"address": {"bob@example.com"}, "csrf_token": {"x"}})
	require.Contains(t, body, `name="code"`)
	require.Equal(t, 1, s.inbox.Len())
	answer, _ := b.post("start", url.Values{"address": {"carol@example.com", "eve@example.com"}})
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	answer, _ = b.post("start?address=eve@example.com", url.Values{})
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	answer, _ = b.post("start", url.Values{"address": {strings.Repeat("x", 5000)}})
	require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode)
	require.Equal(t, 1, s.inbox.Len())

	// The API, too: ParseForm leaves JSON alone.
	answer, v := s.api("start", map[string]string{"address": "dave@example.com"})
	require.Equal(t, http.StatusAccepted, answer.StatusCode, v)
	require.Empty(t, s.errors)
}

// Where the body is gone, OnError hears why.
func TestForm_readBefore(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	inner := s.handler
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		inner.ServeHTTP(w, r)
	})
	answer, _ := s.browser().post("start", url.Values{"address": {"bob@example.com"}})
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Len(t, s.errors, 1)
	require.ErrorContains(t, s.errors[0], "let it call r.ParseForm")
	answer, _ = s.api("start", map[string]string{"address": "bob@example.com"})
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Len(t, s.errors, 2)
}

// Who has set no OnError finds the failure in the log, at most once a minute.
func TestOnError_default(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(t, err)
	handler, err := otphttp.New(verifier, &otphttp.Options{OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {}})
	require.NoError(t, err)
	for range 5 {
		r := httptest.NewRequest(http.MethodPost, "/login/start", http.NoBody)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.ContentLength = 10
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "otphttp request failed")

	// A mistake in the setup is told of beside them.
	r := httptest.NewRequest(http.MethodPost, "/login/start", strings.NewReader("address=bob@example.com"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", "203.0.113.99")
	r.RemoteAddr = "10.0.0.5:80"
	handler.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "Options.TrustedProxies")
}

// A link may fill the field. It is text, it sends nothing, and it looks nothing
// up.
func TestHint(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	for hint, value := range map[string]string{
		"bob@example.com":                   "bob@example.com",
		`"><script>alert(1)</script>`:       `&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;`,
		"not an address":                    "not an address",
		"a\r\nb":                            "",
		"a\u202eb":                          "",
		strings.Repeat("x", 255):            "",
		strings.Repeat("x", 242) + "@x.org": strings.Repeat("x", 242) + "@x.org",
	} {
		answer, body := b.get("/login/?" + url.Values{"login_hint": {hint}}.Encode())
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Contains(t, body, ` value="`+value+`" required`)
		require.NotContains(t, body, `role="alert"`)
		require.Empty(t, answer.Cookies())
	}
	require.Zero(t, s.inbox.Len())
	s = newSite(t, otphttp.Options{Address: func(*http.Request) (string, error) { return "carol@example.com", nil }}, nil)
	_, body := s.browser().get("/login/?login_hint=bob@example.com")
	require.NotContains(t, body, "bob@")
}

// A name of the path without a value leads nowhere, least of all to another site.
func TestPath_missingValue(t *testing.T) {
	for _, value := range []string{"", ".", ".."} {
		s := newSite(t, otphttp.Options{Path: "/{tenant}/{flow}/"}, nil)
		handler := s.handler.(*otphttp.Handler)
		s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("tenant", value)
			r.SetPathValue("flow", "evil.example")
			if r.URL.Path == "/start" {
				handler.Start(w, r, otp.Request{To: "bob@example.com"})
				return
			}
			handler.ServeHTTP(w, r)
		})
		b := s.browser()
		answer, body := b.get("//evil.example/")
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.NotContains(t, body, "evil")
		answer, _ = b.do(post("/start", nil))
		require.Empty(t, answer.Header.Get("Location"))
		require.Len(t, s.errors, 2)
		require.ErrorContains(t, s.errors[0], "no value for a name in /{tenant}/{flow}/")
		require.Zero(t, s.inbox.Len())
	}
}

// Below Options.Path there are only the steps, and no folders with the same steps.
func TestPath_folders(t *testing.T) {
	s := newSite(t, otphttp.Options{Path: "/login/"}, nil)
	b := s.browser()
	answer, _ := b.get("/login/")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	for _, path := range []string{"/login/x/", "/login/x/code", "/login//", "/login/code/", "/login/x%2fcode"} {
		answer, _ = b.get(path)
		require.Equal(t, http.StatusNotFound, answer.StatusCode, path)
	}
	answer, _ = b.do(post("/login/x/start", url.Values{"address": {"bob@example.com"}}))
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Zero(t, s.inbox.Len())

	s.handler = http.StripPrefix("/login", s.handler)
	answer, _ = b.get("/login/")
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

// Links are often written without the escape of a plus.
func TestHint_plus(t *testing.T) {
	b := newSite(t, otphttp.Options{}, nil).browser()
	for _, query := range []string{"bob+tag@example.com", "bob%2Btag@example.com"} {
		_, body := b.get("/login/?login_hint=" + query)
		require.Contains(t, body, `value="bob&#43;tag@example.com"`, query)
	}
}

// Some proxies and middleware add a slash to every path.
func TestPath_slashAdded(t *testing.T) {
	s := newSite(t, otphttp.Options{Path: "/login/"}, nil)
	b := s.browser()
	answer, _ := b.do(post("/login/start/", url.Values{"address": {"bob@example.com"}}))
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	m, _ := s.inbox.Last("bob@example.com")
	_, body := b.get("/login/code/?ref=" + m.Reference)
	require.Contains(t, body, `name="code"`)
	answer, _ = b.do(post("/login/check/", url.Values{"reference": {m.Reference}, "code": {m.Code}}))
	require.Equal(t, "/", answer.Header.Get("Location"))
	answer, _ = b.get("/login//")
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
}
