package otphttp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

func TestPages_flow(t *testing.T) { // H3, H7
	s := newSite(t, otphttp.Options{Brand: "Acme"}, nil)
	b := s.browser()
	answer, body := b.get("/login/?next=/cart")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "<h1>Sign in</h1>")
	require.Contains(t, body, `name="next" value="/cart"`)

	_, body = b.post("start", url.Values{"address": {"bob@example.com"}, "next": {"/cart"}})
	m, ok := s.inbox.Last("bob@example.com")
	require.True(t, ok)
	require.Contains(t, body, "bob@example.com")
	require.Contains(t, body, m.Reference)
	require.Contains(t, body, `name="next" value="/cart"`)
	require.Equal(t, 1, strings.Count(body, `autocomplete="one-time-code"`))
	require.NotContains(t, body, m.Code)

	_, body = b.post("check", url.Values{"reference": {m.Reference}, "code": {testkit.WrongCode(m.Code)}, "next": {"/cart"}})
	require.Contains(t, body, "That code is not right.")
	require.Contains(t, body, "Tries left: <bdi>4</bdi>")
	_, body = b.post("check", url.Values{"reference": {m.Reference}, "code": {"hello"}})
	require.Contains(t, body, "That is not a code.")
	require.Empty(t, s.verified)

	answer, _ = b.post("check", url.Values{"reference": {m.Reference}, "code": {" " + m.Code[:3] + " " + m.Code[3:]}, "next": {"/cart"}}) // H1
	require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	require.Equal(t, "/cart", answer.Header.Get("Location"))
	require.Len(t, s.verified, 1)
	require.Equal(t, "bob@example.com", s.verified[0].To.String())
	require.Equal(t, m.Reference+".-", b.cookies["__Host-otp"])
	require.Equal(t, s.verified[0].Device, b.cookies["__Host-otp-device"])

	// The back button, after the code was used, and the form sent once more.
	answer, body = b.get("/login/code?next=/cart&ref=" + m.Reference)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, "If you have just used it, go on.")
	require.NotContains(t, body, "There is a problem")
	require.Contains(t, body, `href="/cart">Continue`)
	answer, again := b.post("check", url.Values{"reference": {m.Reference}, "code": {m.Code}, "next": {"/cart"}})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, body, again)
	require.Len(t, s.verified, 1)
	require.Empty(t, s.errors)
}

func TestPages_states(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	code, reference := b.start("bob@example.com")

	// First too early, then in time, with the same code.
	_, body := b.post("resend", url.Values{"reference": {reference}})
	require.Contains(t, body, "Too many requests.")
	require.Contains(t, body, `data-left="60">1:00</span>`)
	require.Equal(t, 1, s.inbox.Len())
	clock.Add(time.Minute)
	_, body = b.post("resend", url.Values{"reference": {reference}})
	require.Contains(t, body, "We sent the email again.")
	require.Equal(t, code, s.inbox.Code("bob@example.com"))

	// Starting again continues this challenge: within the minute with the page
	// for its code, which shows the wait, and after that with the same code. J13
	again := url.Values{"address": {"bob@example.com"}, "next": {"/cart"}}
	answer, body := b.post("start", again)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Contains(t, body, `name="code"`)
	require.Contains(t, body, reference)
	require.Contains(t, body, `data-left="60">1:00</span>`)
	require.Contains(t, body, `name="next" value="/cart"`)
	require.NotContains(t, body, `role="alert"`)
	require.Equal(t, 2, s.inbox.Len())
	clock.Add(time.Minute)
	_, body = b.post("start", again)
	require.Contains(t, body, "We sent the email again.")
	require.Contains(t, body, reference)
	require.Equal(t, 3, s.inbox.Len())
	require.Equal(t, code, s.inbox.Code("bob@example.com"))

	// If the wait is longer than that, the page says so. Another browser sees an
	// error, and one with another code can return to that.
	clock.Add(time.Minute)
	b.post("start", again)
	clock.Add(time.Minute)
	b.post("start", again)
	require.Equal(t, 5, s.inbox.Len()) // all mails of this hour
	clock.Add(time.Minute)
	_, body = b.post("start", again)
	require.Contains(t, body, `name="code"`)
	require.Contains(t, body, reference)
	require.Contains(t, body, "Too many requests.")
	answer, body = s.browser().post("start", again)
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.NotEmpty(t, answer.Header.Get("Retry-After")) // C14
	require.NotContains(t, body, "I already have a code")
	other := s.browser()
	_, otherReference := other.start("eve@example.com")
	answer, body = other.post("start", again)
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Contains(t, body, `href="code?next=%2Fcart&amp;ref=`+otherReference+`"`)
	clock.Add(2 * time.Hour)
	_, reference = b.start("bob@example.com")

	// Expired: one press gives a new code (H10).
	clock.Add(10 * time.Minute)
	_, body = b.get("/login/code?ref=" + reference)
	require.Contains(t, body, "has expired")
	require.NotContains(t, body, `name="code"`)
	_, body = b.post("resend", url.Values{"reference": {reference}})
	require.Contains(t, body, "We sent a new code.")
	m, _ := s.inbox.Last("bob@example.com")
	require.NotEqual(t, reference, m.Reference)

	// Exhausted, until the address has no guesses at short codes left. Then the
	// code is a longer one.
	for range 3 {
		for !strings.Contains(body, "Too many wrong tries with this code.") {
			require.Contains(t, body, `inputmode="numeric"`)
			_, body = b.post("check", url.Values{"reference": {m.Reference}, "code": {testkit.WrongCode(m.Code)}})
		}
		clock.Add(time.Minute)
		_, body = b.post("resend", url.Values{"reference": {m.Reference}})
		m, _ = s.inbox.Last("bob@example.com")
	}
	require.Len(t, m.Code, 14)
	require.Contains(t, body, `inputmode="text"`)
	require.Contains(t, body, "may have letters in it")
	answer, _ = b.post("check", url.Values{"reference": {m.Reference}, "code": {strings.ToLower(m.Code)}})
	require.Equal(t, "/", answer.Header.Get("Location"))
	require.Len(t, s.verified, 1)
	require.Empty(t, s.errors)
}

