package otphttp_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otphttp"
)

// elsewhere are paths that lead to another site, to a script, or elsewhere on
// this site than they say.
var elsewhere = []string{
	"//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `//\evil.example`,
	"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", "\n//evil.example", " //evil.example", "\x00//evil.example",
	"/\t\\evil.example", "/\x0b/evil.example", "/\x00/evil.example", "/\u0085/evil.example", "/\u2028/evil.example", "/\u202e/evil.example",
	"https:evil.example", "https:/evil.example", "https://evil.example", "HTTPS://evil.example", "http://evil.example/", "https:///evil.example", `https:\\evil.example`,
	"//evil.example/%2f..", "//evil.example@good.example", "//user:pass@evil.example", "//[::1]/", "//1.2.3.4", "//3627734734", "//evil.example:443", "//%65vil.example",
	"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:x@evil.example", "blob:x", "about:blank", "ftp://evil.example",
	"evil.example", "@evil.example", ".evil.example", "evil.example/..", "", "?x", "#x", ".", "..", "./x", "../x", ";/x", "*", "x",
	"/x\r\nSet-Cookie: a=b", "/x\r\n\r\n<script>", "/x\n", "/x\r", "/a\tb", "/x\x7f", "/\xff", "/x\\y", "/%", "/%zz", "/x%",
	"//", "///", `/\`, "//.", "//..", "//evil.example?x", "//?x", "//#x",
	"/" + strings.Repeat("a", 1024), "/" + strings.Repeat("%2f", 400), "/" + strings.Repeat("ü", 400),
	"／／evil.example", "⁄⁄evil.example", "\ufeff//evil.example", "\u00a0//evil.example", "\u3000//evil.example",
	"/..", "/../..", "/./x", "/.//x", "/x/..", "/x/../admin", "/%2e%2e/admin", "/x/%2E./admin", "/x/.%2e", "/x/%2e?y", "/.#x",
}

// here are paths on this site.
var here = []string{
	"/", "/x", "/x/", "/x?y=z#w", "/a//b", "/@evil.example", "/.evil.example", "/...", "/..x", "/%2f%2fevil.example", "/%09/evil.example", "/%5cevil.example",
	"/x?u=https://evil.example", "/x?u=//evil.example", "/https://evil.example", "/javascript:alert(1)", "/:80", "/;x", "/?//evil.example", "/#//evil.example",
	"/" + strings.Repeat("a", 1023), "/x?a=b&c=d", "/x%20y", "/~x",
}

// Whatever the form or the link contains, the visitor stays on this site: on
// the page, in redirects and after success.
func TestNext_staysHere(t *testing.T) {
	s := newSite(t, otphttp.Options{Home: "/home"}, nil)
	b := s.browser()
	hidden := regexp.MustCompile(`name="next" value="([^"]*)"`)
	goOn := regexp.MustCompile(`href="([^"]*)">Continue`)
	for _, next := range append(elsewhere, here...) {
		want, wanted := "/home", ""
		if strings.Contains("\n"+strings.Join(here, "\n")+"\n", "\n"+next+"\n") && next != "" {
			want, wanted = next, next
		}
		query := "?" + url.Values{"next": {next}}.Encode()
		for _, path := range []string{"/login/" + query, "/login/code" + query, "/login/nothing" + query} {
			_, body := b.get(path)
			got := ""
			if m := hidden.FindStringSubmatch(body); m != nil {
				got = html.UnescapeString(m[1])
			}
			if strings.HasPrefix(path, "/login/?") {
				require.Equal(t, wanted, got, "%q", next)
			}
			if m := goOn.FindStringSubmatch(body); m != nil {
				got, err := url.PathUnescape(html.UnescapeString(m[1])) // html/template escapes parentheses
				require.NoError(t, err)
				to, err := url.PathUnescape(want)
				require.NoError(t, err)
				require.Equal(t, to, got, "%q", next)
				body = strings.Replace(body, m[0], "", 1)
			}
			require.NotRegexp(t, `(href|action)="(?:[^.csr"]|\./[^?"])`, body, "%q", next)
		}
		require.NoError(t, s.verifier.Forget(t.Context(), "bob@example.com"))
		answer, _ := b.do(request(http.MethodPost, "/login/start"+query, formContent, url.Values{"address": {"bob@example.com"}, "next": {next}}.Encode()))
		require.Equal(t, http.StatusSeeOther, answer.StatusCode)
		location, err := url.Parse(answer.Header.Get("Location"))
		require.NoError(t, err)
		require.Equal(t, "code", location.Path)
		require.Empty(t, location.Host+location.Scheme)
		require.Equal(t, wanted, location.Query().Get("next"))
		m, _ := s.inbox.Last("bob@example.com")
		answer, _ = b.do(request(http.MethodPost, "/login/check"+query, formContent, url.Values{"reference": {m.Reference}, "code": {m.Code}, "next": {next}}.Encode()))
		require.Equal(t, want, answer.Header.Get("Location"), "%q", next)
		require.Len(t, answer.Header["Location"], 1)
		require.Empty(t, answer.Header.Get("Set-Cookie2"))
		s.inbox.Reset()
	}
	require.Len(t, s.verified, len(elsewhere)+len(here))
}

