// Package mime_test lets the parsers of others read the mails of the library.
package mime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	gomessage "github.com/emersion/go-message/mail"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/smtpsender"
)

// parsed is what a parser made of a mail. The names are those of parse.py.
type parsed struct {
	Names      []string // of the header fields, in order
	Subject    string
	Boxes      map[string][][2]string // name and address, by field in lower case
	Date       int64
	ID         string
	References string
	Type       string
	Parts      []part
	Defects    []string
}

type part struct{ Type, Encoding, Text string }

// sample is one mail and what a parser should make of it.
type sample struct {
	name string
	raw  []byte
	want parsed
}

// keeper keeps what its Letter rendered last.
type keeper struct {
	*letter.Letter
	last letter.Mail
}

func (k *keeper) Render(d letter.Data) (mail letter.Mail, err error) {
	mail, err = k.Letter.Render(d)
	k.last = mail
	return mail, err
}

var composed struct {
	sync.Once
	samples []sample
}

// samples returns mails of every kind, from brands with names of every sort,
// with short and long codes. They are composed once.
func samples(t *testing.T) []sample {
	composed.Do(func() { composed.samples = compose(t) })
	require.NotEmpty(t, composed.samples)
	return composed.samples
}

func compose(t *testing.T) (all []sample) {
	date := time.Date(2026, 11, 22, 9, 8, 7, 0, time.FixedZone("", 3600))
	brands := map[string]string{
		"ASCII":           "Acme",
		"long words":      strings.TrimSpace(strings.Repeat("Acme and Sons ", 60)),
		"long word":       strings.Repeat("x", 900),
		"specials":        `Acme, Inc. (Berlin) "quoted" <x> ; : @ \ end`,
		"Latin":           "Größe & Söhne, \\ GmbH",
		"long, 2 bytes":   strings.TrimSpace(strings.Repeat("größe Söhne ", 60)),
		"long, 4 bytes":   strings.Repeat("🚀", 500),
		"joined":          "👩\u200d🚀 株式会社",
		"right to left":   "شركة أكمي للتجارة, חברת אקמי",
		"both ways, long": strings.TrimSpace(strings.Repeat("Acme شركة 12 חברה ", 30)),
	}
	recipients := map[string]string{"": "a.b+c@example.com", "to UTF8": "jürgen@bücher.example", "long to": strings.Repeat("a", 60) + "@bbbbbbb.example"}
	letters := map[bool]*letter.Letter{} // by whether the code is in the subject
	for _, inSubject := range []bool{false, true} {
		words, err := letter.New(&letter.Options{SubjectWithCode: inSubject})
		require.NoError(t, err)
		letters[inSubject] = words
	}
	for brandName, brand := range brands {
		for _, purpose := range []string{"login", "signup", "change-email:17", "pay:inv-42", "delete-account", "other"} {
			for to, address := range recipients {
				for _, code := range []string{"042137", "K7QXM2ND9RTVHC"} {
					if to != "" && (brandName != "ASCII" || purpose != "login") {
						continue
					}
					inSubject := purpose == "signup"
					keep := &keeper{Letter: letters[inSubject]}
					var raw []byte
					seen := errors.New("seen, and not to be sent")
					name := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(brand)
					sender, err := smtpsender.New("localhost:25", `"`+name+`" <codes@acme.example>`, &smtpsender.Options{
						TLS: smtpsender.InsecureLoopback, Letter: keep, ReplyTo: `"` + name + `" <help@acme.example>`, Support: "help@acme.example",
						Headers: map[string]string{"X-Mailgun-Tag": "codes", "X-Campaign": "login codes"},
						Sign: func(_ context.Context, mail []byte) ([]byte, error) {
							raw = mail
							return nil, seen
						},
					})
					require.NoError(t, err, brandName)
					recipient, err := otp.EmailParser(otp.EmailOptions{UTF8: true})(address)
					require.NoError(t, err)
					err = sender.Send(t.Context(), otp.Message{
						ID: "K3JQ2MZ5VZ7N4C6T8X9B2D4F6H", To: recipient, Code: code, Purpose: purpose, Reference: "KQZT",
						Vars: map[string]string{"amount": "1.234,50 €"}, SentAt: date, ExpiresAt: date.Add(10 * time.Minute),
					})
					require.ErrorIs(t, err, seen)
					all = append(all, sample{strings.Join([]string{brandName, purpose, code, to}, " "), raw, parsed{
						Names: []string{
							"From", "To", "Reply-To", "Subject", "Date", "Message-ID", "References", "MIME-Version",
							"Auto-Submitted", "X-Auto-Response-Suppress", "X-Campaign", "X-Mailgun-Tag", "Content-Type",
						},
						Subject: keep.last.Subject,
						Boxes: map[string][][2]string{
							"from": {{brand, "codes@acme.example"}}, "reply-to": {{brand, "help@acme.example"}}, "to": {{"", recipient.String()}},
						},
						Date:       date.Unix(),
						ID:         "<K3JQ2MZ5VZ7N4C6T8X9B2D4F6H@acme.example>",
						References: "<K3JQ2MZ5VZ7N4C6T8X9B2D4F6H.thread@acme.example>",
						Type:       "multipart/alternative",
						Parts: []part{
							{"text/plain; charset=utf-8", "quoted-printable", keep.last.Text},
							{"text/html; charset=utf-8", "quoted-printable", keep.last.HTML},
						},
						Defects: []string{},
					}})
					// Letters and digits are torn apart beside words from right to left (letter.TestBidi).
					torn := code != "042137" && strings.ContainsFunc(brand, func(r rune) bool { return unicode.In(r, unicode.Arabic, unicode.Hebrew) })
					require.Equal(t, inSubject && !torn, strings.Contains(keep.last.Subject, code))
				}
			}
		}
	}
	return all
}

