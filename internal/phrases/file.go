// Package phrases reads the sentences of a program, which has one file for each
// language, and finds the language for a reader's preferences.
package phrases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// File is a file of words. Nested keys are joined by dots, such as
// "kinds.login.intro".
type File map[string]string

// Base returns a copy of the words that a custom file for tag changes: the
// words for tag or, if there are none, for the nearest of its parents (de for
// de-AT).
func Base(texts map[string]File, tag language.Tag) File {
	for ; tag != language.Und; tag = tag.Parent() {
		if f := texts[tag.String()]; f != nil {
			return maps.Clone(f)
		}
	}
	return File{}
}

// ReadAll reads words/*.json and returns the files by tag. Groups reports
// whether the value of a name may be an object; the keys of the object are then
// prefixed with the name and a dot. Prefix is the prefix of the name itself.
func ReadAll(files fs.FS, groups func(prefix, name string) bool) (map[string]File, error) {
	names, err := fs.Glob(files, "words/*.json")
	if err != nil {
		return nil, err
	}
	all := make(map[string]File, len(names))
	for _, name := range names {
		tag := strings.TrimSuffix(path.Base(name), ".json")
		f, err := Read(files, tag, groups)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[tag] = f
	}
	return all, nil
}

// Read reads words/<tag>.json, as [ReadAll] does.
func Read(files fs.FS, tag string, groups func(prefix, name string) bool) (File, error) {
	if parsed, err := language.Parse(tag); err != nil || parsed == language.Und {
		return nil, errors.New("the file name is not a language tag")
	} else if s := parsed.String(); s != tag {
		return nil, fmt.Errorf("the file name must be %s.json", s)
	}
	raw, err := fs.ReadFile(files, "words/"+tag+".json")
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(raw) {
		return nil, errors.New("not valid UTF-8")
	}
	f := File{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil {
		return nil, err
	} else if start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	if err := f.object(dec, "", groups); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			before := raw[:min(syntax.Offset, int64(len(raw)))]
			return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
		}
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("data after the JSON object")
	}
	if lang, ok := f["lang"]; ok && lang != tag {
		return nil, errors.New("lang: differs from the file name")
	}
	return f, nil
}

// object reads the rest of an object whose keys begin with prefix. Unlike
// Unmarshal, it rejects duplicate keys and does not ignore their case, so that
// no sentence is lost silently.
func (f File) object(dec *json.Decoder, prefix string, groups func(prefix, name string) bool) error {
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		key := prefix + name.(string)
		value, err := dec.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		switch v := value.(type) {
		case string:
			if _, twice := f[key]; twice {
				return fmt.Errorf("%s: duplicate key", key)
			}
			f[key] = v
		case json.Delim:
			if v != '{' || !groups(prefix, name.(string)) {
				return fmt.Errorf("%s: must be a string", key)
			}
			if err := f.object(dec, key+".", groups); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: must be a string", key)
		}
	}
	_, err := dec.Token() // the closing brace
	return err
}

// Direction returns "rtl" for a language that is written from right to left,
// and "ltr" for any other.
func Direction(tag language.Tag) string {
	switch script, _ := tag.Script(); script.String() {
	case "Adlm", "Arab", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa", "Yezi":
		return "rtl"
	}
	return "ltr"
}
