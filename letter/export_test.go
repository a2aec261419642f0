package letter

// For the tests in package letter_test.
var (
	Wrap    = wrap
	Columns = columns
)

// RenderByTemplate is Render with the built-in templates executed for each
// mail, as custom ones are.
func (l *Letter) RenderByTemplate(d Data) (Mail, error) {
	if err := d.check(); err != nil {
		return Mail{}, err
	}
	w := *l.languages.Choose(d.Locale)
	text, html := *w.text, *w.html
	text.custom, html.custom = true, true
	w.text, w.html = &text, &html
	return l.render(&w, &d)
}

// Remembered is the number of preferences whose language a Letter remembers.
func (l *Letter) Remembered() int { return l.languages.Remembered() }
