package otphttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otphttp"
)

func TestAPI_app(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	answer, v := s.api("start", map[string]string{"address": "bob@example.com"})
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	require.Empty(t, answer.Cookies())
	id, m := v["id"].(string), s.inbox.Messages()[0]
	require.Len(t, id, 64)
	require.Equal(t, map[string]any{
		"id": id, "masked": "b***@example.com", "reference": m.Reference, "strong": false, "letters": false, "known_device": false,
		"guesses_left": 5.0, "expires_in": 600.0, "resend_in": 60.0, "resend_ends_in": 4200.0,
	}, v)

	answer, v = s.api("check", map[string]string{"id": id, "code": testkit.WrongCode(m.Code)})
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
	require.Equal(t, "application/problem+json", answer.Header.Get("Content-Type"))
	require.Equal(t, "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#wrong", v["type"])
	require.Equal(t, "That code is not right.", v["detail"])
	require.Equal(t, 4.0, v["challenge"].(map[string]any)["guesses_left"])

	answer, v = s.api("resend", map[string]string{"id": id})
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Equal(t, "60", answer.Header.Get("Retry-After")) // C14
	require.Equal(t, 60.0, v["retry_after"])
	require.Equal(t, "address", v["scope"])
	require.Equal(t, id, v["challenge"].(map[string]any)["id"])

	for _, malformed := range []string{"", "12345", "hello", strings.Repeat("1", 64)} {
		answer, v = s.api("check", map[string]string{"id": id, "code": malformed})
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
		require.Equal(t, "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#malformed", v["type"])
		require.Equal(t, 4.0, v["challenge"].(map[string]any)["guesses_left"], malformed)
		require.NotContains(t, v, "scope")
	}
	answer, v = s.api("check", map[string]string{"id": id, "code": strings.Repeat("1", 65)})
	require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode)
	require.NotContains(t, v, "challenge")

	answer, v = s.api("status", map[string]string{"id": id})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, 4.0, v["guesses_left"])

	answer, v = s.api("check", map[string]string{"id": id, "code": m.Code})
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, map[string]any{"verified": true, "device": s.verified[0].Device}, v)
	require.Empty(t, answer.Cookies())
	answer, _ = s.api("check", map[string]string{"id": id, "code": m.Code})
	require.Equal(t, http.StatusNotFound, answer.StatusCode)
	require.Len(t, s.verified, 1)
}

// An app that asks again and says what it holds continues that challenge. J13
func TestAPI_held(t *testing.T) {
	clock := testkit.NewClock()
	s := newSite(t, otphttp.Options{Now: clock.Now}, &otp.Options{Now: clock.Now, Sends: []otp.Limit{{N: 1, Per: time.Minute}}})
	start := func(held string) (int, map[string]any) {
		answer, text := s.do(request(http.MethodPost, "/login/start", jsonContent, `{"address":"bob@example.com","held":`+held+`}`))
		return answer.StatusCode, object(t, text)
	}
	status, v := start("null")
	require.Equal(t, http.StatusAccepted, status)
	id := v["id"].(string)
	clock.Add(20 * time.Second)
	for _, held := range []string{`["` + id + `"]`, `["x","","` + id + `"]`, `["` + strings.Repeat(`x","`, 7) + id + `"]`} {
		status, v = start(held)
		require.Equal(t, http.StatusTooManyRequests, status)
		require.Equal(t, "address", v["scope"])
		require.Equal(t, 40.0, v["retry_after"])
		require.Equal(t, id, v["challenge"].(map[string]any)["id"])
	}
	for _, held := range []string{`[]`, `["x"]`, `["` + strings.Repeat(`x","`, 8) + id + `"]`} { // it is not among the first 8
		status, v = start(held)
		require.Equal(t, http.StatusTooManyRequests, status)
		require.NotContains(t, v, "challenge")
	}
	clock.Add(40 * time.Second)
	status, v = start(`["` + id + `"]`)
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, id, v["id"])
	require.Equal(t, 2, s.inbox.Len())
	require.Equal(t, s.inbox.Messages()[0].Code, s.inbox.Messages()[1].Code)

	for _, held := range []string{`[1]`, `[null]`, `[["x"]]`, `{}`, `1`, `["x"`, `["x",]`} {
		status, _ = start(held)
		require.Equal(t, http.StatusBadRequest, status, held)
	}
	answer, _ := s.do(request(http.MethodPost, "/login/start", jsonContent, fmt.Sprintf(`{"address":"bob@example.com","held":["%s"],"held":[]}`, id)))
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
}

// object decodes a JSON object.
func object(t *testing.T, text string) (v map[string]any) {
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}
