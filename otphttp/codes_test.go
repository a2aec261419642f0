package otphttp_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

// digitsFrom writes a code in the script whose digits start at zero.
func digitsFrom(zero rune, code string) string {
	var b strings.Builder
	for _, c := range code {
		b.WriteRune(zero + c - '0')
	}
	return b.String()
}

// H1, H2: the mailed code is correct with any separators between its digits and
// in any script, in a form and in JSON.
func TestCodes_asTyped(t *testing.T) {
	spellings := map[string]func(code string) string{
		"blank":          func(c string) string { return c[:3] + " " + c[3:] },
		"blanks":         func(c string) string { return strings.Join(strings.Split(c, ""), " ") },
		"no-break space": func(c string) string { return c[:3] + "\u00a0" + c[3:] },
		"thin space":     func(c string) string { return c[:3] + "\u2009" + c[3:] },
		"hyphen":         func(c string) string { return c[:3] + "-" + c[3:] },
		"dash":           func(c string) string { return c[:3] + "–" + c[3:] },
		"minus":          func(c string) string { return c[:3] + "\u2212" + c[3:] },
		"dots":           func(c string) string { return c[:3] + "." + c[3:] },
		"line":           func(c string) string { return " " + c + "\n" },
		"CRLF, tab":      func(c string) string { return "\t" + c + "\r\n" },
		"isolates":       func(c string) string { return "\u2066" + c + "\u2069" },
		"zero width":     func(c string) string { return c[:3] + "\u200b" + c[3:] + "\ufeff" },
		"Arabic":         func(c string) string { return digitsFrom('٠', c) },
		"Persian":        func(c string) string { return digitsFrom('۰', c) },
		"Devanagari":     func(c string) string { return digitsFrom('०', c) },
		"full width":     func(c string) string { return digitsFrom('０', c) },
		"N'Ko":           func(c string) string { return digitsFrom('߀', c) },
		"mathematical":   func(c string) string { return digitsFrom('𝟎', c) },
	}
	for name, spell := range spellings {
		for _, content := range []string{formContent, jsonContent} {
			s := newSite(t, otphttp.Options{}, nil)
			b := s.browser()
			code, reference := b.start("bob@example.com")
			for _, malformed := range []string{"", code[:5], code + "1", code[:3] + "a" + code[3:], digitsFrom('⁰', code)[:5], "¹²³⁴⁵⁶", "⑴⑵⑶⑷⑸⑹", strings.Repeat(" ", 100) + code} {
				_, body := b.post("check", url.Values{"reference": {reference}, "code": {malformed}})
				require.Contains(t, body, "That is not a code.")
				require.Contains(t, body, `name="code"`)
			}
			require.Empty(t, s.verified)
			body := url.Values{"reference": {reference}, "code": {spell(code)}}.Encode()
			if content == jsonContent {
				body = jsonBody(map[string]string{"reference": reference, "code": spell(code)})
			}
			answer, text := b.do(request(http.MethodPost, "/login/check", content, body))
			require.Less(t, answer.StatusCode, 400, "%s: %s", name, text)
			require.Len(t, s.verified, 1, name)
		}
	}
}

// elements returns the elements of a page that a function selects.
func elements(t *testing.T, page string, is func(n *html.Node) bool) (found []*html.Node) {
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			found = append(found, n)
		}
	}
	return found
}

func attributes(n *html.Node) map[string]string {
	list := map[string]string{}
	for _, a := range n.Attr {
		list[a.Key] = a.Val
	}
	return list
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// sound checks what every page must have: IDs are unique, labels, descriptions
// and forms refer to existing elements, and buttons and headings have text.
func sound(t *testing.T, page string) {
	ids := map[string]bool{}
	for _, n := range elements(t, page, func(n *html.Node) bool { return attributes(n)["id"] != "" }) {
		require.False(t, ids[attributes(n)["id"]])
		ids[attributes(n)["id"]] = true
	}
	for _, n := range elements(t, page, func(*html.Node) bool { return true }) {
		a := attributes(n)
		for id := range strings.FieldsSeq(a["for"] + " " + a["aria-describedby"]) {
			require.True(t, ids[id], id)
		}
		switch n.Data {
		case "form":
			require.Equal(t, "post", a["method"])
			require.Contains(t, []string{"start", "check", "resend"}, a["action"])
			require.Len(t, elementsIn(n, "button"), 1) // H6
		case "input":
			require.NotContains(t, a, "maxlength") // H5
			require.NotContains(t, a, "pattern")
			require.NotContains(t, a, "min")
			require.NotContains(t, a, "size")
			require.Contains(t, []string{"text", "email", "hidden"}, a["type"])
			if a["type"] != "hidden" {
				require.Contains(t, page, `<label for="`+a["id"]+`">`)
			}
		case "button", "h1", "h2", "label", "title":
			require.NotEmpty(t, strings.TrimSpace(text(n)))
		}
	}
	require.Equal(t, 1, strings.Count(page, "<h1>"))
}

func elementsIn(n *html.Node, name string) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == name {
			found = append(found, d)
		}
	}
	return found
}

