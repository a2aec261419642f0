package browser_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

var screenshots = flag.String("screenshots", "", "make screenshots of all states in this `folder` and test nothing")

// No language is cut off on a small phone, also in large letters. By day it
// checks every eighth language.
func TestLanguages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../otphttp/words/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	b := newTab(t, newSite(t, plain))
	b.size(320, 568, 2)
	b.fill("#code", testkit.WrongCode(b.start(longAddress)))
	b.press(check)
	code := js[string](b, "location.pathname + location.search")
	for i, file := range files {
		if !testkit.Nightly() && i%8 != 0 {
			continue
		}
		language := strings.TrimSuffix(filepath.Base(file), ".json")
		b.language(language)
		for _, path := range []string{"/login/", code} {
			require.Equal(t, http.StatusOK, b.open(path))
			require.Equal(t, language, js[string](b, "document.documentElement.lang"))
			require.Empty(t, b.cutOff(), "%s %s", language, path)
			js[bool](b, `(document.documentElement.style.fontSize = "200%", true)`)
			require.Empty(t, b.cutOff(), "%s %s, large letters", language, path)
		}
	}
}

// TestScreenshots takes pictures to look at.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		return
	}
	require.NoError(t, os.MkdirAll(*screenshots, 0o755))
	for _, s := range states {
		for _, language := range []string{"en", "ar", "he", "ja", "de", "th", "fi"} {
			if language != "en" && s.name != "address" && s.name != "code" && s.name != "code-wrong" {
				continue
			}
			t.Run(s.name+" "+language, func(t *testing.T) {
				t.Parallel()
				b := newTab(t, newSite(t, s.opts))
				b.language(language)
				s.reach(b)
				for _, width := range []int64{360, 1280} {
					b.size(width, 800, 1)
					b.size(width, max(800, js[int64](b, "document.documentElement.scrollHeight")), 1)
					for _, scheme := range []string{"light", "dark"} {
						b.scheme(scheme)
						picture := run(b, chromedp.CaptureScreenshot())
						name := fmt.Sprintf("%s.%s.%s.%d.png", s.name, language, scheme, width)
						require.NoError(t, os.WriteFile(filepath.Join(*screenshots, name), picture, 0o644))
					}
				}
			})
		}
	}
}