// A page that turns somebody away says whose budget is spent, and counts down
// only to a second that is known.
func TestPages_limited(t *testing.T) { // J13
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
	address := url.Values{"address": {"bob@example.com"}}
	s.browser().post("start", address) // whose answer was lost
	lost := s.browser()
	answer, body := lost.post("start", address)
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Contains(t, body, "A code was sent to this address a short time ago, but it cannot be entered here. Ask for a new one. Time until the next try: <bdi>1 minute</bdi>")
	require.Contains(t, body, `name="address"`)
	require.NotContains(t, body, `data-left="`)
	clock.Add(time.Minute)
	_, body = lost.post("start", address)
	m, _ := s.inbox.Last("bob@example.com")
	require.Contains(t, body, m.Reference)
	require.Equal(t, 2, s.inbox.Len())

	// Both starts of this network.
	answer, body = s.browser().post("start", url.Values{"address": {"eve@example.com"}})
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Regexp(t, `Too many requests from your network. Time until the next try: <bdi>\d+ minutes</bdi>`, body)
	_, problem := s.api("start", map[string]string{"address": "eve@example.com"})
	require.Regexp(t, `^Too many requests from your network. Time until the next try: \d+ minutes$`, problem["detail"])
	require.Equal(t, "client", problem["scope"])

	// A challenge that can no longer be passed says so too, when a new code is
	// refused.
	clock.Add(11 * time.Minute)
	_, body = lost.post("resend", url.Values{"reference": {m.Reference}})
	require.Contains(t, body, "Too many requests from your network.")
	require.Contains(t, body, "Send a new code")
}

// Who asks again after half of the code's life has two mails, of which the page
// wants the latest.
func TestStart_secondCodeSaysSo(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now})
	b := s.browser()
	b.start("bob@example.com")
	clock.Add(6 * time.Minute)
	_, body := b.post("start", url.Values{"address": {"bob@example.com"}})
	require.Contains(t, body, "Use the one from the latest email.")
	_, body = b.post("start", url.Values{"address": {"eve@example.com"}})
	require.NotContains(t, body, "the latest email")
}

// The pages of all steps show what is being confirmed, as plain text.
func TestPages_about(t *testing.T) {
	s := newSite(t, otphttp.Options{Page: func(_ *http.Request, p *otphttp.Page) { p.About = "99.00 EUR <b>" }}, nil)
	b := s.browser()
	const want = `<p class="about"><bdi>99.00 EUR &lt;b&gt;</bdi></p>`
	_, body := b.get("/login/")
	require.Contains(t, body, want)
	_, body = b.post("start", url.Values{"address": {"bob@example.com"}})
	require.Contains(t, body, want)
	_, body = b.get("/login/code?ref=none")
	require.NotContains(t, body, "99.00") // nothing is left to confirm
}
