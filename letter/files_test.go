package letter_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/phrases"
	"github.com/go-mailotp/otp/letter"
)

// files makes a folder of names and contents by turns.
func files(namesAndContents ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(namesAndContents); i += 2 {
		fsys[namesAndContents[i]] = &fstest.MapFile{Data: []byte(namesAndContents[i+1])}
	}
	return fsys
}

// words are a file of words as JSON has it.
type words map[string]any

func english(t testing.TB) words {
	t.Helper()
	raw, err := os.ReadFile("words/en.json")
	require.NoError(t, err)
	var w words
	require.NoError(t, json.Unmarshal(raw, &w))
	return w
}

// put sets the value of a key such as "kinds/login/intro"; nil removes it.
func (w words) put(key string, value any) words {
	group := map[string]any(w)
	names := strings.Split(key, "/")
	for _, name := range names[:len(names)-1] {
		next, ok := group[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			group[name] = next
		}
		group = next
	}
	if value == nil {
		delete(group, names[len(names)-1])
	} else {
		group[names[len(names)-1]] = value
	}
	return w
}

func (w words) json() string {
	raw, _ := json.Marshal(w)
	return string(raw)
}

// stub is a language whose sentences are the English ones after its tag, with
// word for every word.
func stub(t testing.TB, tag, dir, word string) string {
	w := english(t)
	w["lang"], w["dir"] = tag, dir
	forms := map[string]any{"other": "x {minutes} " + tag}
	for n := range 1441 {
		forms[phrases.Category(language.Make(tag), n)] = "x {minutes} " + tag
	}
	w["minutes"] = forms
	letters := regexp.MustCompile(`(\{)?\b[A-Za-z]+\b`)
	var change func(map[string]any)
	change = func(group map[string]any) {
		for key, v := range group {
			switch v := v.(type) {
			case map[string]any:
				change(v)
			case string:
				if key == "lang" || key == "dir" {
					continue
				}
				group[key] = letters.ReplaceAllStringFunc(v, func(s string) string {
					if s[0] == '{' {
						return s
					}
					return word
				})
			}
		}
	}
	change(w)
	return w.json()
}

func newLetter(t testing.TB, opts letter.Options) *letter.Letter {
	t.Helper()
	l, err := letter.New(&opts)
	require.NoError(t, err)
	return l
}

// Every language has the same sentences with the same values, and every mail
// of every kind says what it must.
func TestBuiltin(t *testing.T) { // I1, I2, I3, I4, I5, I8
	l := newLetter(t, letter.Options{})
	require.Contains(t, l.Languages(), "en")
	require.Equal(t, []string{"", "change-email", "delete-account", "login", "pay", "signup"}, l.Kinds())
	withCode := newLetter(t, letter.Options{SubjectWithCode: true})
	for _, tag := range l.Languages() {
		require.Equal(t, tag, l.Match(tag))
		openingTag := regexp.MustCompile(`<html lang="` + tag + `" dir="(ltr|rtl)">`)
		for _, kind := range l.Kinds() {
			several := []int{10}
			if kind == "" {
				several = []int{1, 2, 3, 5, 10, 11, 21, 100, 101, 1440, 100_000}
			}
			for _, minutes := range several {
				d := data(kind)
				d.Locale, d.Minutes = tag, minutes
				d.Vars = map[string]string{"amount": "1,500.00 EUR"}
				m, err := l.Render(d)
				require.NoError(t, err)
				require.NotContains(t, m.Subject, d.Code)
				require.Contains(t, m.Subject, "Acme")
				require.Contains(t, "\n"+m.Text, "\n042137\n")
				require.Contains(t, m.HTML, "\n<strong>042137</strong></p>")
				require.Regexp(t, openingTag, m.HTML)
				for _, part := range []string{m.Text, visible(m.HTML)} {
					if minutes < 100_000 { // which has six digits
						require.Equal(t, []string{"042137"}, sixDigits.FindAllString(part, -1))
					}
					for _, must := range []string{"Acme", "KQZT"} {
						require.Contains(t, part, must)
					}
					require.Contains(t, part, itoa(minutes))
					flat := strings.Join(strings.Fields(part), " ")
					require.Contains(t, flat, "help desk")
					require.Equal(t, kind == "pay", strings.Contains(flat, "1,500.00 EUR"))
					require.NotRegexp(t, markupOrLink, part)
				}
				// Spam filters count invisible styles: the hidden first line has none of these.
				for _, never := range []string{"display:", "visibility", "http", "src=", "href", "url(", "<img", "<a ", "ZgotmplZ"} {
					require.NotContains(t, m.HTML, never)
				}
				for line := range strings.Lines(m.Text) {
					require.LessOrEqual(t, columnsOf(strings.TrimSuffix(line, "\n")), 72, line)
				}
				again, err := l.RenderByTemplate(d)
				require.NoError(t, err)
				require.Equal(t, again, m, "cut templates say what executed ones say")
				m, err = withCode.Render(d)
				require.NoError(t, err)
				require.Contains(t, m.Subject, d.Code)
			}
		}
	}
}

var (
	sixDigits    = regexp.MustCompile(`\b\d{6}\b`)
	markupOrLink = regexp.MustCompile(`[{}]|://|www\.`)
)

