package otphttp_test

import (
	"encoding/base64"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

// The cookies belong to this host, are sent over HTTPS only, and scripts cannot
// read them (OWASP ASVS 3.3).
func TestCookies_attributes(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	answer, _ := b.do(request(http.MethodPost, "/login/start", formContent, "address=bob@example.com"))
	m, _ := s.inbox.Last("bob@example.com")
	require.Regexp(t, `^__Host-otp=`+m.Reference+`\.[A-Za-z0-9_-]{64}\.`+base64.RawURLEncoding.EncodeToString([]byte("bob@example.com"))+`; Path=/; Max-Age=90000; HttpOnly; Secure; SameSite=Lax$`, answer.Header.Get("Set-Cookie"))
	answer, _ = b.do(request(http.MethodPost, "/login/check", formContent, url.Values{"code": {m.Code}}.Encode()))
	set := answer.Header["Set-Cookie"]
	require.Len(t, set, 2)
	require.Equal(t, "__Host-otp="+m.Reference+".-; Path=/; Max-Age=90000; HttpOnly; Secure; SameSite=Lax", set[0])
	require.Regexp(t, `^__Host-otp-device=[A-Za-z0-9_-]+; Path=/; Max-Age=15552000; HttpOnly; Secure; SameSite=Lax$`, set[1])
	require.Equal(t, s.verified[0].Device, answer.Cookies()[1].Value)
}

// A browser keeps a challenge for each of four tabs, and each page answers its
// own challenge.
func TestCookies_tabs(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	codes, references := map[int]string{}, map[int]string{}
	names := []string{"ann", "bob", "cid", "dan", "eve"}
	for i, name := range names {
		codes[i], references[i] = b.start(name + "@example.com")
	}
	answer, body := b.get("/login/code?ref=" + references[0]) // the oldest is out
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.NotContains(t, body, "a***@example.com")
	_, body = b.get("/login/code") // the newest
	require.Contains(t, body, references[4])
	for i := 1; i < 5; i++ {
		_, body := b.get("/login/code?ref=" + references[i])
		require.Contains(t, body, names[i]+"@example.com")
		b.post("check", url.Values{"reference": {references[i]}, "code": {codes[i]}})
		require.Len(t, s.verified, i)
		require.Equal(t, names[i]+"@example.com", s.verified[i-1].To.String())
	}
	require.Regexp(t, `^([A-Z]{4}\.-~){3}[A-Z]{4}\.-$`, b.cookies["__Host-otp"])
}

// Forged cookies open nothing and are not shown.
func TestCookies_forged(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	right := b.cookies["__Host-otp"]
	id := strings.Split(right, ".")[1]
	flipped := id[:20] + string('A'+(id[20]-'A'+1)%26) + id[21:]
	for _, value := range []string{
		"", "x", ".", "~", "~~~~~~~~", reference, reference + ".", reference + "." + id[:63], reference + "." + id + "x", reference + "." + flipped,
		"." + flipped, "<script>alert(1)</script>.x", reference + "~" + right[:10], strings.Repeat("A.B~", 500), strings.Repeat("x", 4000),
		reference + "." + strings.Repeat("A", 64), "ZZZZ." + id,
	} {
		for _, step := range []string{"check", "resend", "start"} {
			form := url.Values{"reference": {reference}, "code": {code}, "address": {"no address"}}
			r := request(http.MethodPost, "/login/"+step, formContent, form.Encode())
			r.Header.Set("Cookie", "__Host-otp="+value+"; __Host-otp-device="+value)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			answer, body := s.do(r)
			if to := answer.Header.Get("Location"); to == "" || strings.Contains(to, "//") {
				require.GreaterOrEqual(t, answer.StatusCode, 400, "%s: %q", step, value)
			} else {
				require.Contains(t, to, "code?ref=", "%s: %q", step, value)
			}
			require.NotContains(t, body, "<script>alert")
			require.NotContains(t, body, id)
		}
		r := httptest.NewRequest(http.MethodGet, "/login/code?ref="+reference, nil)
		r.Header.Set("Cookie", "__Host-otp="+value)
		answer, _ := s.do(r)
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
	}
	require.Empty(t, s.verified)
	require.Empty(t, s.errors)
	require.Equal(t, 1, s.inbox.Len())
}

// Pages, their addresses and errors contain neither the ID nor the code. A
// script of the site gets neither the ID nor the device token.
func TestSecrets_stayInCookies(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	var all, unseen strings.Builder // unseen is all but the pages, which show the address that was typed
	do := func(r *http.Request) {
		answer, body := b.do(r)
		all.WriteString(body)
		if strings.Contains(answer.Header.Get("Content-Type"), "json") {
			unseen.WriteString(body)
		}
		for name, values := range answer.Header {
			if name != "Set-Cookie" {
				all.WriteString(strings.Join(values, "\n"))
				unseen.WriteString(strings.Join(values, "\n"))
			}
		}
		if to := answer.Header.Get("Location"); strings.HasPrefix(to, "code") {
			_, body = b.get("/login/" + to)
			all.WriteString(body)
		}
	}
	var secrets []string
	note := func() {
		m, _ := s.inbox.Last("bob@example.com")
		secrets = append(secrets, m.Code, strings.Split(b.cookies["__Host-otp"], ".")[1])
	}
	for _, content := range []string{formContent, jsonContent} {
		post := func(step string, fields map[string]string) {
			body := jsonBody(fields)
			if content == formContent {
				form := url.Values{}
				for name, value := range fields {
					form.Set(name, value)
				}
				body = form.Encode()
			}
			do(request(http.MethodPost, "/login/"+step, content, body))
		}
		clock.Add(24 * time.Hour)
		post("start", map[string]string{"address": "bob@example.com"})
		note()
		m, _ := s.inbox.Last("bob@example.com")
		post("check", map[string]string{"code": testkit.WrongCode(m.Code), "reference": m.Reference})
		post("check", map[string]string{"code": m.Code + "1", "reference": m.Reference})
		post("status", map[string]string{"reference": m.Reference})
		post("resend", map[string]string{"reference": m.Reference})
		clock.Add(20 * time.Minute)
		post("resend", map[string]string{"reference": m.Reference})
		note()
		m, _ = s.inbox.Last("bob@example.com")
		post("check", map[string]string{"code": m.Code, "reference": m.Reference})
		require.NotEmpty(t, s.verified)
		secrets = append(secrets, s.verified[len(s.verified)-1].Device)
	}
	require.Len(t, s.verified, 2)
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.NotContains(t, all.String(), secret)
	}
	require.NotContains(t, unseen.String(), "bob@")
	require.NotContains(t, unseen.String(), base64.RawURLEncoding.EncodeToString([]byte("bob@example.com")))
}

