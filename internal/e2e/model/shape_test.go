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

const (
	digits  = "0123456789"
	letters = "0123456789BCDFGHJKMNPQRSTVWXYZ"
)

var (
	sixDigits    = shape{digits, 6}
	eightDigits  = shape{digits, 8}
	sixLetters   = shape{letters, 6}
	eightLetters = shape{letters, 8}
	fourteen     = shape{letters, 14}
)

// read normalizes typed input: it drops spaces and hyphens, and it reads small
// letters as capitals, O as 0, and I and L as 1.
func (s shape) read(input string) (string, bool) {
	var code strings.Builder
	for _, r := range strings.ToUpper(input) {
		switch {
		case r == ' ', r == '-':
		case s.letters == letters && r == 'O':
			code.WriteByte('0')
		case s.letters == letters && (r == 'I' || r == 'L'):
			code.WriteByte('1')
		case strings.ContainsRune(s.letters, r):
			code.WriteRune(r)
		default:
			return "", false
		}
	}
	return code.String(), code.Len() == s.n
}

// reader returns the shape in which a verifier reads what was typed for a challenge:
// the one that its code was made in, which the challenge keeps, unless the generator
// was a custom one. Then it is that of the verifier's own generator.
func (c *challenge) reader(p policy) shape {
	switch {
	case c.shape != shape{}:
		return c.shape
	case c.strong:
		return fourteen
	}
	return p.short[kindOf(c.purpose)]
}

// hasLetters reports whether the code may contain letters.
func (c *challenge) hasLetters() bool { return c.shape.letters != digits }
