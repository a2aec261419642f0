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

// Format prints what String returns, whatever the verb.
func (d Data) Format(f fmt.State, _ rune) { io.WriteString(f, d.String()) }

// LogValue logs what String returns.
func (d Data) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalJSON encodes what String returns.
func (d Data) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String tells the sizes of the parts, not what they say.
func (m Mail) String() string {
	return fmt.Sprintf("Mail{Text: %d bytes, HTML: %d bytes}", len(m.Text), len(m.HTML))
}

// Format prints what String returns, whatever the verb.
func (m Mail) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// LogValue logs what String returns.
func (m Mail) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalJSON encodes what String returns. A renderer's output goes into
// requests field by field.
func (m Mail) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }
