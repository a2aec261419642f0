package mimemsg_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/mimemsg"
)

func message() mimemsg.Message {
	return mimemsg.Message{
		From:    mimemsg.Mailbox{Name: "Acme", Addr: "codes@acme.example"},
		ReplyTo: mimemsg.Mailbox{Addr: "help@acme.example"},
		To:      "a@example.com",
		ID:      "K3JQ2MZ5VZ7N4C6T8X9B2D4F6H",
		Date:    time.Date(2026, 11, 22, 9, 8, 7, 0, time.FixedZone("", 3600)),
		Subject: "Your Acme verification code",
		Text:    "Your code is:\n\n042137\n",
		HTML:    "<!DOCTYPE html>\n<p>042137</p>\n",
	}
}

func TestMessage_Bytes(t *testing.T) {
	m := message()
	raw, err := m.Bytes()
	require.NoError(t, err)
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	_, boundary, _ := strings.Cut(head, `boundary="`)
	boundary = strings.TrimSuffix(boundary, `"`)
	require.Equal(t, strings.Join([]string{
		`From: "Acme" <codes@acme.example>`,
		`To: a@example.com`,
		`Reply-To: help@acme.example`,
		`Subject: Your Acme verification code`,
		`Date: Sun, 22 Nov 2026 09:08:07 +0100`,
		`Message-ID: <K3JQ2MZ5VZ7N4C6T8X9B2D4F6H@acme.example>`,
		`References: <K3JQ2MZ5VZ7N4C6T8X9B2D4F6H.thread@acme.example>`,
		`MIME-Version: 1.0`,
		`Auto-Submitted: auto-generated`,
		`X-Auto-Response-Suppress: All`,
		`Content-Type: multipart/alternative;`,
		` boundary="` + boundary + `"`,
	}, "\r\n"), head)
	require.Equal(t, strings.Join([]string{
		"--" + boundary,
		"Content-Transfer-Encoding: quoted-printable",
		"Content-Type: text/plain; charset=utf-8",
		"", "Your code is:", "", "042137", "",
		"--" + boundary,
		"Content-Transfer-Encoding: quoted-printable",
		"Content-Type: text/html; charset=utf-8",
		"", "<!DOCTYPE html>", "<p>042137</p>", "",
		"--" + boundary + "--", "",
	}, "\r\n"), body)

	second, err := m.Bytes()
	require.NoError(t, err)
	require.NotEqual(t, string(raw), string(second), "the boundary is random")
}

func TestMessage_encodesWords(t *testing.T) { // F2
	for _, text := range []string{
		"plain", "Größe & Söhne", "Acme, Inc. (Berlin)", `quote " and \ slash`, `Größe\Söhne`, "株式会社", "👩\u200d🚀 rocket", "two  spaces", "über " + strings.Repeat("x", 70),
		"  é", "____________é", "ICAgICAgICAgICAg.é", strings.Repeat("🚀", 500), "()" + strings.Repeat("🚀", 500), strings.Repeat("word ", 300) + "end", strings.Repeat("größe ", 300) + "end",
	} {
		m := message()
		m.Subject, m.From.Name, m.ReplyTo.Name = text, text, text
		raw, err := m.Bytes()
		require.NoError(t, err)
		for line := range strings.SplitSeq(string(raw), "\r\n") {
			require.LessOrEqual(t, len(line), 78)
			require.NotContains(t, line, "\n")
			require.NotRegexp(t, `^[A-Za-z-]+:$`, line, "a name alone on its line")
			for word := range strings.FieldsSeq(line) {
				if strings.HasPrefix(word, "=?") {
					require.LessOrEqual(t, len(word), 75)
				}
			}
			for _, b := range []byte(line) {
				require.Less(t, b, byte(0x80))
			}
		}
		require.LessOrEqual(t, bytes.Count(raw, []byte("\r\n")), 40+3*4*len(text)/60, "folded only where needed")
		read, err := mail.ReadMessage(bytes.NewReader(raw))
		require.NoError(t, err)
		subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, text, subject)
		for _, name := range []string{"From", "Reply-To"} {
			list, err := read.Header.AddressList(name)
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, text, list[0].Name)
		}
	}
}

