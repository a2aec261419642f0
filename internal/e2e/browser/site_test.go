package browser_test

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// A site is an application that signs people in at /login/ and greets them at /.
// Only the test moves its clock.
type site struct {
	url      string
	handler  http.Handler
	inbox    *otptest.Inbox
	verifier *otp.Verifier
	clock    *testkit.Clock

	mu       sync.Mutex
	verified []otp.Challenge
	requests []string // such as "POST /login/check", in order
	failures []error
	held     chan struct{} // if not nil, requests by POST wait until it is closed
	strip    bool          // something on the way removes the Sec-Fetch-* headers
}

func newSite(t *testing.T, opts otphttp.Options) *site {
	t.Helper()
	s := &site{inbox: &otptest.Inbox{}, clock: testkit.NewClockAt(time.Now())}
	var err error
	s.verifier, err = otp.NewVerifier(otp.NewMemoryStore(nil), s.inbox, &otp.Options{Now: s.clock.Now})
	require.NoError(t, err)
	opts.Now = s.clock.Now
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
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		held, strip := s.held, s.strip
		s.mu.Unlock()
		if strip {
			maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Sec-Fetch-") })
		}
		if r.Method == http.MethodPost && held != nil {
			<-held
		}
		mux.ServeHTTP(w, r)
	})
	server := httptest.NewServer(s.handler)
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

// home greets the person who is signed in. A cookie that holds the address will
// do for a test.
func home(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if cookie, err := r.Cookie("__Host-session"); err == nil {
		_, name, _ = strings.Cut(cookie.Value, "~")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><title>Home</title><h1>Hello %s at %s</h1>", html.EscapeString(name), r.URL.Path)
}

// hold lets all requests by POST wait until release is called.
func (s *site) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return sync.OnceFunc(func() { close(held) })
}

// signedIn returns how many right codes there were.
func (s *site) signedIn() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.verified)
}

// asked returns how many requests there were with a prefix such as
// "POST /login".
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
