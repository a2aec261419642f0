package otphttp_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// The sentences of the pages for applications that draw their own, in every
// language.
func TestSentence(t *testing.T) {
	c := otp.Challenge{ID: "x", Masked: "b***@example.com", Reference: "BCDF", GuessesLeft: 3}
	for want, err := range map[string]error{
		"We sent a code to b***@example.com. If it does not arrive within a few minutes, look in the spam folder. The email shows the reference BCDF.": nil,
		"That code is not right. Tries left: 3":                                  otp.ErrCode,
		"That is not a code. Enter only the code from the email.":                fmt.Errorf("x: %w", otp.ErrMalformed),
		"This code has expired. Ask for a new one.":                              otp.ErrExpired,
		"Too many wrong tries with this code. Ask for a new one.":                otp.ErrExhausted,
		"This code has been used already or is no longer valid. Start again.":    otp.ErrUnknown,
		"Enter an email address, such as name@example.com.":                      otp.ErrAddress,
		"Too many requests. Time until the next try: 2 minutes":                  &otp.LimitError{RetryAfter: 65 * time.Second, Scope: "address"},
		"Too many requests from your network. Time until the next try: 1 minute": &otp.LimitError{RetryAfter: time.Second, Scope: "client"},
		"We could not send the email. Try again later.":                          &otp.SendError{},
		"Something went wrong. Try again later.":                                 errors.New("the store is down"),
		"We cannot do this. Start again.":                                        otphttp.ErrForbidden,
	} {
		got, lang := otphttp.Sentence("en-US,en;q=0.9", c, err)
		require.Equal(t, want, got)
		require.Equal(t, "en", lang)
	}
	got, _ := otphttp.Sentence("", otp.Challenge{ID: "x"}, otp.ErrCode)
	require.Equal(t, "Too many wrong tries with this code. Ask for a new one.", got, "the last guess")
	// A code was sent, but its challenge is not here: the answer was lost, or
	// somebody else asked.
	got, _ = otphttp.Sentence("", otp.Challenge{}, &otp.LimitError{RetryAfter: time.Minute, Scope: "address"})
	require.Equal(t, "A code was sent to this address a short time ago, but it cannot be entered here. Ask for a new one. Time until the next try: 1 minute", got)
	got, lang := otphttp.Sentence("de-CH", c, otp.ErrCode)
	require.Equal(t, "Der Code ist nicht richtig. Verbleibende Versuche: 3", got)
	require.Equal(t, "de", lang)
	got, _ = otphttp.Sentence("", otp.Challenge{}, otp.ErrCode)
	require.Equal(t, "That code is not right.", got, "without a challenge, nothing is known of guesses")

	files, err := os.ReadDir("words")
	require.NoError(t, err)
	require.Greater(t, len(files), 50)
	for _, f := range files {
		tag := strings.TrimSuffix(f.Name(), ".json")
		got, lang := otphttp.Sentence(tag, c, otp.ErrCode)
		require.Equal(t, tag, lang)
		require.Contains(t, got, "3")
	}
}