func TestMessage_refuses(t *testing.T) { // F1
	set := map[string]func(m *mimemsg.Message, v string){
		"Subject":       func(m *mimemsg.Message, v string) { m.Subject = v },
		"From name":     func(m *mimemsg.Message, v string) { m.From.Name = v },
		"From addr":     func(m *mimemsg.Message, v string) { m.From.Addr = v + "@acme.example" },
		"To":            func(m *mimemsg.Message, v string) { m.To = v + "@acme.example" },
		"Reply-To name": func(m *mimemsg.Message, v string) { m.ReplyTo.Name = v },
		"Reply-To addr": func(m *mimemsg.Message, v string) { m.ReplyTo.Addr = v + "@acme.example" },
		"ID":            func(m *mimemsg.Message, v string) { m.ID = v },
	}
	for name, change := range set {
		for _, bad := range []string{"x\r\nBcc: a@b.example", "x\nBcc: a@b.example", "x\r", "x\n", "x\x00", "x\x7f", "x\u0085", "x\u2028", "x\u2029", "x\u202e", "x\xff", "=?utf-8?q?=0D=0A?="} {
			if strings.HasPrefix(bad, "=?") && (strings.HasSuffix(name, "addr") || name == "To") {
				continue // no encoded words there: it is a strange local part and inert
			}
			m := message()
			change(&m, bad)
			raw, err := m.Bytes()
			require.Error(t, err, "%s %q", name, bad)
			require.Nil(t, raw)
		}
	}
	for name, change := range set {
		if strings.HasSuffix(name, "addr") || name == "To" {
			for _, bad := range []string{"a@b.example, c", "a b", "<a", "a>", `"a"`, "g:a", "a;", "(c)a", `a\b`} {
				m := message()
				change(&m, bad)
				_, err := m.Bytes()
				require.Error(t, err, "%s %q", name, bad)
			}
		}
	}
	for name, id := range map[string]string{"none": "", "long": strings.Repeat("x", 65), "at": "a@b", "space": "a b", "é": "é"} {
		m := message()
		m.ID = id
		_, err := m.Bytes()
		require.Error(t, err, name)
	}
	m := message()
	m.Subject = strings.Repeat("x", 1000)
	_, err := m.Bytes()
	require.ErrorContains(t, err, "998")
	m.Subject, m.ReplyTo.Addr = "fine", ""
	raw, err := m.Bytes()
	require.NoError(t, err)
	require.NotContains(t, string(raw), "Reply-To")
}

// Further fields stand at the end of the header, each on one line as it is.
func TestMessage_Fields(t *testing.T) { // F1, F2
	m := message()
	long := `{"stream": "codes", ` + strings.Repeat(`"key":  "value", `, 50) + "}"
	m.Fields = []mimemsg.Field{
		{Name: "X-PM-Message-Stream", Value: "codes"},
		{Name: "X-MSYS-API", Value: long},
		{Name: "!#$%&'*+-.^_`|~", Value: "=?:,;<>\"@"},
		{Name: "X-Max", Value: strings.Repeat("x", 998-len("X-Max: "))},
	}
	for _, f := range m.Fields {
		require.NoError(t, f.Check())
	}
	raw, err := m.Bytes()
	require.NoError(t, err)
	want := "\r\nX-Auto-Response-Suppress: All\r\n"
	for _, f := range m.Fields {
		want += f.Name + ": " + f.Value + "\r\n"
	}
	require.Contains(t, string(raw), want+"Content-Type: multipart/alternative;")
}

