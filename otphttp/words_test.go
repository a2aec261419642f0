package otphttp_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

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
