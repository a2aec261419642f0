package otphttp

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/phrases"
)

//go:embed words/*.json page.html.tmpl style.css script.js
var builtin embed.FS

// words are the sentences of one language.
type words struct {
	lang, dir string
	sentences map[string][]phrases.Part
}

// builtinWords reads the built-in files, once for the whole program.
var builtinWords = sync.OnceValues(func() (map[string]phrases.File, error) {
	return phrases.ReadAll(builtin, isGroup)
})

func isGroup(prefix, name string) bool {
	return prefix == "" && (name == "title" || name == "errors")
}

// newLanguages returns the built-in words with those of user, which may be nil, over
// them.
func newLanguages(user fs.FS, fallback string) (*phrases.Chooser[words], error) {
	known, err := builtinWords()
	if err != nil {
		return nil, err
	}
	texts := maps.Clone(known)
	if user != nil {
		more, err := phrases.ReadAll(user, isGroup)
		if err != nil {
			return nil, err
		}
		// In the order of tags, so that de is there before de-AT asks for it.
		for _, tag := range slices.Sorted(maps.Keys(more)) {
			merged := phrases.Base(texts, language.Make(tag))
			maps.Copy(merged, more[tag])
			texts[tag] = merged
		}
	}
	all := make(map[string]*words, len(texts))
	for tag, f := range texts {
		if all[tag], err = newWords(tag, f, known["en"]); err != nil {
			return nil, fmt.Errorf("words/%s.json: %w", tag, err)
		}
	}
	return phrases.NewChooser(all, fallback)
}

// newWords checks a file: it has the keys of model, with the same names in braces,
// and no others but titles.
func newWords(tag string, f, model phrases.File) (*words, error) {
	w := &words{lang: tag, dir: f["dir"], sentences: make(map[string][]phrases.Part, len(f))}
	if want := phrases.Direction(language.Make(tag)); w.dir != want {
		return nil, fmt.Errorf("dir: must be %q, as this language is written", want)
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if key == "lang" || key == "dir" {
			continue
		}
		english, ok := model[key]
		if !ok && !strings.HasPrefix(key, "title.") {
			return nil, fmt.Errorf("%s: unknown key", key)
		}
		parts, err := phrases.Cut(f[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if want, got := names(english), names(f[key]); !slices.Equal(want, got) {
			return nil, fmt.Errorf("%s: has the names %v, want %v", key, got, want)
		}
		w.sentences[key] = parts
	}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if f[key] == "" && key != "lang" {
			return nil, fmt.Errorf("%s: missing", key)
		}
	}
	return w, nil
}

// names are those in the braces of a sentence, sorted.
func names(sentence string) []string {
	parts, _ := phrases.Cut(sentence)
	var list []string
	for _, p := range parts {
		if p.Name != "" {
			list = append(list, p.Name)
		}
	}
	slices.Sort(list)
	return list
}

// plain is a sentence as plain text.
func (w *words) plain(key string, values map[string]string) string {
	var b strings.Builder
	for _, p := range w.sentences[key] {
		b.WriteString(p.Text + values[p.Name])
	}
	return b.String()
}

// html is a sentence with its values in isolates (bdi), so that an address or a
// time does not turn round the words beside it.
func (w *words) html(key string, values map[string]template.HTML) template.HTML {
	var b strings.Builder
	for _, p := range w.sentences[key] {
		b.WriteString(template.HTMLEscapeString(p.Text))
		if p.Name != "" {
			b.WriteString("<bdi>" + string(values[p.Name]) + "</bdi>")
		}
	}
	return template.HTML(b.String())
}

// clock shows seconds as m:ss or h:mm:ss, which is read in every language.
func clock(seconds int) string {
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
