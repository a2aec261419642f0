package otphttp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

// C10: every answer has the security headers: each path, each method, each
// error, pages, JSON and redirects.
func TestHeaders_everywhere(t *testing.T) {
	down := false
	s := newSite(t, otphttp.Options{Purpose: func(r *http.Request) (string, error) {
		if down {
			return "", errors.New("down")
		}
		return "login", nil
	}}, nil)
	statuses := map[int]bool{}
	check := func(name string, answer *http.Response, body string) {
		statuses[answer.StatusCode] = true
		header := answer.Header
		for field, want := range map[string]string{
			"Cache-Control": "no-store, no-transform", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			require.Equal(t, []string{want}, header[http.CanonicalHeaderKey(field)], "%s: %s", name, field)
		}
		policy := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
			require.Contains(t, policy, want, name)
		}
		require.NotContains(t, policy, "unsafe")
		for field := range header { // nothing that reveals too much
			require.NotContains(t, []string{"Access-Control-Allow-Origin", "Server", "X-Powered-By", "Etag", "Last-Modified"}, field)
		}
		if body != "" {
			require.Regexp(t, `^(text/html; charset=utf-8|application/(problem\+)?json)$`, header.Get("Content-Type"), name)
			require.NotEmpty(t, header.Get("Content-Type"))
		}
		if answer.StatusCode == 429 || answer.StatusCode == 503 {
			require.Regexp(t, `^[1-9]\d*$`, header.Get("Retry-After"), name) // C14
		}
	}
	bodies := []struct{ content, body string }{
		{formContent, "address=bob@example.com"},
		{formContent, "address=bob@example.com"},
		{formContent, "address=x"},
		{formContent, "%zz"},
		{jsonContent, `{"address":"ann@example.com"}`},
		{jsonContent, `{"address":"ann@example.com"}`},
		{jsonContent, `{"address":"x"}`},
		{jsonContent, `{`},
		{formContent, "code=1"},
		{jsonContent, `{"id":"x","code":"123456"}`},
		{formContent, strings.Repeat("x", 5000)},
		{"text/plain", "x"},
		{"", ""},
	}
	for _, down = range []bool{false, true} {
		for _, path := range []string{"/login/", "/login/code", "/login/start", "/login/check", "/login/resend", "/login/status", "/login/nothing", "/login/code/", "/"} {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE"} {
				for _, origin := range []string{"", "https://evil.example"} {
					for _, accept := range []string{"", "text/html"} {
						for i, b := range bodies {
							if method != http.MethodPost && i%5 != 0 {
								continue
							}
							r := request(method, path, b.content, b.body)
							r.Header.Set("Origin", origin)
							if accept != "" {
								r.Header.Set("Accept", accept)
							}
							if origin == "" {
								r.Header.Del("Origin")
							}
							answer, body := s.do(r)
							check(method+" "+path+" "+b.body, answer, body)
						}
					}
				}
			}
		}
	}
	down = false
	b := s.browser()
	code, reference := b.start("eve@example.com")
	for _, form := range []url.Values{{"code": {testkit.WrongCode(code)}}, {"code": {"x"}}, {"code": {code}}} {
		form.Set("reference", reference)
		answer, body := b.do(request(http.MethodPost, "/login/check", formContent, form.Encode()))
		check("check", answer, body)
	}
	_, v := s.api("start", map[string]string{"address": "app@example.com"})
	for _, code := range []string{"000000x", s.inbox.Code("app@example.com")} {
		answer, _ := s.api("check", map[string]string{"id": v["id"].(string), "code": code})
		check("check", answer, "")
	}
	for _, status := range []int{200, 202, 303, 400, 403, 404, 405, 413, 415, 422, 429, 503} {
		require.True(t, statuses[status], "no answer with %d was seen", status)
	}
	require.Len(t, s.verified, 2)
}

