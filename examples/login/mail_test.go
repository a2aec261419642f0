package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// everyTime matches what differs in each mail: IDs, date, boundary, code and
// reference.
var everyTime = regexp.MustCompile(`(?m)[A-Z2-7]{26}|^Date: .*|[0-9a-f]{60}|[0-9]{6}|eference: [A-Z]{4}`)

// C11: the headers of a request do not reach the mail server, neither in the
// mail nor around it.
func TestLogin_mailKnowsNoRequest(t *testing.T) {
	const evil = "evil.example"
	wire := func(change func(*http.Request)) string {
		server := smtptest.Script{}.Start(t)
		sender, err := smtpsender.New(server.Addr, "Acme <codes@acme.example>", &smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "app.acme.example"})
		require.NoError(t, err)
		verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
		require.NoError(t, err)
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("email=alice%40example.com&password=correct+horse+battery+staple"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept-Language", "en")
		change(r)
		w := httptest.NewRecorder()
		app, err := newApp(verifier)
		require.NoError(t, err)
		app.ServeHTTP(w, r)
		require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
		require.NoError(t, sender.Close())
		server.AwaitOpen(t, 0)
		require.Len(t, server.Mails(0), 1)
		require.NotContains(t, server.Wire(0), evil)
		return everyTime.ReplaceAllString(server.Wire(0), "*")
	}
	plain := wire(func(*http.Request) {})
	require.Contains(t, plain, "RCPT TO:<alice@example.com>")
	require.Contains(t, plain, "Your Acme verification code")
	for name, change := range map[string]func(*http.Request){
		"Host":      func(r *http.Request) { r.Host = evil },
		"URL":       func(r *http.Request) { r.URL.Scheme, r.URL.Host = "https", evil },
		"query":     func(r *http.Request) { r.URL.RawQuery = "email=x@" + evil + "&brand=" + evil + "&locale=" + evil },
		"Referer":   func(r *http.Request) { r.Header.Set("Referer", "https://"+evil+"/") },
		"Forwarded": func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1;host="+evil+";proto=https") },
		"X-Forwarded-*": func(r *http.Request) {
			for _, name := range []string{"For", "Host", "Server", "Proto", "Port", "Prefix"} {
				r.Header.Set("X-Forwarded-"+name, evil)
			}
		},
		"others": func(r *http.Request) {
			for _, name := range []string{"X-Host", "X-Real-IP", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-HTTP-Host-Override", "True-Client-IP", "Via", "User-Agent", "From"} {
				r.Header.Set(name, evil)
			}
		},
		"Accept-Language": func(r *http.Request) { r.Header.Set("Accept-Language", "en, x-"+evil+", "+evil) },
		"line break":      func(r *http.Request) { r.Host = "x\r\nBcc: e@" + evil },
	} {
		require.Equal(t, plain, wire(change), name)
	}
}
