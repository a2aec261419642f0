package otphttp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// site is a handler at /login/ and what it did.
type site struct {
	t        *testing.T
	handler  http.Handler
	verifier *otp.Verifier
	inbox    *otptest.Inbox
	verified []otp.Challenge
	errors   []error
}

func newSite(t *testing.T, opts otphttp.Options, rules *otp.Options) *site {
	s := &site{t: t, inbox: &otptest.Inbox{}}
	return s.with(s.inbox, opts, rules)
}

// with makes the handler with a custom sender.
func (s *site) with(sender otp.Sender, opts otphttp.Options, rules *otp.Options) *site {
	var err error
	s.verifier, err = otp.NewVerifier(otp.NewMemoryStore(nil), sender, rules)
	require.NoError(s.t, err)
	if own := opts.OnVerified; own == nil {
		opts.OnVerified = func(w http.ResponseWriter, r *http.Request, c otp.Challenge) { s.verified = append(s.verified, c) }
	}
	opts.OnError = func(_ *http.Request, err error) { s.errors = append(s.errors, err) }
	s.handler, err = otphttp.New(s.verifier, &opts)
	require.NoError(s.t, err)
	return s
}

// do serves a request and returns the answer with its body.
func (s *site) do(r *http.Request) (*http.Response, string) {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	return answer, string(body)
}

// api posts JSON as an app does.
func (s *site) api(step string, fields map[string]string) (*http.Response, map[string]any) {
	body, err := json.Marshal(fields)
	require.NoError(s.t, err)
	answer, text := s.do(request(http.MethodPost, "/login/"+step, jsonContent, string(body)))
	var v map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(text), &v), text)
	return answer, v
}

// shown is how a page shows an address.
func shown(address string) string {
	return `<bdi translate="no"><!--email_off-->` + address + `<!--/email_off--></bdi>`
}

// browser keeps cookies and does not follow redirects.
type browser struct {
	*site
	cookies map[string]string
	header  http.Header // additional headers
}

func (s *site) browser() *browser {
	return &browser{site: s, cookies: map[string]string{}, header: http.Header{}}
}

func (b *browser) do(r *http.Request) (*http.Response, string) {
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, values := range b.header {
		r.Header[name] = values
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	answer, body := b.site.do(r)
	for _, c := range answer.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer, body
}

func (b *browser) get(path string) (*http.Response, string) {
	return b.do(httptest.NewRequest(http.MethodGet, path, nil))
}

// post posts a form and follows a redirect to the code page.
func (b *browser) post(step string, form url.Values) (*http.Response, string) {
	answer, body := b.do(post("/login/"+step, form))
	if to := answer.Header.Get("Location"); strings.HasPrefix(to, "code?") {
		require.Equal(b.t, http.StatusSeeOther, answer.StatusCode)
		return b.get("/login/" + to)
	}
	return answer, body
}

// start asks for a code and returns it with its reference.
func (b *browser) start(address string) (code, reference string) {
	answer, body := b.post("start", url.Values{"address": {address}})
	require.Equal(b.t, http.StatusOK, answer.StatusCode, body)
	m, ok := b.inbox.Last(address)
	require.True(b.t, ok)
	return m.Code, m.Reference
}
