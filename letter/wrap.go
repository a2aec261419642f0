package letter

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/rangetable"
	"golang.org/x/text/width"
)

// maxColumns is the longest line of the text part (RFC 3676 section 4.2 wants
// at most 78, with room for marks of quotation). East Asian wide characters
// have two columns.
const maxColumns = 72

// wrap breaks lines longer than maxColumns: at spaces, next to ideographs and
// kana, and, where a stretch has neither, between the syllables of scripts
// that write no spaces. Other long words stay whole, and so do numbers and
// codes.
func wrap(text string) string {
	var b strings.Builder
	b.Grow(len(text) + 64)
	for line := range strings.Lines(text) {
		if len(line) <= maxColumns { // bytes: never less than the columns
			b.WriteString(line)
			continue
		}
		content, ended := strings.CutSuffix(line, "\n")
		wrapLine(&b, content)
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// breakAt is a place where a line may end.
type breakAt struct {
	end    int  // what is before it stays on the line
	next   int  // what follows begins the next one
	column int  // of next
	open   bool // an isolate is open
}

func wrapLine(b *strings.Builder, line string) {
	var good, poor breakAt
	start, column := 0, 0
	open := false
	last := ' '
	for i, r := range line {
		w := columns(r)
		switch {
		case r == ' ':
			if last != ' ' {
				good.end = i
			}
			good.next, good.column, good.open = i+1, column+1, open
		case mayBreak(last, r):
			good = breakAt{i, i, column, open}
		case mustBreak(last, r):
			poor = breakAt{i, i, column, open}
		}
		if column+w > maxColumns && r != ' ' {
			at := good
			if at.end <= start {
				at = poor
			}
			if at.end > start {
				b.WriteString(line[start:at.end])
				if at.open {
					b.WriteRune(pdi) // an isolate ends with its line
				}
				b.WriteByte('\n')
				if at.open {
					b.WriteRune(fsi)
				}
				start, column = at.next, column-at.column
				good.column -= at.column
				poor.column -= at.column
			}
		}
		switch r {
		case lri, fsi:
			open = true
		case pdi:
			open = false
		}
		column += w
		last = r
	}
	b.WriteString(line[start:])
}

// noColumns have no width of their own: marks over others and invisible signs.
var noColumns = rangetable.Merge(unicode.Mn, unicode.Me, unicode.Cf)

// columns is how wide a character is.
func columns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.Is(noColumns, r):
		return 0
	case wide(r):
		return 2
	}
	return 1
}

func wide(r rune) bool {
	if r < 0x1100 {
		return false
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return true
	}
	return false
}

// mayBreak reports whether a line may end between a and b, neither of them a
// space: next to an ideograph or kana, but not before a closing mark or after
// an opening one, and never after a digit (Unicode annex 14, simplified).
// Korean has spaces.
func mayBreak(a, b rune) bool {
	if a < 0x1100 && b < 0x1100 {
		return false
	}
	return (wide(a) && !unicode.Is(unicode.Hangul, a) || wide(b) && !unicode.Is(unicode.Hangul, b)) && !holds(a) && !clings(b)
}

// mustBreak reports whether a line may end between a and b if there is nothing
// better.
func mustBreak(a, b rune) bool {
	return a >= 0xE00 && b >= 0xE00 && unicode.In(a, unspaced...) && unicode.In(b, unspaced...) && !holds(a) && !clings(b)
}

// unspaced are scripts whose words run together, and Korean, whose words are
// short enough but for names.
var unspaced = []*unicode.RangeTable{unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan, unicode.Hangul}

// holds reports whether a must not end a line.
func holds(a rune) bool {
	switch {
	case a <= '~': // of numbers, codes and addresses
		return unicode.IsDigit(a) || unicode.IsPunct(a) || unicode.IsSymbol(a)
	case a >= 0xE40 && a <= 0xE44, a >= 0xEC0 && a <= 0xEC4: // vowels before their consonant, Thai and Lao
		return true
	case a == 0x17D2, a == 0x1039: // the next consonant goes below, Khmer and Burmese
		return true
	}
	return unicode.In(a, unicode.Ps, unicode.Pi, unicode.Sc, unicode.Nd) || unicode.Is(unicode.Cf, a) && a != pdi
}

// clings reports whether b must not begin a line.
func clings(b rune) bool {
	switch {
	case strings.ContainsRune("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ々", b):
		return true
	case b >= 0xE2F && b <= 0xE33, b == 0xE45, b >= 0xEAF && b <= 0xEB3: // vowels after their consonant, Thai and Lao
		return true
	case b >= 0x1160 && b <= 0x11FF: // middle and end of a Korean syllable
		return true
	}
	return unicode.In(b, unicode.M, unicode.Pe, unicode.Pf, unicode.Po, unicode.Pd, unicode.Lm, unicode.Sk) || unicode.Is(unicode.Cf, b) && b != fsi
}
