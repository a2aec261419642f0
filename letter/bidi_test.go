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

// displayed returns the lines of a text as a screen shows them, from left to
// right, without invisible signs. base is rtl, ltr, or empty for the direction
// of each line's first letter.
func displayed(t *testing.T, text, base string) string {
	t.Helper()
	args := []string{"--nopad", "--nobreak", "--clean", "--width", "10000"}
	if base != "" {
		args = append(args, "--"+base)
	}
	cmd := exec.Command("fribidi", args...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

// shownAsHTML is the text of a document with Unicode isolates for bdi.
func shownAsHTML(doc string) string {
	_, body, _ := strings.Cut(doc, "<body")
	body = strings.NewReplacer(`<bdi dir="ltr">`, "\u2066", "<bdi>", "\u2068", "</bdi>", "\u2069").Replace("<body" + body)
	return visible("<body" + body)
}

// In every language that runs from right to left, and with values that turn
// round in every other, the screen shows the code, the numbers and the values
// as they are.
func TestBidi(t *testing.T) { // I2
	if servers.Binary("fribidi") == "" {
		testkit.Skip(t, "the order of digits on the screen is not tested: the program fribidi is missing (Debian: libfribidi-bin)")
	}
	require.Equal(t, "456 123 אב\n", displayed(t, "בא 123 456\n", ""), "fribidi shows the danger")

	l := newLetter(t, letter.Options{SubjectWithCode: true, Files: files("words/ps.json", stub(t, "ps", "rtl", "کلمه"), "words/yi.json", stub(t, "yi", "rtl", "װאָרט"))})
	rtl := regexp.MustCompile(`dir="rtl"`)
	tested := 0
	for _, tag := range l.Languages() {
		for _, kind := range l.Kinds() {
			for _, code := range []string{"042137", "K7M2QX94TRZPWB", "7K2MBCDF", "12-34_56", "+12/34"} {
				d := letter.Data{
					Code: code, Kind: kind, Locale: tag, Brand: "C++ (Acme) 24", Reference: "KQZT",
					Support: "+49 30 90-18.20", Minutes: 15, Vars: map[string]string{"amount": "EUR 1,500.00"},
				}
				m, err := l.Render(d)
				require.NoError(t, err)
				if !rtl.MatchString(m.HTML) {
					continue
				}
				tested++
				for _, base := range []string{"rtl", "", "ltr"} {
					for _, part := range []string{m.Text, shownAsHTML(m.HTML)} {
						shown := displayed(t, part, base)
						require.Regexp(t, `(?m)^\s*`+regexp.QuoteMeta(code)+`\s*$`, shown, "%s %s", tag, base)
						flat := strings.Join(strings.Fields(shown), " ")
						for _, value := range []string{d.Support, d.Reference, "15"} {
							require.Contains(t, flat, value, "%s %s %s", tag, kind, base)
						}
						require.Contains(t, shown, d.Brand, "%s %s %s", tag, kind, base)
						if kind == "pay" {
							require.Contains(t, flat, "EUR 1,500.00", "%s %s", tag, base)
						}
					}
					if code == "042137" {
						require.Contains(t, displayed(t, m.Subject+"\n", base), code, "%s %s", tag, base)
					} else { // a subject has no isolates
						require.NotContains(t, m.Subject, code)
					}
				}
			}
		}
	}
	require.GreaterOrEqual(t, tested, 2*6*5)

	// A brand of the other direction in languages from left to right.
	m, err := l.Render(letter.Data{Code: "042137", Kind: "login", Brand: "שלום 24", Reference: "KQZT", Support: "טל 03-123", Minutes: 15})
	require.NoError(t, err)
	require.Contains(t, m.Text, "sign in to \u2068שלום 24\u2069 is:")
	require.Contains(t, m.HTML, "sign in to <bdi>שלום 24</bdi> is:")
	require.Contains(t, m.Subject, "042137")
	require.Contains(t, displayed(t, m.Subject+"\n", "ltr"), "042137")
	require.Contains(t, displayed(t, m.Text, "ltr"), "sign in to 24 םולש is:")
}
