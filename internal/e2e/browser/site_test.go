package browser_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// site is an application that signs people in at /login/ and greets them at /. It
// has a clock that stands still until the test moves it.
type site struct {
	url      string
	inbox    *otptest.Inbox
	verifier *otp.Verifier

	mu       sync.Mutex
	now      time.Time
	verified []otp.Challenge
	requests []string // "POST /login/check", in order
	failures []error
	held     chan struct{} // what is posted waits until it is closed
}

func newSite(t *testing.T, opts otphttp.Options) *site {
	t.Helper()
	s := &site{inbox: &otptest.Inbox{}, now: time.Now()}
	var err error
	s.verifier, err = otp.NewVerifier(otp.NewMemoryStore(nil), s.inbox, &otp.Options{Now: s.clock})
	require.NoError(t, err)
	opts.Now = s.clock
	opts.OnVerified = s.onVerified
	opts.OnError = func(_ *http.Request, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failures = append(s.failures, err)
	}
	login, err := otphttp.New(s.verifier, &opts)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/login/", login)
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("GET /cart", home)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		held := s.held
		s.mu.Unlock()
		if r.Method == http.MethodPost && held != nil {
			<-held
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	s.url = "http://localhost:" + u.Port() // Secure cookies need it
	return s
}

func (s *site) onVerified(w http.ResponseWriter, _ *http.Request, c otp.Challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified = append(s.verified, c)
	http.SetCookie(w, &http.Cookie{
		Name: "__Host-session", Value: fmt.Sprintf("%d~%s", len(s.verified), c.To.String()), Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// home greets who is signed in. A cookie with the address is good enough for a test.
func home(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if cookie, err := r.Cookie("__Host-session"); err == nil {
		_, name, _ = strings.Cut(cookie.Value, "~")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><title>Home</title><h1>Hello %s at %s</h1>", html.EscapeString(name), r.URL.Path)
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// hold lets all that is posted wait until release is called.
func (s *site) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return sync.OnceFunc(func() { close(held) })
}

// signedIn is how many right codes there were.
func (s *site) signedIn() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.verified)
}

// asked is how many requests there were that begin so, as "POST /login/check".
func (s *site) asked(request string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.HasPrefix(r, request) {
			n++
		}
	}
	return n
}

// wrong is another code of the same length.
func wrong(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}
