package letter_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

// languages are stubs of these tags.
func languages(t testing.TB, tags ...string) *letter.Letter {
	fsys := files()
	for _, tag := range tags {
		dir := "ltr"
		if tag == "he" || tag == "ar" {
			dir = "rtl"
		}
		fsys["words/"+tag+".json"] = files("x", stub(t, tag, dir, "w"))["x"]
	}
	return newLetter(t, letter.Options{Files: fsys})
}

func TestLetter_Match(t *testing.T) {
	l := languages(t, "de", "fr", "pt-BR", "pt-PT", "nb", "he", "fil", "zh-Hans", "zh-Hant", "sr", "id", "es", "ar")
	for locale, want := range map[string]string{
		"de": "de", "de-AT": "de", "DE-ch": "de", "de_AT": "de", "de-u-co-phonebk": "de", "en-GB": "en",
		"zh": "zh-Hans", "zh-CN": "zh-Hans", "zh-SG": "zh-Hans", "zh-TW": "zh-Hant", "zh-HK": "zh-Hant", "zh-MO": "zh-Hant",
		"pt": "pt-BR", "pt-BR": "pt-BR", "pt-PT": "pt-PT", "pt-AO": "pt-PT",
		"no": "nb", "nn": "nb", "nb-NO": "nb", "iw": "he", "he-IL": "he", "tl": "fil", "in": "id", "sr-RS": "sr", "es-419": "es",
		// Lists and headers.
		"de-AT,en": "de", "xx,de": "de", "fr;q=0.4, de;q=0.8": "de", "de;q=0.1,fr": "fr", "de;q=0,fr;q=0.1": "fr", "de;q=0": "en", "de;q=-1": "en",
		"got, de;q=0.2": "de", "*": "en", "*;q=0.5, de;q=0.1": "de", "de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7": "de",
		"a-very-long-nonsense-tag-x, fr": "fr", "de;q=nonsense,fr": "fr", "de;level=1": "en",
		// What makes no sense or is not there.
		"": "en", "xx": "en", "a,b,c!!": "en", "und": "en", "mul": "en", "C": "en", ";q=1": "en", ",,,": "en", "\x00": "en", "\xff": "en",
		"got": "en", "de\r\nX: y": "en", strings.Repeat("de,", 400): "en", "../../etc/passwd": "en", "root": "en",
	} {
		require.Equal(t, want, l.Match(locale), "%q", locale)
		require.Equal(t, want, l.Match(locale), "%q, remembered", locale)
		d := data("login")
		d.Locale = locale
		m, err := l.Render(d)
		require.NoError(t, err, "%q", locale)
		require.Contains(t, m.HTML, `<html lang="`+want+`"`, "%q", locale)
	}
	var none *letter.Letter
	require.Empty(t, none.Match("de"))
	require.Empty(t, (&letter.Letter{}).Match("de"))
}

func TestOptions_Locale(t *testing.T) {
	fsys := files("words/de.json", stub(t, "de", "ltr", "w"))
	for locale, want := range map[string]string{"": "en", "de": "de", "de-AT": "de", "en-US": "en"} {
		l := newLetter(t, letter.Options{Files: fsys, Locale: locale})
		require.Equal(t, want, l.Match("got"), locale)
		require.Equal(t, want, l.Match(""), locale)
		require.Equal(t, "en", l.Match("en"))
	}
}

// The number of remembered preferences is limited, whatever strangers send.
func TestLetter_Match_bounded(t *testing.T) { // F1
	l := languages(t, "de")
	for i := 1; i <= 5000; i++ {
		require.Equal(t, "de", l.Match("de;q=0."+itoa(i)))
	}
	require.LessOrEqual(t, l.Remembered(), 1024)
	before := l.Remembered()
	require.Equal(t, "de", l.Match("de,"+strings.Repeat("xx,", 60)))
	require.Equal(t, before, l.Remembered(), "long ones are not kept")
}

func TestLetter_concurrent(t *testing.T) {
	l := languages(t, "de", "ar", "fr")
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 200 {
				d := data("pay")
				d.Locale = []string{"de", "ar", "fr", "x-" + itoa(g*1000+i)}[i%4]
				m, err := l.Render(d)
				if err != nil || !strings.Contains(m.Text, d.Code) {
					t.Error(d.Locale, err)
				}
			}
		})
	}
	group.Wait()
}

// Each plural category stands with its numbers.
func TestLetter_plurals(t *testing.T) { // I8
	w := english(t).put("lang", "be").put("minutes", map[string]any{
		"one": "{minutes} one", "few": "{minutes} few", "many": "{minutes} many", "other": "{minutes} other",
	})
	l := newLetter(t, letter.Options{Files: files("words/be.json", w.json())})
	for minutes, want := range map[int]string{1: "one", 2: "few", 5: "many", 11: "many", 21: "one", 22: "few", 100: "many", 1440: "many", 1441: "one"} {
		d := data("login")
		d.Locale, d.Minutes = "be", minutes
		m, err := l.Render(d)
		require.NoError(t, err)
		require.Contains(t, m.Text, "\n"+itoa(minutes)+" "+want+"\n")
		require.Contains(t, m.HTML, ">"+itoa(minutes)+" "+want+"<")
	}
}
