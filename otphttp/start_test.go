package otphttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

// passwords is an application that asks for a password first: POST /login calls
// Start, and the handler is at /login/code/.
func passwords(t *testing.T, opts otphttp.Options, rules *otp.Options, request otp.Request) *site {
	opts.Path, opts.StartAt = "/login/code/", "/login"
	opts.Purpose = func(*http.Request) (string, error) { return "login:password", nil }
	s := newSite(t, opts, rules)
	handler := s.handler.(*otphttp.Handler)
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.PostFormValue("password") != "right" {
			http.Error(w, "wrong password", http.StatusUnauthorized)
			return
		}
		handler.Start(w, r, request)
	})
	mux.Handle("/login/code/", handler)
	s.handler = mux
	return s
}

// enter posts the password and follows the redirect to the code page.
func (b *browser) enter(path string, form url.Values) (*http.Response, string) {
	answer, body := b.do(post(path, form))
	if to := answer.Header.Get("Location"); to != "" {
		require.Equal(b.t, http.StatusSeeOther, answer.StatusCode)
		return b.get(to)
	}
	return answer, body
}

// A right password sends the code and shows the page for it, without another
// press. J13
func TestStart_flow(t *testing.T) {
	clock := testkit.NewClock()
	s := passwords(t, otphttp.Options{Now: clock.Now, Support: "help@example.com"}, &otp.Options{Now: clock.Now}, otp.Request{To: "bob@example.com", Proven: true, Vars: map[string]string{"user": "7"}})
	b := s.browser()
	answer, _ := b.enter("/login", url.Values{"password": {"guessed"}})
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	require.Zero(t, s.inbox.Len())

	right := url.Values{"password": {"right"}, "next": {"/cart"}}
	answer, body := b.enter("/login", right)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	m, ok := s.inbox.Last("bob@example.com")
	require.True(t, ok)
	require.True(t, m.Known)
	require.Contains(t, body, m.Reference)
	require.Contains(t, body, `action="/login/code/check"`)
	require.Contains(t, body, `name="next" value="/cart"`)
	require.Contains(t, body, `<a href="mailto:help@example.com">help@example.com</a>`)
	require.NotContains(t, body, "Use another address")

	// Again, because the mail is slow: the same challenge, and no second mail.
	_, body = b.enter("/login", right)
	require.Contains(t, body, m.Reference)
	require.Contains(t, body, `data-left="60">1:00</span>`)
	require.Equal(t, 1, s.inbox.Len())
	clock.Add(time.Minute)
	_, body = b.enter("/login", right)
	require.Contains(t, body, "We sent the email again.")
	require.Equal(t, 2, s.inbox.Len())

	answer, _ = b.do(post("/login/code/check", url.Values{"reference": {m.Reference}, "code": {testkit.WrongCode(m.Code)}}))
	require.Equal(t, "/login/code/code?ref="+m.Reference+"&say=wrong", answer.Header.Get("Location"))
	answer, _ = b.do(post("/login/code/check", url.Values{"reference": {m.Reference}, "code": {m.Code}, "next": {"/cart"}}))
	require.Equal(t, "/cart", answer.Header.Get("Location"))
	require.Len(t, s.verified, 1)
	require.Equal(t, "7", s.verified[0].Vars["user"])
	require.Empty(t, s.errors)
}

// With StartAt, nobody gets a code who has not passed the first step, in any way
// that the handler has, and visitors who have to start again are sent to the first step.
func TestStart_only(t *testing.T) {
	s := passwords(t, otphttp.Options{}, nil, otp.Request{To: "bob@example.com"})
	b := s.browser()
	answer, _ := b.do(post("/login/code/start", url.Values{"address": {"bob@example.com"}}))
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	r := request(http.MethodPost, "/login/code/start", jsonContent, `{"address":"bob@example.com"}`)
	answer, _ = s.do(r)
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	answer, _ = b.get("/login/code/?next=/cart")
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.Equal(t, "/login?next=%2Fcart", answer.Header.Get("Location"))
	answer, body := b.get("/login/code/code?ref=none")
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Contains(t, body, `href="/login"`)
	require.Zero(t, s.inbox.Len())
}

