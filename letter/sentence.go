package letter

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"

	"github.com/go-mailotp/otp/internal/oneline"
)

// The signs that keep a text of unknown direction from reordering what is
// around it (Unicode annex 9 section 2.4).
const (
	lri = '\u2066' // left-to-right isolate
	fsi = '\u2068' // first strong isolate
	pdi = '\u2069' // pop directional isolate

	isolates = string(lri) + string(fsi) + string(pdi)
)

// value is something that a sentence can name in braces.
type value int

const (
	literal value = iota // not a value: words of the sentence
	brandValue
	codeValue
	minutesValue
	referenceValue
	supportValue
	amountValue
	valueCount
)

var valueNames = [valueCount]string{
	brandValue: "brand", codeValue: "code", minutesValue: "minutes",
	referenceValue: "reference", supportValue: "support", amountValue: "amount",
}

// part is a stretch of a sentence: words, or a value in their place.
type part struct {
	text, html string // the words, as they are and escaped
	value      value
}

// sentence is one of a language, cut at its values.
type sentence []part

// demanded are the values that a sentence must name, by its key's last
// name ("minutes" for each of its forms): those of its English model. Besides,
// it may name the brand.
var demanded = map[string][]value{
	"subjectWithCode": {codeValue, brandValue},
	"minutes":         {minutesValue},
	"reference":       {referenceValue},
	"share":           {brandValue},
	"support":         {supportValue},
	"subject":         {brandValue},
	"amount":          {amountValue},
	"intro":           {brandValue},
	"ignore":          nil,
}

// htmlEscaper escapes text as html/template does between tags.
var htmlEscaper = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")

// parseSentence cuts s, which stands for what the model demands.
func parseSentence(s, model string) (sentence, error) {
	if s == "" || strings.TrimSpace(s) != s {
		return nil, errors.New("empty, or spaces at an end")
	}
	var out sentence
	var count [valueCount]int
	for rest := s; rest != ""; {
		words, after, found := strings.Cut(rest, "{")
		if strings.Contains(words, "}") {
			return nil, errors.New("unbalanced brace")
		}
		if words != "" {
			if err := checkWords(words); err != nil {
				return nil, err
			}
			out = append(out, part{text: words, html: htmlEscaper.Replace(words)})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found || strings.Contains(name, "{") {
			return nil, errors.New("unbalanced brace")
		}
		v := valueNamed(name)
		if v == literal {
			return nil, fmt.Errorf("unknown name {%s}", name)
		}
		out = append(out, part{value: v})
		count[v]++
		rest = after
	}
	for _, v := range demanded[model] {
		if count[v] == 0 {
			return nil, fmt.Errorf("{%s} is missing", valueNames[v])
		}
		if count[v] > 1 && v != brandValue {
			return nil, fmt.Errorf("{%s} stands there twice", valueNames[v])
		}
		count[v] = 0
	}
	count[brandValue] = 0
	for v, n := range count {
		if n > 0 { // such as the code in a subject that must not show it
			return nil, fmt.Errorf("{%s} does not belong here", valueNames[v])
		}
	}
	return out, nil
}

func valueNamed(name string) value {
	for v := brandValue; v < valueCount; v++ {
		if valueNames[v] == name {
			return v
		}
	}
	return literal
}

// checkWords refuses what no sentence may have.
func checkWords(s string) error {
	if err := oneline.Check(s); err != nil {
		return err
	}
	digits := 0
	for _, r := range s {
		// Joiners belong to the spelling of some languages; other invisible
		// signs only disguise.
		if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
			return fmt.Errorf("invisible character %U", r)
		}
		if !unicode.IsDigit(r) {
			digits = 0
		} else if digits++; digits > 1 {
			return errors.New("a number, which a program could take for the code")
		}
	}
	low := strings.ToLower(s)
	for _, never := range [...]string{"://", "http:", "https:", "www.", "mailto:", "src=", "href=", "url("} {
		if strings.Contains(low, never) {
			return fmt.Errorf("a link (%s)", never)
		}
	}
	return nil
}

// turns reports whether s has anything written from right to left.
func turns(s string) bool {
	for _, r := range s {
		if r < 0x590 { // the first of them is Hebrew
			continue
		}
		p, _ := bidi.LookupRune(r)
		switch p.Class() {
		case bidi.R, bidi.AL, bidi.AN:
			return true
		}
	}
	return false
}

// isolated returns s as it stands in plain text between words of perhaps
// another direction.
func isolated(s string) string { return string(fsi) + s + string(pdi) }

// lineCode returns a code as it stands alone on a line of plain text. Letters
// and digits without a gap keep their order in any surroundings; other signs
// do not, in a line that runs from right to left.
func lineCode(code string, rtl bool) string {
	if rtl && strings.ContainsFunc(code, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return string(lri) + code + string(pdi)
	}
	return code
}
