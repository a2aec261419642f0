// Package letter writes the mail that contains a code: subject, plain text and
// HTML, in the reader's language and with wording that suits the purpose of the
// code.
//
// The mail contains no links, no images and no remote content. It shows the
// brand, the purpose, the code, how long the code is valid, and the reference.
// It tells readers to ignore the mail if they did not ask for it, and never to
// share the code.
//
// # Languages
//
// The words of each language are in one file, words/<tag>.json; all of them are
// embedded in the program. Package golang.org/x/text/language matches the
// reader's preferences to them: de-AT uses de, zh-TW uses zh-Hant.
// [Options.Locale] is used if no preference matches or the preferences are
// invalid.
//
// # Custom wording and templates
//
// [Options.Files] is a folder, embedded or on disk:
//
//	words/de.json       replaces individual sentences of a language
//	words/eo.json       adds a language
//	mail.txt.tmpl       replaces the layout of the plain text (text/template)
//	mail.html.tmpl      replaces the layout of the HTML (html/template)
//	mail.de.html.tmpl   replaces the layout for one language
//
// A file of words has the same keys as [words/en.json]. A new language needs
// all of them; for an existing language, give only the sentences that you
// change. A regional language, such as de-AT, needs only the sentences that
// differ from de. The rules for sentences are:
//
//   - A sentence contains the same names in braces as the English one. It may
//     also use {brand}.
//   - It contains no links and no numbers.
//   - "minutes" has one sentence for each plural category of the language.
//
// Any other name under "kinds" adds a kind of purpose, with subject, intro,
// ignore and, optionally, amount. Languages without that kind use their general
// wording for it. The kind is the part of the purpose before its first colon:
// For("api-key:" + id) uses the kind "api-key". This words/en.json changes one
// sentence and adds that kind:
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
// Templates receive a [Page]. To omit a line, write a template without it.
// Files with other names are ignored.
//
// [New] checks every sentence and renders every mail that uses custom words or
// templates. It returns an error if the code, the minutes or the brand is
// missing from one of them. So you find a mistake in a translation when the
// program starts, not when somebody reads the mail.
//
// # Right-to-left languages
//
// Values of unknown direction are inside isolating characters (U+2068 and
// U+2069, Unicode annex 9), so that an Arabic sentence does not reorder the
// groups of a telephone number. HTML has the same characters, because many mail
// programs drop bdi elements. The code has a line to itself; in HTML that is a
// paragraph with dir="ltr", without invisible characters, so that the code can
// be copied. Subjects contain no isolates, because spam filters take them for an
// attempt to disguise the subject.
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

// maxVar is the maximum length of a value of Vars, in characters. Longer values
// could carry an advertisement to a stranger's mailbox (list bombing).
const maxVar = 64

// Data is the content of one mail. It contains the code: do not log it.
// [Letter.Render] returns an error if a field is invalid.
type Data struct {
	// Code is the code: printable ASCII without spaces. It is required.
	Code string

	// Kind is the kind of the purpose. login, signup, change-email, pay,
	// delete-account and the kinds that [Options.Files] adds have their own
	// wording. All other kinds, including the empty one, use the general
	// wording.
	Kind string

	// Locale is the reader's preferred languages: one or more BCP 47 tags,
	// separated by commas, the most preferred first, or an Accept-Language
	// header. [Options.Locale] is used if Locale is empty, invalid or longer
	// than 1024 bytes, or if no language matches it.
	Locale string

	// Reference is the short word that the page also shows. If it is empty, the
	// mail has no line for it.
	Reference string

	// Brand is the name of the sender. It is required unless Vars has a
	// "brand". It must not contain six digits in a row, because they look like
	// a code.
	Brand string

	// Minutes is how long the code is valid, in minutes; at least 1.
	Minutes int

	// Support is a contact, such as an address or a telephone number. It must
	// not contain a web address ("://" or "www.") or six digits in a row. If it
	// is empty, the mail has no line for it.
	Support string

	// Vars are the values of the request. "brand" replaces Brand; the kind pay
	// shows "amount". Both have at most 64 characters and must not be web
	// addresses. They may contain six digits in a row, so write an amount in a
	// way that does not look like a code: "1,500.00 EUR", not "150000". Other
	// values are shown only by custom templates.
	Vars map[string]string
}

