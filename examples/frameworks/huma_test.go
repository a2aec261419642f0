package frameworks

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// The API asks for a password, then for the code that was mailed. Its errors are
// problem details, in the visitor's language.
func TestHuma_api(t *testing.T) {
	b := serve(t, Huma).browser(t)
	call := func(path string, fields map[string]string) (answer struct{ Message, Detail string }) {
		t.Helper()
		body, err := json.Marshal(fields)
		require.NoError(t, err)
		b.body = ""
		b.do(http.MethodPost, path, "application/json", string(body), "Accept", "application/json", "Accept-Language", "de")
		if b.body != "" {
			require.NoError(t, json.Unmarshal([]byte(b.body), &answer), b.body)
		}
		return answer
	}
	refused := func(status int) {
		t.Helper()
		require.Equal(t, status, b.page.StatusCode, b.body)
		require.Equal(t, "application/problem+json", b.page.Header.Get("Content-Type"))
	}
	const to = "alice@example.com"
	call("/api/login", map[string]string{"email": to, "password": "guessed"})
	refused(http.StatusUnauthorized)
	call("/api/login/code", map[string]string{"code": "123456"})
	refused(http.StatusGone)
	require.Zero(t, b.inbox.Len())

	for range 2 { // the second time it is too early for another mail
		sent := call("/api/login", map[string]string{"email": to, "password": "correct horse battery staple"})
		require.Equal(t, http.StatusOK, b.page.StatusCode, b.body)
		require.Equal(t, "de", b.page.Header.Get("Content-Language"))
		m, _ := b.inbox.Last(to)
		require.Contains(t, sent.Message, m.Reference)
		require.Equal(t, 1, b.inbox.Len())
	}
	alice := b
	b = b.browser(t) // another visitor with the right password must wait
	call("/api/login", map[string]string{"email": to, "password": "correct horse battery staple"})
	refused(http.StatusTooManyRequests)
	require.NotEmpty(t, b.page.Header.Get("Retry-After"))

	b = alice
	wrong := call("/api/login/code", map[string]string{"code": testkit.WrongCode(b.inbox.Code(to))})
	refused(http.StatusUnprocessableEntity)
	require.Contains(t, wrong.Detail, "Code")
	require.Equal(t, "de", b.page.Header.Get("Content-Language"))
	b.requireUser("nobody")
	before := b.session.Value
	call("/api/login/code", map[string]string{"code": b.inbox.Code(to)})
	require.Equal(t, http.StatusNoContent, b.page.StatusCode)
	require.NotEqual(t, before, b.session.Value)
	b.requireUser(to)
}
