package letter

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/rangetable"
	"golang.org/x/text/width"
)

// maxColumns is the maximum length of a line of the text part. RFC 3676 section
// 4.2 wants at most 78, with room for quotation marks. East Asian wide
// characters have two columns.
const maxColumns = 72

// wrap breaks lines that are longer than maxColumns: at spaces, next to
// ideographs and kana, and, if there is neither, between the syllables of
// scripts without spaces. Other long words, numbers and codes stay whole.
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

func wrapLine(b *strings.Builder, line string) {
	start, column := 0, 0
	barren := 0 // before this index there is no place to break
	isolating, open := strings.ContainsRune(line, pdi), false
	for i, r := range line {
		w := columns(r)
		if column+w > maxColumns && r != ' ' {
			end := lineEnd(line, barren, i, r)
			if done := strings.TrimRight(line[start:end], " "); end == barren || done == "" {
				barren = i
			} else {
				b.WriteString(done)
				start, barren, column = end, end, 0
				for _, r := range line[start:i] {
					column += columns(r)
				}
				// An isolate must end with its line and start again on the
				// next.
				if isolating {
					if at := strings.LastIndexAny(done, isolates); at >= 0 {
						open = !strings.HasPrefix(done[at:], string(pdi))
					}
				}
				if open {
					b.WriteString(string(pdi) + "\n" + string(fsi))
				} else {
					b.WriteByte('\n')
				}
			}
		}
		column += w
	}
	b.WriteString(line[start:])
}

// lineEnd returns the index after start at which to break a line so that r,
// which is at index over, moves to the next line. It returns start if there is
// none.
func lineEnd(line string, start, over int, r rune) int {
	poor := start
	for i := over; i > start; {
		before, size := utf8.DecodeLastRuneInString(line[start:i])
		if before == ' ' || mayBreak(before, r) {
			return i
		}
		if poor == start && mustBreak(before, r) {
			poor = i
		}
		i -= size
		r = before
	}
	return poor
}

// columns returns the width of a character.
func columns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r >= 0x4E00 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3: // most ideographs; Korean syllables
		return 2
	case unicode.Is(noColumns, r):
		return 0
	case wide(r):
		return 2
	}
	return 1
}

// noColumns are characters without a width: combining marks and invisible ones.
var noColumns = rangetable.Merge(unicode.Mn, unicode.Me, unicode.Cf)

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

// mayBreak reports whether a line may end between a and b, which are not
// spaces: next to an ideograph or kana, but not before a closing mark, after an
// opening one or after a digit (a simplified form of Unicode annex 14). Korean
// has spaces.
func mayBreak(a, b rune) bool {
	if a < 0x1100 && b < 0x1100 {
		return false
	}
	return (wide(a) && !unicode.Is(unicode.Hangul, a) || wide(b) && !unicode.Is(unicode.Hangul, b)) && !holds(a) && !clings(b)
}

// mustBreak reports whether a line may end between a and b if there is no
// better place.
func mustBreak(a, b rune) bool {
	return a >= 0xE00 && b >= 0xE00 && unicode.In(a, unspaced...) && unicode.In(b, unspaced...) && !holds(a) && !clings(b)
}

// unspaced are scripts that have no spaces between words, and Korean, in which
// only names can be too long for a line.
var unspaced = []*unicode.RangeTable{unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan, unicode.Hangul}

// holds reports whether a must not end a line.
func holds(a rune) bool {
	switch {
	case a <= '~': // in numbers, codes and addresses
		return unicode.IsDigit(a) || unicode.IsPunct(a) || unicode.IsSymbol(a)
	case a >= 0xE40 && a <= 0xE44, a >= 0xEC0 && a <= 0xEC4: // vowels before their consonant, Thai and Lao
		return true
	case a == 0x17D2, a == 0x1039: // the next consonant is below, Khmer and Burmese
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
