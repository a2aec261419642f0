// Package letter writes the mail that carries a code: subject, plain text and
// HTML, in the reader's language and in words that fit what the code is for.
//
// The mail has no links, no images and nothing from elsewhere. It shows the
// brand, what the code is for, the code, how long it works and the reference,
// and says to ignore it if it was not asked for and never to share the code.
//
// # Languages
//
// The words of each language are one file, words/<tag>.json, and all of them
// are part of the program. The reader's wish is matched to them by
// golang.org/x/text/language: de-AT reads de, zh-TW reads zh-Hant. A wish that
// fits none, or makes no sense, gets [Options.Locale].
//
// # Words and templates of your own
//
// [Options.Files] is a folder, embedded or on disk:
//
//	words/de.json       replaces single sentences of a language
//	words/eo.json       adds a language
//	mail.txt.tmpl       replaces the layout of the plain text (text/template)
//	mail.html.tmpl      replaces the layout of the HTML (html/template)
//	mail.de.html.tmpl   does so for one language
//
// A file of words has the keys of [words/en.json], all of them for a language
// that is new, else those to change. A sentence keeps the names in braces of
// its English model, may use {brand} besides, and has no links and no numbers.
// Each plural category of the language has its own "minutes". A regional
// language, such as de-AT, need only say what differs from de. Any other name
// under "kinds" adds a kind of purpose, with subject, intro and ignore, and
// amount if it has one; languages that do not have the kind use their general
// words for it. The kind is what stands before the first colon of the purpose:
// "export" has the words for For("export:42"). Templates are given a [Page]; to
// leave a line out, write one without it. Files of other names are not read.
//
// The kind is the purpose up to its first colon, written as there: "pay" of
// "pay:inv-42". This words/en.json changes a sentence and gives words to
// For("api-key:" + id):
//
//	{
//	  "share": "Nobody from {brand} will ask for this code.",
//	  "kinds": {
//	    "api-key": {
//	      "subject": "Verification code for a new {brand} key",
//	      "intro": "Your verification code to make a key at {brand} is:",
//	      "ignore": "If this was not you, ignore this email: no key is made."
//	    }
//	  }
//	}
//
// [New] checks every sentence, makes every mail that words or templates of
// your own go into, for trial, and refuses them if they lost the code, the
// minutes or the brand: a mistake in a translation is found when the program
// starts and not by the reader.
//
// # Right-to-left languages
//
// Values of unknown direction stand in isolates (Unicode annex 9: U+2068 and
// U+2069 in the text, bdi in HTML), so that a telephone number does not turn
// its groups round in an Arabic sentence. The code stands alone on its line.
// Subjects have no such signs, which filters take for a disguise.
//
// [words/en.json]: https://github.com/go-mailotp/otp/blob/main/letter/words/en.json
package letter

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/phrases"
	"github.com/go-mailotp/otp/internal/safetext"
)

// maxVar is the longest value of Vars that is shown, in characters: longer
// ones are somebody's advertisement (list bombing).
const maxVar = 64

// Data is what one mail says. It holds the code: do not log it.
type Data struct {
	// Code is the secret: printable ASCII without spaces. Required.
	Code string

	// Kind is the kind of purpose: login, signup, change-email, pay and
	// delete-account have words of their own, and so have those that
	// [Options.Files] adds; all others have general ones.
	Kind string

	// Locale is the reader's wish: a BCP 47 tag, several with commas, best
	// first, or an Accept-Language header. What is empty, makes no sense, fits
	// no language or has more than 1024 bytes means [Options.Locale].
	Locale string

	// Reference is the short word that the page shows too. Empty leaves its
	// line out.
	Reference string

	// Brand is who sends the mail. Required, here or in Vars. Six digits in a row
	// are refused, here and in Support: they look like a code. Brands in Vars are
	// known only when a mail goes out, so they are not refused for that.
	Brand string

	// Minutes is how long the code works; at least 1.
	Minutes int

	// Support is where to turn to, such as an address or a telephone number. Web
	// addresses ("://", "www.") are refused. Empty leaves its line out.
	Support string

	// Vars are the request's. "brand" is used in place of Brand; "amount" is
	// shown for the kind pay. Both have at most 64 characters and are no web
	// addresses. No other is shown, but by a template that asks for it. Write
	// an amount so that it does not look like a code: "1,500.00 EUR", not
	// "150000".
	Vars map[string]string
}

// Mail is a rendered letter. It holds the code: do not log it.
type Mail struct {
	// Subject is one line of plain text, not yet encoded.
	Subject string

	// Text is the plain part: lines of at most 72 columns, where words allow
	// it (East Asian wide characters have two), ending in "\n".
	Text string

	// HTML is a whole document that says the same.
	HTML string
}

