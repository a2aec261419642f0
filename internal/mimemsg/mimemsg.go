// Package mimemsg encodes a mail for transmission: header fields and a
// multipart/alternative body. It uses the encoders of the standard library.
package mimemsg

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/go-mailotp/otp/internal/safetext"
)

const (
	// foldColumns is the maximum length of a header line that can be folded,
	// without CRLF (RFC 5322 section 2.1.1).
	foldColumns = 78

	// maxLine is the maximum length of any line, without CRLF.
	maxLine = 998
)

// Mailbox is an address with a display name.
type Mailbox struct {
	Name string // may be empty
	Addr string // an addr-spec without quoted local part
}

// Message is one mail to one recipient.
type Message struct {
	From    Mailbox
	ReplyTo Mailbox // left out if Addr is empty
	To      string  // an addr-spec; written unchanged
	ID      string  // 1 to 64 letters and digits, different for each mail
	Date    time.Time
	Subject string
	Fields  []Field // further header fields, each accepted by Check
	Text    string  // lines may end in LF or CRLF
	HTML    string
}

// Field is a header field.
type Field struct{ Name, Value string }

// ownFields are the names, in lower case, of the fields that Bytes writes, that
// add or replace a sender or a recipient, and that servers and signers add.
var ownFields = []string{
	"from", "to", "reply-to", "subject", "date", "message-id", "references", "mime-version", "auto-submitted", "x-auto-response-suppress",
	"sender", "cc", "bcc", "return-path", "received", "dkim-signature",
}

// Check returns an error if the field cannot be one of the Fields of a Message.
// The error does not repeat the value.
func (f Field) Check() error {
	name := strings.ToLower(f.Name)
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }): // RFC 5322 section 3.6.8
		return errors.New("invalid name, want printable ASCII without spaces and colons")
	case slices.Contains(ownFields, name) || strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "resent-"):
		return errors.New("reserved name: the library or mail servers write this field")
	case f.Value == "" || f.Value != strings.Trim(f.Value, " ") || strings.ContainsFunc(f.Value, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("invalid value, want printable ASCII that neither begins nor ends with a space")
	case len(f.Name)+len(": ")+len(f.Value) > maxLine:
		return fmt.Errorf("name and value are longer than %d bytes", maxLine)
	}
	return nil
}