// The bytes need no help on their way: no line is too long, and no character is
// outside ASCII or a control character.
func TestMails_bytes(t *testing.T) { // F1, F2, F3
	for _, s := range samples(t) {
		require.True(t, bytes.HasSuffix(s.raw, []byte("\r\n")), s.name)
		inHeader := true
		for line := range strings.SplitSeq(strings.TrimSuffix(string(s.raw), "\r\n"), "\r\n") {
			inHeader = inHeader && line != ""
			require.NotContains(t, line, "\r", s.name)
			require.NotContains(t, line, "\n", s.name)
			require.LessOrEqual(t, len(line), 998, s.name)
			if len(line) > 78 {
				require.True(t, inHeader, "%s: a long line in the body: %q", s.name, line)
				require.True(t, hasLongWord(line), "%s: could be folded: %q", s.name, line)
			}
			if strings.HasPrefix(line, "To: jürgen@") {
				continue // SMTPUTF8, RFC 6532
			}
			require.False(t, strings.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf || r < ' ' }), "%s: %q", s.name, line)
		}
	}
}

// hasLongWord reports whether a line is too long wherever it is folded.
func hasLongWord(line string) bool {
	for word := range strings.FieldsSeq(line) {
		if len(word) > 76 {
			return true
		}
	}
	return false
}

// Python's email package reads what was written. It reports defects that other
// parsers accept.
func TestMails_python(t *testing.T) { // F2, F6
	testkit.Long(t)
	python := servers.Binary("python3", "/usr/bin/python3")
	if python == "" {
		testkit.Skip(t, "python3 is not installed")
	}
	all := samples(t)
	var mails [][]byte
	for _, s := range all {
		mails = append(mails, s.raw)
	}
	broken := bytes.Replace(all[0].raw, []byte("--\r\n"), []byte("\r\n"), 1) // the parser does look
	input, err := json.Marshal(append(mails, broken))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, "-X", "utf8", "parse.py")
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	require.NoError(t, err, fmt.Sprint(err))
	var got []parsed
	require.NoError(t, json.Unmarshal(output, &got))
	require.Len(t, got, len(all)+1)
	require.NotEmpty(t, got[len(all)].Defects, "a mail without its end")
	for i, s := range all {
		// Up to Python 3.11 at least, spaces between the encoded words of a name
		// are kept, where RFC 2047 section 6.2 drops them.
		s.want.Boxes, got[i].Boxes = spaceless(s.want.Boxes), spaceless(got[i].Boxes)
		require.Equal(t, s.want, got[i], s.name)
	}
}

// spaceless returns the boxes without the spaces in their names.
func spaceless(boxes map[string][][2]string) map[string][][2]string {
	without := map[string][][2]string{}
	for field, list := range boxes {
		for _, box := range list {
			without[field] = append(without[field], [2]string{strings.ReplaceAll(box[0], " ", ""), box[1]})
		}
	}
	return without
}

// So does go-message, which many Go programs use.
func TestMails_goMessage(t *testing.T) { // F2, F6
	for _, s := range samples(t) {
		got, err := goMessage(s.raw)
		require.NoError(t, err, s.name)
		require.Equal(t, s.want, got, s.name)
	}
}

func goMessage(raw []byte) (p parsed, err error) {
	r, err := gomessage.CreateReader(bytes.NewReader(raw))
	if err != nil {
		return p, err
	}
	p.Defects, p.Boxes = []string{}, map[string][][2]string{}
	for fields := r.Header.Fields(); fields.Next(); {
		p.Names = append(p.Names, strings.NewReplacer("-Id", "-ID", "Mime-", "MIME-").Replace(fields.Key())) // it writes them so
	}
	if p.Subject, err = r.Header.Subject(); err != nil {
		return p, err
	}
	for _, name := range []string{"from", "to", "reply-to"} {
		list, err := r.Header.AddressList(name)
		if err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
		for _, a := range list {
			p.Boxes[name] = append(p.Boxes[name], [2]string{a.Name, a.Address})
		}
	}
	date, err := r.Header.Date()
	if err != nil {
		return p, err
	}
	p.Date = date.Unix()
	p.ID, p.References = r.Header.Get("Message-ID"), r.Header.Get("References")
	if p.Type, _, err = r.Header.ContentType(); err != nil {
		return p, err
	}
	for {
		next, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		body, err := io.ReadAll(next.Body)
		if err != nil {
			return p, err
		}
		header := next.Header.(*gomessage.InlineHeader)
		kind, params, err := header.ContentType()
		if err != nil {
			return p, err
		}
		p.Parts = append(p.Parts, part{kind + "; charset=" + params["charset"], header.Get("Content-Transfer-Encoding"), strings.ReplaceAll(string(body), "\r\n", "\n")})
	}
}
