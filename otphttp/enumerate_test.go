package otphttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/go-mailotp/otp/otptest"
)

// fate is what happens to the mail to an address that a stranger asks about.
type fate struct {
	admit bool
	err   error
}

var fates = map[string]fate{
	"known":   {true, nil},
	"unknown": {false, nil},
	"refused": {true, &otp.SendError{Stage: "rcpt", Err: errors.New("550 no such mailbox")}},
	"lost":    {true, &otp.SendError{MaybeSent: true, Temporary: true, Stage: "data", Err: errors.New("no answer")}},
	"foreign": {true, errors.New("what?")},
}

// transcript is everything that a visitor sees who asks for codes for one
// address. IDs and references are replaced, so that transcripts can be
// compared.
type transcript struct {
	*site
	strings.Builder
	clock      *testkit.Clock
	post       func(step string, fields map[string]string) (*http.Response, string)
	reference  string
	id         string
	references []string
}

var (
	anID        = regexp.MustCompile(`[A-Za-z0-9_-]{64}`)
	aReference  = regexp.MustCompile(`(?:"reference":"|ref=|name="reference" value=")([BCDFGHJKMNPQRSTVWXYZ]{4})\b`)
	aSetCookie  = regexp.MustCompile(`__Host-otp=([^;]*);`)
	jsonContent = "application/json"
	formContent = "application/x-www-form-urlencoded"
)

func newTranscript(t *testing.T, kind string, f fate) *transcript {
	x := &transcript{clock: testkit.NewClock(), site: &site{t: t, inbox: &otptest.Inbox{}}}
	sender := otp.SenderFunc(func(ctx context.Context, m otp.Message) error { return errors.Join(x.inbox.Send(ctx, m), f.err) })
	x.with(sender, otphttp.Options{Now: x.clock.Now}, &otp.Options{
		Now:          x.clock.Now,
		WrongGuesses: []otp.Limit{{N: 6, Per: time.Hour}},
		Admit:        func(context.Context, otp.Address) (bool, error) { return f.admit, nil },
	})
	b := x.site.browser()
	send := func(r *http.Request, asBrowser bool) (*http.Response, string) {
		if asBrowser {
			return b.do(r)
		}
		return x.site.do(r)
	}
	x.post = func(step string, fields map[string]string) (*http.Response, string) {
		r := request(http.MethodPost, "/login/"+step, jsonContent, jsonBody(fields))
		if kind == "form" {
			form := url.Values{}
			for name, value := range fields {
				form.Set(name, value)
			}
			r = request(http.MethodPost, "/login/"+step, formContent, form.Encode())
		}
		answer, body := send(r, kind != "app")
		x.note(step, answer, body)
		if to := answer.Header.Get("Location"); to != "" {
			answer, body = send(httptest.NewRequest(http.MethodGet, "/login/"+to, nil), true)
			x.note(step+", page", answer, body)
		}
		return answer, body
	}
	return x
}

func request(method, path, content, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", content)
	return r
}

// post is a request with a form.
func post(path string, fields url.Values) *http.Request {
	return request(http.MethodPost, path, formContent, fields.Encode())
}

func jsonBody(fields map[string]string) string {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return string(body)
}

// plain returns a page without its style and script, which are long and always
// the same.
func plain(page string) string {
	for _, element := range []string{"style", "script"} {
		before, rest, _ := strings.Cut(page, "<"+element+">")
		_, after, _ := strings.Cut(rest, "</"+element+">")
		page = before + after
	}
	return page
}

// note records an answer.
func (x *transcript) note(step string, answer *http.Response, body string) {
	var b strings.Builder
	answer.Header.Write(&b)
	text := fmt.Sprintf("%s: %s\n%s%d bytes\n%s\n", step, answer.Status, b.String(), len(body), plain(body))
	if m := aReference.FindStringSubmatch(text); m != nil {
		x.reference = m[1]
		x.references = append(x.references, m[1])
	}
	if m := anID.FindString(body); m != "" {
		x.id = m
	}
	for _, m := range aSetCookie.FindAllStringSubmatch(text, -1) {
		for one := range strings.SplitSeq(m[1], "~") {
			require.Regexp(x.t, `^([A-Z]{4}\.[A-Za-z0-9_-]{64}\.[A-Za-z0-9_-]+)?$`, one)
		}
	}
	x.WriteString(anID.ReplaceAllString(text, "<id>"))
}

