// Package mask makes texts of foreign origin fit for a log: what a mail server, a
// sender or an application said in an error.
package safetext

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Error shows a masked text for an error.
type Error struct {
	Text string
	Err  error // the cause, for errors.Is and errors.As
}

// Error returns the masked text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause, whose own text is not masked.
func (e *Error) Unwrap() error { return e.Err }

// Format prints the masked text, whatever the verb.
func (e *Error) Format(f fmt.State, _ rune) { io.WriteString(f, e.Text) }

// MarshalJSON encodes the masked text: the fields of the cause may hold more.
func (e *Error) MarshalJSON() ([]byte, error) { return json.Marshal(e.Text) }

// Text masks a code and an address in a text and makes it printable.
func Text(text, code, address, masked string) string {
	return Printable(Replace(Replace(text, code, "[code]"), address, masked))
}

// Printable escapes control characters, also those that turn a line of text
// around, and cuts a text to 200 bytes.
func Printable(text string) string {
	if Check(text) != nil {
		quoted := fmt.Sprintf("%+q", text)
		text = quoted[1 : len(quoted)-1]
	}
	return Cut(text, 200)
}

// Cut shortens a text to n bytes and dots.
func Cut(text string, n int) string {
	if len(text) > n {
		text = strings.ToValidUTF8(text[:n], "") + "..."
	}
	return text
}

// Replace replaces every occurrence, in whatever ASCII case.
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

// foldASCII lowers A to Z and keeps every byte's place.
func foldASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
