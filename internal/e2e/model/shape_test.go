package model

import "strings"

func kindOf(purpose string) string {
	kind, _, _ := strings.Cut(purpose, ":")
	return kind
}

// A shape is what the codes of a generator look like.
type shape struct {
	signs string
	n     int
}

var (
	sixDigits    = shape{"0123456789", 6}
	eightLetters = shape{"0123456789BCDFGHJKMNPQRSTVWXYZ", 8}
	fourteen     = shape{"0123456789BCDFGHJKMNPQRSTVWXYZ", 14}
)

// read brings typed input into the form of a code: blanks and hyphens are dropped,
// small letters are the same as capitals, O is 0, I and L are 1.
func (s shape) read(input string) (string, bool) {
	var code strings.Builder
	for _, r := range strings.ToUpper(input) {
		switch {
		case r == ' ', r == '-':
		case len(s.signs) > 10 && r == 'O':
			code.WriteByte('0')
		case len(s.signs) > 10 && (r == 'I' || r == 'L'):
			code.WriteByte('1')
		case strings.ContainsRune(s.signs, r):
			code.WriteRune(r)
		default:
			return "", false
		}
	}
	return code.String(), code.Len() == s.n
}