// C15: the answer sets both the application's new session and the handler's
// cookies.
func TestOnVerified_renewsSession(t *testing.T) {
	for _, content := range []string{formContent, jsonContent} {
		s := newSite(t, otphttp.Options{OnVerified: func(w http.ResponseWriter, r *http.Request, c otp.Challenge) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "new-for-" + c.To.Domain()})
		}}, nil)
		b := s.browser()
		b.cookies["session"] = "old"
		code, reference := b.start("bob@example.com")
		require.Equal(t, "old", b.cookies["session"])
		body := jsonBody(map[string]string{"code": code, "reference": reference})
		if content == formContent {
			body = url.Values{"code": {code}, "reference": {reference}}.Encode()
		}
		answer, _ := b.do(request(http.MethodPost, "/login/check", content, body))
		require.Less(t, answer.StatusCode, 400)
		require.Equal(t, "new-for-example.com", b.cookies["session"])
		require.NotEmpty(t, b.cookies["__Host-otp-device"])
		require.Equal(t, reference+".-", b.cookies["__Host-otp"])
	}
}

// J3: a browser keeps the device tokens of several people, newest first, and one
// for each.
func TestCookies_devices(t *testing.T) {
	s := newSite(t, otphttp.Options{}, &otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Second}}})
	other := newSite(t, otphttp.Options{}, &otp.Options{Namespace: "another application"}) // on the same host
	b, there := s.browser(), other.browser()
	there.cookies = b.cookies
	signIn := func(b *browser, address string) (known bool) {
		answer, body := b.do(request(http.MethodPost, "/login/start", jsonContent, jsonBody(map[string]string{"address": address})))
		require.Equal(t, http.StatusAccepted, answer.StatusCode, body)
		m, _ := b.inbox.Last(address)
		answer, _ = b.post("check", url.Values{"reference": {m.Reference}, "code": {m.Code}})
		require.Equal(t, http.StatusSeeOther, answer.StatusCode)
		return strings.Contains(body, `"known_device":true`)
	}
	require.False(t, signIn(b, "work@example.com"))
	require.False(t, signIn(b, "home@example.com"))
	require.False(t, signIn(there, "work@example.com"))
	require.True(t, signIn(b, "work@example.com"))
	require.False(t, signIn(b, "Home@example.com"), "perhaps another mailbox")
	require.True(t, signIn(b, "Home@example.com"))
	require.Equal(t, 3, strings.Count(b.cookies["__Host-otp-device"], "~"), "home, Home and work here, work there")
	require.True(t, signIn(there, "work@example.com"))
	require.Equal(t, 3, strings.Count(b.cookies["__Host-otp-device"], "~"))

	for _, name := range []string{"ann", "bob", "cid"} {
		require.False(t, signIn(b, name+"@example.com"))
	}
	require.Equal(t, 3, strings.Count(b.cookies["__Host-otp-device"], "~"), "four at most")
	require.True(t, signIn(b, "ann@example.com"))
	require.False(t, signIn(b, "home@example.com"), "the oldest is out")

	b.cookies["__Host-otp-device"] = strings.Repeat("x", 3000) // somebody else's
	signIn(b, "ann@example.com")
	require.Less(t, len(b.cookies["__Host-otp-device"]), 100)
}

