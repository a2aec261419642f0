package otphttp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// Render puts the pages into the layout of the application, with what the
// request knows.
func TestRender(t *testing.T) {
	layout := template.Must(template.New("").Parse(`<title>{{.Page.TabTitle}}</title><nav>{{.User}}</nav><h1>{{.Page.Title}}</h1>{{.Page.Body}}<script nonce="{{.Nonce}}">{{.Page.Script}}</script>`))
	fail := false
	s := newSite(t, otphttp.Options{
		Brand: "Acme",
		Page: func(r *http.Request, p *otphttp.Page) {
			p.Fields = map[string]string{"csrf_token": `"` + r.URL.Path}
		},
		Render: func(w http.ResponseWriter, r *http.Request, p otphttp.Page) error {
			w.Header().Set("X-Layout", p.Step)
			if fail {
				w.Header().Set("Content-Encoding", "gzip")
			}
			err := layout.Execute(w, map[string]any{"Page": p, "User": r.URL.Query().Get("user"), "Nonce": "n"})
			if fail {
				return errors.New("no menu")
			}
			return err
		},
	}, nil)
	b := s.browser()
	answer, body := b.get("/login/?user=Eve")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", answer.Header.Get("Content-Type"))
	require.Equal(t, "en", answer.Header.Get("Content-Language"))
	require.Equal(t, "address", answer.Header.Get("X-Layout"))
	require.Empty(t, answer.Header.Get("Content-Security-Policy"), "that of the application holds")
	require.Equal(t, "DENY", answer.Header.Get("X-Frame-Options"))
	require.Contains(t, body, "<title>Sign in – Acme</title><nav>Eve</nav><h1>Sign in</h1>")
	require.Contains(t, body, `<input type="hidden" name="csrf_token" value="&#34;/login/">`)
	require.Contains(t, body, `<script nonce="n">"use strict";`)

	_, body = b.post("start", url.Values{"address": {"bob@example.com"}})
	require.Contains(t, body, `autocomplete="one-time-code"`)
	m, _ := s.inbox.Last("bob@example.com")
	require.Equal(t, 2, strings.Count(body, `<input type="hidden" name="reference" value="`+m.Reference+`">`))
	require.Equal(t, 2, strings.Count(body, `name="csrf_token"`))
	answer, body = b.post("start", url.Values{"address": {"bob"}})
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
	require.Contains(t, body, "Enter an email address")

	fail = true
	answer, body = b.get("/login/")
	require.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	require.Equal(t, "Internal Server Error\n", body)
	require.Empty(t, answer.Header.Get("X-Layout"))
	require.Empty(t, answer.Header.Get("Content-Encoding"))
	require.Equal(t, "no-store, no-transform", answer.Header.Get("Cache-Control"))
	require.ErrorContains(t, s.errors[0], "no menu")
	answer, _ = b.post("check", url.Values{"reference": {m.Reference}, "code": {m.Code}})
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.Len(t, s.verified, 1)
}

// Render may set another status, and the policy is sent if the options have one.
func TestRender_own(t *testing.T) {
	s := newSite(t, otphttp.Options{
		ContentSecurityPolicy: "default-src 'self'",
		Render: func(w http.ResponseWriter, _ *http.Request, p otphttp.Page) error {
			w.WriteHeader(http.StatusTeapot)
			_, err := fmt.Fprintf(w, "%d %s %s", p.Status, p.URL("start"), p.URL(""))
			return err
		},
	}, nil)
	answer, body := s.browser().get("/login/nothing")
	require.Equal(t, http.StatusTeapot, answer.StatusCode)
	require.Equal(t, "404 start ./", body)
	require.Equal(t, "default-src 'self'", answer.Header.Get("Content-Security-Policy"))

	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(t, err)
	_, err = otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {},
		Render:     func(http.ResponseWriter, *http.Request, otphttp.Page) error { return nil },
		Files:      fstest.MapFS{"page.html.tmpl": file("x")},
	})
	require.ErrorContains(t, err, "page.html.tmpl is not used if Options.Render is set")
}

// Each tenant has its own brand, contact and colors. The policy names the style
// that is sent.
func TestPage_tenants(t *testing.T) {
	s := newSite(t, otphttp.Options{Brand: "Acme", Support: "help@acme.example", Page: func(r *http.Request, p *otphttp.Page) {
		if r.Host == "other.example" {
			p.Brand, p.Support = "Other & Sons", "+44 20 7946 0000"
			p.Style += ":root { --otp-accent: #00aa00; }"
		}
	}}, nil)
	policies := map[string]string{}
	for _, host := range []string{"example.com", "other.example"} {
		b := s.browser()
		answer, body := b.get("http://" + host + "/login/code?ref=none")
		policies[host] = answer.Header.Get("Content-Security-Policy")
		if host == "example.com" {
			require.Contains(t, body, `<p class="brand"><bdi>Acme</bdi></p>`)
			require.Contains(t, body, "Questions? "+shown(`<a href="mailto:help@acme.example">help@acme.example</a>`))
			continue
		}
		require.Contains(t, body, `<p class="brand"><bdi>Other &amp; Sons</bdi></p>`)
		require.Contains(t, body, "Questions? "+shown("+44 20 7946 0000"))
		require.Contains(t, body, "#00aa00")
		require.Contains(t, policies[host], styleHash(t, body))
	}
	require.NotEqual(t, policies["example.com"], policies["other.example"])
	answer, _ := s.browser().get("http://example.com/login/")
	require.Equal(t, policies["example.com"], answer.Header.Get("Content-Security-Policy"))
}

// styleHash returns the hash of a page's style as a policy names it.
func styleHash(t *testing.T, body string) string {
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
	require.Len(t, style, 2)
	sum := sha256.Sum256([]byte(style[1]))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A tenant's style cannot leave its element.
func TestPage_style(t *testing.T) {
	style := ""
	s := newSite(t, otphttp.Options{Page: func(_ *http.Request, p *otphttp.Page) { p.Style += template.CSS(style) }}, nil)
	style = ".x {\r\n color: red }"
	answer, body := s.browser().get("/login/")
	require.Contains(t, answer.Header.Get("Content-Security-Policy"), styleHash(t, body))
	require.NotContains(t, body, "\r")
	style = "</STYLE><h1>hi</h1>"
	answer, body = s.browser().get("/login/")
	require.Equal(t, http.StatusInternalServerError, answer.StatusCode)
	require.NotContains(t, body, "hi")
	require.Len(t, s.errors, 1)
}