// H3, H4, H5, H6, H8, H9, H10, H11: what the pages must and must not contain in
// each state.
func TestMarkup(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	isCode := func(n *html.Node) bool { return attributes(n)["name"] == "code" }
	code := func(page string) map[string]string {
		sound(t, page)
		found := elements(t, page, isCode)
		require.Len(t, found, 1) // H3
		a := attributes(found[0])
		require.Equal(t, "text", a["type"]) // H4
		require.Equal(t, "one-time-code", a["autocomplete"])
		require.Equal(t, "off", a["autocapitalize"])
		require.Equal(t, "false", a["spellcheck"])
		require.Contains(t, a, "required")
		require.NotContains(t, a, "value") // the code never comes back
		return a
	}
	_, page := b.get("/login/")
	sound(t, page)
	require.Empty(t, elements(t, page, isCode))
	_, page = b.post("start", url.Values{"address": {"bob@"}})
	sound(t, page)
	field := attributes(elements(t, page, func(n *html.Node) bool { return attributes(n)["name"] == "address" })[0])
	require.Equal(t, "true", field["aria-invalid"]) // H8
	require.Equal(t, "problem", field["aria-describedby"])
	require.Equal(t, "bob@", field["value"])
	require.Contains(t, page, "<title>Error: Sign in</title>")

	_, page = b.post("start", url.Values{"address": {"bob@example.com"}, "next": {"/cart"}})
	m, _ := s.inbox.Last("bob@example.com")
	about := url.Values{"reference": {m.Reference}, "next": {"/cart"}}
	a := code(page)
	require.Equal(t, "numeric", a["inputmode"])
	require.NotContains(t, a, "aria-invalid")
	require.NotContains(t, page, `role="alert"`)
	require.Contains(t, page, "bob@example.com") // H9
	require.Contains(t, page, `href="./?next=%2Fcart&amp;ref=`+m.Reference+`"`)
	require.Contains(t, page, `data-left="600">10:00<`)
	require.Contains(t, page, `data-left="60">1:00<`)
	require.Contains(t, page, m.Reference) // H11
	with := func(code string) url.Values {
		return url.Values{"reference": about["reference"], "next": about["next"], "code": {code}}
	}
	for _, guess := range []string{testkit.WrongCode(m.Code), "hello", ""} {
		_, page = b.post("check", with(guess))
		a = code(page)
		require.Equal(t, "true", a["aria-invalid"]) // H8
		require.Equal(t, "problem", a["aria-describedby"])
		problem := elements(t, page, func(n *html.Node) bool { return attributes(n)["id"] == "problem" })[0]
		require.Equal(t, "alert", attributes(problem)["role"])
		require.Equal(t, "-1", attributes(problem)["tabindex"])
		require.Contains(t, text(problem), map[bool]string{true: "That code is not right.", false: "That is not a code."}[len(guess) == 6])
	}
	_, page = b.post("resend", about) // too early, but the code can still be typed
	code(page)
	require.Contains(t, page, "Too many requests.")
	for link, want := range map[string]string{
		"&say=nothing": "", "&say=expired": "", "&say=": "", // only what a redirect may say
		"&say=limited&wait=90": "<bdi>2 minutes</bdi>", "&say=network&wait=7100": "<bdi>119 minutes</bdi>", "&say=limited&wait=-5": `data-left="60">1:00<`, "&say=limited&wait=x": `data-left="60">1:00<`,
		"&say=limited&wait=999999999999": "<bdi>744 hours</bdi>", "&say=limited&wait=9999999999999999999999": "<bdi>744 hours</bdi>",
	} {
		_, page = b.get("/login/code?ref=" + m.Reference + link)
		code(page)
		require.Equal(t, want != "", strings.Contains(page, `role="alert"`), link)
		require.Contains(t, page, want, link)
	}
	clock.Add(time.Minute)
	_, page = b.post("resend", about)
	code(page)
	status := elements(t, page, func(n *html.Node) bool { return attributes(n)["role"] == "status" })
	require.Len(t, status, 1) // H8
	require.Equal(t, "We sent the email again.", text(status[0]))
	require.Equal(t, m.Code, s.inbox.Code("bob@example.com")) // H11: the mails are alike, so either is right
	clock.Add(time.Minute)
	_, page = b.get("/login/code?ref=" + m.Reference)
	require.NotContains(t, page, "Time until the email can be sent again")

	clock.Add(10 * time.Minute)
	_, page = b.post("check", with(m.Code)) // expired
	sound(t, page)
	require.Empty(t, elements(t, page, isCode))
	require.Contains(t, page, `name="next" value="/cart"`)
	require.Contains(t, page, "Send a new code") // H10
	_, page = b.post("resend", about)
	code(page)
	older := m
	m, _ = s.inbox.Last("bob@example.com")
	require.Contains(t, page, m.Reference)
	require.NotContains(t, page, older.Reference)
	require.Contains(t, page, "Use the one from the latest email") // H11
	require.Contains(t, page, `name="next" value="/cart"`)
	require.Empty(t, s.verified)
	require.Empty(t, s.errors)
}

// H6: the script sends nothing and does not move the focus.
func TestScript_submitsNothing(t *testing.T) {
	script, err := os.ReadFile("script.js")
	require.NoError(t, err)
	require.NotRegexp(t, `(?i)\.submit|requestSubmit|new Event|fetch|XMLHttp|sendBeacon|\.focus|\.click|location|import|eval|innerHTML|document\.write|cookie|storage`, string(script))
}
