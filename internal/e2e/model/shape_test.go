package model

import "strings"

func kindOf(purpose string) string {
	kind, _, _ := strings.Cut(purpose, ":")
	return kind
}

// A shape is what the codes of a generator look like.
type shape struct {
	letters string
	n       int
}

var (
	sixDigits    = shape{"0123456789", 6}
	eightLetters = shape{"0123456789BCDFGHJKMNPQRSTVWXYZ", 8}
	fourteen     = shape{"0123456789BCDFGHJKMNPQRSTVWXYZ", 14}
)

// read normalizes typed input: it drops spaces and hyphens, and it reads small
// letters as capitals, O as 0, and I and L as 1.
func (s shape) read(input string) (string, bool) {
	var code strings.Builder
	for _, r := range strings.ToUpper(input) {
		switch {
		case r == ' ', r == '-':
		case len(s.letters) > 10 && r == 'O':
			code.WriteByte('0')
		case len(s.letters) > 10 && (r == 'I' || r == 'L'):
			code.WriteByte('1')
		case strings.ContainsRune(s.letters, r):
			code.WriteRune(r)
		default:
			return "", false
		}
	}
	return code.String(), code.Len() == s.n
}
