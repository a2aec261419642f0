package otphttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

var errDown = errors.New("the store is down")

// shaky is a store that can fail.
type shaky struct {
	otp.Store
	down atomic.Bool
}

func (s *shaky) Load(ctx context.Context, key string) ([]byte, error) {
	if s.down.Load() {
		return nil, errDown
	}
	return s.Store.Load(ctx, key)
}

func (s *shaky) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if s.down.Load() {
		return false, errDown
	}
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// on makes a site with a custom store.
func on(t *testing.T, store otp.Store, sender otp.Sender, opts otphttp.Options) *site {
	s := &site{t: t, inbox: &otptest.Inbox{}}
	if sender == nil {
		sender = s.inbox
	}
	s.with(sender, opts, nil) // for what it fills in
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: [][]byte{secret}})
	require.NoError(t, err)
	opts.OnError = func(_ *http.Request, err error) { s.errors = append(s.errors, err) }
	if opts.OnVerified == nil {
		opts.OnVerified = func(_ http.ResponseWriter, _ *http.Request, c otp.Challenge) { s.verified = append(s.verified, c) }
	}
	s.verifier = verifier
	s.handler, err = otphttp.New(verifier, &opts)
	require.NoError(t, err)
	return s
}

// While the store is down, every step fails closed with 503 and a Retry-After
// header. Afterwards it continues where it was. C14
func TestStoreDown(t *testing.T) { // D7
	store := &shaky{Store: otp.NewMemoryStore(nil)}
	s := on(t, store, nil, otphttp.Options{})
	b := s.browser()
	code, reference := b.start("bob@example.com")
	_, v := s.api("start", map[string]string{"address": "app@example.com"})
	id, appCode := v["id"].(string), s.inbox.Code("app@example.com")
	cookie := b.cookies["__Host-otp"]
	store.down.Store(true)
	secrets := []string{code, appCode, id, strings.TrimPrefix(cookie, reference+"."), "bob@", "app@"}
	clean := func(text string) {
		for _, secret := range secrets {
			require.NotContains(t, text, secret)
		}
	}
	for step, fields := range map[string]map[string]string{
		"start": {"address": "eve@example.com"}, "check": {"id": id, "code": appCode}, "resend": {"id": id}, "status": {"id": id},
	} {
		answer, text := s.do(request(http.MethodPost, "/login/"+step, jsonContent, jsonBody(fields)))
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, step)
		require.Equal(t, "30", answer.Header.Get("Retry-After"))
		require.Contains(t, text, "problems.md#server")
		require.Empty(t, answer.Cookies())
		clean(text)
	}
	for step, form := range map[string]url.Values{
		"start": {"address": {"eve@example.com"}}, "check": {"reference": {reference}, "code": {code}}, "resend": {"reference": {reference}},
	} {
		answer, text := b.post(step, form) // with the page that it leads to, which is down too
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, step)
		require.Equal(t, "30", answer.Header.Get("Retry-After"))
		require.Contains(t, text, "Something went wrong. Try again later.")
		clean(text)
	}
	answer, text := b.get("/login/code?ref=" + reference)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	clean(text)
	require.Len(t, s.errors, 10) // with the two pages after check and resend
	for _, err := range s.errors {
		require.ErrorIs(t, err, errDown)
		clean(err.Error())
	}
	require.Equal(t, cookie, b.cookies["__Host-otp"])
	require.Empty(t, s.verified)
	require.Equal(t, 2, s.inbox.Len())

	// The page shows the error when the store is back, and the code is still
	// valid.
	r := request(http.MethodPost, "/login/check", formContent, url.Values{"reference": {reference}, "code": {code}}.Encode())
	r.AddCookie(&http.Cookie{Name: "__Host-otp", Value: cookie})
	answer, _ = s.do(r)
	store.down.Store(false)
	require.Equal(t, "code?ref="+reference+"&say=server&wait=30", answer.Header.Get("Location"))
	require.Empty(t, answer.Header.Get("Retry-After")) // it would delay the redirect (RFC 9110 10.2.3)
	_, text = b.get("/login/" + answer.Header.Get("Location"))
	require.Contains(t, text, "Something went wrong. Try again later.")
	require.Contains(t, text, `name="code"`)
	answer, _ = b.post("check", url.Values{"reference": {reference}, "code": {code}})
	require.Equal(t, "/", answer.Header.Get("Location"))
	answer, _ = s.api("check", map[string]string{"id": id, "code": appCode})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Len(t, s.verified, 2)
}

