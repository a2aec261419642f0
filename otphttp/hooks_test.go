package otphttp_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// The error of a hook decides the answer. Nothing is sent, and the text of the
// error is not shown. C5, C14
func TestHooks_errors(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		retry  string
		errors int
		detail string
	}{
		"forbidden":       {otphttp.ErrForbidden, 403, "", 0, "We cannot do this."},
		"forbidden, why":  {fmt.Errorf("captcha of bob: %w", otphttp.ErrForbidden), 403, "", 0, "We cannot do this."},
		"limited":         {&otp.LimitError{RetryAfter: 89*time.Second + 1}, 429, "90", 0, "Time until the next try: 2 minutes"},
		"limited, no end": {otp.ErrLimited, 429, "60", 0, "Time until the next try: 1 minute"},
		"limited, none":   {&otp.LimitError{}, 429, "60", 0, "Time until the next try: 1 minute"},
		"limited, wrong":  {&otp.LimitError{RetryAfter: -time.Hour}, 429, "60", 0, "Time until the next try: 1 minute"},
		"limited, hardly": {&otp.LimitError{RetryAfter: 1}, 429, "1", 0, "Time until the next try: 1 minute"},
		"address":         {fmt.Errorf("no freemail: %w", otp.ErrAddress), 422, "", 0, "Enter an email address"},
		"others":          {errors.New("secret of the database"), 503, "30", 1, "Something went wrong."},
	} {
		fail := func(*http.Request) (string, error) { return "", c.err }
		for hook, opts := range map[string]otphttp.Options{
			"Address": {Address: fail}, "Purpose": {Purpose: fail}, "Prepare": {Prepare: func(*http.Request, *otp.Request) error { return c.err }},
		} {
			s := newSite(t, opts, nil)
			answer, v := s.api("start", map[string]string{"address": "bob@example.com"})
			require.Equal(t, c.status, answer.StatusCode, name)
			require.Contains(t, v["detail"], c.detail, name)
			require.NotContains(t, fmt.Sprint(v), "secret")
			answer, body := s.browser().post("start", url.Values{"address": {"bob@example.com"}})
			require.Equal(t, c.status, answer.StatusCode, name)
			require.Equal(t, c.retry, answer.Header.Get("Retry-After"), name)
			require.NotContains(t, body, "secret")
			require.NotContains(t, body, "captcha of")
			require.Len(t, s.errors, 2*c.errors, name)
			require.Zero(t, s.inbox.Len())
			if hook == "Purpose" {
				for _, step := range []string{"check", "resend", "status"} {
					answer, _ := s.api(step, map[string]string{"id": "x", "code": "123456"})
					require.Equal(t, c.status, answer.StatusCode, name)
				}
				answer, _ := s.browser().get("/login/code")
				require.Equal(t, c.status, answer.StatusCode, name)
			}
		}
	}
}

// A code is valid only for the purpose that the server returns at each step.
func TestPurpose_everyStep(t *testing.T) {
	amount := "10.00"
	s := newSite(t, otphttp.Options{
		Purpose: func(*http.Request) (string, error) { return "pay:" + amount, nil },
		Address: func(*http.Request) (string, error) { return "bob@example.com", nil },
	}, nil)
	b := s.browser()
	_, body := b.get("/login/")
	require.Contains(t, body, "b***@example.com")
	require.Contains(t, body, "<h1>Confirm the payment</h1>")
	require.NotContains(t, body, `name="address"`)
	_, body = b.post("start", url.Values{"address": {"eve@example.com"}, "purpose": {"pay:0.01"}}) // the form has no say
	require.NotContains(t, body, "Use another address")                                            // H9
	require.Equal(t, 1, s.inbox.Len())
	m, ok := s.inbox.Last("bob@example.com")
	require.True(t, ok)
	require.Equal(t, "pay:10.00", m.Purpose)
	form := url.Values{"reference": {m.Reference}, "code": {m.Code}}
	amount = "9999.00"
	for _, step := range []string{"check", "resend"} {
		answer, _ := b.post(step, form)
		require.Equal(t, http.StatusNotFound, answer.StatusCode)
	}
	require.Empty(t, s.verified)
	amount = "10.00"
	b.post("check", form)
	require.Equal(t, "pay:10.00", s.verified[0].Purpose)
}

