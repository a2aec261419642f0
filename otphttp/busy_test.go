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
	s := newSite(t, otphttp.Options{Busy: busy.Load}, &otp.Options{
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
		codePages = append(codePages, strings.ReplaceAll(body, reference, "*"))
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

// timers matches the times on a page, which change while a test runs.
var timers = regexp.MustCompile(`data-left="\d+">[\d:]+<`)
