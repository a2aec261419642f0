package letter

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// String describes d without the code and the vars.
func (d Data) String() string {
	return fmt.Sprintf("Data{Kind: %s, Reference: %s, Brand: %s}", d.Kind, d.Reference, d.Brand)
}

// Format prints the result of String for every verb.
func (d Data) Format(f fmt.State, _ rune) { io.WriteString(f, d.String()) }

// LogValue returns the result of String.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalJSON encodes the result of String.
func (d Data) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String returns the sizes of the parts, not their content.
func (m Mail) String() string {
	return fmt.Sprintf("Mail{Text: %d bytes, HTML: %d bytes}", len(m.Text), len(m.HTML))
}

// Format prints the result of String for every verb.
func (m Mail) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// LogValue returns the result of String.
func (m Mail) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalJSON encodes the result of String. To pass a Mail on, encode its
// fields.
func (m Mail) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }
