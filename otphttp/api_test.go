package otphttp_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

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
		"id": id, "masked": "b***@example.com", "reference": m.Reference, "strong": false, "letters": false,
		"guesses_left": 5.0, "expires_in": 600.0, "resend_in": 60.0,
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
