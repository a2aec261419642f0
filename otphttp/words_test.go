package otphttp_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// The pages exist in every language of the mail.
func TestWords_asTheMail(t *testing.T) {
	names := func(dir string) []string {
		list, err := fs.Glob(os.DirFS(dir), "*.json")
		require.NoError(t, err)
		return list
	}
	require.Equal(t, names("../letter/words"), names("words"))
}

// The built-in words and template pass the checks and render the trial pages
// that New skips for them.
func TestWords_builtin(t *testing.T) {
	require.NoError(t, otphttp.CheckBuiltinPages())
}

// A wait is in words, whose form depends on the number.
func TestWords_wait(t *testing.T) {
	for _, test := range []struct {
		lang string
		wait time.Duration
		want string
	}{
		{"en", time.Second, "1 minute"}, {"en", time.Minute, "1 minute"}, {"en", 61 * time.Second, "2 minutes"},
		{"en", 119 * time.Minute, "119 minutes"}, {"en", 2 * time.Hour, "2 hours"}, {"en", 2*time.Hour + 1, "3 hours"}, {"en", 21 * time.Hour, "21 hours"},
		{"ru", 5 * time.Minute, "5 минут"}, {"ru", 21 * time.Minute, "21 минута"}, {"ru", 22 * time.Hour, "22 часа"},
		{"ar", time.Minute, "دقيقة واحدة"}, {"ar", 2 * time.Minute, "دقيقتان"}, {"ar", 11 * time.Minute, "11 دقيقة"},
		{"mk", 11 * time.Minute, "11 минути"}, {"mk", 21 * time.Minute, "21 минута"}, {"ja", 5 * time.Minute, "5 分"}, {"cy", 2 * time.Minute, "2 funud"}, {"ga", 7 * time.Hour, "7 n-uaire an chloig"},
	} {
		got, _ := otphttp.Sentence(test.lang, otp.Challenge{}, &otp.LimitError{RetryAfter: test.wait, Scope: "all"})
		require.True(t, strings.HasSuffix(got, " "+test.want) || strings.HasSuffix(got, "："+test.want), "%s: %s", test.want, got)
	}
}

func TestWords_chosen(t *testing.T) {
	s := newSite(t, otphttp.Options{}, nil)
	for accept, want := range map[string]string{
		"": "en", "de-AT,de;q=0.9": "de", "xx": "en", "ar-EG": "ar", "zh-TW": "zh-Hant", "no": "nb", "pt": "pt-BR",
	} {
		b := s.browser()
		b.header.Set("Accept-Language", accept)
		answer, body := b.get("/login/")
		require.Equal(t, want, answer.Header.Get("Content-Language"), accept)
		dir := "ltr"
		if want == "ar" {
			dir = "rtl"
		}
		require.Contains(t, body, `<html lang="`+want+`" dir="`+dir+`">`)
	}
}
