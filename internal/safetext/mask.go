package safetext

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Error is an error whose text has been masked.
type Error struct {
	Text string
	Err  error // the cause, for errors.Is and errors.As
}

// Error returns the masked text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause. Its text is not masked.
func (e *Error) Unwrap() error { return e.Err }

// Format prints the masked text for every verb.
func (e *Error) Format(f fmt.State, _ rune) { io.WriteString(f, e.Text) }

// MarshalJSON encodes the masked text and nothing else, since the fields of the
// cause could contain secrets.
func (e *Error) MarshalJSON() ([]byte, error) { return json.Marshal(e.Text) }

// Text masks the code and the address in text and makes it printable.
func Text(text, code, address, masked string) string {
	return Printable(Replace(Replace(text, code, "[code]"), address, masked))
}

// Printable escapes control characters, including bidirectional ones, and cuts
// the text to 200 bytes.
func Printable(text string) string {
	if Check(text) != nil {
		quoted := fmt.Sprintf("%+q", text)
		text = quoted[1 : len(quoted)-1]
	}
	return Cut(text, 200)
}

// Cut shortens a text that is longer than n bytes to n bytes and three dots.
func Cut(text string, n int) string {
	if len(text) > n {
		text = strings.ToValidUTF8(text[:n], "") + "..."
	}
	return text
}

// Replace replaces every occurrence of old with another text and ignores the
// case of ASCII letters.
func Replace(text, old, with string) string {
	if old == "" {
		return text
	}
	var b strings.Builder
	lowText, lowOld := foldASCII(text), foldASCII(old)
	for {
		i := strings.Index(lowText, lowOld)
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i] + with)
		text, lowText = text[i+len(old):], lowText[i+len(old):]
	}
}

// foldASCII converts A to Z to lower case. No byte changes its index.
func foldASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
