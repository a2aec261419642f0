package letter_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/letter"
)

// displayed returns the lines of each text as a screen shows them, from left to
// right, without invisible signs. base is rtl, ltr, or empty for the direction
// of each line's first letter. One process of fribidi shows all the texts: it
// treats each line on its own.
func displayed(t *testing.T, base string, texts ...string) []string {
	t.Helper()
	const end = "----\n" // in no mail, and the same in every direction
	args := []string{"--nopad", "--nobreak", "--clean", "--width", "10000"}
	if base != "" {
		args = append(args, "--"+base)
	}
	cmd := exec.Command("fribidi", args...)
	cmd.Stdin = strings.NewReader(strings.Join(texts, end) + end)
	out, err := cmd.Output()
	require.NoError(t, err)
	shown := strings.SplitAfter(string(out), end)
	require.Len(t, shown, len(texts)+1)
	for i := range texts {
		shown[i] = strings.TrimSuffix(shown[i], end)
	}
	return shown[:len(texts)]
}

var leftToRight = regexp.MustCompile(`(?s)<p dir="ltr"[^>]*>\s*(.*?)</p>`)

// shownAsHTML is the text of a document, with Unicode isolates for paragraphs
// with a direction of their own. Tags are removed without any effect: Gmail,
// Outlook and Yahoo do so with bdi.
func shownAsHTML(doc string) string {
	return visible(leftToRight.ReplaceAllString(doc, "\u2066$1\u2069"))
}

// In every language that runs from right to left, and with values that turn
// round in every other, the screen shows the code, the numbers and the values
// as they are.
func TestBidi(t *testing.T) { // I2
	if servers.Binary("fribidi") == "" {
		testkit.Skip(t, "the order of digits on the screen is not tested: the program fribidi is missing (Debian: libfribidi-bin)")
	}
	require.Equal(t, "456 123 אב\n", displayed(t, "", "בא 123 456\n")[0], "fribidi shows the danger")

	l := newLetter(t, letter.Options{SubjectWithCode: true, Files: files("words/ps.json", stub(t, "ps", "rtl", "کلمه"), "words/yi.json", stub(t, "yi", "rtl", "װאָרט"))})
	codeLines := map[string]*regexp.Regexp{}
	for _, code := range []string{"042137", "K7M2QX94TRZPWB", "7K2MBCDF", "12-34_56", "+12/34"} {
		codeLines[code] = regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(code) + `\s*$`)
	}
	var mails []letter.Data
	var texts []string // three of each mail: text, HTML, subject
	for _, tag := range l.Languages() {
		for _, kind := range l.Kinds() {
			for code := range codeLines {
				d := letter.Data{
					Code: code, Kind: kind, Locale: tag, Brand: "C++ (Acme) 24", Reference: "KQZT",
					Support: "+49 30 90-18.20", Minutes: 15, Vars: map[string]string{"amount": "EUR 1,500.00"},
				}
				m, err := l.Render(d)
				require.NoError(t, err)
				if !strings.Contains(m.HTML, `dir="rtl"`) {
					require.False(t, strings.ContainsAny(m.Text+m.HTML, "\u2066\u2068\u2069"), "%s needs no isolates", tag)
					continue
				}
				if code != "042137" { // a subject has no isolates
					require.NotContains(t, m.Subject, code)
				}
				mails = append(mails, d)
				texts = append(texts, m.Text, shownAsHTML(m.HTML), m.Subject+"\n")
			}
		}
	}
	require.GreaterOrEqual(t, len(mails), 2*6*5)
	for _, base := range []string{"rtl", "", "ltr"} {
		shown := displayed(t, base, texts...)
		for i, d := range mails {
			for _, part := range shown[3*i : 3*i+2] {
				require.Regexp(t, codeLines[d.Code], part, "%s %s", d.Locale, base)
				flat := strings.Join(strings.Fields(part), " ")
				for _, value := range []string{d.Support, d.Reference, "15"} {
					require.Contains(t, flat, value, "%s %s %s", d.Locale, d.Kind, base)
				}
				require.Contains(t, part, d.Brand, "%s %s %s", d.Locale, d.Kind, base)
				if d.Kind == "pay" {
					require.Contains(t, flat, "EUR 1,500.00", "%s %s", d.Locale, base)
				}
			}
			if d.Code == "042137" {
				require.Contains(t, shown[3*i+2], d.Code, "%s %s", d.Locale, base)
			}
		}
	}

	// A brand of the other direction in languages from left to right.
	m, err := l.Render(letter.Data{Code: "042137", Kind: "login", Brand: "שלום 24", Reference: "KQZT", Support: "טל 03-123", Minutes: 15})
	require.NoError(t, err)
	require.Contains(t, m.Text, "sign in to \u2068שלום 24\u2069 is:")
	require.Contains(t, m.HTML, "sign in to \u2068שלום 24\u2069 is:")
	require.Contains(t, m.Subject, "042137")
	shown := displayed(t, "ltr", m.Subject+"\n", m.Text)
	require.Contains(t, shown[0], "042137")
	require.Contains(t, shown[1], "sign in to 24 םולש is:")
}

// The values are shown in order in mail programs that drop the tags that they do
// not know. The code contains no invisible characters, so that it can be copied.
func TestBidi_tagsAreDropped(t *testing.T) { // I2
	if servers.Binary("fribidi") == "" {
		testkit.Skip(t, "the order of digits on the screen is not tested: the program fribidi is missing (Debian: libfribidi-bin)")
	}
	values := []string{"+49 30 1234 567", "3M C++", "1,500.00 EUR."}
	var texts []string // two of each mail: as it is, and without isolates
	for _, locale := range []string{"ar", "he", "fa", "ur"} {
		m := render(t, letter.Data{
			Code: "042137", Kind: "pay", Locale: locale, Support: values[0], Brand: values[1], Reference: "KQZT", Minutes: 10,
			Vars: map[string]string{"amount": values[2]},
		})
		require.Contains(t, m.HTML, `<html lang="`+locale+`" dir="rtl">`)
		require.Contains(t, m.HTML, ">042137<")
		text := shownAsHTML(m.HTML)
		texts = append(texts, text, strings.NewReplacer("\u2068", "", "\u2069", "").Replace(text))
	}
	for i, shown := range displayed(t, "rtl", texts...) {
		for _, value := range values {
			require.Equal(t, i%2 == 0, strings.Contains(shown, value), "%s in\n%s", value, shown)
		}
	}
}