// Options.Address may return whatever the verifier's parser accepts.
func TestAddress_anyParser(t *testing.T) {
	phone := func(s string) (otp.Address, error) { return otp.NewAddress(s, s) }
	for to, c := range map[string]struct {
		parse  func(string) (otp.Address, error)
		masked string
	}{
		"bob@BÜCHER.example": {nil, "b***@xn--bcher-kva.example"},
		"admin@localhost":    {otp.EmailParser(otp.EmailOptions{Dotless: true}), "a***@localhost"},
		"a..b@docomo.ne.jp":  {otp.EmailParser(otp.EmailOptions{LooseDots: true}), "a***@docomo.ne.jp"},
		"+44 7700 900123":    {phone, "***23"},
	} {
		s := newSite(t, otphttp.Options{Address: func(*http.Request) (string, error) { return to, nil }}, &otp.Options{ParseAddress: c.parse})
		b := s.browser()
		answer, body := b.get("/login/")
		require.Equal(t, http.StatusOK, answer.StatusCode, to)
		require.Contains(t, html.UnescapeString(body), c.masked)
		_, body = b.post("start", nil)
		require.Contains(t, html.UnescapeString(body), c.masked)
		require.Equal(t, 1, s.inbox.Len())
	}
	s := newSite(t, otphttp.Options{Address: func(*http.Request) (string, error) { return "\x00", nil }}, nil)
	answer, _ := s.browser().get("/login/")
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
}

// The application may write the answer in any way; otherwise the handler writes
// it.
func TestOnVerified_answers(t *testing.T) {
	for name, c := range map[string]struct {
		write  func(w http.ResponseWriter)
		status int
		body   string
		own    bool
	}{
		"nothing":  {func(http.ResponseWriter) {}, 200, "{\"verified\":true}\n", false},
		"header":   {func(w http.ResponseWriter) { w.Header().Set("X-Own", "x") }, 200, "{\"verified\":true}\n", false},
		"redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "/welcome") }, 303, "", true},
		"hint":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, 200, "{\"verified\":true}\n", false},
		"status":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, 204, "", true},
		"body":     {func(w http.ResponseWriter) { io.WriteString(w, "hello") }, 200, "hello", true},
		"no bytes": {func(w http.ResponseWriter) { w.Write(nil) }, 200, "", true},
		"error":    {func(w http.ResponseWriter) { http.Error(w, "account closed", http.StatusForbidden) }, 403, "account closed\n", true},
		"flush":    {func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, 200, "", true},
		"copy":     {func(w http.ResponseWriter) { io.Copy(w, io.LimitReader(zeros{}, 5)) }, 200, "00000", true},
		"unwrapped": {func(w http.ResponseWriter) {
			require.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Time{}))
		}, 200, "{\"verified\":true}\n", false},
	} {
		s := newSite(t, otphttp.Options{OnVerified: func(w http.ResponseWriter, r *http.Request, _ otp.Challenge) { c.write(w) }}, nil)
		server := httptest.NewServer(s.handler)
		post := func(step string, fields map[string]string) (*http.Response, string) {
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			answer, err := client.Post(server.URL+"/login/"+step, jsonContent, strings.NewReader(jsonBody(fields)))
			require.NoError(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			return answer, string(body)
		}
		_, body := post("start", map[string]string{"address": "bob@example.com"})
		answer, body := post("check", map[string]string{"id": anID.FindString(body), "code": s.inbox.Code("bob@example.com")})
		require.Equal(t, c.status, answer.StatusCode, name)
		if !c.own {
			require.Regexp(t, `^{"verified":true,"device":"[^"]+"}\n$`, body, name)
		} else {
			require.Equal(t, c.body, body, name)
		}
		require.Equal(t, "no-store, no-transform", answer.Header.Get("Cache-Control"), name)
		server.Close()
	}
}

// A framework's response that is not over w is not noticed as an answer, but its
// redirect is kept.
func TestOnVerified_redirectsPastW(t *testing.T) {
	type outer struct{}
	s := newSite(t, otphttp.Options{OnVerified: func(_ http.ResponseWriter, r *http.Request, _ otp.Challenge) {
		http.Redirect(r.Context().Value(outer{}).(http.ResponseWriter), r, "/welcome", http.StatusFound)
	}}, nil)
	inner := s.handler
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), outer{}, w)))
	})
	b := s.browser()
	code, reference := b.start("bob@example.com")
	answer, _ := b.post("check", url.Values{"reference": {reference}, "code": {code}, "next": {"/cart"}})
	require.Equal(t, http.StatusFound, answer.StatusCode)
	require.Equal(t, "/welcome", answer.Header.Get("Location"))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// If a hook panics, nobody is verified: the connection ends without an answer,
