package letter

import (
	"strconv"
	"strings"
)

// message is one mail on its way: the words chosen, the values and which of
// them stand apart from their surroundings.
type message struct {
	words   *words
	kind    *kind
	data    *Data
	values  [valueCount]string
	isolate [valueCount]bool
}

// message starts the mail for d.
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
	// A number alone reads the same in any sentence; so do texts of the
	// sentence's own direction in languages that are written left to right.
	for _, v := range [...]value{brandValue, referenceValue, supportValue, amountValue} {
		m.isolate[v] = w.rtl || turns(m.values[v])
	}
	return m
}

// sentence returns the words of a field, nil for a line that is left out.
func (m *message) sentence(f field) sentence {
	switch f {
	case introField:
		return m.kind.intro
	case ignoreField:
		return m.kind.ignore
	case shareField:
		return m.words.share
	case minutesField:
		if s := m.words.minutes[pluralForm(m.words.tag, m.data.Minutes)]; s != nil {
			return s
		}
		return m.words.minutes[0] // other; for more minutes than a day has
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

// scrambles reports whether the code could be shown out of order in a sentence
// without isolates: beside text from right to left, digits and letters part.
func (m *message) scrambles() bool {
	return m.isolate[brandValue] && strings.ContainsFunc(m.data.Code, func(r rune) bool { return r < '0' || r > '9' })
}

// plain returns a finished sentence without isolates.
func (m *message) plain(s sentence) string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.text)
		b.WriteString(m.values[p.value])
	}
	return b.String()
}

// Page is what templates of your own are given. Sentences are finished; Amount,
// Reference and Support are empty where their lines are left out.
//
//	{{.Intro}}                        the sentence, with isolates where it needs them
//	{{template "sentence" .Intro}}    the same in HTML, with bdi in their place
//	<bdi dir="ltr">{{.Code}}</bdi>    the code: whole, once, never in an attribute
//	{{with .Support}}<p>{{.}}</p>{{end}}
//	{{.Var "tenant"}}                 a value of the request's Vars
//
// A template shows the code once and in one piece, the brand and the minutes.
// Values come escaped as html/template does it.
type Page struct {
	// Lang is the tag of the language, Dir "ltr" or "rtl": for the attributes
	// of the html element.
	Lang, Dir string

	// Kind is the kind of purpose.
	Kind string

	// Brand is who sends the mail; it is in most sentences too.
	Brand string

	// Code is the code. In plain text for a language that is written from
	// right to left, one with other signs than letters and digits comes in an
	// isolate.
	Code string

	// Amount says what is being paid: shown where the payer cannot miss it.
	Amount Sentence

	// Intro says what the code is for and leads to it.
	Intro Sentence

	// Minutes says how long the code works.
	Minutes Sentence

	// Reference names the word that the page shows too.
	Reference Sentence

	// Ignore says what to do for those who did not ask; Share, never to share
	// the code.
	Ignore, Share Sentence

	// Support says where to turn to.
	Support Sentence

	// Colors are the ones of [Options], with every default.
	Colors Colors

	vars map[string]string
}

// Var returns a value of the request's Vars, "" if there is none. What has
// more than 64 characters, control characters or a web address is an error,
// and the mail is not sent: whoever fills in a form could advertise in it.
func (p Page) Var(name string) (string, error) {
	v := p.vars[name]
	if err := checkVar(v); err != nil {
		return "", err
	}
	return v, nil
}

// Sentence is a finished sentence, cut where a value of unknown direction
// stands in it.
type Sentence []Part

// Part is a stretch of a sentence.
type Part struct {
	// Text is what it says.
	Text string

	// Isolate is true for a value that may run in another direction than the
	// sentence.
	Isolate bool
}

// String returns the sentence, with isolating characters around the parts that
// need them.
func (s Sentence) String() string {
	var b strings.Builder
	for _, p := range s {
		if p.Isolate {
			b.WriteString(isolated(p.Text))
		} else {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// page returns m for a template.
func (m *message) page(colors Colors, html bool) Page {
	p := Page{
		Lang:   m.words.lang,
		Dir:    m.words.dir,
		Kind:   m.data.Kind,
		Brand:  m.values[brandValue],
		Code:   m.data.Code,
		Colors: colors,
		vars:   m.data.Vars,
	}
	if !html {
		p.Code = lineCode(p.Code, m.words.rtl)
	}
	for f, into := range p.sentences() {
		for _, part := range m.sentence(f) {
			*into = append(*into, Part{Text: part.text + m.values[part.value], Isolate: m.isolate[part.value]})
		}
	}
	return p
}

// sentences returns the places of the sentences in p.
func (p *Page) sentences() map[field]*Sentence {
	return map[field]*Sentence{
		amountField: &p.Amount, introField: &p.Intro, minutesField: &p.Minutes, referenceField: &p.Reference,
		ignoreField: &p.Ignore, shareField: &p.Share, supportField: &p.Support,
	}
}
