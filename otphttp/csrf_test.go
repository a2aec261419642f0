package otphttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otphttp"
)

// strangers are the headers that a browser sends for pages of other sites.
var strangers = map[string]http.Header{
	"cross-site":           {"Sec-Fetch-Site": {"cross-site"}},
	"same-site":            {"Sec-Fetch-Site": {"same-site"}},
	"cross-site, Origin":   {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://example.com"}},
	"unheard of":           {"Sec-Fetch-Site": {"x"}},
	"Origin":               {"Origin": {"https://evil.example"}},
	"Origin of the suffix": {"Origin": {"https://example.com.evil.example"}},
	"Origin of a subname":  {"Origin": {"https://evil.example.com"}},
	"Origin, other port":   {"Origin": {"http://example.com:8080"}},
	"Origin null":          {"Origin": {"null"}},
	"Origin, broken":       {"Origin": {"://"}},
}

// C8: a form on another site is rejected before it is read: no mail, no guess,
// no sign-in.
func TestCrossSite(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	for name, header := range strangers {
		for step, form := range map[string]url.Values{
			"start":  {"address": {"eve@example.com"}},
			"check":  {"code": {code}, "reference": {reference}},
			"resend": {"reference": {reference}},
			"status": {"reference": {reference}},
		} {
			for _, content := range []string{formContent, jsonContent, "text/plain"} {
				body := form.Encode()
				if content != formContent {
					fields := map[string]string{}
					for field := range form {
						fields[field] = form.Get(field)
					}
					body = jsonBody(fields)
				}
				r := request(http.MethodPost, "/login/"+step, content, body)
				for cookie, value := range b.cookies {
					r.AddCookie(&http.Cookie{Name: cookie, Value: value})
				}
				for field, values := range header {
					r.Header[field] = values
				}
				answer, text := s.do(r)
				require.Equal(t, http.StatusForbidden, answer.StatusCode, "%s, %s, %s", name, step, content)
				require.Empty(t, answer.Cookies())
				if content == jsonContent {
					require.Contains(t, text, "problems.md#forbidden")
				}
			}
		}
	}
	require.Equal(t, 1, s.inbox.Len())
	require.Empty(t, s.verified)
	require.Empty(t, s.errors)
	answer, _ := b.post("check", url.Values{"code": {code}, "reference": {reference}}) // nothing was used up
	require.Equal(t, "/", answer.Header.Get("Location"))
}

// C8: forms on this site and on trusted origins are accepted.
func TestCrossSite_allowed(t *testing.T) {
	s := newSite(t, otphttp.Options{TrustedOrigins: []string{"https://app.example.com"}}, nil)
	for name, header := range map[string]http.Header{
		"same-origin":    {"Sec-Fetch-Site": {"same-origin"}},
		"typed":          {"Sec-Fetch-Site": {"none"}},
		"Origin":         {"Origin": {"http://example.com"}},
		"trusted":        {"Origin": {"https://app.example.com"}, "Sec-Fetch-Site": {"same-site"}},
		"old or no page": {},
	} {
		r := request(http.MethodPost, "/login/start", jsonContent, `{"address":"a`+strings.Map(onlyLetters, name)+`@example.com"}`)
		for field, values := range header {
			r.Header[field] = values
		}
		answer, text := s.do(r)
		require.Equal(t, http.StatusAccepted, answer.StatusCode, "%s: %s", name, text)
		app := name == "trusted" || name == "old or no page"
		require.Equal(t, app, strings.Contains(text, `"id"`), name)
		require.Equal(t, app, len(answer.Cookies()) == 0, name)
	}
}

// C8: browsers that send no Sec-Fetch-Site can sign in. With the policy
// no-referrer on a page they send "Origin: null" with its forms (Fetch, "append a
// request Origin header").
func TestCrossSite_oldBrowser(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	answer, _ := b.get("/login/")
	origin := "http://example.com"
	if answer.Header.Get("Referrer-Policy") == "no-referrer" {
		origin = "null"
	}
	b.header = http.Header{"Sec-Fetch-Site": nil, "Origin": {origin}}
	code, reference := b.start("bob@example.com")
	answer, _ = b.post("check", url.Values{"code": {code}, "reference": {reference}})
	require.Equal(t, "/", answer.Header.Get("Location"))
}

func onlyLetters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

// C8: an old browser that does not send the origin of a form can only be signed
// in by its own challenge: a form cannot contain the challenge of its author.
func TestLoginCSRF_boundToCookie(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	_, v := s.api("start", map[string]string{"address": "eve@example.com"})
	code := s.inbox.Code("eve@example.com")
	r := request(http.MethodPost, "/login/check", formContent, url.Values{"id": {v["id"].(string)}, "code": {code}}.Encode())
	answer, body := s.do(r)
	require.Equal(t, http.StatusNotFound, answer.StatusCode, body)
	require.Empty(t, answer.Cookies())
	require.Empty(t, s.verified)

	// The page of one tab does not answer the challenge of another either.
	b := s.browser()
	b.start("bob@example.com")
	answer, _ = b.post("check", url.Values{"reference": {v["reference"].(string)}, "code": {code}})
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Empty(t, s.verified)
}

// C9: only the verifier's verdict counts, not what a client says about it, nor
// a replay of the answer to somebody else's correct guess.
func TestVerdict_onlyHere(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	_, v := s.api("start", map[string]string{"address": "bob@example.com"})
	id, code := v["id"].(string), s.inbox.Code("bob@example.com")
	for _, body := range []string{
		`{"verified":"true"}`, `{"verified":true}`, `{"id":"` + id + `","verified":"true"}`,
		`{"id":"` + id + `","code":"","verified":"true"}`, `{"id":"` + id + `","code":null}`, `{"id":"` + id + `","code":"%"}`,
		`{"id":"` + id + `","code":"*"}`, `{"id":"","code":"` + code + `"}`, `{"code":"` + code + `"}`,
		`{"id":"` + strings.Repeat("A", 64) + `","code":"` + code + `"}`, `{"id":"` + id + `x","code":"` + code + `"}`,
		`{"id":"` + id + `","code":"` + code + code + `"}`, `{"id":"` + id + `","code":"` + strings.Repeat("0", 1000) + `"}`,
	} {
		for _, content := range []string{jsonContent, formContent} {
			answer, _ := s.do(request(http.MethodPost, "/login/check", content, body))
			require.GreaterOrEqual(t, answer.StatusCode, 400, body)
			require.Empty(t, s.verified, body)
		}
	}
	answer, right := s.do(request(http.MethodPost, "/login/check", jsonContent, jsonBody(map[string]string{"id": id, "code": code})))
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Len(t, s.verified, 1)
	for _, step := range []string{"check", "status", "resend", "start"} {
		answer, _ := s.do(request(http.MethodPost, "/login/"+step, jsonContent, strings.ReplaceAll(right, "true", `"true"`)))
		require.GreaterOrEqual(t, answer.StatusCode, 400)
		answer, _ = s.do(request(http.MethodPost, "/login/"+step, jsonContent, right))
		require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	}
	require.Len(t, s.verified, 1)
	require.Equal(t, 1, s.inbox.Len())
}

// C7: a code in a URL has no effect, and other methods have none either.
func TestMethods(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	id := strings.Split(b.cookies["__Host-otp"], ".")[1]
	query := "?" + url.Values{"code": {code}, "id": {id}, "reference": {reference}, "ref": {reference}, "address": {"eve@example.com"}}.Encode()
	for step, allow := range map[string]string{"": "GET, HEAD", "code": "GET, HEAD", "start": "POST", "check": "POST", "resend": "POST", "status": "POST"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "POST", "post", "QUERY"} {
			if strings.Contains(allow, method) {
				continue
			}
			for _, content := range []string{"", formContent, jsonContent} {
				r := httptest.NewRequest(method, "/login/"+step+query, strings.NewReader(query[1:]))
				if content != "" {
					r.Header.Set("Content-Type", content)
				}
				r.Header.Set("X-HTTP-Method-Override", "POST")
				answer, _ := b.do(r)
				require.Empty(t, answer.Cookies())
				if method == "GET" && step != "status" {
					require.Equal(t, http.StatusSeeOther, answer.StatusCode, step) // to the form
					continue
				}
				require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode, "%s %s", method, step)
				require.Equal(t, allow, answer.Header.Get("Allow"))
			}
		}
	}
	for _, step := range []string{"start", "check", "resend"} { // all that is asked for stands in the address only
		for content, body := range map[string]string{formContent: "", jsonContent: "{}"} {
			r := request(http.MethodPost, "/login/"+step+query, content, body)
			answer, _ := s.do(r) // without the cookies
			require.GreaterOrEqual(t, answer.StatusCode, 400, step)
		}
	}
	r := request(http.MethodPost, "/login/check"+query, formContent, "reference="+reference)
	_, body := b.do(r)
	require.NotContains(t, body, code)
	_, body = b.get("/login/code" + query) // C13: a link that opens the page is no guess
	require.Contains(t, body, reference)
	require.NotContains(t, body, code)
	require.NotContains(t, body, id)
	require.Empty(t, s.verified)
	require.Equal(t, 1, s.inbox.Len())
	c, err := s.verifier.Status(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 5, c.GuessesLeft)
}

