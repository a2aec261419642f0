package letter

import (
	"fmt"
	"html"
	"strings"
)

// probes are values that no words or layouts hold by chance; the one has every
// line, the other none that can be left out.
var probes = [...]Data{
	{Code: "739164", Brand: "Brandprobe", Minutes: 137, Reference: "KQZT", Support: "Supportprobe", Vars: map[string]string{"amount": "Amountprobe"}},
	{Code: "K7M2QX94TRZPWB", Brand: "Brandprobe", Minutes: 241},
}

// probe makes mails of one kind in one language for trial and refuses one that
// lost what it is for. A number of six digits in the words themselves was
// refused before.
func (l *Letter) probe(w *words, kind string) error {
	for i := range probes {
		d := probes[i]
		d.Kind = kind
		m, err := l.render(w, &d)
		if err != nil {
			return fmt.Errorf("mail of kind %q in %s: %w", kind, w.lang, err)
		}
		text := strings.Join(strings.Fields(m.Text), " ") // as before wrapping
		if err := shows(text, text, &d); err != nil {
			return fmt.Errorf("%s, kind %q in %s: %w", w.text.name, kind, w.lang, err)
		}
		if err := shows(m.HTML, visibleText(m.HTML), &d); err != nil {
			return fmt.Errorf("%s, kind %q in %s: %w", w.html.name, kind, w.lang, err)
		}
	}
	return nil
}

// shows checks what a part of a mail shows; whole is its source.
func shows(whole, visible string, d *Data) error {
	switch n := strings.Count(whole, d.Code); {
	case n > 1:
		return fmt.Errorf("shows the code %d times", n)
	case n == 0 || !strings.Contains(visible, d.Code):
		return fmt.Errorf("does not show the code, or not in one piece")
	case !strings.Contains(visible, fmt.Sprint(d.Minutes)):
		return fmt.Errorf("does not show the minutes")
	case !strings.Contains(visible, d.Brand):
		return fmt.Errorf("does not show the brand")
	}
	return nil
}

// visibleText is what a document shows when all its styles are gone: no head,
// no tags.
func visibleText(doc string) string {
	if _, body, found := strings.Cut(doc, "<body"); found {
		doc = "<body" + body
	}
	var b strings.Builder
	b.Grow(len(doc))
	for {
		text, tag, found := strings.Cut(doc, "<")
		b.WriteString(text)
		if !found {
			return html.UnescapeString(b.String())
		}
		_, doc, _ = strings.Cut(tag, ">")
	}
}