// What keeps a mail from being sent stands on a page, with the way back.
func TestStart_refused(t *testing.T) {
	s := passwords(t, otphttp.Options{Support: "https://example.com/help"}, &otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}}}, otp.Request{To: "bob@example.com"})
	_, body := s.browser().enter("/login", url.Values{"password": {"right"}})
	require.Contains(t, body, `name="code"`)
	answer, body := s.browser().enter("/login", url.Values{"password": {"right"}})
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.NotEmpty(t, answer.Header.Get("Retry-After"))
	require.Contains(t, body, "A code was sent to this address a short time ago")
	require.Contains(t, body, `href="/login"`)
	require.Contains(t, body, `<a href="https://example.com/help">https://example.com/help</a>`)

	s = passwords(t, otphttp.Options{}, nil, otp.Request{To: "bob@localhost"})
	answer, body = s.browser().enter("/login", url.Values{"password": {"right"}})
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, "it is not the visitor's fault")
	require.Contains(t, body, "Something went wrong.")
	require.ErrorContains(t, s.errors[0], "see otp.Options.ParseAddress")
	require.NotContains(t, s.errors[0].Error(), "bob")

	// After a GET, such as one that comes back from another site, too.
	clock := testkit.NewClock()
	s = passwords(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now}, otp.Request{To: "bob@example.com"})
	b := s.browser()
	for range 2 {
		answer, _ = b.get("/login")
		require.Equal(t, http.StatusSeeOther, answer.StatusCode)
		require.Contains(t, answer.Header.Get("Location"), "/login/code/code?ref=")
	}
	require.Equal(t, 1, s.inbox.Len())
}

// A password that came as JSON gets the answer of the API.
func TestStart_api(t *testing.T) {
	s := passwords(t, otphttp.Options{}, nil, otp.Request{})
	handler, err := otphttp.New(s.verifier.For("login:password"), &otphttp.Options{
		Path: "/2fa/", StartAt: "/", OnVerified: func(_ http.ResponseWriter, _ *http.Request, c otp.Challenge) { s.verified = append(s.verified, c) },
	})
	require.NoError(t, err)
	r := request(http.MethodPost, "/api/login", jsonContent, `{"user":"bob","password":"right"}`)
	w := httptest.NewRecorder()
	handler.Start(w, r, otp.Request{To: "bob@example.com"})
	require.Equal(t, http.StatusAccepted, w.Code)
	id := anID.FindString(w.Body.String())
	require.NotEmpty(t, id)
	r = request(http.MethodPost, "/2fa/check", jsonContent, jsonBody(map[string]string{"id": id, "code": s.inbox.Code("bob@example.com")}))
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	require.Len(t, s.verified, 1)
}

// Start takes what the request does not say from where the handler's own forms
// take it.
func TestStart_completes(t *testing.T) {
	busy := false
	s := newSite(t, otphttp.Options{
		Path:      "/login/",
		Purpose:   func(*http.Request) (string, error) { return "pay:1", nil },
		Address:   func(*http.Request) (string, error) { return "bob@example.com", nil },
		Language:  func(*http.Request) string { return "de" },
		ClientKey: func(*http.Request) string { return "c" },
		Prepare:   func(*http.Request, *otp.Request) error { t.Error("Prepare is for the handler's own forms"); return nil },
		Busy:      func(bool) bool { return busy },
	}, nil)
	start := func(request otp.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/pay", nil)
		r.Header.Set("Accept", "text/html")
		s.handler.(*otphttp.Handler).Start(w, r, request)
		return w
	}
	require.Equal(t, http.StatusSeeOther, start(otp.Request{}).Code)
	m, _ := s.inbox.Last("bob@example.com")
	require.Equal(t, "pay:1", m.Purpose)
	require.Equal(t, "de", m.Locale)
	start(otp.Request{To: "carol@example.com", Locale: "fr"})
	m, _ = s.inbox.Last("carol@example.com")
	require.Equal(t, "fr", m.Locale)
	busy = true
	require.Equal(t, http.StatusServiceUnavailable, start(otp.Request{To: "dave@example.com"}).Code)
	require.Len(t, s.errors, 1)
	require.Equal(t, 2, s.inbox.Len())
}

// Without Path, Start cannot show the page, and says what is missing.
func TestStart_needsPath(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	w := httptest.NewRecorder()
	s.handler.(*otphttp.Handler).Start(w, httptest.NewRequest(http.MethodPost, "/login", nil), otp.Request{To: "bob@example.com"})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.ErrorContains(t, s.errors[0], "Options.Path")
	require.Zero(t, s.inbox.Len())
}

