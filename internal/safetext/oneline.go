// Package oneline tells whether a text can stand in a mail as it is.
package safetext

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

var (
	errEncoding = errors.New("not valid UTF-8")
	errControl  = errors.New("control character or line break")
	errBidi     = errors.New("bidirectional control character")
	errDigits   = errors.New("six digits in a row, which a program or a person could take for the code: write them with spaces")
)

// Check returns an error if s is not valid UTF-8 or holds a control character,
// a line break of any kind or a bidirectional control: what could end a header
// (RFC 5322 section 2.2), break a line or make a text read as another. The
// error does not repeat s.
func Check(s string) error {
	for i, r := range s {
		switch {
		case r >= ' ' && r < 0x7f:
		case r == utf8.RuneError && !utf8.ValidString(s[i:]):
			return errEncoding
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return errControl
		case unicode.Is(unicode.Bidi_Control, r):
			return errBidi
		}
	}
	return nil
}

// CheckBesideCode is Check for what stands in a mail beside the code. It refuses six
// digits in a row too: programs that offer the code look for those.
func CheckBesideCode(s string) error {
	if err := Check(s); err != nil {
		return err
	}
	digits := 0
	for _, r := range s {
		if !unicode.IsDigit(r) {
			digits = 0
		} else if digits++; digits == 6 {
			return errDigits
		}
	}
	return nil
}