// Bytes returns the mail with CRLF line endings and without dot stuffing. It
// returns an error if a header value has a control character; it never removes
// one silently.
func (m *Message) Bytes() ([]byte, error) {
	if !ValidID(m.ID) {
		return nil, errors.New("mail: message ID: want 1 to 64 letters and digits")
	}
	if err := checkValue(m.Subject); err != nil {
		return nil, fmt.Errorf("mail: Subject: %w", err)
	}
	from, err := m.From.encode()
	if err != nil {
		return nil, fmt.Errorf("mail: From: %w", err)
	}
	if err := checkAddr(m.To); err != nil {
		return nil, fmt.Errorf("mail: To: %w", err)
	}
	domain := m.From.Addr[strings.LastIndexByte(m.From.Addr, '@')+1:]

	var b bytes.Buffer
	b.Grow(1024 + len(m.Text) + len(m.HTML) + len(m.HTML)/8)
	writeHeader(&b, "From", from)
	writeHeader(&b, "To", m.To)
	if m.ReplyTo.Addr != "" {
		replyTo, err := m.ReplyTo.encode()
		if err != nil {
			return nil, fmt.Errorf("mail: Reply-To: %w", err)
		}
		writeHeader(&b, "Reply-To", replyTo)
	}
	writeHeader(&b, "Subject", encodeWords(mime.QEncoding, m.Subject))
	writeHeader(&b, "Date", m.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	writeHeader(&b, "Message-ID", "<"+m.ID+"@"+domain+">")
	// Mail programs group mails with the same subject unless their References
	// differ. The newest code must not be hidden below an old one.
	writeHeader(&b, "References", "<"+m.ID+".thread@"+domain+">")
	writeHeader(&b, "MIME-Version", "1.0")
	writeHeader(&b, "Auto-Submitted", "auto-generated") // RFC 3834 section 5
	writeHeader(&b, "X-Auto-Response-Suppress", "All")
	for _, f := range m.Fields {
		// Not folded: a provider gets the value as it is, and Check limits its
		// length.
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}

	w := multipart.NewWriter(&b)
	writeHeader(&b, "Content-Type", `multipart/alternative; boundary="`+w.Boundary()+`"`)
	b.WriteString("\r\n")
	// The last part is the preferred one (RFC 2046 section 5.1.4).
	if err := writePart(w, "text/plain; charset=utf-8", m.Text); err != nil {
		return nil, err
	}
	if err := writePart(w, "text/html; charset=utf-8", m.HTML); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := CheckLines(b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encode returns the mailbox in the form for a header field.
func (m Mailbox) encode() (string, error) {
	if err := checkValue(m.Name); err != nil {
		return "", err
	}
	if err := checkAddr(m.Addr); err != nil {
		return "", err
	}
	if m.Name == "" {
		return m.Addr, nil
	}
	encoding := mime.QEncoding
	if strings.ContainsAny(m.Name, "\"#$%&'(),.:;<>@[\\]^`{|}~") { // not in a Q-encoded name: RFC 2047 section 5 (3)
		encoding = mime.BEncoding
	}
	if words := encodeWords(encoding, m.Name); words != m.Name {
		return words + " <" + m.Addr + ">", nil
	}
	return (&mail.Address{Name: m.Name, Address: m.Addr}).String(), nil
}

// encodeWords returns text as encoded words (RFC 2047), or unchanged if it
// needs no encoding. The first word is short enough for the line that begins
// with the name of the field, since some parsers fail if that line has only the
// name.
func encodeWords(encoding mime.WordEncoder, text string) string {
	if encoding.Encode("utf-8", text) == text {
		return text
	}
	// Leading spaces make the encoder end the first word early. Their encoded
	// form is removed again.
	spaces, encoded := 12, "____________"
	if encoding == mime.BEncoding {
		spaces, encoded = 9, "ICAgICAgICAg"
	}
	return strings.Replace(encoding.Encode("utf-8", strings.Repeat(" ", spaces)+text), encoded, "", 1)
}

// checkValue returns an error if s could end a header line, now or after
// decoding.
func checkValue(s string) error {
	if err := safetext.Check(s); err != nil {
		return err
	}
	if strings.Contains(s, "=?") {
		return errors.New("contains an RFC 2047 encoded word")
	}
	return nil
}

// checkAddr is the last protection against a second address or a parameter in a
// header field or a command, for addresses that nobody has parsed.
func checkAddr(s string) error {
	if err := safetext.Check(s); err != nil {
		return err
	}
	if local, domain, _ := strings.Cut(s, "@"); local == "" || domain == "" || strings.Contains(domain, "@") || strings.ContainsAny(s, " \"(),:;<>[\\]") {
		return errors.New("is not a plain address")
	}
	if _, word, found := strings.Cut(s, "=?"); found && strings.Contains(word, "?=") { // some mail programs decode it
		return errors.New("contains an RFC 2047 encoded word")
	}
	return nil
}

// ValidID reports whether id can be the ID of a Message.
func ValidID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, notAlphanumeric)
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// writeHeader writes one header field and folds long lines at spaces.
func writeHeader(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteByte(':')
	column := len(name) + 1
	for word := range strings.SplitSeq(strings.TrimSpace(value), " ") {
		if column+1+len(word) > foldColumns && len(word) > 0 && len(word) < foldColumns {
			b.WriteString("\r\n")
			column = 0
		}
		b.WriteByte(' ')
		b.WriteString(word)
		column += 1 + len(word)
	}
	b.WriteString("\r\n")
}

// lineEnds converts all line endings to LF. Without it, the quoted-printable
// writer would lose the second line ending of "\ré\n".
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// writePart writes one part in quoted-printable encoding: whatever the text,
// its lines are short, are ASCII and end in CRLF.
func writePart(w *multipart.Writer, contentType, text string) error {
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {contentType},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(part)
	if _, err := q.Write([]byte(lineEnds.Replace(text))); err != nil {
		return err
	}
	return q.Close()
}

// CheckLines is the final check of the encoded mail. With a CR or LF that is
// not part of CRLF, servers could disagree about where the mail ends (RFC 5321
// section 2.3.8).
func CheckLines(raw []byte) error {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\n')
		if i < 1 || bytes.IndexByte(raw[:i], '\r') != i-1 {
			return errors.New("mail: a line does not end in CRLF")
		}
		if i-1 > maxLine {
			return fmt.Errorf("mail: a line is longer than %d bytes", maxLine)
		}
		raw = raw[i+1:]
	}
	return nil
}
