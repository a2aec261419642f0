// Package letter writes the mail that carries a code: subject, plain text and
// HTML, in words that fit what the code is for.
//
// The mail has no links, no images and nothing from elsewhere. It shows the
// brand, what the code is for, the code, how long it works and the reference,
// and says to ignore it if it was not asked for and never to share the code.
package letter

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"strconv"
	"strings"
	texttemplate "text/template"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/oneline"
)

//go:embed mail.txt.tmpl mail.html.tmpl words/en.json
var files embed.FS

const (
	// maxColumns is the longest line of the text part, in characters.
	maxColumns = 72

	// maxVar is the longest value of Vars that is shown, in characters:
	// longer ones are somebody's advertisement (list bombing).
	maxVar = 64
)

// Data is what one mail says. It holds the code: do not log it.
type Data struct {
	// Code is the secret: printable ASCII without spaces. Required.
	Code string

	// Kind is the kind of purpose: login, signup, change-email, pay and
	// delete-account have words of their own, all others general ones.
	Kind string

	// Locale is the reader's wish, as a BCP 47 tag or several with commas.
	// The built-in words are English, whatever it says.
	Locale string

	// Reference is the short word that the page shows too. Empty leaves its
	// line out.
	Reference string

	// Brand is who sends the mail. Required, here or in Vars.
	Brand string

	// Minutes is how long the code works; at least 1.
	Minutes int

	// Support is where to turn to, such as an address or a telephone number.
	// Empty leaves its line out.
	Support string

	// Vars are the request's. "brand" is used in place of Brand; "amount" is
	// shown for the kind pay. Both have at most 64 characters and are no web
	// addresses. No other is shown. Write an amount so that it does not look
	// like a code: "1,500.00 EUR", not "150000".
	Vars map[string]string
}

// Mail is a rendered letter. It holds the code: do not log it.
type Mail struct {
	// Subject is one line of plain text, not yet encoded.
	Subject string

	// Text is the plain part: lines of at most 72 characters, where words
	// allow it, ending in "\n".
	Text string

	// HTML is a whole document that says the same.
	HTML string
}

// Options are the choices of [New]. The zero value has every default.
type Options struct {
	// SubjectWithCode puts the code into the subject, where it can be read
	// in the list of mails and on a locked screen. Default: false, since
	// NIST SP 800-63B section 3.1.3.1 wants secrets off locked screens.
	SubjectWithCode bool
}

// Letter renders mails. It is safe for concurrent use.
type Letter struct {
	words           words
	text            *texttemplate.Template
	html            *htmltemplate.Template
	subjectWithCode bool
}

// words are the sentences of one language. Names in braces stand for values.
type words struct {
	Lang            string            `json:"lang"`
	Dir             string            `json:"dir"`
	SubjectWithCode string            `json:"subjectWithCode"`
	Minutes         map[string]string `json:"minutes"` // by CLDR plural category
	Reference       string            `json:"reference"`
	Share           string            `json:"share"`
	Support         string            `json:"support"`
	Kinds           map[string]kind   `json:"kinds"` // "" is for all others
}

// kind are the sentences that depend on what the code is for.
type kind struct {
	Subject string `json:"subject"`
	Amount  string `json:"amount"`
	Intro   string `json:"intro"`
	Ignore  string `json:"ignore"`
}

// page is what the templates show: finished sentences.
type page struct {
	Lang, Dir, Brand, Amount, Intro, Code, Minutes, Reference, Ignore, Share, Support string
}

// New returns a Letter with the built-in words. Nil opts has every default.
func New(opts *Options) (*Letter, error) {
	if opts == nil {
		opts = &Options{}
	}
	l := &Letter{subjectWithCode: opts.SubjectWithCode}
	raw, err := fs.ReadFile(files, "words/en.json")
	if err == nil {
		err = json.Unmarshal(raw, &l.words)
	}
	if err == nil {
		l.text, err = texttemplate.ParseFS(files, "mail.txt.tmpl")
	}
	if err == nil {
		l.html, err = htmltemplate.ParseFS(files, "mail.html.tmpl")
	}
	if err != nil {
		return nil, fmt.Errorf("letter: %w", err)
	}
	return l, nil
}

