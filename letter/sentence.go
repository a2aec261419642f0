package letter

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"

	"github.com/go-mailotp/otp/internal/phrases"
)

// The characters that keep a text of unknown direction from reordering the text
// around it (Unicode annex 9, section 2.4).
const (
	lri = '\u2066' // left-to-right isolate
	fsi = '\u2068' // first strong isolate
	pdi = '\u2069' // pop directional isolate

	isolates = string(lri) + string(fsi) + string(pdi)
)

// value is a value that a sentence can contain as a name in braces.
type value int

const (
	literal value = iota // not a value but text of the sentence
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

// part is one part of a sentence: text or a value.
type part struct {
	text, html string // the text, plain and escaped
	value      value
}

// sentence is a sentence of a language, divided at its values.
type sentence []part

// requiredValues are the values that a sentence must contain, by the last name
// of its key ("minutes" for each of its forms). Every sentence may also contain
// the brand.
var requiredValues = map[string][]value{
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

// htmlEscaper escapes text the way html/template does between tags.
var htmlEscaper = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")

// parseSentence divides s at its values. It returns an error if s does not
// contain exactly the values that model requires.
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
	for _, v := range requiredValues[model] {
		if count[v] == 0 {
			return nil, fmt.Errorf("{%s} is missing", valueNames[v])
		}
		if count[v] > 1 && v != brandValue {
			return nil, fmt.Errorf("{%s} occurs twice", valueNames[v])
		}
		count[v] = 0
	}
	count[brandValue] = 0
	for v, n := range count {
		if n > 0 { // such as the code in a subject that must not show it
			return nil, fmt.Errorf("{%s} must not occur here", valueNames[v])
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

// hasRightToLeft reports whether s contains right-to-left text.
func hasRightToLeft(s string) bool {
	for _, r := range s {
		if r < 0x590 { // Hebrew is the first such script
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

// lineCode returns a code for a line of its own in plain text. Letters and
// digits always keep their order; other characters do not in a right-to-left
// line, so a code with them is isolated.
func lineCode(code string, rtl bool) string {
	if rtl && strings.ContainsFunc(code, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return string(lri) + code + string(pdi)
	}
	return code
}