// Options are the choices of [New]. The zero value has every default.
type Options struct {
	// SubjectWithCode puts the code into the subject, where it can be read
	// in the list of mails and on a locked screen. Default: false, since
	// NIST SP 800-63B section 3.1.3.1 wants secrets off locked screens. A code
	// with letters is left out beside words or a brand that are written from
	// right to left: a subject could not keep its order.
	SubjectWithCode bool

	// Locale is the language of mails whose reader wishes none that there is:
	// a BCP 47 tag. Default: empty, which is "en".
	Locale string

	// Files has words and templates of your own, as the package's comment
	// says; it is read once. It is part of the program: whoever can write to
	// it writes your mails. Default: nil, the built-in ones.
	Files fs.FS

	// Colors are the colors of the HTML. Default: black on white, and white
	// on black where the reader's device is set to dark.
	Colors Colors
}

// Letter renders mails. It is safe for concurrent use.
type Letter struct {
	languages       *phrases.Chooser[words]
	subjectWithCode bool
}

// New returns a Letter. Nil opts has every default. Its error names the file
// and the key that is wrong.
func New(opts *Options) (*Letter, error) {
	if opts == nil {
		opts = &Options{}
	}
	l, err := newLetter(*opts)
	if err != nil {
		return nil, fmt.Errorf("letter: %w", err)
	}
	return l, nil
}

func newLetter(o Options) (*Letter, error) {
	colors, err := o.Colors.withDefaults()
	if err != nil {
		return nil, err
	}
	all, err := catalogue(o.Files)
	if err != nil {
		return nil, err
	}
	if err := attachTemplates(all, o.Files, colors); err != nil {
		return nil, err
	}
	languages, err := phrases.NewChooser(all, o.Locale)
	if err != nil {
		return nil, err
	}
	l := &Letter{languages: languages, subjectWithCode: o.SubjectWithCode}
	for _, w := range l.languages.All() {
		if !w.own && !w.text.own && !w.html.own {
			continue // a test of this package makes them all
		}
		for _, kind := range slices.Sorted(maps.Keys(w.kinds)) {
			if err := l.probe(w, kind); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// Languages returns the tags of the languages that there are, sorted.
func (l *Letter) Languages() []string {
	tags := make([]string, 0, len(l.languages.All()))
	for _, w := range l.languages.All() {
		tags = append(tags, w.lang)
	}
	slices.Sort(tags)
	return tags
}

// Kinds returns the kinds of purpose that have words of their own in any
// language, sorted; the empty one is for all others.
func (l *Letter) Kinds() []string {
	kinds := map[string]bool{}
	for _, w := range l.languages.All() {
		for kind := range w.kinds {
			kinds[kind] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// Match returns the tag of the language that a mail with this [Data.Locale]
// has: a page that belongs to the mail can use the same. It is empty if l was
// not made by [New].
func (l *Letter) Match(locale string) string {
	if l == nil || l.languages == nil {
		return ""
	}
	return l.languages.Choose(locale).lang
}

// Render writes the mail for d. It refuses values that could break a line or
// make the text read as another: control characters, line breaks,
// bidirectional controls. Its errors do not repeat the values.
func (l *Letter) Render(d Data) (Mail, error) {
	if l == nil || l.languages == nil {
		return Mail{}, errors.New("letter: not made by New")
	}
	if err := d.check(); err != nil {
		return Mail{}, fmt.Errorf("letter: %w", err)
	}
	m, err := l.render(l.languages.Choose(d.Locale), &d)
	if err != nil {
		return Mail{}, fmt.Errorf("letter: %w", err)
	}
	return m, nil
}

// render writes the mail in the language of w.
func (l *Letter) render(w *words, d *Data) (Mail, error) {
	m := w.message(d)
	subject := m.kind.subject
	if l.subjectWithCode && !m.scrambles() {
		subject = w.subjectWithCode
	}
	text, err := w.text.render(&m)
	if err != nil {
		return Mail{}, fmt.Errorf("text: %w", err)
	}
	html, err := w.html.render(&m)
	if err != nil {
		return Mail{}, fmt.Errorf("html: %w", err)
	}
	return Mail{Subject: m.plain(subject), Text: wrap(text), HTML: html}, nil
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
		return errors.New("the code is not printable ASCII without spaces")
	}
	if d.Minutes < 1 {
		return errors.New("less than one minute")
	}
	if d.brand() == "" {
		return errors.New("no brand")
	}
	for _, v := range [...]struct{ name, value string }{
		{"brand", d.Brand},
		{"support", d.Support},
		{"reference", d.Reference},
	} {
		if err := safetext.CheckBesideCode(v.value); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	if isWebAddress(d.Support) {
		return fmt.Errorf("support: %w", errWebAddress)
	}
	for _, name := range [...]string{"brand", "amount"} {
		if err := checkVar(d.Vars[name]); err != nil {
			return fmt.Errorf("%s in vars: %w", name, err)
		}
	}
	return nil
}

// checkVar refuses a value of Vars that cannot be shown.
func checkVar(v string) error {
	if err := safetext.Check(v); err != nil {
		return err
	}
	if utf8.RuneCountInString(v) > maxVar {
		return fmt.Errorf("more than %d characters", maxVar)
	}
	if isWebAddress(v) {
		return errWebAddress
	}
	return nil
}

var errWebAddress = errors.New("a web address")

// isWebAddress reports whether mail programs would surely make a link of v.
func isWebAddress(v string) bool {
	low := strings.ToLower(v)
	return strings.Contains(low, "://") || strings.Contains(low, "www.")
}