func TestField_Check(t *testing.T) { // F1
	for _, name := range []string{
		"", "X Y", "X:", "X\r\nBcc", "X\t", "X\x00", "X\x7f", "Größe",
		"From", "to", "SUBJECT", "date", "Message-ID", "References", "Mime-Version", "Content-Type", "content-language", "Reply-To", "Auto-Submitted",
		"X-Auto-Response-Suppress", "DKIM-Signature", "Received", "Bcc", "Cc", "Sender", "Return-Path", "Resent-To",
	} {
		require.ErrorContains(t, mimemsg.Field{Name: name, Value: "x"}.Check(), "d name", "%q", name)
	}
	for _, value := range []string{"", " ", " x", "x ", "x\r\nBcc: e@example.com", "x\r\n y", "x\n", "\r", "\x00", "a\tb", "\x7f", "é", "\u202e", "\xff"} {
		err := mimemsg.Field{Name: "X-Y", Value: value}.Check()
		require.ErrorContains(t, err, "value", "%q", value)
		require.NotContains(t, err.Error(), "example.com")
	}
	require.ErrorContains(t, mimemsg.Field{Name: "X-Y", Value: strings.Repeat("x", 994)}.Check(), "998")
	require.NoError(t, mimemsg.Field{Name: "X-Y", Value: strings.Repeat("x", 993)}.Check())
}

func TestMessage_bodies(t *testing.T) { // F3
	for _, body := range []string{
		"\r.\rMAIL FROM:<e@example.com>", "\n.\n", "\r\n.\r\n", ".", "..", "a\rb", "a\n\rb", "a\ré\nb", "\r", "\n", "", "\x00\x01\x7f", "\u2028\u0085",
		strings.Repeat("x", 5000), strings.Repeat("é", 5000), "trailing space \n \n\t\n", "=\n=3D", "\xff\xfe",
		"--boundary\nContent-Type: text/html\n\n<a>",
	} {
		m := message()
		m.Text, m.HTML = body, body
		raw, err := m.Bytes()
		require.NoError(t, err, "%q", body)
		n := bytes.Count(raw, []byte("\r\n"))
		require.Equal(t, n, bytes.Count(raw, []byte("\r")), "%q", body)
		require.Equal(t, n, bytes.Count(raw, []byte("\n")), "%q", body)
		for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
			require.LessOrEqual(t, len(line), 78)
		}
		read, err := mail.ReadMessage(bytes.NewReader(raw))
		require.NoError(t, err)
		_, params, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
		require.NoError(t, err)
		parts := multipart.NewReader(read.Body, params["boundary"])
		for range 2 {
			part, err := parts.NextRawPart()
			require.NoError(t, err)
			got, err := io.ReadAll(quotedprintable.NewReader(part))
			require.NoError(t, err)
			want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(body)
			require.Equal(t, want, strings.ReplaceAll(string(got), "\r\n", "\n"))
		}
		_, err = parts.NextRawPart()
		require.ErrorIs(t, err, io.EOF)
	}
}

func FuzzMessage_Bytes(f *testing.F) {
	f.Add("Subject", "Name", "text\r.\r", "<p>\n.\n")
	f.Add("Größe\r\nBcc: x", "=?x?", strings.Repeat("x y", 400), "\x00\xff")
	f.Fuzz(func(t *testing.T, subject, name, text, html string) {
		m := message()
		m.Subject, m.From.Name, m.Text, m.HTML = subject, name, text, html
		raw, err := m.Bytes()
		if err != nil {
			return
		}
		n := bytes.Count(raw, []byte("\r\n"))
		if bytes.Count(raw, []byte("\r")) != n || bytes.Count(raw, []byte("\n")) != n {
			t.Fatalf("a bare CR or LF in %q", raw)
		}
		read, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if len(read.Header) != 11 {
			t.Fatalf("%d headers: %v", len(read.Header), read.Header)
		}
	})
}

func BenchmarkMessage_Bytes(b *testing.B) {
	m := message()
	m.Text = strings.Repeat("a line of the text of a mail\n", 20)
	m.HTML = strings.Repeat("<p style=\"margin:0\">a line of the HTML</p>\n", 60)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}
