package letter

import (
	"strconv"
	"strings"

	"github.com/go-mailotp/otp/internal/phrases"
)

// message is one mail that is being rendered: its words, its values, and which
// of the values need isolates.
type message struct {
	words   *words
	kind    *kind
	data    *Data
	values  [valueCount]string
	isolate [valueCount]bool
}

// message returns the message for d.
func (w *words) message(d *Data) message {
	m := message{words: w, kind: w.kinds[d.Kind], data: d}
	if m.kind == nil {
		m.kind = w.kinds[""]
	}
	m.values = [valueCount]string{
		brandValue:     d.brand(),
		codeValue:      d.Code,
		minutesValue:   strconv.Itoa(d.Minutes),
		referenceValue: d.Reference,
		supportValue:   d.Support,
		amountValue:    d.Vars["amount"],
	}
	// Numbers need no isolate in any sentence. In a left-to-right language,
	// neither do values that are written from left to right.
	for _, v := range [...]value{brandValue, referenceValue, supportValue, amountValue} {
		m.isolate[v] = w.rtl || hasRightToLeft(m.values[v])
	}
	return m
}

// sentence returns the sentence of a field, or nil if its line is left out.
func (m *message) sentence(f field) sentence {
	switch f {
	case introField:
		return m.kind.intro
	case ignoreField:
		return m.kind.ignore
	case shareField:
		return m.words.share
	case minutesField:
		if s := m.words.minutes[phrases.Category(m.words.tag, m.data.Minutes)]; s != nil {
			return *s
		}
		return *m.words.minutes["other"] // for more minutes than a day has
	case amountField:
		if m.values[amountValue] != "" {
			return m.kind.amount
		}
	case referenceField:
		if m.values[referenceValue] != "" {
			return m.words.reference
		}
	case supportField:
		if m.values[supportValue] != "" {
			return m.words.support
		}
	}
	return nil
}

// scrambles reports whether a sentence without isolates could show the
// characters of the code in another order: next to right-to-left text, groups
// of digits and letters change places.
func (m *message) scrambles() bool {
	return m.isolate[brandValue] && strings.ContainsFunc(m.data.Code, func(r rune) bool { return r < '0' || r > '9' })
}

// plain returns a sentence with its values and without isolates.
func (m *message) plain(s sentence) string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.text)
		b.WriteString(m.values[p.value])
	}
	return b.String()
}

// Page is the data of a custom template. Its sentences already contain their
// values. Amount, Reference and Support are empty if their lines are left out.
//
//	{{.Intro}}                      a sentence
//	<p dir="ltr">{{.Code}}</p>      the code: whole, once, never in an attribute
//	{{with .Support}}<p>{{.}}</p>{{end}}
//	{{.Var "tenant"}}               a value of the request's Vars
//
// A template must show the code exactly once and in one piece, the brand and
// the minutes. In HTML templates, html/template escapes all values.
//
// The brand and the values in sentences are inside isolating characters (U+2068
// and U+2069) where they need them: in a right-to-left language, and if they
// contain right-to-left text. The code in HTML contains no such characters, so
// that it can be copied. Give it a block of its own with dir="ltr".
type Page struct {
	// Lang is the tag of the language and Dir is "ltr" or "rtl". Use them for
	// the attributes of the html element.
	Lang, Dir string

	// Kind is the kind of the purpose.
	Kind string

	// Brand is the name of the sender. Most sentences contain it too.
	Brand string

	// Code is the code. In the plain text of a right-to-left language it is
	// inside an isolate if it has characters other than letters and digits.
	Code string

	// Amount says what is being paid. Show it where the payer cannot miss it.
	Amount string

	// Intro says what the code is for and leads to it.
	Intro string

	// Minutes says how long the code is valid.
	Minutes string

	// Reference contains the short word that the page also shows.
	Reference string

	// Ignore says what to do if the reader did not ask for the code. Share says
	// never to share the code.
	Ignore, Share string

	// Support says how to get help.
	Support string

	// Colors are the colors of [Options], including the defaults.
	Colors Colors

	vars map[string]string
}

// Var returns a value of the request's Vars, or "" if there is none. It returns
// an error, and the mail is not sent, if the value has more than 64 characters,
// a control character or a web address: otherwise people could use your form to
// send advertisements.
func (p Page) Var(name string) (string, error) {
	v := p.vars[name]
	if err := checkVar(v); err != nil {
		return "", err
	}
	return v, nil
}

// shown returns a value as the mail shows it: inside an isolate if it needs
// one.
func (m *message) shown(v value) string {
	if m.isolate[v] {
		return string(fsi) + m.values[v] + string(pdi)
	}
	return m.values[v]
}

// page returns the data for a template.
func (m *message) page(colors Colors, html bool) Page {
	p := Page{
		Lang:   m.words.lang,
		Dir:    m.words.dir,
		Kind:   m.data.Kind,
		Brand:  m.shown(brandValue),
		Code:   m.data.Code,
		Colors: colors,
		vars:   m.data.Vars,
	}
	if !html {
		p.Code = lineCode(p.Code, m.words.rtl)
	}
	for f, into := range sentencesOf(&p) {
		for _, part := range m.sentence(f) {
			*into += part.text + m.shown(part.value)
		}
	}
	return p
}

// sentencesOf returns pointers to the sentences of p.
func sentencesOf(p *Page) map[field]*string {
	return map[field]*string{
		amountField: &p.Amount, introField: &p.Intro, minutesField: &p.Minutes, referenceField: &p.Reference,
		ignoreField: &p.Ignore, shareField: &p.Share, supportField: &p.Support,
	}
}
