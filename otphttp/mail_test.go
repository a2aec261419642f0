package otphttp_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// everyTime matches what differs in each mail: IDs, date, boundary, code and
// reference.
var everyTime = regexp.MustCompile(`(?m)[A-Z2-7]{26}|^Date: .*|[0-9a-f]{60}|[0-9]{6}|eference: [A-Z]{4}`)

// headerGames are requests with false headers.
func headerGames(evil string) map[string]func(*http.Request) {
	set := func(names ...string) func(*http.Request) {
		return func(r *http.Request) {
			for _, name := range names {
				r.Header.Set(name, evil)
			}
		}
	}
	return map[string]func(*http.Request){
		"Host":         func(r *http.Request) { r.Host = evil },
		"Host, port":   func(r *http.Request) { r.Host = "example.com:1@" + evil },
		"Host, markup": func(r *http.Request) { r.Host = `"><script>` + evil },
		"Host, lines":  func(r *http.Request) { r.Host = "x\r\nBcc: e@" + evil },
		"URL":          func(r *http.Request) { r.URL.Scheme, r.URL.Host = "https", evil },
		"query": func(r *http.Request) {
			r.URL.RawQuery = "address=x@" + evil + "&brand=" + evil + "&locale=" + evil + "&next=//" + evil
		},
		"Referer":         func(r *http.Request) { r.Header.Set("Referer", "https://"+evil+"/") },
		"Forwarded":       func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1;host="+evil+";proto=https") },
		"X-Forwarded":     set("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Scheme"),
		"others":          set("X-Host", "X-Real-IP", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-HTTP-Host-Override", "True-Client-IP", "Via", "User-Agent", "From"),
		"Accept-Language": func(r *http.Request) { r.Header.Set("Accept-Language", "en, x-"+evil+", "+evil) },
	}
}

// C11: the headers of a request do not reach the mail server, neither in the
// mail nor around it, and do not appear in the answer.
func TestMail_knowsNoRequest(t *testing.T) {
	const evil = "evil.example"
	for _, content := range []string{formContent, jsonContent} {
		wire := func(change func(*http.Request)) string {
			server := smtptest.Script{}.Start(t)
			sender, err := smtpsender.New(server.Addr, "Acme <codes@acme.example>", &smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "app.acme.example"})
			require.NoError(t, err)
			s := (&site{t: t}).with(sender, otphttp.Options{Brand: "Acme"}, nil)
			body := `{"address":"alice@example.com"}`
			if content == formContent {
				body = "address=alice@example.com"
			}
			r := request(http.MethodPost, "/login/start", content, body)
			r.Header.Set("Accept-Language", "en")
			change(r)
			answer, text := s.do(r)
			require.Less(t, answer.StatusCode, 400, text)
			require.NotContains(t, text, evil)
			for name, values := range answer.Header {
				require.NotContains(t, strings.Join(values, ""), evil, name)
			}
			require.NoError(t, sender.Close())
			server.AwaitOpen(t, 0)
			require.Len(t, server.Mails(0), 1)
			require.NotContains(t, server.Wire(0), evil)
			return everyTime.ReplaceAllString(server.Wire(0), "*")
		}
		plain := wire(func(*http.Request) {})
		require.Contains(t, plain, "RCPT TO:<alice@example.com>")
		require.Contains(t, plain, "Your Acme verification code")
		for name, change := range headerGames(evil) {
			require.Equal(t, plain, wire(change), name)
		}
	}
}

// C11: they do not change pages, errors and redirects either.
func TestPages_knowNoHost(t *testing.T) {
	const evil = "evil.example"
	visit := func(change func(*http.Request)) string {
		s := (&site{t: t, inbox: &otptest.Inbox{}})
		s.with(s.inbox, otphttp.Options{}, nil)
		var all strings.Builder
		see := func(method, path, body string) {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Header.Set("Content-Type", formContent)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			change(r)
			answer, text := s.do(r)
			answer.Header.Del("Set-Cookie")
			answer.Header.Write(&all)
			all.WriteString(text)
		}
		for _, path := range []string{"/login/", "/login/code", "/login/code?ref=BCDF&say=wrong", "/login/nothing", "/login/start"} {
			see(http.MethodGet, path, "")
		}
		for _, body := range []string{"address=bob@example.com", "address=bob@example.com", "address=x", "%zz"} {
			see(http.MethodPost, "/login/start", body)
			see(http.MethodPost, "/login/check", body)
		}
		require.NotContains(t, all.String(), evil)
		return regexp.MustCompile(`ref=[A-Z]{4}`).ReplaceAllString(all.String(), "ref=")
	}
	plain := visit(func(*http.Request) {})
	for name, change := range headerGames(evil) {
		require.Equal(t, plain, visit(change), name)
	}
}
