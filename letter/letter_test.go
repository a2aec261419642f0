package letter_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

var kinds = []string{"login", "signup", "change-email", "pay", "delete-account", "export:x", ""}

func data(kind string) letter.Data {
	return letter.Data{Code: "042137", Kind: kind, Reference: "KQZT", Brand: "Acme", Minutes: 10, Support: "help desk"}
}

func render(t testing.TB, d letter.Data) letter.Mail {
	t.Helper()
	l, err := letter.New(nil)
	require.NoError(t, err)
	m, err := l.Render(d)
	require.NoError(t, err)
	return m
}

var tags = regexp.MustCompile(`<[^>]*>|^[^>]*>`)

// visible is the text that a browser shows of a document: no head, no tags.
func visible(doc string) string {
	_, body, _ := strings.Cut(doc, "<body")
	return html.UnescapeString(tags.ReplaceAllString(body, ""))
}

func TestLetter_Render(t *testing.T) {
	intros := map[string]bool{}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			d := data(kind)
			m := render(t, d)
			for _, part := range []string{m.Text, visible(m.HTML)} {
				flat := strings.Join(strings.Fields(part), " ")
				require.Contains(t, flat, "works for 10 minutes")  // I4
				require.Contains(t, flat, "Reference: KQZT")       // F10
				require.Contains(t, flat, "ignore this email")     // I4
				require.Contains(t, flat, "Never share this code") // I4
				require.Contains(t, flat, "Questions? help desk")
				require.Contains(t, flat, "Acme")
				require.Regexp(t, `verification code [^.]{0,90}: 042137 `, flat)           // I6
				require.Len(t, regexp.MustCompile(`\b\d{6}\b`).FindAllString(flat, -1), 1) // I1
			}
			require.Regexp(t, `(?m)^042137$`, m.Text) // I1
			require.Len(t, regexp.MustCompile(`\b\d{6}\b`).FindAllString(m.HTML, -1), 1, "colours count too")
			require.Contains(t, m.HTML, `<strong>042137</strong>`) // I2
			require.NotContains(t, m.Subject, "042137")            // I3
			require.Contains(t, m.Subject, "Acme")
			require.Contains(t, m.Subject, "erification code")
			for _, line := range strings.Split(m.Text, "\n") {
				require.LessOrEqual(t, utf8.RuneCountInString(line), 72)
			}
			require.False(t, strings.Contains(m.Text, "{") || strings.Contains(visible(m.HTML), "{"), "an unknown name in braces")
			intro, _, _ := strings.Cut(m.Text, "\n")
			intros[intro] = true
		})
	}
	require.Len(t, intros, len(kinds)-1, "each kind has its own words")
}

func TestLetter_HTML(t *testing.T) { // F11, I5, I7
	doc := render(t, data("login")).HTML
	require.Contains(t, doc, `<html lang="en" dir="ltr">`)
	require.Contains(t, doc, `<meta name="color-scheme" content="light dark">`)
	require.Contains(t, doc, "prefers-color-scheme: dark")
	for _, never := range []string{"http:", "https:", "href", "src", "<img", "<a ", "url(", "script", "@import", "refresh", "ZgotmplZ", "<no value>"} {
		require.NotContains(t, doc, never)
	}
	require.Contains(t, doc, "font-family:system-ui")
	hidden := regexp.MustCompile(`(?s)<div aria-hidden="true" style="max-height:0;opacity:0;overflow:hidden;mso-hide:all;">(.*?)</div>`).FindStringSubmatch(doc)
	require.Len(t, hidden, 2)
	require.NotContains(t, hidden[1], "042137", "the preview on a locked screen shows no code") // I3
	require.Greater(t, len(hidden[1]), 120, "and no room for it")
	for _, size := range regexp.MustCompile(`font-size:(\d+)px`).FindAllStringSubmatch(doc, -1) {
		require.GreaterOrEqual(t, size[1], "16")
	}
	size := regexp.MustCompile(`class="code" style="[^"]*font-size:(\d+)px`).FindStringSubmatch(doc)
	require.Len(t, size, 2)
	require.GreaterOrEqual(t, size[1], "24")
}

func TestLetter_contrast(t *testing.T) { // I7
	doc := render(t, data("login")).HTML
	light := map[string]string{}
	for _, c := range regexp.MustCompile(`class="(\w+)" style="([^"]*)"`).FindAllStringSubmatch(doc, -1) {
		light[c[1]] += c[2]
	}
	dark := map[string]string{}
	for _, c := range regexp.MustCompile(`(?m)^ +\.(\w+) \{(.*)\}$`).FindAllStringSubmatch(doc, -1) {
		dark[c[1]] += c[2]
	}
	for _, palette := range []map[string]string{light, dark} {
		require.Len(t, palette, 4)
		page := colour(t, palette["page"], "background-color")
		for _, class := range []string{"page", "brand", "small"} {
			require.GreaterOrEqual(t, contrast(colour(t, palette[class], "color"), page), 4.5, class)
		}
		require.GreaterOrEqual(t, contrast(colour(t, palette["code"], "color"), colour(t, palette["code"], "background-color")), 4.5)
	}
}

func TestLetter_minutes(t *testing.T) { // I8
	for minutes, want := range map[int]string{1: "works for 1 minute.", 2: "works for 2 minutes.", 21: "works for 21 minutes.", 1440: "works for 1440 minutes."} {
		d := data("login")
		d.Minutes = minutes
		m := render(t, d)
		require.Contains(t, m.Text, want)
		require.Contains(t, m.HTML, want)
	}
}

