package letter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

// Whatever the values, a mail is refused or shows the code once and whole, has
// no markup but its own, and is what html/template and text/template make.
func FuzzRender(f *testing.F) { // F1, F4, I1
	f.Add("042137", "login", "en", "Acme", "help@example.com", "KQZT", "1,500.00 EUR", 10)
	f.Add("K7M2-QX94", "pay", "ps, de", "A&<b>\"'+`{{.Code}}{code}", "שלום", "<!--", "</title><script>", 1)
	f.Add("1", "", "zz;q", strings.Repeat("字", 60), strings.Repeat("สวัสดี", 30), "\u00ad", "١٢٣", 1440)
	l := newLetter(f, letter.Options{Files: files("words/ps.json", stub(f, "ps", "rtl", "کلمه"), "words/ja.json", stub(f, "ja", "ltr", "語"))})
	clean := map[string]letter.Mail{}
	f.Fuzz(func(t *testing.T, code, kind, locale, brand, support, reference, amount string, minutes int) {
		d := letter.Data{
			Code: code, Kind: kind, Locale: locale, Brand: brand, Support: support, Reference: reference, Minutes: minutes,
			Vars: map[string]string{"amount": amount},
		}
		m, err := l.Render(d)
		if err != nil {
			require.Zero(t, m)
			return
		}
		again, err := l.RenderByTemplate(d)
		require.NoError(t, err)
		require.Equal(t, again, m)

		require.NotContains(t, m.Subject, "\n")
		require.Contains(t, "\n"+strings.NewReplacer("\u2066", "", "\u2069", "").Replace(m.Text), "\n"+code+"\n")
		require.Contains(t, strings.ReplaceAll(visible(m.HTML), "\n", " "), code)
		checkWrapped(t, m.Text, m.Text)

		// The same mail with harmless values has the same tags.
		key := l.Match(locale) + " " + kind
		if reference == "" || support == "" || amount == "" || len(clean) > 100 {
			return
		}
		if _, ok := clean[key]; !ok {
			d.Code, d.Brand, d.Support, d.Reference, d.Minutes = "x", "x", "x", "x", 1
			d.Vars = map[string]string{"amount": "x"}
			clean[key], err = l.Render(d)
			require.NoError(t, err)
		}
		require.Equal(t, strings.Count(clean[key].HTML, "<"), strings.Count(m.HTML, "<"))
	})
}
