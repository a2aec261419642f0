// Package safetext checks and masks texts from outside: values that go into a
// mail, and what a mail server, a sender or an application wrote in an error
// that will be logged.
package safetext

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

var (
	errEncoding = errors.New("not valid UTF-8")
	errControl  = errors.New("contains a control character or a line break")
	errBidi     = errors.New("contains a bidirectional control character")
	errDigits   = errors.New("contains six digits in a row, which look like a code: separate them with spaces")
)

// Check returns an error if s is not valid UTF-8 or contains a control
// character, a line break of any kind or a bidirectional control character.
// These could end a header (RFC 5322 section 2.2), break a line or change how a
// text reads. The error does not repeat s.
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

// CheckBesideCode is Check for texts that a mail shows together with the code.
// It also returns an error if s has six digits in a row: programs that find the
// code in a mail look for those.
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
