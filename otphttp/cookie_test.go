package otphttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
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
	require.Regexp(t, `^__Host-otp=`+m.Reference+`\.[A-Za-z0-9_-]{64}; Path=/; Max-Age=4200; HttpOnly; Secure; SameSite=Lax$`, answer.Header.Get("Set-Cookie"))
	answer, _ = b.do(request(http.MethodPost, "/login/check", formContent, url.Values{"code": {m.Code}}.Encode()))
	set := answer.Header["Set-Cookie"]
	require.Len(t, set, 2)
	require.Equal(t, "__Host-otp=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax", set[0])
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
		require.Contains(t, body, names[i][:1]+"***@example.com")
		b.post("check", url.Values{"reference": {references[i]}, "code": {codes[i]}})
		require.Len(t, s.verified, i)
		require.Equal(t, names[i]+"@example.com", s.verified[i-1].To.String())
	}
	require.Empty(t, b.cookies["__Host-otp"])
}

// Forged cookies open nothing and are not shown.
func TestCookies_forged(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	right := b.cookies["__Host-otp"]
	_, id, _ := strings.Cut(right, ".")
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
			require.GreaterOrEqual(t, answer.StatusCode, 400, "%s: %q", step, value)
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
	var all strings.Builder
	do := func(r *http.Request) {
		answer, body := b.do(r)
		all.WriteString(body)
		for name, values := range answer.Header {
			if name != "Set-Cookie" {
				all.WriteString(strings.Join(values, "\n"))
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
		_, id, _ := strings.Cut(b.cookies["__Host-otp"], ".")
		secrets = append(secrets, m.Code, strings.Split(id, "~")[0], "bob@")
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
		require.NotContains(t, b.cookies, "__Host-otp")
	}
}
