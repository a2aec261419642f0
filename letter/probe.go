package letter

import (
	"errors"
	"fmt"
	"html"
	"strings"
)

// probes are values that do not occur in words or templates by chance. The
// first mail has every line, the second has no optional line.
var probes = [...]Data{
	{Code: "739164", Brand: "Brandprobe", Minutes: 137, Reference: "KQZT", Support: "Supportprobe", Vars: map[string]string{"amount": "Amountprobe"}},
	{Code: "K7M2QX94TRZPWB", Brand: "Brandprobe", Minutes: 241},
}

// probe renders mails of one kind in one language. It returns an error if the
// code, the minutes or the brand is missing from a mail.
func (l *Letter) probe(w *words, kind string) error {
	for i := range probes {
		d := probes[i]
		d.Kind = kind
		m, err := l.render(w, &d)
		if err != nil {
			return fmt.Errorf("mail of kind %q in %s: %w", kind, w.lang, err)
		}
		text := strings.Join(strings.Fields(m.Text), " ") // undoes the wrapping
		if err := checkPart(text, text, &d); err != nil {
			return fmt.Errorf("%s, kind %q in %s: %w", w.text.name, kind, w.lang, err)
		}
		if err := checkPart(m.HTML, visibleText(m.HTML), &d); err != nil {
			return fmt.Errorf("%s, kind %q in %s: %w", w.html.name, kind, w.lang, err)
		}
	}
	return nil
}

// checkPart returns an error if a part of a mail does not show the values of d.
// whole is the source of the part.
func checkPart(whole, visible string, d *Data) error {
	switch n := strings.Count(whole, d.Code); {
	case n > 1:
		return fmt.Errorf("the code occurs %d times, want once", n)
	case n == 0 || !strings.Contains(visible, d.Code):
		return errors.New("the code is missing or not in one piece")
	case !strings.Contains(visible, fmt.Sprint(d.Minutes)):
		return errors.New("the minutes are missing")
	case !strings.Contains(visible, d.Brand):
		return errors.New("the brand is missing")
	}
	return nil
}

// visibleText returns the text of a document that is shown without styles: no
// head, no tags.
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
