package otphttp

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/phrases"
)

//go:embed words/*.json page.html.tmpl body.html.tmpl style.css script.js
var builtin embed.FS

// words are the sentences of one language.
type words struct {
	lang, dir string
	custom    bool // Options.Files changes or adds some of them
	sentences func() map[string][]phrases.Part
}

// builtinTexts returns all built-in files, which only Options.Files needs. It
// reads them once for the whole program.
var builtinTexts = sync.OnceValues(func() (map[string]phrases.File, error) {
	return phrases.ReadAll(builtin, isGroup)
})

// builtinEnglish returns the file that has every key.
var builtinEnglish = sync.OnceValues(func() (phrases.File, error) {
	return phrases.Read(builtin, "en", isGroup)
})

// builtinWords returns the built-in languages by tag. The file of a language is
// read when a page first needs it, since most programs never show most
// languages.
var builtinWords = sync.OnceValues(func() (map[string]*words, error) {
	names, err := fs.Glob(builtin, "words/*.json")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*words, len(names))
	for _, name := range names {
		tag := strings.TrimSuffix(path.Base(name), ".json")
		all[tag] = &words{lang: tag, dir: phrases.Direction(language.Make(tag)), sentences: sync.OnceValue(func() map[string][]phrases.Part {
			w, err := readBuiltin(tag)
			if err != nil {
				panic("otphttp: built-in " + err.Error()) // a test of this package reads them all
			}
			return w.sentences()
		})}
	}
	return all, nil
})

// readBuiltin reads and checks one built-in file.
func readBuiltin(tag string) (*words, error) {
	english, err := builtinEnglish()
	if err != nil {
		return nil, err
	}
	f, err := phrases.Read(builtin, tag, isGroup)
	if err != nil {
		return nil, fmt.Errorf("words/%s.json: %w", tag, err)
	}
	return newWords(tag, f, english)
}

func isGroup(prefix, name string) bool {
	return prefix == "" && (name == "title" || name == "errors" || name == "minutes" || name == "hours")
}

// newLanguages returns the built-in languages, changed and extended by the
// files of user, which may be nil.
func newLanguages(user fs.FS, fallback string) (*phrases.Chooser[words], error) {
	all, err := builtinWords()
	if err != nil {
		return nil, err
	}
	if user != nil {
		if all, err = withCustom(all, user); err != nil {
			return nil, err
		}
	}
	return phrases.NewChooser(all, fallback)
}

// withCustom returns a copy of all that has the languages of user too.
func withCustom(all map[string]*words, user fs.FS) (map[string]*words, error) {
	all = maps.Clone(all)
	known, err := builtinTexts()
	if err != nil {
		return nil, err
	}
	more, err := phrases.ReadAll(user, isGroup)
	if err != nil {
		return nil, err
	}
	texts := maps.Clone(known)
	// In the order of their tags, so that de is merged before de-AT needs it.
	for _, tag := range slices.Sorted(maps.Keys(more)) {
		merged := phrases.Base(texts, language.Make(tag))
		maps.Copy(merged, more[tag])
		texts[tag] = merged
		if all[tag], err = newWords(tag, merged, known["en"]); err != nil {
			return nil, err
		}
		all[tag].custom = true
	}
	return all, nil
}

// newWords checks a file: it has the keys of model, with the same names in
// braces, and no other keys except titles.
func newWords(tag string, f, model phrases.File) (*words, error) {
	sentences, err := cutAll(tag, f, model)
	if err != nil {
		return nil, fmt.Errorf("words/%s.json: %w", tag, err)
	}
	return &words{lang: tag, dir: f["dir"], sentences: func() map[string][]phrases.Part { return sentences }}, nil
}

func cutAll(tag string, f, model phrases.File) (map[string][]phrases.Part, error) {
	if want := phrases.Direction(language.Make(tag)); f["dir"] != want {
		return nil, fmt.Errorf("dir: must be %q for this language", want)
	}
	required := map[string]bool{}
	for key := range model {
		if _, plural := pluralOf(key); !plural && key != "lang" {
			required[key] = true
		}
	}
	for category := range phrases.Needed(language.Make(tag)) {
		required["minutes."+category], required["hours."+category] = true, true
	}
	sentences := make(map[string][]phrases.Part, len(f))
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if key == "lang" || key == "dir" {
			continue
		}
		if !required[key] && !strings.HasPrefix(key, "title.") {
			return nil, fmt.Errorf("%s: unknown key, or a plural category that this language does not have", key)
		}
		parts, err := phrases.Cut(f[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		want, got := names(model[key]), names(f[key])
		if group, plural := pluralOf(key); plural {
			want = names(model[group+".other"])
			if len(got) == 0 && !strings.HasSuffix(key, ".other") {
				want = nil // one minute, two minutes: a word of their own in some languages
			}
		}
		if !slices.Equal(want, got) {
			return nil, fmt.Errorf("%s: names in braces are %v, want %v", key, got, want)
		}
		sentences[key] = parts
	}
	for _, key := range slices.Sorted(maps.Keys(required)) {
		if f[key] == "" {
			return nil, fmt.Errorf("%s: missing", key)
		}
	}
	return sentences, nil
}

// pluralOf returns the group of a key that has one sentence for each plural
// category.
func pluralOf(key string) (group string, ok bool) {
	group, _, _ = strings.Cut(key, ".")
	return group, group == "minutes" || group == "hours"
}

// names returns the names in the braces of a sentence, sorted.
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

// plain returns a sentence as plain text.
func (w *words) plain(key string, values map[string]string) string {
	var b strings.Builder
	for _, p := range w.sentences()[key] {
		b.WriteString(p.Text + values[p.Name])
	}
	return b.String()
}

// html returns a sentence with its values in bdi elements, so that an address
// or a time does not change the direction of the words around it.
func (w *words) html(key string, values map[string]template.HTML) template.HTML {
	var b strings.Builder
	for _, p := range w.sentences()[key] {
		b.WriteString(template.HTMLEscapeString(p.Text))
		if p.Name != "" {
			translate := ` translate="no"` // a name
			if p.Name == "time" || p.Name == "number" {
				translate = ""
			}
			b.WriteString("<bdi" + translate + ">" + string(values[p.Name]) + "</bdi>")
		}
	}
	return template.HTML(b.String())
}

// wait returns a time in words, which do not promise a second: in whole minutes
// or, from two hours on, in whole hours.
func (w *words) wait(seconds int) string {
	n, unit := max(1, (seconds+59)/60), "minutes."
	if n >= 120 {
		n, unit = (n+59)/60, "hours."
	}
	key := unit + phrases.Category(language.Make(w.lang), n)
	if w.sentences()[key] == nil {
		key = unit + "other"
	}
	return w.plain(key, map[string]string{"number": strconv.Itoa(n)})
}

// clock formats seconds as m:ss or h:mm:ss, which people read in every
// language.
func clock(seconds int) string {
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}