// What Start has proven does not last longer than a code: a resend mails the same
// code, and a visitor who needs a new one is sent to the first step.
func TestStart_resend(t *testing.T) {
	clock := testkit.NewClock()
	s := passwords(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now}, otp.Request{To: "bob@example.com", Proven: true})
	b := s.browser()
	b.enter("/login", url.Values{"password": {"right"}, "next": {"/cart"}})
	m, _ := s.inbox.Last("bob@example.com")
	again := url.Values{"reference": {m.Reference}, "next": {"/cart"}}
	clock.Add(5 * time.Minute) // half of its life is left
	answer, _ := b.do(post("/login/code/resend", again))
	require.Contains(t, answer.Header.Get("Location"), "say=sentAgain")
	require.Equal(t, 2, s.inbox.Len())
	require.Equal(t, m.Code, s.inbox.Code("bob@example.com"))
	for _, later := range []struct {
		wait time.Duration
		to   string
	}{
		{time.Millisecond, "/login?next=%2Fcart"},
		{5 * time.Minute, "/login?next=%2Fcart"},
		{time.Hour, "/login/code/code?next=%2Fcart&ref=" + m.Reference}, // its page, which leads to /login, too
	} {
		clock.Add(later.wait)
		answer, _ = b.do(post("/login/code/resend", again))
		require.Equal(t, later.to, answer.Header.Get("Location"))
		require.Equal(t, 2, s.inbox.Len())
	}

	b.enter("/login", url.Values{"password": {"right"}})
	clock.Add(10 * time.Minute)
	m, _ = s.inbox.Last("bob@example.com")
	_, body := b.get("/login/code/code?ref=" + m.Reference)
	require.Contains(t, body, "has expired")
	require.Contains(t, body, `href="/login"`)
	require.NotContains(t, body, "/login/code/resend")
	r := request(http.MethodPost, "/login/code/resend", jsonContent, `{"id":"`+strings.Split(b.cookies["__Host-otp"], ".")[1]+`"}`)
	answer, _ = s.do(r)
	require.Contains(t, []int{http.StatusGone, http.StatusNotFound}, answer.StatusCode)
	require.Equal(t, 3, s.inbox.Len())
}

// A purpose that other handlers may have is an error at each request, too.
func TestStart_purpose(t *testing.T) {
	s := newSite(t, otphttp.Options{Path: "/c/", StartAt: "/login", Purpose: func(*http.Request) (string, error) { return "login", nil }}, nil)
	answer, _ := s.browser().get("/c/code?ref=x")
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.ErrorContains(t, s.errors[0], "a purpose that no other handler has")
}

// A visitor whose challenge the application holds gets the cookie for its page.
func TestStart_heldByTheApplication(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Path: "/c/", Now: clock.Now}, &otp.Options{Now: clock.Now})
	handler := s.handler.(*otphttp.Handler)
	first, err := s.verifier.Send(t.Context(), otp.Request{To: "bob@example.com"})
	require.NoError(t, err)
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			handler.Start(w, r, otp.Request{To: "bob@example.com", Held: []string{first.ID}})
			return
		}
		handler.ServeHTTP(w, r)
	})
	_, body := s.browser().enter("/login", nil)
	require.Contains(t, body, first.Reference)
	require.Contains(t, body, `name="code"`)
}

// Where only a password leads to another code, a code that can no longer be passed
// offers that and nothing else. A start that is proven counts for no client, so
// no proxy is missed.
func TestStart_over(t *testing.T) {
	s := passwords(t, otphttp.Options{StartAt: "/login"}, nil, otp.Request{To: "bob@example.com", Proven: true})
	b := s.browser()
	r := post("/login", url.Values{"password": {"right"}})
	r.RemoteAddr = "10.0.0.5:80"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	answer, body := b.do(r)
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	m, _ := s.inbox.Last("bob@example.com")
	for range 5 {
		_, body = b.enter("/login/code/check", url.Values{"reference": {m.Reference}, "code": {testkit.WrongCode(m.Code)}})
	}
	require.Contains(t, body, "Too many wrong tries with this code.")
	require.Contains(t, body, `href="/login">Start again`)
	require.NotContains(t, body, "Send a new code")
	require.Empty(t, s.errors)
}
