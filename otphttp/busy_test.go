package otphttp_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// C1, C3: while no mail can be accepted, visitors who would get no mail get the
// same answer, also to a resend.
func TestBusy(t *testing.T) {
	var busy atomic.Bool
	s := newSite(t, otphttp.Options{Busy: func(bool) bool { return busy.Load() }}, &otp.Options{
		Admit: func(_ context.Context, to otp.Address) (bool, error) { return to.String() == "bob@example.com", nil },
	})
	var codePages, addressPages []string
	for _, to := range []string{"bob@example.com", "bea@example.com"} {
		busy.Store(false)
		b := s.browser()
		answer, body := b.post("start", url.Values{"address": {to}})
		require.Equal(t, http.StatusOK, answer.StatusCode, body)
		_, challenge := s.api("start", map[string]string{"address": "x" + to})
		mails := s.inbox.Len()

		busy.Store(true)
		reference := strings.SplitN(b.cookies["__Host-otp"], ".", 2)[0]
		answer, body = b.post("resend", url.Values{"reference": {reference}})
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Contains(t, body, "We could not send the email.")
		codePages = append(codePages, strings.NewReplacer(reference, "*", to, "*").Replace(body))
		answer, body = s.browser().post("start", url.Values{"address": {to}})
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.Equal(t, "60", answer.Header.Get("Retry-After"))
		addressPages = append(addressPages, strings.ReplaceAll(body, to, "*"))
		for step, fields := range map[string]map[string]string{"start": {"address": to}, "resend": {"id": challenge["id"].(string)}} {
			answer, problem := s.api(step, fields)
			require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, step)
			require.Equal(t, "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#send", problem["type"], step)
		}
		require.Equal(t, mails, s.inbox.Len())
	}
	require.Equal(t, addressPages[0], addressPages[1])
	require.Equal(t, timers.ReplaceAllString(codePages[0], "*"), timers.ReplaceAllString(codePages[1], "*"))
}

// J3: known devices and proven requests are asked about as such, which a
// request cannot claim: an invalid token counts as a stranger's. The store is
// not asked for it.
func TestBusy_known(t *testing.T) {
	var asked []bool
	busy, full := false, false // for strangers; for all
	store := &shaky{Store: otp.NewMemoryStore(nil)}
	opts := otphttp.Options{
		Busy: func(known bool) bool { asked = append(asked, known); return busy && !known || full },
		Prepare: func(r *http.Request, request *otp.Request) error {
			request.Proven = r.PostForm.Get("proven") != ""
			return nil
		},
	}
	s := on(t, store, nil, opts)
	device := func(address string) string {
		_, v := s.api("start", map[string]string{"address": address})
		_, v = s.api("check", map[string]string{"id": v["id"].(string), "code": s.inbox.Code(address)})
		return v["device"].(string)
	}
	own, other := device("bob@example.com"), device("eve@example.com")

	busy = true
	store.down.Store(true) // a trip to the store would show
	for token, known := range map[string]bool{own: true, other: false, own[1:]: false, "x": false, "": false} {
		want := map[bool]string{true: "server", false: "send"}[known]
		asked = nil
		answer, v := s.api("start", map[string]string{"address": "bob@example.com", "device": token})
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.Equal(t, "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#"+want, v["type"])
		b := s.browser()
		b.cookies["__Host-otp-device"] = token
		answer, _ = b.post("start", url.Values{"address": {"bob@example.com"}})
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.Equal(t, []bool{known, known}, asked, token)
	}
	asked = nil
	_, v := s.api("start", map[string]string{"address": "bob@example.com", "proven": "yes"})
	require.Contains(t, v["type"], "#server")
	_, v = s.api("start", map[string]string{"address": "bob@"})
	require.Contains(t, v["type"], "#send")
	require.Equal(t, []bool{true, false}, asked)

	// Signing in again with the token works, and so does a resend, for which the
	// challenge is looked at.
	store.down.Store(false)
	_, v = s.api("start", map[string]string{"address": "bob@example.com", "device": own})
	require.Equal(t, true, v["known_device"])
	about := map[string]string{"id": v["id"].(string)}
	answer, _ := s.api("resend", about)
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	full = true
	answer, _ = s.api("resend", about)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	busy, full = false, false
	_, v = s.api("start", map[string]string{"address": "zoe@example.com"})
	require.Equal(t, false, v["known_device"])
	busy = true
	for _, id := range []string{v["id"].(string), "x", ""} {
		answer, v := s.api("resend", map[string]string{"id": id})
		require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
		require.NotContains(t, v, "challenge")
	}
}

// timers matches the times on a page, which change while a test runs.
var timers = regexp.MustCompile(`data-left="\d+">[\d:]+<`)