func TestLetter_vars(t *testing.T) {
	vars := map[string]string{"brand": "Tenant", "amount": "1,500.00 EUR", "name": "somebody's free text", "tenant": "x"}
	for _, kind := range kinds {
		d := data(kind)
		d.Vars = vars
		m := render(t, d)
		for _, part := range []string{m.Subject + m.Text, m.Subject + m.HTML} {
			require.Contains(t, part, "Tenant")
			require.NotContains(t, part, "Acme")
			require.NotContains(t, part, "free text") // F5
			require.Equal(t, kind == "pay", strings.Contains(part, "1,500.00 EUR"))
		}
	}
	d := data("pay")
	require.NotContains(t, render(t, d).Text, "payment of")
	d.Support, d.Reference = "", ""
	text := render(t, d).Text
	require.NotContains(t, text, "Questions")
	require.NotContains(t, text, "Reference")
	require.NotContains(t, text, "\n\n\n")
}

func TestLetter_SubjectWithCode(t *testing.T) { // I3
	l, err := letter.New(&letter.Options{SubjectWithCode: true})
	require.NoError(t, err)
	m, err := l.Render(data("pay"))
	require.NoError(t, err)
	require.Equal(t, "042137 is your Acme verification code", m.Subject)
}

func TestLetter_strongCode(t *testing.T) {
	d := data("login")
	d.Code = "K7M2QX94TRZPWB"
	m := render(t, d)
	require.Regexp(t, `(?m)^K7M2QX94TRZPWB$`, m.Text)
	require.Contains(t, m.HTML, `<strong>K7M2QX94TRZPWB</strong>`)
}

func TestLetter_valuesAreText(t *testing.T) { // F4
	for _, value := range []string{
		"<a href=//evil.example>x</a>", "{{.Code}}", "{code}", "{brand}", "javascript:alert(1)", "</title><script>", `" onload="x`, "&lt;b&gt;", "<!--",
	} {
		clean := render(t, data("pay")).HTML
		d := data("pay")
		d.Brand, d.Support, d.Reference = value, value, value
		d.Vars = map[string]string{"amount": value}
		m := render(t, d)
		require.Equal(t, strings.Count(clean, "<")+2, strings.Count(m.HTML, "<"), "no tag but those of the amount: %s", value)
		require.Equal(t, 1, strings.Count(m.Text, "042137"), value)
		require.Equal(t, 1, strings.Count(m.HTML, "042137"), value)
		require.Contains(t, strings.Join(strings.Fields(m.Text), " "), "Reference: "+value)
		require.Contains(t, visible(m.HTML), "Reference: "+value)
	}
}

func TestLetter_refuses(t *testing.T) { // F1
	l, err := letter.New(nil)
	require.NoError(t, err)
	set := map[string]func(d *letter.Data, v string){
		"Brand":     func(d *letter.Data, v string) { d.Brand = v },
		"Support":   func(d *letter.Data, v string) { d.Support = v },
		"Reference": func(d *letter.Data, v string) { d.Reference = v },
		"Code":      func(d *letter.Data, v string) { d.Code = v },
		"brand":     func(d *letter.Data, v string) { d.Vars = map[string]string{"brand": v} },
		"amount":    func(d *letter.Data, v string) { d.Vars = map[string]string{"amount": v} },
	}
	for field, change := range set {
		for _, bad := range []string{"x\r\nBcc: a@b.example", "x\n", "\rx", "x\x00", "x\x1b[2J", "x\u0085", "x\u2028y", "x\u2029", "x\u202ey", "\u2066x\u2069", "\u200fx", "x\xff"} {
			d := data("pay")
			change(&d, bad)
			m, err := l.Render(d)
			require.Error(t, err, "%s %q", field, bad)
			require.Zero(t, m)
			require.NotContains(t, err.Error(), "x")
		}
	}
	for name, change := range map[string]func(d *letter.Data){
		"no code":        func(d *letter.Data) { d.Code = "" },
		"code spaced":    func(d *letter.Data) { d.Code = "042 137" },
		"code not ASCII": func(d *letter.Data) { d.Code = "０４２１３７" },
		"no brand":       func(d *letter.Data) { d.Brand = "" },
		"no minutes":     func(d *letter.Data) { d.Minutes = 0 },
		"long brand":     func(d *letter.Data) { d.Vars = map[string]string{"brand": strings.Repeat("é", 65)} }, // F5
		"web brand":      func(d *letter.Data) { d.Vars = map[string]string{"brand": "win at WWW.evil.example"} },
		"web amount":     func(d *letter.Data) { d.Vars = map[string]string{"amount": "https://evil.example"} },
	} {
		d := data("pay")
		change(&d)
		_, err := l.Render(d)
		require.Error(t, err, name)
	}
	_, err = (&letter.Letter{}).Render(data(""))
	require.Error(t, err)
}

func TestLetter_wrap(t *testing.T) {
	d := data("login")
	d.Brand = strings.TrimSpace(strings.Repeat("größe ", 60))
	d.Support = strings.Repeat("y", 200)
	m := render(t, d)
	for _, line := range strings.Split(m.Text, "\n") {
		if line != d.Support {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 72)
		}
		require.Equal(t, strings.TrimSpace(line), line)
	}
	require.Contains(t, strings.Join(strings.Fields(m.Text), " "), d.Brand)
	require.Contains(t, m.Text, "\n"+d.Support+"\n")
}

func BenchmarkLetter_Render(b *testing.B) {
	l, err := letter.New(nil)
	require.NoError(b, err)
	for _, locale := range []string{"en", "de-AT,de;q=0.9,en;q=0.8", "ar", "ta", "ja"} {
		b.Run(locale, func(b *testing.B) {
			d := data("login")
			d.Locale = locale
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Render(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := letter.New(nil); err != nil {
			b.Fatal(err)
		}
	}
}