// Render writes the mail for d. It refuses values that could break a line or
// make the text read as another: control characters, line breaks,
// bidirectional controls. Its errors do not repeat the values.
func (l *Letter) Render(d Data) (Mail, error) {
	if l == nil || l.text == nil {
		return Mail{}, errors.New("letter: not made by New")
	}
	if err := d.check(); err != nil {
		return Mail{}, err
	}
	brand := d.brand()
	k, ok := l.words.Kinds[d.Kind]
	if !ok {
		k = l.words.Kinds[""]
	}
	plural := "other"
	if d.Minutes == 1 {
		plural = "one"
	}
	fill := func(sentence string) string {
		return fill(sentence, func(name string) string {
			switch name {
			case "brand":
				return brand
			case "code":
				return d.Code
			case "minutes":
				return strconv.Itoa(d.Minutes)
			case "reference":
				return d.Reference
			case "support":
				return d.Support
			case "amount":
				return d.Vars["amount"]
			}
			return ""
		})
	}

	p := page{
		Lang:    l.words.Lang,
		Dir:     l.words.Dir,
		Brand:   brand,
		Intro:   fill(k.Intro),
		Code:    d.Code,
		Minutes: fill(l.words.Minutes[plural]),
		Ignore:  fill(k.Ignore),
		Share:   fill(l.words.Share),
	}
	if d.Vars["amount"] != "" && k.Amount != "" {
		p.Amount = fill(k.Amount)
	}
	if d.Reference != "" {
		p.Reference = fill(l.words.Reference)
	}
	if d.Support != "" {
		p.Support = fill(l.words.Support)
	}
	subject := fill(k.Subject)
	if l.subjectWithCode {
		subject = fill(l.words.SubjectWithCode)
	}

	var b bytes.Buffer
	b.Grow(4096)
	if err := l.text.Execute(&b, p); err != nil {
		return Mail{}, fmt.Errorf("letter: text: %w", err)
	}
	text := wrap(b.String())
	b.Reset()
	if err := l.html.Execute(&b, p); err != nil {
		return Mail{}, fmt.Errorf("letter: html: %w", err)
	}
	return Mail{Subject: subject, Text: text, HTML: b.String()}, nil
}

// brand is the name that is shown.
func (d *Data) brand() string {
	if b := d.Vars["brand"]; b != "" {
		return b
	}
	return d.Brand
}

// check refuses what cannot be shown.
func (d *Data) check() error {
	if d.Code == "" || strings.ContainsFunc(d.Code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("letter: the code is not printable ASCII without spaces")
	}
	if d.Minutes < 1 {
		return errors.New("letter: less than one minute")
	}
	if d.brand() == "" {
		return errors.New("letter: no brand")
	}
	for _, v := range [...]struct{ name, value string }{
		{"brand", d.Brand},
		{"support", d.Support},
		{"reference", d.Reference},
		{"brand in vars", d.Vars["brand"]},
		{"amount in vars", d.Vars["amount"]},
	} {
		if err := oneline.Check(v.value); err != nil {
			return fmt.Errorf("letter: %s: %w", v.name, err)
		}
	}
	for _, name := range [...]string{"brand", "amount"} {
		v := d.Vars[name]
		if utf8.RuneCountInString(v) > maxVar {
			return fmt.Errorf("letter: %s in vars: more than %d characters", name, maxVar)
		}
		if low := strings.ToLower(v); strings.Contains(low, "://") || strings.Contains(low, "www.") {
			return fmt.Errorf("letter: %s in vars: a web address", name)
		}
	}
	return nil
}

// fill puts values in place of the names in braces. It goes through the
// sentence once, so braces inside a value stay as they are.
func fill(sentence string, value func(name string) string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(sentence, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		var name string
		name, sentence, _ = strings.Cut(rest, "}")
		b.WriteString(value(name))
	}
}

// wrap breaks lines longer than maxColumns at spaces.
func wrap(text string) string {
	var b strings.Builder
	b.Grow(len(text) + 16)
	for line := range strings.Lines(text) {
		if len(line) <= maxColumns { // bytes: never less than the characters
			b.WriteString(line)
			continue
		}
		column := 0
		for i, word := range strings.Split(strings.TrimSuffix(line, "\n"), " ") {
			n := utf8.RuneCountInString(word)
			switch {
			case i == 0:
			case column+1+n > maxColumns:
				b.WriteByte('\n')
				column = 0
			default:
				b.WriteByte(' ')
				column++
			}
			b.WriteString(word)
			column += n
		}
		b.WriteByte('\n')
	}
	return b.String()
}