func (x *transcript) text() string {
	text := x.String()
	for _, reference := range x.references {
		text = strings.ReplaceAll(text, reference, "<ref>")
	}
	return text
}

// C1, C2, C14: the answers of start, check, resend and status, including
// cookies, are the same bytes whatever happened to the mail.
func TestEnumeration_sameBytes(t *testing.T) {
	const address = "bob@example.com"
	run := func(t *testing.T, kind, fate string) string {
		x := newTranscript(t, kind, fates[fate])
		about := func(code string) map[string]string {
			fields := map[string]string{"reference": x.reference}
			if kind == "app" {
				fields = map[string]string{"id": x.id}
			}
			if code != "" {
				fields["code"] = code
			}
			return fields
		}
		wrongCode := func() string {
			if m, ok := x.inbox.Last(address); ok {
				return testkit.WrongCode(m.Code)
			}
			return "123456"
		}
		x.post("start", map[string]string{"address": address})
		require.NotEmpty(t, x.reference)
		x.post("start", map[string]string{"address": address}) // throttled; a browser continues
		x.post("check", about(wrongCode()))
		x.post("check", about("no code"))
		x.post("check", about("BCDF-GHJK-MNPQ-RS"))
		x.post("check", about(strings.Repeat("1", 65)))
		x.post("resend", about("")) // too early
		if kind != "form" {
			x.post("status", about(""))
		}
		x.clock.Add(time.Minute)
		x.post("resend", about(""))
		for range 5 {
			x.post("check", about(wrongCode()))
		}
		x.clock.Add(time.Minute)
		x.post("resend", about("")) // a new one
		x.clock.Add(11 * time.Minute)
		x.post("check", about(wrongCode())) // expired
		x.post("resend", about(""))
		for range 5 {
			x.post("check", about(wrongCode()))
		}
		x.clock.Add(time.Minute)
		x.post("resend", about("")) // a strong one
		x.clock.Add(time.Minute)
		x.post("resend", about("")) // the hour is spent
		x.post("start", map[string]string{"address": address})
		require.Empty(t, x.verified)
		require.Empty(t, x.errors) // Send returns none of them; observers receive them
		require.Equal(t, fate == "unknown", x.inbox.Len() == 0)
		return x.text()
	}
	for _, kind := range []string{"form", "app", "script"} {
		known := run(t, kind, "known")
		for _, want := range []string{"202 Accepted", "422 Unprocessable", "429 Too Many", "410 Gone", "\"strong\":true"} {
			if kind != "form" {
				require.Contains(t, known, want)
			}
		}
		require.Equal(t, kind == "app", strings.Contains(known, `"id":"<id>"`))
		for fate := range fates {
			require.Equal(t, known, run(t, kind, fate), "%s, %s", kind, fate)
		}
	}
}

// C1: a client that has used up its starts gets the same answer for every
// address, and so does a client that a hook limits.
func TestEnumeration_limitedAlike(t *testing.T) {
	answers := map[string]bool{}
	for fate := range fates {
		x := newTranscript(t, "app", fates[fate])
		for i := range 31 {
			x.Reset()
			x.post("start", map[string]string{"address": fmt.Sprintf("user%02d@example.com", i)})
		}
		require.Contains(t, x.text(), "429")
		answers[x.text()] = true
	}
	require.Len(t, answers, 1)
}

// C14: if a mail cannot be sent for now, the visitor sees that and when to
// retry. With a queue, this does not depend on the address.
func TestStart_sendsLater(t *testing.T) {
	for _, kind := range []string{"form", "app", "script"} {
		x := newTranscript(t, kind, fate{true, &otp.SendError{Temporary: true, Stage: "connect", Err: errors.New("refused")}})
		answer, body := x.post("start", map[string]string{"address": "bob@example.com"})
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.Equal(t, "60", answer.Header.Get("Retry-After"))
		require.Contains(t, body, "We could not send the email. Try again later.")
		require.Empty(t, answer.Cookies())
		require.Len(t, x.errors, 1)
		require.NotContains(t, x.errors[0].Error(), "bob@example.com")
		require.NotContains(t, x.errors[0].Error(), x.inbox.Messages()[0].Code)
	}
}