// C10: a template that fails at run time produces no partial page, and the
// answer has the headers.
func TestHeaders_templateFails(t *testing.T) {
	s := newSite(t, otphttp.Options{Files: fstest.MapFS{"page.html.tmpl": {Data: []byte(`half{{if and (eq .Error "cookie") (eq .Lang "de")}}{{template "nothing"}}{{.Nope}}{{end}}{{define "nothing"}}{{end}}`)}}}, nil)
	r := httptest.NewRequest(http.MethodGet, "/login/code", nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", "de") // New renders this trial page in one language only
	answer, body := s.do(r)
	require.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	require.Equal(t, "Internal Server Error\n", body)
	require.Equal(t, "no-store, no-transform", answer.Header.Get("Cache-Control"))
	require.Contains(t, answer.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Len(t, s.errors, 1)
}

var (
	aStyle  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	aScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// The policy has the hashes of the style and the script as a browser reads
// them, with line feeds only (HTML 13.2.3.5). The page has no other style or
// script, and none in attributes. C10
func TestPolicy_hashes(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"built in": {"words/en.json": {Data: []byte("{}")}},
		"theme":    {"theme.css": {Data: []byte(":root { --accent: #123456; } /* <!-- \"'&<b> */\n")}},
		"windows":  {"theme.css": {Data: []byte(":root {\r\n--accent: #123456;\r\n}\r")}},
		"own":      {"style.css": {Data: []byte("p { color: red }")}, "theme.css": {Data: []byte("a > b::after { content: '\\201C</' }")}},
	} {
		s := newSite(t, otphttp.Options{Files: files}, nil)
		b := s.browser()
		_, reference := b.start("bob@example.com")
		for _, path := range []string{"/login/", "/login/code?ref=" + reference, "/login/code?ref=x", "/login/nothing"} {
			answer, body := b.get(path)
			body = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
			for directive, element := range map[string]*regexp.Regexp{"style-src": aStyle, "script-src": aScript} {
				found := element.FindAllStringSubmatch(body, -1)
				require.Len(t, found, 1, name)
				sum := sha256.Sum256([]byte(found[0][1]))
				require.Contains(t, answer.Header.Get("Content-Security-Policy"),
					"; "+directive+" 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"';", "%s %s", name, path)
			}
			rest := aScript.ReplaceAllString(aStyle.ReplaceAllString(body, ""), "")
			require.NotRegexp(t, `(?i)\son[a-z]+=|\sstyle=|javascript:|<(link|script|iframe|object|img|base)\b|https?://`, rest)
		}
		if name == "own" {
			_, body := b.get("/login/")
			require.Contains(t, body, "p { color: red }a > b::after")
		}
	}
	own := newSite(t, otphttp.Options{ContentSecurityPolicy: "default-src 'self'; frame-ancestors 'none'"}, nil)
	answer, _ := own.browser().get("/login/")
	require.Equal(t, "default-src 'self'; frame-ancestors 'none'", answer.Header.Get("Content-Security-Policy"))
}

// With a real server and client, HEAD has no body, and redirects stay in the
// folder of the page.
func TestServer_real(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	mux := http.NewServeMux()
	mux.Handle("/login/", http.StripPrefix("/login/", s.handler))
	server := httptest.NewServer(mux)
	defer server.Close()
	answer, err := server.Client().Head(server.URL + "/login/")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	answer, err = server.Client().PostForm(server.URL+"/login/start", url.Values{"address": {"bob@example.com"}})
	require.NoError(t, err)
	require.Equal(t, "/login/code", answer.Request.URL.Path)
	answer.Body.Close()
	answer, err = server.Client().PostForm(server.URL+"/login/start", url.Values{"address": {"no@address@example.com"}})
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
	require.Contains(t, string(body), `value="no@address@example.com"`) // H8: what was typed stays
}

// Nothing on the way may change a page, whose policy names the hashes of its style
// and script: Cloudflare, for one, replaces addresses by "[email protected]" and
// loads a script that puts them back. Translators leave names as they are.
func TestPages_unchangedOnTheWay(t *testing.T) {
	s := newSite(t, otphttp.Options{Support: "help@example.com"}, nil)
	answer, body := s.browser().post("start", url.Values{"address": {"bob@example.com"}})
	require.Contains(t, answer.Header.Get("Cache-Control"), "no-transform")
	for _, address := range []string{"bob@example.com", "help@example.com"} {
		at := strings.LastIndex(body, address)
		require.Greater(t, strings.LastIndex(body[:at], "<!--email_off-->"), strings.LastIndex(body[:at], "<!--/email_off-->"), address)
	}
	require.Regexp(t, `reference <bdi translate="no">[A-Z]{4}</bdi>`, body)
	require.Contains(t, body, `code to <bdi translate="no">`)
}