// A browser that restores a tab, or that a redirect to HTTPS has turned to GET, is
// led to the form and sees no error.
func TestMethods_getOfAForm(t *testing.T) {
	for path, want := range map[string]string{"": "./?next=%2Fcart", "/login/": "/login/?next=%2Fcart"} {
		b := newSite(t, otphttp.Options{Path: path}, nil).browser()
		for _, step := range []string{"start", "check", "resend"} {
			answer, _ := b.get("/login/" + step + "?next=/cart")
			require.Equal(t, http.StatusSeeOther, answer.StatusCode, step)
			require.Equal(t, want, answer.Header.Get("Location"), step)
		}
		answer, _ := b.site.do(httptest.NewRequest(http.MethodGet, "/login/start", nil)) // no person
		require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
	}
}

// A proxy that sends its own Host makes each form of a browser without Sec-Fetch-Site
// look like that of another site. OnError hears of it, once.
func TestCrossSite_hostReplaced(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	for range 2 {
		r := post("/login/start", url.Values{"address": {"bob@example.com"}})
		r.Host, r.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:4711"
		r.Header.Set("Origin", "https://example.com")
		answer, _ := s.do(r)
		require.Equal(t, http.StatusForbidden, answer.StatusCode)
	}
	require.Len(t, s.errors, 1)
	require.ErrorContains(t, s.errors[0], `"https://example.com"`)
	require.ErrorContains(t, s.errors[0], `"127.0.0.1:8080"`)
	require.ErrorContains(t, s.errors[0], "Host")
}
