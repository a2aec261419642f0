package letter

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/go-mailotp/otp/internal/phrases"
	"golang.org/x/text/unicode/bidi"
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
	parts, err := phrases.Cut(s)
	if err != nil {
		return nil, err
	}
	var out sentence
	var count [valueCount]int
	for _, p := range parts {
		if p.Name == "" {
			out = append(out, part{text: p.Text, html: htmlEscaper.Replace(p.Text)})
			continue
		}
		v := valueNamed(p.Name)
		if v == literal {
			return nil, fmt.Errorf("unknown name {%s}", p.Name)
		}
		out = append(out, part{value: v})
		count[v]++
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
