package frameworks

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// site is an application on a server.
type site struct {
	*httptest.Server
	inbox *otptest.Inbox
}

func serve(t *testing.T, app func(*otp.Verifier) (http.Handler, error)) site {
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	require.NoError(t, err)
	handler, err := app(verifier)
	require.NoError(t, err)
	s := site{httptest.NewTLSServer(handler), inbox}
	t.Cleanup(s.Close)
	return s
}

// signIn goes from the page at path to the end, with a wrong code first.
func (b *browser) signIn(path, address string) otp.Message {
	b.Helper()
	b.get(path)
	require.Equal(b, http.StatusOK, b.page.StatusCode)
	b.submit("start", "address", address)
	m, ok := b.inbox.Last(address)
	require.True(b, ok, "%d %s", b.page.StatusCode, b.body)
	require.Contains(b, b.body, m.Reference)
	b.submit("check", "code", testkit.WrongCode(m.Code))
	require.Contains(b, b.body, "That code is not right.")
	b.submit("check", "code", m.Code)
	return m
}

// requireUser looks at the home page.
func (b *browser) requireUser(user string) {
	b.Helper()
	b.get("/")
	require.Equal(b, user+" is signed in\n", b.body)
}

// take puts a session cookie into the browser.
func (b *browser) take(c *http.Cookie) {
	at, err := url.Parse(b.URL)
	require.NoError(b, err)
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
}