// What people typed is shown whole in their browser and stands in the field when
// they choose another address; an address of the application is masked.
func TestCookies_typedAddress(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	answer, body := b.post("start", url.Values{"address": {" jhon.smith@EXAMPLE.com\u200b"}, "next": {"/cart"}})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "We sent a code to "+shown("jhon.smith@example.com")+".")
	link := regexp.MustCompile(`href="\./(\?[^"]*)">Use another`).FindStringSubmatch(body)
	require.NotNil(t, link)
	require.NotContains(t, link[1], "jhon")
	_, body = b.get("/login/" + html.UnescapeString(link[1]))
	require.Contains(t, body, `value="jhon.smith@example.com"`)
	require.Contains(t, body, `name="next" value="/cart"`)
	_, body = b.get("/login/")
	require.NotContains(t, body, "jhon")
	_, body = b.get("/login/?ref=ZZZZ")
	require.NotContains(t, body, "jhon")

	m, _ := s.inbox.Last("jhon.smith@example.com") // also after a new code
	clock.Add(10 * time.Minute)
	_, body = b.post("resend", url.Values{"reference": {m.Reference}})
	require.Contains(t, body, "We sent a new code.")
	require.Contains(t, body, shown("jhon.smith@example.com"))
	_, body = b.do(request(http.MethodPost, "/login/status", jsonContent, "{}"))
	require.Contains(t, body, "j***@example.com")

	for i := range 5 { // the cookie stays short
		long := strings.Repeat(string(rune('u'+i)), 60) + "@" + strings.Repeat(strings.Repeat("d", 60)+".", 3) + "example"
		_, body = b.post("start", url.Values{"address": {long}})
		require.Contains(t, body, shown(long))
		require.LessOrEqual(t, len(b.cookies["__Host-otp"]), 2048)
	}
	require.Equal(t, 3, strings.Count(b.cookies["__Host-otp"], "~"))

	for _, bad := range []string{"%%", base64.RawURLEncoding.EncodeToString([]byte("a\x00b@example.com")), base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", 255)))} {
		parts := strings.Split(strings.Split(b.cookies["__Host-otp"], "~")[0], ".")
		b.cookies["__Host-otp"] = parts[0] + "." + parts[1] + "." + bad
		_, body = b.get("/login/code")
		require.Contains(t, body, "<!--email_off-->y***@", bad)
	}

	s = newSite(t, otphttp.Options{Address: func(*http.Request) (string, error) { return "bob@example.com", nil }}, nil)
	_, body = s.browser().post("start", nil)
	require.Contains(t, body, shown("b***@example.com"))
	s = newSite(t, otphttp.Options{Prepare: func(r *http.Request, request *otp.Request) error { // a user name
		request.To = r.PostForm.Get("address") + "@example.com"
		return nil
	}}, nil)
	_, body = s.browser().post("start", url.Values{"address": {"bob"}})
	require.Contains(t, body, shown("b***@example.com"))
}

// J13: the page that asks for the address leads to the page for a code that this
// browser can still type.
func TestCookies_haveCode(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	const words = "I already have a code"
	_, body := b.get("/login/")
	require.NotContains(t, body, words)
	code, reference := b.start("bob@example.com")
	_, body = b.get("/login/?next=/cart")
	require.Contains(t, body, `<a href="code?next=%2Fcart&amp;ref=`+reference+`">`+words)
	other, err := otphttp.New(s.verifier.For("pay"), &otphttp.Options{OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {}})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/login/", nil) // at another path of the same host
	r.AddCookie(&http.Cookie{Name: "__Host-otp", Value: b.cookies["__Host-otp"]})
	w := httptest.NewRecorder()
	other.ServeHTTP(w, r)
	require.NotContains(t, w.Body.String(), words)
	_, body = b.post("start", url.Values{"address": {"bob@"}})
	require.Contains(t, body, words, "beside a problem, too")

	second, _ := b.start("ann@example.com")
	m, _ := s.inbox.Last("ann@example.com")
	b.post("check", url.Values{"reference": {m.Reference}, "code": {second}})
	_, body = b.get("/login/")
	require.Contains(t, body, "ref="+reference, "the newest that can be passed")
	clock.Add(10 * time.Minute)
	_, body = b.get("/login/")
	require.NotContains(t, body, words)
	require.NotEmpty(t, code)
}

