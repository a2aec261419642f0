// Package mimemsg puts a mail into the bytes that go over the wire: headers
// and a multipart/alternative body, with the encoders of the standard library.
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
	"strings"
	"time"

	"github.com/go-mailotp/otp/internal/safetext"
)

const (
	// foldColumns is where header lines are folded if they can be
	// (RFC 5322 section 2.1.1), without CRLF.
	foldColumns = 78

	// maxLine is the longest line that is allowed at all, without CRLF.
	maxLine = 998
)

// Mailbox is an address with the name that is shown for it.
type Mailbox struct {
	Name string // may be empty
	Addr string // addr-spec; no quoted local part
}

// Message is one mail to one recipient.
type Message struct {
	From    Mailbox
	ReplyTo Mailbox // none if Addr is empty
	To      string  // addr-spec; written as it is
	ID      string  // letters and digits, different for each mail
	Date    time.Time
	Subject string
	Text    string // lines may end in LF or CRLF
	HTML    string
}

// Bytes returns the mail with CRLF line ends, ready for DATA before dot
// stuffing. A header value with a control character is an error, never
// cleaned up silently.
func (m *Message) Bytes() ([]byte, error) {
	if !ValidID(m.ID) {
		return nil, errors.New("mail: message id: not 1 to 64 letters and digits")
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
	// Mail programs group mails of one subject unless References differ: the
	// newest code must not hide under an old one.
	writeHeader(&b, "References", "<"+m.ID+".thread@"+domain+">")
	writeHeader(&b, "MIME-Version", "1.0")
	writeHeader(&b, "Auto-Submitted", "auto-generated") // RFC 3834 section 5
	writeHeader(&b, "X-Auto-Response-Suppress", "All")

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

// encode returns the mailbox as it stands in a header.
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

// encodeWords is text in encoded words (RFC 2047), or as it is if it needs none.
// The first word is so short that the field's name has room before it on its line:
// parsers stumble over a first line with nothing but the name.
func encodeWords(encoding mime.WordEncoder, text string) string {
	if encoding.Encode("utf-8", text) == text {
		return text
	}
	// Spaces in front make the encoder end the first word early; they are taken
	// out again as they were encoded.
	spaces, encoded := 12, "____________"
	if encoding == mime.BEncoding {
		spaces, encoded = 9, "ICAgICAgICAg"
	}
	return strings.Replace(encoding.Encode("utf-8", strings.Repeat(" ", spaces)+text), encoded, "", 1)
}

// checkValue refuses what could end a header line, now or after decoding.
func checkValue(s string) error {
	if err := safetext.Check(s); err != nil {
		return err
	}
	if strings.Contains(s, "=?") {
		return errors.New("looks like an RFC 2047 encoded word")
	}
	return nil
}

// checkAddr is the last guard against a second address or parameter in a
// header: the caller has parsed the address already.
func checkAddr(s string) error {
	if err := safetext.Check(s); err != nil {
		return err
	}
	if strings.Count(s, "@") != 1 || strings.ContainsAny(s, " \"(),:;<>[\\]") {
		return errors.New("not a plain address")
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

// writeHeader writes one header, folded at spaces where it gets too long.
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

// lineEnds makes all line ends alike: of "\ré\n" the quoted-printable writer
// would drop the second.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// writePart writes one part, quoted-printable, so that its lines are short,
// ASCII and end in CRLF whatever the text holds.
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

// CheckLines is the last look at the bytes: a CR or LF on its own would let
// servers disagree on where the mail ends (RFC 5321 section 2.3.8).
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