// Characters that a header cannot contain are escaped (RFC 3986 2.5).
func TestNext_escaped(t *testing.T) {
	s := newSite(t, otphttp.Options{Home: "/größe"}, nil)
	b := s.browser()
	for next, want := range map[string]string{"/straße?q=ü": "/stra%C3%9Fe?q=%C3%BC", "/a b": "/a%20b", "": "/gr%C3%B6%C3%9Fe", "/%2F/ü": "/%2F/%C3%BC"} {
		require.NoError(t, s.verifier.Forget(t.Context(), "bob@example.com"))
		code, reference := b.start("bob@example.com")
		answer, _ := b.post("check", url.Values{"reference": {reference}, "code": {code}, "next": {next}})
		require.Equal(t, want, answer.Header.Get("Location"))
	}
}

// browserResolves returns where a browser goes for a Location. It ignores tabs
// and line breaks, trims controls and spaces, and reads a backslash as a slash
// (WHATWG URL 4.4).
func browserResolves(t *testing.T, location string) *url.URL {
	read := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimFunc(location, func(r rune) bool { return r <= ' ' }))
	base, err := url.Parse("https://good.example/login/check")
	require.NoError(t, err)
	u, err := base.Parse(read)
	require.NoError(t, err, "%q", location)
	// The authority begins after two slashes, however many there are.
	require.False(t, strings.HasPrefix(read, "//"), "%q", location)
	return u
}

// Next returns a path that every browser resolves to this site, or the
// fallback.
func FuzzNext(f *testing.F) {
	for _, next := range append(elsewhere, here...) {
		f.Add(next)
	}
	f.Fuzz(func(t *testing.T, next string) {
		r := &http.Request{PostForm: url.Values{"next": {next}}}
		got := otphttp.Next(r, "/fallback")
		for _, c := range []byte(got) {
			require.True(t, c > ' ' && c < 0x7f, "%q", got)
		}
		require.True(t, strings.HasPrefix(got, "/"), "%q", got)
		u := browserResolves(t, got)
		require.Equal(t, "https", u.Scheme, "%q", got)
		require.Equal(t, "good.example", u.Host, "%q", got)
		require.Nil(t, u.User)
		// The result is accepted again.
		require.Equal(t, got, otphttp.Next(&http.Request{PostForm: url.Values{"next": {got}}}, "/other"))
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest(http.MethodPost, "https://good.example/login/check", nil), got, http.StatusSeeOther)
		require.Equal(t, "good.example", browserResolves(t, w.Header().Get("Location")).Host)
	})
}

// Who signs in is not led to the sign-in again.
func TestNext_notHere(t *testing.T) {
	s := newSite(t, otphttp.Options{Path: "/login/", Home: "/account"}, nil)
	b := s.browser()
	for i, next := range []string{"/login/", "/login/?next=/login/", "/login/code?ref=ABCD", "/login"} {
		_, body := b.get("/login/?next=" + url.QueryEscape(next))
		require.NotContains(t, body, `name="next"`, next)
		address := string(rune('a'+i)) + "@example.com"
		b.post("start", url.Values{"address": {address}, "next": {next}})
		m, _ := s.inbox.Last(address)
		answer, _ := b.do(post("/login/check", url.Values{"reference": {m.Reference}, "code": {m.Code}, "next": {next}}))
		require.Equal(t, "/account", answer.Header.Get("Location"), next)
	}
}

// OnError hears of a path that is dropped because it is long.
func TestNext_tooLong(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	for range 2 {
		s.browser().get("/login/?next=" + url.QueryEscape("/authorize?request="+strings.Repeat("x", 1200)))
	}
	require.Len(t, s.errors, 1)
	require.ErrorContains(t, s.errors[0], "at most 1024 bytes")
}