// J13: the right code, pressed twice or with an answer that was lost, leads on in
// the browser that had it, and tells others nothing.
func TestCookies_passed(t *testing.T) {
	s := newSite(t, otphttp.Options{Home: "/account"}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	form := url.Values{"reference": {reference}, "code": {code}}
	before := b.cookies["__Host-otp"]
	answer, _ := b.post("check", form)
	require.Equal(t, "/account", answer.Header.Get("Location"))
	for name, cookie := range map[string]string{"pressed twice": b.cookies["__Host-otp"], "answer lost": before} {
		b.cookies["__Host-otp"] = cookie
		_, body := b.post("check", form)
		require.Contains(t, body, "If you have just used it, go on.", name)
		require.Contains(t, body, `<a class="button" href="/account">Continue</a>`, name)
		require.Contains(t, body, `href="./">Start again`, name)
		require.NotContains(t, body, "There is a problem", name)
	}
	require.Len(t, s.verified, 1)
	stranger := s.browser()
	stranger.start("eve@example.com") // has a cookie
	_, body := stranger.post("check", form)
	require.Contains(t, body, "no longer valid. Start again.")
	require.NotContains(t, body, "go on")
	answer, v := s.api("check", map[string]string{"id": "-", "code": code})
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Contains(t, v["type"], "#unknown")
}

// J15: a browser that did not keep the cookie is told so, and OnError hears once of
// a site without HTTPS.
func TestCookies_notKept(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	code, reference := s.browser().start("bob@example.com")
	for _, origin := range []string{"https://example.com", "http://localhost:8080", "", "%%", "http://lan.test:8080", "http://lan.test:8080"} {
		for _, r := range []*http.Request{
			post("/login/check", url.Values{"reference": {reference}, "code": {code}}),
			post("/login/resend", url.Values{"reference": {reference}}),
			httptest.NewRequest(http.MethodGet, "/login/code?ref="+reference, nil),
		} {
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Referer", origin)
			answer, body := s.do(r)
			require.Equal(t, http.StatusNotFound, answer.StatusCode)
			require.Contains(t, body, "Your browser did not keep the cookie")
			require.NotContains(t, body, "used already")
		}
	}
	require.Len(t, s.errors, 1)
	require.ErrorContains(t, s.errors[0], `"http://lan.test:8080" has not kept the cookies`)
	require.Equal(t, 1, s.inbox.Len())
}

// A code that lives for a day stays in the browser when another one is asked for
// or passed that lives for minutes.
func TestCookies_life(t *testing.T) {
	s := newSite(t, otphttp.Options{Purpose: func(r *http.Request) (string, error) { return r.Header.Get("Purpose"), nil }},
		&otp.Options{Purposes: map[string]otp.PurposeOptions{"confirm": {TTL: 24 * time.Hour}}})
	b := s.browser()
	b.header.Set("Purpose", "confirm")
	b.start("bob@example.com")
	b.header.Set("Purpose", "login")
	life := func(answer *http.Response) time.Duration {
		for _, c := range answer.Cookies() {
			if c.Name == "__Host-otp" {
				return time.Duration(c.MaxAge) * time.Second
			}
		}
		return 0
	}
	answer, _ := b.do(post("/login/start", url.Values{"address": {"ann@example.com"}}))
	require.GreaterOrEqual(t, life(answer), 24*time.Hour)
	m, _ := s.inbox.Last("ann@example.com")
	answer, _ = b.do(post("/login/check", url.Values{"reference": {m.Reference}, "code": {m.Code}}))
	require.GreaterOrEqual(t, life(answer), 24*time.Hour)
}

// A tab that still shows the old challenge takes the code of the new one.
func TestCookies_oldTab(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	_, old := b.start("bob@example.com")
	clock.Add(6 * time.Minute)
	b.post("resend", url.Values{"reference": {old}}) // in another tab
	m, _ := s.inbox.Last("bob@example.com")
	require.NotEqual(t, old, m.Reference)
	_, body := b.get("/login/code?ref=" + old) // reloaded
	require.Regexp(t, `The email shows the reference <bdi translate="no">`+m.Reference, body)
	_, body = b.post("check", url.Values{"reference": {old}, "code": {testkit.WrongCode(m.Code)}})
	require.Contains(t, body, "That code is not right.")
	answer, _ := b.post("check", url.Values{"reference": {old}, "code": {m.Code}})
	require.Equal(t, "/", answer.Header.Get("Location"))
	require.Len(t, s.verified, 1)
	for _, reference := range []string{old, m.Reference} {
		_, body = b.get("/login/code?ref=" + reference)
		require.Contains(t, body, "If you have just used it, go on.")
	}
}
