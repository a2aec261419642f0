package letter

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/phrases"
)

//go:embed mail.txt.tmpl mail.html.tmpl words/*.json
var builtin embed.FS

// words are the sentences of one language.
type words struct {
	lang            string // the tag, as in the name of the file
	tag             language.Tag
	dir             string // ltr or rtl
	rtl             bool
	subjectWithCode sentence
	minutes         map[string]*sentence // by plural category
	reference       sentence
	share           sentence
	support         sentence
	kinds           map[string]*kind // "" is the general wording
	text, html      *layout
	custom          bool // at least one sentence is from Options.Files
}

// kind has the sentences that depend on the kind of purpose.
type kind struct {
	subject, amount, intro, ignore sentence
}

// builtinWords reads the built-in words once for the whole program, since that
// takes longer than everything else in New.
var builtinWords = sync.OnceValues(func() (c struct {
	texts map[string]phrases.File
	words map[string]*words
}, err error,
) {
	if c.texts, err = phrases.ReadAll(builtin, isGroup); err != nil {
		return c, err
	}
	c.words = make(map[string]*words, len(c.texts))
	for tag, f := range c.texts {
		if c.words[tag], err = newWords(tag, f, c.texts["en"]); err != nil {
			return c, fmt.Errorf("words/%s.json: %w", tag, err)
		}
	}
	return c, nil
})

// catalogue returns the built-in words, replaced and extended by those of user,
// which may be nil. The caller may change the result, but not the sentences.
func catalogue(user fs.FS) (map[string]*words, error) {
	known, err := builtinWords()
	if err != nil {
		return nil, err
	}
	all := make(map[string]*words, len(known.words))
	for tag, w := range known.words {
		clone := *w
		all[tag] = &clone
	}
	if user == nil {
		return all, nil
	}
	more, err := phrases.ReadAll(user, isGroup)
	if err != nil {
		return nil, err
	}
	texts := maps.Clone(known.texts)
	// Sorted, so that de is merged before de-AT, which is based on it.
	for _, tag := range slices.Sorted(maps.Keys(more)) {
		merged := phrases.Base(texts, language.Make(tag))
		maps.Copy(merged, more[tag])
		texts[tag] = merged
		if all[tag], err = newWords(tag, merged, known.texts["en"]); err != nil {
			return nil, fmt.Errorf("words/%s.json: %w", tag, err)
		}
		all[tag].custom = true
	}
	return all, nil
}

// isGroup reports whether the value of a name in a file of words is an object.
func isGroup(prefix, name string) bool {
	return prefix == "" && (name == "minutes" || name == "kinds") || prefix == "kinds."
}

// modelOf returns the key of requiredValues for a key of a file.
func modelOf(key string) (model string, ok bool) {
	group, _, _ := strings.Cut(key, ".")
	last := key[strings.LastIndexByte(key, '.')+1:]
	switch {
	case key == "subjectWithCode", key == "reference", key == "share", key == "support":
		return key, true
	case group == "minutes":
		return group, key == group+"."+last
	case group == "kinds" && strings.Count(key, ".") >= 2 && !strings.Contains(key, ":"): // a kind has no colon
		return last, last == "subject" || last == "amount" || last == "intro" || last == "ignore"
	}
	return "", false
}

// newWords returns the words of a language from its file. It returns an error
// if a key of model is missing or a key is unknown.
func newWords(tag string, f, model phrases.File) (*words, error) {
	w := &words{lang: tag, tag: language.Make(tag), dir: f["dir"], rtl: f["dir"] == "rtl", kinds: map[string]*kind{}, minutes: map[string]*sentence{}}
	if want := phrases.Direction(w.tag); w.dir != want {
		return nil, fmt.Errorf("dir: got %q, want %q for this language", w.dir, want)
	}
	required := map[string]bool{}
	for key := range model {
		required[key] = !strings.HasPrefix(key, "minutes.")
	}
	for name := range phrases.Needed(w.tag) {
		required["minutes."+name] = true
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if key == "lang" || key == "dir" {
			continue
		}
		model, ok := modelOf(key)
		if !ok {
			return nil, fmt.Errorf("%s: unknown key", key)
		}
		if model == "minutes" && !required[key] {
			return nil, fmt.Errorf("%s: this language does not have the plural category", key)
		}
		if name, ok := strings.CutSuffix(key, "."+model); ok { // of a kind
			required[name+".subject"], required[name+".intro"], required[name+".ignore"] = true, true, true
		}
		s, err := parseSentence(f[key], model)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		*w.slot(key) = s
	}
	for _, key := range slices.Sorted(maps.Keys(required)) {
		if required[key] && f[key] == "" {
			return nil, fmt.Errorf("%s: missing", key)
		}
	}
	return w, nil
}

// slot returns the field for the sentence of a key.
func (w *words) slot(key string) *sentence {
	switch key {
	case "subjectWithCode":
		return &w.subjectWithCode
	case "reference":
		return &w.reference
	case "share":
		return &w.share
	case "support":
		return &w.support
	}
	i := strings.LastIndexByte(key, '.')
	if key[:i] == "minutes" {
		w.minutes[key[i+1:]] = new(sentence)
		return w.minutes[key[i+1:]]
	}
	name := strings.TrimPrefix(key[:i], "kinds.")
	k := w.kinds[name]
	if k == nil {
		k = &kind{}
		w.kinds[name] = k
	}
	switch key[i+1:] {
	case "subject":
		return &k.subject
	case "amount":
		return &k.amount
	case "intro":
		return &k.intro
	}
	return &k.ignore
}
