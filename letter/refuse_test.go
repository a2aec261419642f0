package letter_test

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

func itoa(n int) string { return strconv.Itoa(n) }

// New refuses words that would send a mail without what it is for, and names
// the file and the key.
func TestNew_refusesWords(t *testing.T) { // F1, F4, I1, I3, I4, I5, I6, I8
	change := func(key string, value any) string { return english(t).put(key, value).json() }
	for name, c := range map[string]struct{ file, content, key string }{
		"not JSON":              {"en", `{"lang": "en",`, "EOF"},
		"not an object":         {"en", `["en"]`, "object"},
		"more than an object":   {"en", `{} {}`, "data after the JSON object"},
		"not UTF-8":             {"en", "{\"share\": \"{brand} \xff\"}", "UTF-8"},
		"comma at the end":      {"en", "{\n\"support\": \"Q {support}\",\n}\n", "line 3"},
		"no comma":              {"en", "{\n\"support\": \"Q {support}\"\n\"share\": \"{brand}\"}\n", "line 3"},
		"unknown key":           {"en", `{"shared": "{brand}"}`, "shared"},
		"key in other case":     {"en", `{"Share": "{brand}"}`, "Share"},
		"key of a kind":         {"en", `{"kinds": {"login": {"intr": "{brand}"}}}`, "kinds.login.intr"},
		"no kind":               {"en", `{"kinds": {"login": "{brand}"}}`, "kinds.login"},
		"kind with a colon":     {"en", `{"kinds": {"pay:x": {"subject": "{brand}", "intro": "{brand}", "ignore": "x"}}}`, "kinds.pay:x"},
		"half a kind":           {"en", `{"kinds": {"export": {"subject": "{brand}", "intro": "{brand}"}}}`, "kinds.export.ignore"},
		"a group for a word":    {"en", `{"share": {"x": "{brand}"}}`, "share"},
		"a number for a word":   {"en", `{"share": 1}`, "share"},
		"twice":                 {"en", `{"share": "{brand}", "share": "{brand}!"}`, "share"},
		"empty":                 {"en", `{"share": ""}`, "share"},
		"spaces at an end":      {"en", `{"share": "{brand} "}`, "share"},
		"lost the brand":        {"en", change("share", "Never share it."), "share"},
		"lost the code":         {"en", change("subjectWithCode", "{brand}"), "subjectWithCode"},
		"lost the minutes":      {"en", change("minutes/one", "One minute."), "minutes.one"},
		"lost the reference":    {"en", change("reference", "See the page."), "reference"},
		"lost the support":      {"en", change("support", "Call us."), "support"},
		"lost the amount":       {"en", change("kinds/pay/amount", "A payment."), "kinds.pay.amount"},
		"lost the brand, kind":  {"en", change("kinds//intro", "Your code:"), "kinds..intro"},
		"code twice":            {"en", change("subjectWithCode", "{code} {code} {brand}"), "subjectWithCode"},
		"code in a subject":     {"en", change("kinds/login/subject", "{code} {brand}"), "kinds.login.subject"},
		"code in the intro":     {"en", change("kinds/login/intro", "{brand} {code}"), "kinds.login.intro"},
		"unknown value":         {"en", change("share", "{brand} {name}"), "share"},
		"value in other case":   {"en", change("share", "{Brand}"), "share"},
		"empty braces":          {"en", change("share", "{brand} {}"), "share"},
		"open brace":            {"en", change("share", "{brand} {"), "share"},
		"open brace with name":  {"en", change("share", "{brand"), "share"},
		"closed brace":          {"en", change("share", "{brand} }"), "share"},
		"brace in brace":        {"en", change("share", "{{brand}}"), "share"},
		"plural missing":        {"eo", english(t).put("lang", "eo").put("minutes/one", nil).json(), "minutes.one"},
		"plural other missing":  {"ja", strings.Replace(stub(t, "ja", "ltr", "x"), `"other"`, `"two"`, 1), "minutes.two"},
		"plural never used":     {"en", change("minutes/few", "{minutes}"), "minutes.few"},
		"plural unknown":        {"en", change("minutes/plenty", "{minutes}"), "minutes.plenty"},
		"lang of another":       {"en", change("lang", "de"), "lang"},
		"dir of another":        {"en", change("dir", "rtl"), "dir"},
		"dir of Arabic":         {"ps", stub(t, "ps", "ltr", "x"), "dir"},
		"dir unknown":           {"en", change("dir", "LTR"), "dir"},
		"new without dir":       {"eo", english(t).put("lang", "eo").put("dir", nil).json(), "dir"},
		"new without a kind":    {"eo", english(t).put("lang", "eo").put("kinds/pay", nil).json(), "kinds.pay"},
		"new without amount":    {"eo", english(t).put("lang", "eo").put("kinds/pay/amount", nil).json(), "kinds.pay.amount"},
		"new without share":     {"eo", english(t).put("lang", "eo").put("share", nil).json(), "share"},
		"no language":           {"xx-not", `{}`, "language"},
		"undetermined":          {"und", `{}`, "language"},
		"old tag":               {"iw", `{}`, "he"},
		"tag in other case":     {"EN", `{}`, "en"},
		"underscore":            {"en_GB", `{}`, "en-GB"},
		"line break":            {"en", change("share", "{brand}\r\nBcc: a@b.example"), "share"},
		"control":               {"en", change("share", "{brand}\x1b[2J"), "share"},
		"bidi override":         {"en", change("share", "{brand} \u202ecode"), "share"},
		"bidi isolate":          {"en", change("share", "\u2068{brand}\u2069"), "share"},
		"soft hyphen":           {"en", change("share", "{brand} an\u00adswer"), "share"},
		"byte order mark":       {"en", change("share", "{brand}\ufeff x"), "share"},
		"number like a code":    {"en", change("kinds/login/intro", "{brand} 123456:"), "kinds.login.intro"},
		"number of other signs": {"en", change("kinds/login/intro", "{brand} ١٢٣٤٥٦:"), "kinds.login.intro"},
		"link":                  {"en", change("share", "{brand}: https://acme.example"), "share"},
		"bare link":             {"en", change("share", "{brand}: WWW.acme.example"), "share"},
		"remote content":        {"en", change("share", "{brand} <img SRC=//acme.example>"), "share"},
		"remote style":          {"en", change("share", "{brand} url(x)"), "share"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := letter.New(&letter.Options{Files: files("words/"+c.file+".json", c.content)})
			require.Error(t, err)
			require.Contains(t, err.Error(), "letter: words/"+c.file+".json: ")
			require.Contains(t, err.Error(), c.key)
		})
	}
}

func TestNew_refusesTemplates(t *testing.T) { // F4, F6, I1, I4
	const good = `{{.Brand}} {{.Code}} {{.Minutes}}`
	for name, c := range map[string]struct{ file, content, says string }{
		"does not parse":         {"mail.txt.tmpl", `{{.Code`, "mail.txt.tmpl"},
		"unknown field":          {"mail.txt.tmpl", good + `{{.Name}}`, "Name"},
		"unknown field, HTML":    {"mail.html.tmpl", good + `{{.Name}}`, "Name"},
		"unknown field, rarely":  {"mail.txt.tmpl", good + `{{with .Support}}{{else}}{{.Name}}{{end}}`, "Name"},
		"lost the code":          {"mail.txt.tmpl", `{{.Brand}} {{.Minutes}}`, "code"},
		"lost the code, HTML":    {"mail.html.tmpl", `{{.Brand}} {{.Minutes}}`, "code"},
		"lost the code, at pay":  {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} {{if ne .Kind "pay"}}{{.Code}}{{end}}`, "pay"},
		"lost the code, ps":      {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} {{if ne .Lang "ps"}}{{.Code}}{{end}}`, " ps"},
		"lost the minutes":       {"mail.html.tmpl", `{{.Brand}} {{.Code}}`, "minutes"},
		"lost the brand":         {"mail.html.tmpl", `{{.Minutes}} {{.Code}}`, "brand"},
		"code twice":             {"mail.html.tmpl", good + `{{.Code}}`, "2 times"},
		"code twice, text":       {"mail.txt.tmpl", good + `{{.Code}}`, "2 times"},
		"code in pieces":         {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} {{slice .Code 0 3}} {{slice .Code 3}}`, "piece"},
		"code in pieces, text":   {"mail.txt.tmpl", `{{.Brand}} {{.Minutes}} {{slice .Code 0 3}}-{{slice .Code 3}}`, "piece"},
		"code in boxes":          {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} {{range .Code}}<b>{{.}}</b>{{end}}`, ""},
		"code in an attribute":   {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} <input value="{{.Code}}">`, "code"},
		"code in a comment":      {"mail.html.tmpl", `{{.Brand}} {{.Minutes}} <!-- {{.Code}} -->`, "code"},
		"code in the head":       {"mail.html.tmpl", `<title>{{.Code}}</title><body>{{.Brand}} {{.Minutes}}`, "code"},
		"code in a script":       {"mail.html.tmpl", `<script>x = {{.Code}}`, ""},
		"another language's":     {"mail.eo.html.tmpl", good, "words"},
		"name without a kind":    {"mail.tmpl", good, "mail.html.tmpl"},
		"name of another":        {"letter.html.tmpl", good, "mail.html.tmpl"},
		"name without a dot":     {"mailps.html.tmpl", good, "mail.html.tmpl"},
		"name with an empty tag": {"mail..html.tmpl", good, "mail.html.tmpl"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := letter.New(&letter.Options{Files: files(c.file, c.content, "words/ps.json", stub(t, "ps", "rtl", "کلمه"))})
			require.Error(t, err)
			require.Contains(t, err.Error(), "letter: ")
			require.Contains(t, err.Error(), c.file)
			require.Contains(t, err.Error(), c.says)
		})
	}
}

// The texts next to the code are not links and do not look like a code.
func TestRender_refusesBesideCode(t *testing.T) { // I5, I6
	l := newLetter(t, letter.Options{})
	for name, c := range map[string]struct {
		brand, support, says string
	}{
		"digits in the brand":   {"Studio 202612", "", "brand: contains six digits"},
		"digits in the support": {"Acme", "+493090182000", "support: contains six digits"},
		"digits of other signs": {"Acme", "٠٣٠١٢٣٤٥", "support: contains six digits"},
		"link":                  {"Acme", "HTTPS://acme.example/help", "support: must not contain a web address"},
		"link without scheme":   {"Acme", "www.acme.example", "support: must not contain a web address"},
	} {
		d := data("login")
		d.Brand, d.Support = c.brand, c.support
		_, err := l.Render(d)
		require.ErrorContains(t, err, c.says, name)
	}
	d := data("login")
	d.Brand, d.Support = "Studio 2026", "+49 30 90 18 20"
	_, err := l.Render(d)
	require.NoError(t, err)
}

func TestNew_refusesOptions(t *testing.T) {
	for name, opts := range map[string]letter.Options{
		"locale is none":    {Locale: "a,b"},
		"locale not there":  {Locale: "got"},
		"nothing in Files":  {Files: fstest.MapFS{}},
		"one folder too up": {Files: files("mail/words/en.json", `{}`)},
		"Files fails":       {Files: broken{files("words/en.json", `{}`)}},
		"no color":          {Colors: letter.Colors{Light: letter.Palette{Accent: "red"}}},
		"short color":       {Colors: letter.Colors{Light: letter.Palette{Accent: "#00f"}}},
		"color with code":   {Colors: letter.Colors{Dark: letter.Palette{Background: "#00000g"}}},
		"injected color":    {Colors: letter.Colors{Dark: letter.Palette{Text: "#fff;}*{x"}}},
	} {
		_, err := letter.New(&opts)
		require.Error(t, err, name)
	}
}

// broken opens nothing.
type broken struct{ fstest.MapFS }

func (broken) ReadFile(string) ([]byte, error) { return nil, errors.New("broken disk") }
func (b broken) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".json") {
		return nil, errors.New("broken disk")
	}
	return b.MapFS.Open(name)
}

func TestColors(t *testing.T) { // I7
	for name, c := range map[string]struct {
		colors letter.Colors
		says   string
	}{
		"accent":    {letter.Colors{Light: letter.Palette{Accent: "#ffaa00"}}, "light: Accent #ffaa00 on Background #ffffff"},
		"just less": {letter.Colors{Light: letter.Palette{Text: "#777777"}}, "contrast is 4.48:1"}, // the best known near miss
		"dark":      {letter.Colors{Dark: letter.Palette{Background: "#808080"}}, "dark: "},
		"muted":     {letter.Colors{Light: letter.Palette{Muted: "#999999"}}, "Muted"},
		"code":      {letter.Colors{Dark: letter.Palette{CodeText: "#303030"}}, "CodeText"},
	} {
		_, err := letter.New(&letter.Options{Colors: c.colors})
		require.ErrorContains(t, err, c.says, name)
	}
	l := newLetter(t, letter.Options{Colors: letter.Colors{
		Light: letter.Palette{Accent: "#0B57D0", Text: "#767676"},
		Dark:  letter.Palette{Background: "#0a0a0a", Text: "#fefefe", CodeBackground: "#abcdef", CodeText: "#000000"},
	}})
	m, err := l.Render(data("login"))
	require.NoError(t, err)
	require.Regexp(t, `class="brand" style="[^"]*color:#0B57D0;`, m.HTML)
	require.Contains(t, m.HTML, ".brand { color: #fefefe !important", "that of Text")
	require.Contains(t, m.HTML, ".page { background-color: #0a0a0a !important")
	require.Contains(t, m.HTML, ".code { background-color: #abcdef !important; color: #000000 !important")
}
