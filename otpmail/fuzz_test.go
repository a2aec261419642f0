package otpmail_test

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/otpmail"
)

// mailHeaders are the headers of a mail, in their order.
var mailHeaders = []string{
	"From", "To", "Reply-To", "Subject", "Date", "Message-ID", "References", "MIME-Version", "Auto-Submitted",
	"X-Auto-Response-Suppress", "Content-Type",
}

// fillLetter says what it is told, in a body that holds all that it was given.
type fillLetter struct{ subject, text string }

func (l fillLetter) Render(d letter.Data) (letter.Mail, error) {
	body := l.text + "\n" + d.Code + "\n" + d.Locale + "\n" + d.Reference + "\n"
	return letter.Mail{Subject: l.subject, Text: body, HTML: "<p>" + body}, nil
}

// Whatever stands in names, subject, brand, reference, locale and text, a mail
// has its headers and no other, and they and the body say what was meant; or no
// mail is made, but only for a reason. F1, F2, F3
func FuzzComposer_headers(f *testing.F) {
	standard, err := letter.New(nil)
	require.NoError(f, err)
	texts := []string{
		"Acme", "", " ", "a  b", "x\r\nBcc: e@example.com", "x\n y", "x\r", "\x00", "=?utf-8?q?=0D=0A?=", "=?", "Größe & Söhne", `quote " back \ slash`, `"`, `\`, "株式会社", "👩\u200d🚀", "\u202e", "\u2028", "\xff",
		"{long}", "{long} {long}", "é{long}", "{words}", "{runes}", "{spaces}x", "a@b", "<a@b>", "a, b; c: (d)", ".", "\u00a0", "é\u00a0 e\u0301", "=20", "?=", "_",
	}
	for i, text := range texts {
		other := texts[(i*7+3)%len(texts)]
		f.Add(text, other, "Your code", "Acme", "KQZT", "en", "text\r\n.\r\n", uint8(0))
		f.Add("Acme", text, text, text, text, text, other+"\n.\n"+text, uint8(i))
		f.Add("Acme", "Help", text, "Acme", "KQZT", "en", other, uint8(2))
		f.Add(other, "Help", other, text, text, "de, en", "\r.\rMAIL FROM:<e@e>", uint8(i+1))
	}
	f.Fuzz(func(t *testing.T, name, replyName, subject, brand, reference, locale, text string, kind uint8) {
		// Written short, so that the fuzzer does not spend its time on making it so.
		fill := strings.NewReplacer("{long}", strings.Repeat("x", 500), "{words}", strings.Repeat("word ", 100),
			"{runes}", strings.Repeat("ü", 300), "{spaces}", strings.Repeat(" ", 200)).Replace
		name, replyName, subject, brand, reference = fill(name), fill(replyName), fill(subject), fill(brand), fill(reference)
		ownLetter, to := kind&1 == 0, "ann@example.com"
		if kind&2 != 0 {
			to = "jürgen@example.com"
		}
		opts := &otpmail.Options{ReplyTo: quoted(replyName) + " <help@acme.example>", Brand: brand}
		shown := brand // what the standard letter calls us
		if shown == "" {
			shown = name
		}
		if shown == "" {
			shown = "acme.example"
		}
		lines := []string{brand} // must be of one line each
		if ownLetter {
			opts.Letter = fillLetter{subject, text}
		} else {
			subject = "Your " + shown + " verification code"
			words, err := standard.Render(letter.Data{Code: "739164", Kind: "login", Locale: locale, Brand: shown, Minutes: 1})
			if err == nil {
				subject = words.Subject
			}
			lines = append(lines, shown, reference)
		}
		headers := []string{name, replyName, subject}
		m := newMessage(t, to)
		m.Reference, m.Locale = reference, locale
		var raw []byte
		composer, err := otpmail.New(quoted(name)+" <codes@acme.example>", opts)
		if err == nil {
			var composed *otpmail.Mail
			if composed, err = composer.Compose(t.Context(), m); err == nil {
				raw = composed.Raw
			}
		}
		if err != nil {
			require.True(t, subject == "" || slices.ContainsFunc(lines, broken) || slices.ContainsFunc(headers, unfit), "%v", err)
			return
		}
		require.False(t, slices.ContainsFunc(lines, broken) || slices.ContainsFunc(headers, forges), "nothing is cleaned up silently")

		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		require.Equal(t, mailHeaders, wellFormed(t, string(head), to))
		n := bytes.Count(raw, []byte("\r\n"))
		require.True(t, bytes.Count(raw, []byte("\r")) == n && bytes.Count(raw, []byte("\n")) == n, "a bare CR or LF: %q", raw)
		// net/mail trims where lines were folded; RFC 5322 section 2.2.3 does not.
		read, err := mail.ReadMessage(strings.NewReader(strings.ReplaceAll(string(head), "\r\n ", " ") + "\r\n\r\n"))
		require.NoError(t, err)
		for header, want := range map[string]mail.Address{"From": {Name: name, Address: "codes@acme.example"}, "Reply-To": {Name: replyName, Address: "help@acme.example"}} {
			list, err := read.Header.AddressList(header)
			require.NoError(t, err)
			require.Equal(t, []*mail.Address{&want}, list)
		}
		decoded, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, strings.Trim(subject, " "), strings.Trim(decoded, " "))
		require.Equal(t, to, read.Header.Get("To"))
		require.Equal(t, "<"+m.ID+"@acme.example>", read.Header.Get("Message-Id"))
		require.Equal(t, "<"+m.ID+".thread@acme.example>", read.Header.Get("References"))
		date, err := read.Header.Date()
		require.NoError(t, err)
		require.True(t, date.Equal(m.SentAt.Truncate(time.Second)))

		_, plain, html := testkit.ReadMail(t, raw)
		if ownLetter {
			wrote, err := fillLetter{subject, text}.Render(letter.Data{Code: m.Code, Locale: locale, Reference: reference})
			require.NoError(t, err)
			ends := strings.NewReplacer("\r\n", "\n", "\r", "\n")
			require.Equal(t, ends.Replace(wrote.Text), plain)
			require.Equal(t, ends.Replace(wrote.HTML), html)
			return
		}
		require.Equal(t, 1, strings.Count(plain, "\n"+m.Code+"\n"))
		// Lines are broken where there is white space, or none, and isolates end with them.
		squeeze := func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) || unicode.Is(unicode.Bidi_Control, r) {
					return -1
				}
				return r
			}, s)
		}
		require.Contains(t, squeeze(plain), squeeze(reference))
	})
}

// quoted is a name as RFC 5322 section 3.2.4 writes it.
func quoted(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// broken tells whether a text cannot stand beside the code: more than one line, no text, digits like a code.
func broken(text string) bool { return safetext.CheckBesideCode(text) != nil }

// forges tells whether a text could break or forge a header.
func forges(text string) bool { return safetext.Check(text) != nil || strings.Contains(text, "=?") }

// unfit tells whether a text may be refused in a header: it forges, or has
// hundreds of bytes where no line can be folded.
func unfit(text string) bool {
	long := func(word string) bool { return len(word) > 400 }
	return forges(text) || slices.ContainsFunc(strings.Split(text, " "), long) || strings.Contains(text, strings.Repeat(" ", 150))
}

// wellFormed checks the lines of a header and returns its names.
func wellFormed(t *testing.T, head, to string) (names []string) {
	t.Helper()
	for line := range strings.SplitSeq(head, "\r\n") {
		require.NotEmpty(t, strings.Trim(line, " "), "a line of nothing but spaces ends the header for some")
		require.LessOrEqual(t, len(line), 998)
		words := strings.Fields(line)
		if len(line) > 78 {
			require.True(t, slices.ContainsFunc(words, func(w string) bool { return len(w) > 70 }) || strings.Contains(line, strings.Repeat(" ", 10)), "could be folded: %q", line)
		}
		for _, word := range words {
			require.False(t, strings.HasPrefix(word, "=?") && len(word) > 75, "RFC 2047 section 2: %q", word)
		}
		ascii := strings.ReplaceAll(line, to, "")
		require.False(t, strings.ContainsFunc(ascii, func(r rune) bool { return r < ' ' || r > '~' }), "%q", line)
		if line[0] != ' ' {
			name, _, found := strings.Cut(line, ":")
			require.True(t, found, "%q", line)
			names = append(names, name)
		}
	}
	return names
}
