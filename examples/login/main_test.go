package main

import (
	"context"
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
	"github.com/go-mailotp/otp/otptest"
)

const (
	alice    = "alice@example.com"
	password = "correct horse battery staple"
)

// visitor is a browser with its own cookies.
type visitor struct {
	t      *testing.T
	base   string
	client *http.Client
}

func start(t *testing.T) (*otptest.Inbox, func() *visitor) {
	t.Helper()
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	require.NoError(t, err)
	app, err := newApp(verifier)
	require.NoError(t, err)
	server := httptest.NewTLSServer(app)
	t.Cleanup(server.Close)
	return inbox, func() *visitor {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &visitor{t, server.URL, &http.Client{Transport: server.Client().Transport, Jar: jar}}
	}
}

func (v *visitor) do(req *http.Request) (status int, body string) {
	v.t.Helper()
	res, err := v.client.Do(req)
	require.NoError(v.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(v.t, err)
	require.Contains(v.t, res.Header.Get("Cache-Control"), "no-store")
	return res.StatusCode, string(b)
}

func (v *visitor) get(path string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, v.base+path, nil)
	require.NoError(v.t, err)
	return v.do(req)
}

func (v *visitor) post(path string, pairs ...string) (int, string) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, v.base+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.do(req)
}

func (v *visitor) cookie(name string) string {
	u, err := url.Parse(v.base)
	require.NoError(v.t, err)
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func TestLogin(t *testing.T) {
	inbox, visit := start(t)
	v := visit()
	status, body := v.post("/login", "email", alice, "password", "wrong")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, body, "wrong")
	status, _ = v.post("/login", "email", "nobody@example.com", "password", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Zero(t, inbox.Len(), "no mail without the password")

	status, body = v.post("/login", "email", alice, "password", password)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "a***@example.com")
	require.Contains(t, body, `autocomplete="one-time-code"`)
	mail, err := inbox.Wait(context.Background(), alice)
	require.NoError(t, err)
	require.Contains(t, body, mail.Reference)
	_, body = v.get("/")
	require.NotContains(t, body, "signed in", "the password alone is not enough")
	v.get("/confirm/code?ref=" + mail.Reference)
	require.Equal(t, 1, inbox.Len(), "a reload sends nothing")

	_, body = v.post("/confirm/check", "reference", mail.Reference, "code", "abc")
	require.Contains(t, body, "not a code")
	_, body = v.post("/confirm/resend", "reference", mail.Reference)
	require.Contains(t, body, "Too many requests")
	require.Contains(t, body, "a***@example.com")
	_, body = v.post("/login", "email", alice, "password", password) // within the minute
	require.Contains(t, body, mail.Reference, "the code that was sent still works")
	require.Contains(t, body, `autocomplete="one-time-code"`)
	require.Equal(t, 1, inbox.Len())

	stranger := visit() // B14: the code is useless in another browser
	_, body = stranger.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Contains(t, body, "did not keep the cookie")
	_, body = stranger.get("/")
	require.NotContains(t, body, "signed in")

	v.post("/login", "email", alice, "password", "wrong")
	status, body = v.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "signed in as "+alice)
	session := v.cookie(sessionCookie)
	require.NotEmpty(t, session)
	_, body = v.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Contains(t, body, "used already")
	_, body = v.get("/")
	require.Contains(t, body, "signed in as", "a code is used once; the session remains")
	_, body = v.post("/logout")
	require.NotContains(t, body, "signed in")
	require.Empty(t, v.cookie(sessionCookie))
	stranger.post("/logout")
	require.Empty(t, stranger.cookie(sessionCookie), "nobody gets a session by signing out")

	// Signing in again at once works, and gives a new session. C15
	_, body = v.post("/login", "email", alice, "password", password)
	require.Contains(t, body, "a***@example.com")
	mail, _ = inbox.Last(alice)
	_, body = v.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Contains(t, body, "signed in as")
	require.NotEqual(t, session, v.cookie(sessionCookie))
	require.Equal(t, 2, inbox.Len())
}

// Nobody gets a code without the password, and nobody gets in with a code for
// something else.
func TestLogin_passwordFirst(t *testing.T) {
	inbox, visit := start(t)
	v := visit()
	v.post("/confirm/start", "address", alice)
	_, body := v.get("/confirm/")
	require.Contains(t, body, "Password")
	require.Zero(t, inbox.Len())
}

// Another spelling is the same account, and mail goes to the one that it has.
func TestLogin_case(t *testing.T) {
	inbox, visit := start(t)
	v := visit()
	_, body := v.post("/login", "email", " Alice@EXAMPLE.com", "password", password)
	require.Contains(t, body, "a***@example.com")
	mail, _ := inbox.Last(alice)
	_, body = v.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Contains(t, body, "signed in as "+alice)
}

func TestLogin_wrongCodes(t *testing.T) {
	inbox, visit := start(t)
	v := visit()
	v.post("/login", "email", alice, "password", password)
	mail, _ := inbox.Last(alice)
	for range 5 {
		_, body := v.post("/confirm/check", "reference", mail.Reference, "code", testkit.WrongCode(mail.Code))
		require.Contains(t, body, `role="alert"`)
	}
	_, body := v.post("/confirm/check", "reference", mail.Reference, "code", mail.Code)
	require.Contains(t, body, "Ask for a new one")
}

// C8: another site cannot sign anybody in or have mail sent.
func TestLogin_crossSite(t *testing.T) {
	inbox, visit := start(t)
	v := visit()
	form := url.Values{"email": {alice}, "password": {password}}
	req, err := http.NewRequest(http.MethodPost, v.base+"/login", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	status, _ := v.do(req)
	require.Equal(t, http.StatusForbidden, status)
	require.Zero(t, inbox.Len())
}

func TestLogin_sendFails(t *testing.T) {
	inbox, visit := start(t)
	inbox.FailWith(&otp.SendError{Temporary: true, Stage: "connect"})
	v := visit()
	status, body := v.post("/login", "email", alice, "password", password)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "could not send")
	require.Contains(t, body, "help@example.com")
	_, body = v.get("/")
	require.NotContains(t, body, "signed in")
}

// A permanent rejection looks like success: it must not show which mailboxes do
// not exist.
func TestLogin_refused(t *testing.T) {
	inbox, visit := start(t)
	inbox.FailWith(&otp.SendError{Stage: "rcpt"})
	v := visit()
	status, body := v.post("/login", "email", alice, "password", password)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "a***@example.com")
}