// Mail is a rendered letter. It contains the code: do not log it.
type Mail struct {
	// Subject is one line of plain text. It is not encoded.
	Subject string

	// Text is the plain-text part and ends in "\n". Its lines have at most 72
	// columns (an East Asian wide character has two) unless a word is longer.
	Text string

	// HTML is a complete document with the same content.
	HTML string
}

// Options configures [New]. The zero value uses every default. New returns an
// error if a field is invalid.
type Options struct {
	// SubjectWithCode also puts the code into the subject, where it is visible
	// in the list of mails and on a locked screen. Default: false, since NIST
	// SP 800-63B section 3.1.3.1 wants secrets kept off locked screens. A code
	// with letters is left out if the sentence or the brand is written from
	// right to left: in a subject its characters could be reordered.
	SubjectWithCode bool

	// Locale is the language that is used if none of the reader's preferred
	// languages is available: a BCP 47 tag. Default: "en".
	Locale string

	// Files has custom words and templates; see the package comment. [New]
	// reads it once. Protect it like the program itself: anybody who can write
	// to it can change your mails. Default: nil, for the built-in words and
	// templates.
	Files fs.FS

	// Colors are the colors of the HTML. Default: black on white, and white on
	// black if the reader's device uses a dark theme.
	Colors Colors
}

// Letter renders mails. It is safe for concurrent use.
type Letter struct {
	languages       *phrases.Chooser[words]
	subjectWithCode bool
}

// New returns a Letter. If opts is nil, every default is used. An error in
// [Options.Files] names the file and the key.
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
		if !w.custom && !w.text.custom && !w.html.custom {
			continue // the tests of this package render all built-in mails
		}
		for _, kind := range slices.Sorted(maps.Keys(w.kinds)) {
			if err := l.probe(w, kind); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// Languages returns the tags of all available languages, sorted.
func (l *Letter) Languages() []string {
	tags := make([]string, 0, len(l.languages.All()))
	for _, w := range l.languages.All() {
		tags = append(tags, w.lang)
	}
	slices.Sort(tags)
	return tags
}

// Kinds returns the kinds of purpose that have their own wording in at least
// one language, sorted. The empty kind stands for the general wording.
func (l *Letter) Kinds() []string {
	kinds := map[string]bool{}
	for _, w := range l.languages.All() {
		for kind := range w.kinds {
			kinds[kind] = true
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// Match returns the tag of the language that [Letter.Render] uses for this
// [Data.Locale], so that a page can use the same language as the mail. It
// returns "" if l was not created by [New].
func (l *Letter) Match(locale string) string {
	if l == nil || l.languages == nil {
		return ""
	}
	return l.languages.Choose(locale).lang
}

// Render writes the mail for d. It returns an error if a value contains a
// control character, a line break or a bidirectional control character, which
// could break a line or change how the text reads. Its errors do not repeat the
// values.
func (l *Letter) Render(d Data) (Mail, error) {
	if l == nil || l.languages == nil {
		return Mail{}, errors.New("letter: Letter was not created by New")
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

// brand returns the name that the mail shows.
func (d Data) brand() string {
	if b := d.Vars["brand"]; b != "" {
		return b
	}
	return d.Brand
}

// check returns an error if a value cannot be shown.
func (d Data) check() error {
	if d.Code == "" || strings.ContainsFunc(d.Code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("code: must be printable ASCII without spaces")
	}
	if d.Minutes < 1 {
		return fmt.Errorf("minutes: got %d, want at least 1", d.Minutes)
	}
	if d.brand() == "" {
		return errors.New("brand: is empty")
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
			return fmt.Errorf("vars: %s: %w", name, err)
		}
	}
	return nil
}

// checkVar returns an error if a value of Vars cannot be shown.
func checkVar(v string) error {
	if err := safetext.Check(v); err != nil {
		return err
	}
	if utf8.RuneCountInString(v) > maxVar {
		return fmt.Errorf("has more than %d characters", maxVar)
	}
	if isWebAddress(v) {
		return errWebAddress
	}
	return nil
}

var errWebAddress = errors.New("must not contain a web address")

// isWebAddress reports whether mail programs would certainly turn v into a
// link.
func isWebAddress(v string) bool {
	low := strings.ToLower(v)
	return strings.Contains(low, "://") || strings.Contains(low, "www.")
}
