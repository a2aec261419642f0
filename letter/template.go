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

// field is a place in a layout.
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

// sentenceTemplate is known to every HTML template as "sentence".
const sentenceTemplate = `{{range .}}{{if .Isolate}}<bdi>{{.Text}}</bdi>{{else}}{{.Text}}{{end}}{{end}}`

// template is what text/template and html/template have in common.
type template interface {
	Execute(w io.Writer, data any) error
}

// layout is how one part of the mail is built. The built-in ones are cut into
// pieces once, which is many times as fast as executing them for each mail:
// they show plain words between tags and nothing else, and a test holds the
// result against html/template. Those of users are executed, since they may do
// anything.
type layout struct {
	name    string // of the file
	html    bool
	colors  Colors
	own     bool // a user's
	execute template
	pieces  [8][]piece // by which of the optional lines are there: see variant
	size    int
}

// piece is a stretch of a cut template: text as it is, then a field.
type piece struct {
	text  string
	field field
}

// parseLayout parses a template.
func parseLayout(name, source string, colors Colors) (*layout, error) {
	l := &layout{name: name, html: strings.HasSuffix(name, ".html.tmpl"), colors: colors}
	var err error
	if l.html {
		t := htmltemplate.New(name)
		if _, err = t.New("sentence").Parse(sentenceTemplate); err == nil {
			l.execute, err = t.Parse(source)
		}
	} else {
		l.execute, err = texttemplate.New(name).Parse(source)
	}
	return l, err
}

// cut executes a built-in template with a mark in place of each field and
// keeps what is around the marks.
func (l *layout) cut() error {
	const mark = "\uE000" // for private use
	of := func(f field) string { return mark + string(rune('A'+f)) }
	for v := range l.pieces {
		p := Page{Lang: of(langField), Dir: of(dirField), Brand: of(brandField), Code: of(codeField), Colors: l.colors}
		for f, into := range p.sentences() {
			if shown, optional := variant(f, v); shown || !optional {
				*into = Sentence{{Text: of(f)}}
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

// variant reports whether a field is shown in the given one of the variants of
// a layout, and whether that depends on it.
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
	if l.own {
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
			l.write(&b, m.values[brandValue])
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
				case !m.isolate[part.value]:
					l.write(&b, m.values[part.value])
				case l.html:
					b.WriteString("<bdi>")
					l.write(&b, m.values[part.value])
					b.WriteString("</bdi>")
				default:
					b.WriteString(isolated(m.values[part.value]))
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

// attachTemplates gives every language its layouts: the built-in ones, or
// those of user for all or for this language.
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
	own, err := userLayouts(all, user, colors)
	if err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		w := all[tag]
		w.text, w.html = text, html
		for _, name := range [...]string{"mail.txt.tmpl", "mail." + tag + ".txt.tmpl"} {
			if l := own[name]; l != nil {
				w.text = l
			}
		}
		for _, name := range [...]string{"mail.html.tmpl", "mail." + tag + ".html.tmpl"} {
			if l := own[name]; l != nil {
				w.html = l
			}
		}
	}
	return nil
}

// templateTag returns the language in the name of a template, "" for all.
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

// userLayouts reads the templates of user, by file name.
func userLayouts(all map[string]*words, user fs.FS, colors Colors) (map[string]*layout, error) {
	if user == nil {
		return nil, nil
	}
	names, err := fs.Glob(user, "*.tmpl")
	if err != nil {
		return nil, err
	}
	if words, err := fs.Glob(user, "words/*.json"); err != nil || len(words)+len(names) == 0 {
		return nil, errors.Join(errors.New("files: neither words/*.json nor mail*.tmpl; an embedded folder needs fs.Sub"), err)
	}
	own := make(map[string]*layout, len(names))
	for _, name := range names {
		if tag, ok := templateTag(name); !ok {
			return nil, fmt.Errorf("%s: not of the form mail.html.tmpl or mail.de.html.tmpl, or the same with txt", name)
		} else if tag != "" && all[tag] == nil {
			return nil, fmt.Errorf("%s: no words for this language", name)
		}
		source, err := fs.ReadFile(user, name)
		if err != nil {
			return nil, err
		}
		if own[name], err = parseLayout(name, string(source), colors); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		own[name].own = true
	}
	return own, nil
}