// and a correct code is used up.
func TestHooks_panic(t *testing.T) {
	var when atomic.Value
	when.Store("")
	check := func(name string) {
		if name == when.Load() {
			panic(http.ErrAbortHandler)
		}
	}
	verified := 0
	s := newSite(t, otphttp.Options{
		Purpose:    func(*http.Request) (string, error) { check("Purpose"); return "login", nil },
		Prepare:    func(*http.Request, *otp.Request) error { check("Prepare"); return nil },
		ClientKey:  func(*http.Request) string { check("ClientKey"); return "x" },
		Language:   func(*http.Request) string { check("Language"); return "en" },
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) { check("OnVerified"); verified++ },
	}, nil)
	server := httptest.NewServer(s.handler)
	defer server.Close()
	post := func(step string, fields map[string]string) (*http.Response, error) {
		return http.Post(server.URL+"/login/"+step, jsonContent, strings.NewReader(jsonBody(fields)))
	}
	for _, name := range []string{"Purpose", "Prepare", "ClientKey", "Language"} {
		when.Store(name)
		_, err := post("start", map[string]string{"address": "bob@example.com"})
		require.Error(t, err, name)
	}
	require.Zero(t, s.inbox.Len())
	when.Store("")
	_, v := s.api("start", map[string]string{"address": "bob@example.com"})
	fields := map[string]string{"id": v["id"].(string), "code": s.inbox.Code("bob@example.com")}
	for _, name := range []string{"Purpose", "OnVerified"} {
		when.Store(name)
		_, err := post("check", fields)
		require.Error(t, err, name)
	}
	when.Store("")
	answer, err := post("check", fields)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Zero(t, verified)
}

// New rejects invalid options, and the error names the option.
func TestNew_refuses(t *testing.T) {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(t, err)
	verified := func(http.ResponseWriter, *http.Request, otp.Challenge) {}
	_, err = otphttp.New(nil, &otphttp.Options{OnVerified: verified})
	require.ErrorContains(t, err, "verifier is nil")
	_, err = otphttp.New(verifier, nil)
	require.ErrorContains(t, err, "Options.OnVerified: required")
	for want, opts := range map[string]otphttp.Options{
		"OnVerified":                 {},
		"Home":                       {OnVerified: verified, Home: "//evil.example"},
		"Options.Home":               {OnVerified: verified, Home: "https://example.com/"},
		"s.Home":                     {OnVerified: verified, Home: "home"},
		"Options.StartAt: must be":   {OnVerified: verified, StartAt: "https://example.com/"},
		"Options.StartAt: the codes": {OnVerified: verified, StartAt: "/login"},
		"not below Options.Path":     {OnVerified: verified, Path: "/a/", StartAt: "/a/"},
		"Options.Path: must begin":   {OnVerified: verified, Path: "/login"},
		"s.Path":                     {OnVerified: verified, Path: "https://example.com/"},
		"Options.Support":            {OnVerified: verified, Support: "A\nB"},
		"Brand":                      {OnVerified: verified, Brand: "A\r\nB"},
		"Options.Brand":              {OnVerified: verified, Brand: "A\u202eB"},
		"TrustedOrigins":             {OnVerified: verified, TrustedOrigins: []string{"app.example.com"}},
		"s.TrustedOr":                {OnVerified: verified, TrustedOrigins: []string{"https://app.example.com/path"}},
		"TrustedProxies":             {OnVerified: verified, TrustedProxies: []netip.Prefix{{}}},
		"s.TrustedPr":                {OnVerified: verified, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}},
		"Options.Locale":             {OnVerified: verified, Locale: "xx-not-there-at-all"},
		"no words":                   {OnVerified: verified, Locale: "vo"},
	} {
		h, err := otphttp.New(verifier, &opts)
		require.ErrorContains(t, err, want, want)
		require.ErrorContains(t, err, "otphttp: ")
		require.Nil(t, h)
	}
	// The options are copied.
	opts := otphttp.Options{OnVerified: verified, Home: "/a"}
	_, err = otphttp.New(verifier, &opts)
	require.NoError(t, err)
	require.Nil(t, opts.Now)
}

// A visitor who presses again while the session is made hangs up the first
// request; the session is made all the same.
func TestOnVerified_hangUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var ended error
	s := newSite(t, otphttp.Options{OnVerified: func(_ http.ResponseWriter, r *http.Request, _ otp.Challenge) {
		cancel()
		ended = r.Context().Err()
	}}, nil)
	b := s.browser()
	code, reference := b.start("bob@example.com")
	b.do(post("/login/check", url.Values{"reference": {reference}, "code": {code}}).WithContext(ctx))
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	require.NoError(t, ended)
}