// A resend that fails temporarily does not change the challenge or its code.
func TestResend_cannotSend(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	code, reference := b.start("bob@example.com")
	clock.Add(time.Minute)
	s.inbox.FailWith(&otp.SendError{Temporary: true, Stage: "connect", Err: errors.New("bob@example.com: no route, " + code)})
	_, body := b.post("resend", url.Values{"reference": {reference}})
	require.Contains(t, body, "We could not send the email. Try again later.")
	require.Contains(t, body, `name="code"`)
	require.NotContains(t, body, "no route")
	require.Len(t, s.errors, 1)
	require.NotContains(t, s.errors[0].Error(), code)
	require.NotContains(t, s.errors[0].Error(), "bob@")
	clock.Add(time.Minute)
	r := request(http.MethodPost, "/login/resend", jsonContent, `{}`)
	answer, text := b.do(r)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, text)
	require.Contains(t, text, reference)
	require.Equal(t, "60", answer.Header.Get("Retry-After"))
	answer, _ = b.post("check", url.Values{"reference": {reference}, "code": {code}})
	require.Equal(t, "/", answer.Header.Get("Location"))

	// The same holds if a new code was to be mailed: the page of the old one
	// stays.
	s.inbox.FailWith(nil)
	clock.Add(time.Minute)
	_, reference = b.start("bob@example.com")
	clock.Add(11 * time.Minute)
	s.inbox.FailWith(&otp.SendError{Temporary: true, Err: errors.New("busy")})
	_, body = b.post("resend", url.Values{"reference": {reference}})
	require.Contains(t, body, "We could not send the email. Try again later.")
	require.Contains(t, body, "Send a new code")
	clock.Add(time.Minute)
	_, text = b.do(request(http.MethodPost, "/login/resend", jsonContent, `{}`))
	require.Contains(t, text, `"challenge":{"masked":"b***@example.com","reference":"`+reference+`"`)
}

// A sender that hangs ends with the request, and nobody is verified.
func TestSenderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := true
		inbox := &otptest.Inbox{}
		s := (&site{t: t, inbox: inbox}).with(otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
			if hangs {
				<-ctx.Done()
				return &otp.SendError{Temporary: true, Stage: "connect", Err: ctx.Err()}
			}
			return inbox.Send(ctx, m)
		}), otphttp.Options{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		answer, text := s.do(request(http.MethodPost, "/login/start", jsonContent, `{"address":"bob@example.com"}`).WithContext(ctx))
		require.Equal(t, 20*time.Second, time.Since(began))
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, text)
		require.Contains(t, text, "problems.md#send")
		hangs = false
		time.Sleep(time.Minute) // as the answer says
		s.browser().start("bob@example.com")
		require.Empty(t, s.verified)
	})
}

// A canceled request verifies nothing.
func TestCheck_requestOver(t *testing.T) {
	s := on(t, &shaky{Store: otp.NewMemoryStore(nil)}, nil, otphttp.Options{})
	_, v := s.api("start", map[string]string{"address": "bob@example.com"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := jsonBody(map[string]string{"id": v["id"].(string), "code": s.inbox.Code("bob@example.com")})
	answer, text := s.do(request(http.MethodPost, "/login/check", jsonContent, body).WithContext(ctx))
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, text)
	require.Empty(t, s.verified)
	answer, _ = s.do(request(http.MethodPost, "/login/check", jsonContent, body))
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Len(t, s.verified, 1)
}

// B2: if many correct guesses arrive at once, one is accepted: one call of the
// hook, one 200.
func TestCheck_rightOnceInARace(t *testing.T) {
	for _, content := range []string{formContent, jsonContent} {
		var verified atomic.Int32
		s := newSite(t, otphttp.Options{OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) { verified.Add(1) }}, nil)
		b := s.browser()
		code, reference := b.start("bob@example.com")
		id := strings.Split(b.cookies["__Host-otp"], ".")[1]
		body := jsonBody(map[string]string{"id": id, "code": code})
		if content == formContent {
			body = url.Values{"reference": {reference}, "code": {code}}.Encode()
		}
		var right, unknown atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				r := request(http.MethodPost, "/login/check", content, body)
				r.AddCookie(&http.Cookie{Name: "__Host-otp", Value: b.cookies["__Host-otp"]})
				w := httptest.NewRecorder()
				s.handler.ServeHTTP(w, r)
				switch {
				case w.Code == http.StatusNotFound, strings.HasPrefix(w.Header().Get("Location"), "code?"):
					unknown.Add(1)
				case w.Code == http.StatusOK, w.Code == http.StatusSeeOther:
					right.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, verified.Load())
		require.EqualValues(t, 1, right.Load())
		require.EqualValues(t, 49, unknown.Load())
	}
}
