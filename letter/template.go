package letter

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
)

// field is a value or sentence that a layout shows.
type field int

const (
	noField field = iota
	langField
	dirField
	brandField
	codeField
	amountField
	introField
	minutesField
	referenceField
	ignoreField
	shareField
	supportField
	fieldCount
)

// template is what text/template and html/template have in common.
type template interface {
	Execute(w io.Writer, data any) error
}

// layout builds one part of the mail. A built-in template is executed once and
// cut into pieces, which is many times faster than executing it for each mail.
// That works because it only shows text between tags; a test compares the
// result with that of html/template. Custom templates are executed for each
// mail.
type layout struct {
	name    string // the name of the file
	html    bool
	colors  Colors
	custom  bool // from Options.Files
	execute template
	pieces  [8][]piece // one list for each set of optional lines: see variant
	size    int
}

// piece is a part of a cut template: fixed text, then a field.
type piece struct {
	text  string
	field field
}

// parseLayout parses a template.
func parseLayout(name, source string, colors Colors) (*layout, error) {
	l := &layout{name: name, html: strings.HasSuffix(name, ".html.tmpl"), colors: colors}
	var err error
	if l.html {
		l.execute, err = htmltemplate.New(name).Parse(source)
	} else {
		l.execute, err = texttemplate.New(name).Parse(source)
	}
	return l, err
}

// cut executes a built-in template with a mark instead of each field and keeps
// the text around the marks.
func (l *layout) cut() error {
	const mark = "\uE000" // a private-use character
	of := func(f field) string { return mark + string(rune('A'+f)) }
	for v := range l.pieces {
		p := Page{Lang: of(langField), Dir: of(dirField), Brand: of(brandField), Code: of(codeField), Colors: l.colors}
		for f, into := range sentencesOf(&p) {
			if shown, optional := variant(f, v); shown || !optional {
				*into = of(f)
			}
		}
		var b strings.Builder
		if err := l.execute.Execute(&b, p); err != nil {
			return err
		}
		text, rest, _ := strings.Cut(b.String(), mark)
		pieces := []piece{{text: text}}
		for after := range strings.SplitSeq(rest, mark) {
			pieces[len(pieces)-1].field = field(after[0] - 'A')
			pieces = append(pieces, piece{text: after[1:]})
		}
		l.pieces[v] = pieces
		l.size = max(l.size, b.Len())
	}
	return nil
}

// variant reports whether a field is optional and whether variant v of a layout
// shows it.
func variant(f field, v int) (shown, optional bool) {
	switch f {
	case amountField:
		return v&1 != 0, true
	case referenceField:
		return v&2 != 0, true
	case supportField:
		return v&4 != 0, true
	}
	return false, false
}

// render fills the layout.
func (l *layout) render(m *message) (string, error) {
	var b strings.Builder
	if l.custom {
		err := l.execute.Execute(&b, m.page(l.colors, l.html))
		return b.String(), err
	}
	v := 0
	for i, f := range [...]field{amountField, referenceField, supportField} {
		if m.sentence(f) != nil {
			v |= 1 << i
		}
	}
	b.Grow(l.size + 1024)
	for _, p := range l.pieces[v] {
		b.WriteString(p.text)
		switch p.field {
		case noField:
		case langField:
			b.WriteString(m.words.lang) // letters, digits and hyphens
		case dirField:
			b.WriteString(m.words.dir)
		case brandField:
			l.write(&b, m.shown(brandValue))
		case codeField:
			if l.html {
				l.write(&b, m.data.Code)
			} else {
				b.WriteString(lineCode(m.data.Code, m.words.rtl))
			}
		default:
			for _, part := range m.sentence(p.field) {
				switch {
				case part.value == literal && l.html:
					b.WriteString(part.html)
				case part.value == literal:
					b.WriteString(part.text)
				default:
					l.write(&b, m.shown(part.value))
				}
			}
		}
	}
	return b.String(), nil
}

// write writes a value.
func (l *layout) write(b *strings.Builder, value string) {
	if l.html {
		value = htmlEscaper.Replace(value)
	}
	b.WriteString(value)
}

// attachTemplates sets the layouts of every language: those of user for this
// language, else those of user for all languages, else the built-in ones.
func attachTemplates(all map[string]*words, user fs.FS, colors Colors) error {
	builtinLayout := func(name string) (*layout, error) {
		source, err := fs.ReadFile(builtin, name)
		if err != nil {
			return nil, err
		}
		l, err := parseLayout(name, string(source), colors)
		if err != nil {
			return nil, err
		}
		return l, l.cut()
	}
	text, err := builtinLayout("mail.txt.tmpl")
	if err != nil {
		return err
	}
	html, err := builtinLayout("mail.html.tmpl")
	if err != nil {
		return err
	}
	custom, err := userLayouts(all, user, colors)
	if err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		w := all[tag]
		w.text, w.html = text, html
		for _, name := range [...]string{"mail.txt.tmpl", "mail." + tag + ".txt.tmpl"} {
			if l := custom[name]; l != nil {
				w.text = l
			}
		}
		for _, name := range [...]string{"mail.html.tmpl", "mail." + tag + ".html.tmpl"} {
			if l := custom[name]; l != nil {
				w.html = l
			}
		}
	}
	return nil
}

// templateTag returns the language in the name of a template, or "" if the
// template is for all languages.
func templateTag(name string) (tag string, ok bool) {
	name, ok = strings.CutPrefix(name, "mail")
	for _, ending := range [...]string{".txt.tmpl", ".html.tmpl"} {
		if tag, found := strings.CutSuffix(name, ending); ok && found {
			tag, dotted := strings.CutPrefix(tag, ".")
			return tag, dotted == (tag != "")
		}
	}
	return "", false
}

// userLayouts reads the templates of user. The keys are file names.
func userLayouts(all map[string]*words, user fs.FS, colors Colors) (map[string]*layout, error) {
	if user == nil {
		return nil, nil
	}
	names, err := fs.Glob(user, "*.tmpl")
	if err != nil {
		return nil, err
	}
	if words, err := fs.Glob(user, "words/*.json"); err != nil || len(words)+len(names) == 0 {
		return nil, errors.Join(errors.New("files: contains neither words/*.json nor mail*.tmpl; an embedded folder needs fs.Sub"), err)
	}
	custom := make(map[string]*layout, len(names))
	for _, name := range names {
		if tag, ok := templateTag(name); !ok {
			return nil, fmt.Errorf("%s: invalid name, want mail.html.tmpl, mail.de.html.tmpl or the same with txt", name)
		} else if tag != "" && all[tag] == nil {
			return nil, fmt.Errorf("%s: there are no words for this language", name)
		}
		source, err := fs.ReadFile(user, name)
		if err != nil {
			return nil, err
		}
		if custom[name], err = parseLayout(name, string(source), colors); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		custom[name].custom = true
	}
	return custom, nil
}