func columnsOf(s string) (n int) {
	for _, r := range s {
		n += letter.Columns(r)
	}
	return n
}

func TestFiles_words(t *testing.T) { // I8
	l := newLetter(t, letter.Options{Files: files(
		"words/en.json", `{"share": "{brand} never asks for it.", "kinds": {"login": {"intro": "Sign in to {brand}:"}}}`,
		"words/en-AU.json", `{"lang": "en-AU", "kinds": {"signup": {"intro": "Join {brand}:"}}}`,
		"words/ps.json", stub(t, "ps", "rtl", "کلمه"),
	)})
	require.Subset(t, l.Languages(), []string{"en", "en-AU", "ps"})
	for locale, want := range map[string][]string{
		"en":    {"Sign in to Acme:", "Acme never asks for it."},
		"en-AU": {"Sign in to Acme:", "Acme never asks for it."},
		"ps":    {"کلمه کلمه کلمه کلمه کلمه کلمه \u2068Acme\u2069 کلمه:"},
	} {
		d := data("login")
		d.Locale = locale
		m, err := l.Render(d)
		require.NoError(t, err)
		for _, s := range want {
			require.Contains(t, m.Text, s, locale)
		}
		require.Contains(t, m.HTML, `lang="`+locale+`"`)
	}
	d := data("signup")
	d.Locale = "en-AU"
	m, err := l.Render(d)
	require.NoError(t, err)
	require.Contains(t, m.Text, "Join Acme:")
	d.Locale = "en-US"
	m, err = l.Render(d)
	require.NoError(t, err)
	require.NotContains(t, m.Text, "Join Acme:")
}

// Words are text: what would be markup is shown as it is.
func TestFiles_wordsAreText(t *testing.T) { // F4
	l := newLetter(t, letter.Options{Files: files("words/en.json", `{"share": "<b>{brand}&\"+'</b>"}`)})
	m, err := l.Render(data("login"))
	require.NoError(t, err)
	require.Contains(t, m.Text, `<b>Acme&"+'</b>`)
	require.Contains(t, m.HTML, `<p style="margin:0 0 8px;">&lt;b&gt;Acme&amp;&#34;&#43;&#39;&lt;/b&gt;</p>`)
	again, err := l.RenderByTemplate(data("login"))
	require.NoError(t, err)
	require.Equal(t, again, m)
}

func TestFiles_kinds(t *testing.T) { // I4
	l := newLetter(t, letter.Options{Files: files(
		"words/en.json", `{"kinds": {"export.v2": {"subject": "Export from {brand}", "intro": "Export from {brand}:", "amount": "{amount} files.", "ignore": "Nothing leaves without the code."}}}`,
		"words/ps.json", stub(t, "ps", "rtl", "کلمه"),
	)})
	require.Contains(t, l.Kinds(), "export.v2")
	d := data("export.v2")
	d.Vars = map[string]string{"amount": "12"}
	m, err := l.Render(d)
	require.NoError(t, err)
	require.Equal(t, "Export from Acme", m.Subject)
	require.Contains(t, m.Text, "12 files.\n\nExport from Acme:\n")
	d.Locale = "ps" // has no such kind: its general words
	m, err = l.Render(d)
	require.NoError(t, err)
	require.NotContains(t, m.Text, "Export")
	require.NotContains(t, m.Text, "12")
}

func TestFiles_templates(t *testing.T) { // F4, F5
	l := newLetter(t, letter.Options{Files: files(
		"words/ps.json", stub(t, "ps", "rtl", "کلمه"),
		"mail.txt.tmpl", "{{.Brand}} {{.Kind}}\n{{.Intro}}\n{{.Code}}\n{{.Minutes}}\n{{with .Var \"order\"}}Order {{.}}{{end}}{{with .Support}}{{.}}{{end}}\n",
		"mail.ps.html.tmpl", `<body dir="{{.Dir}}" style="color:{{.Colors.Light.Text}}"><a href="https://acme.example">{{.Brand}}</a> {{.Intro}} {{.Ignore}} <b>{{.Code}}</b> {{.Minutes}}`,
	)})
	d := data("login")
	d.Support = ""
	d.Brand = "A<b>&C"
	d.Vars = map[string]string{"order": "77-12", "other": "https://evil.example"}
	m, err := l.Render(d)
	require.NoError(t, err)
	require.Equal(t, "A<b>&C login\nYour verification code to sign in to A<b>&C is:\n042137\nThe code works for 10 minutes.\nOrder 77-12\n", m.Text)
	require.Contains(t, m.HTML, "<!DOCTYPE html>", "the built-in one")

	d.Locale = "ps"
	m, err = l.Render(d)
	require.NoError(t, err)
	require.Contains(t, m.HTML, "<body dir=\"rtl\" style=\"color:#1c1e21\"><a href=\"https://acme.example\">\u2068A&lt;b&gt;&amp;C\u2069</a>")
	require.Contains(t, m.HTML, "\u2068A&lt;b&gt;&amp;C\u2069")
	require.NotContains(t, m.HTML, "A<b>")

	d.Vars["order"] = "https://evil.example"
	_, err = l.Render(d)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "evil")
}
