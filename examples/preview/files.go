package main

import (
	"bytes"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"os"
	"path/filepath"

	"github.com/go-mailotp/otp/letter"
)

// writeAll writes every mail as dir/<language>-<kind>.txt, .html and .eml.
func writeAll(samples sampler, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, language := range samples.letters.Languages() {
		for _, kind := range samples.letters.Kinds() {
			mail, err := samples.mail(language, kind, "042137")
			if err != nil {
				return err
			}
			eml, err := message(mail)
			if err != nil {
				return err
			}
			if kind == "" {
				kind = "other"
			}
			name := filepath.Join(dir, language+"-"+filepath.Base(kind))
			for ending, content := range map[string][]byte{".txt": []byte(mail.Text), ".html": []byte(mail.HTML), ".eml": eml} {
				if err := os.WriteFile(name+ending, content, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// message returns a mail in the format of .eml files, which mail programs open.
// The mails that the library sends have more header fields.
func message(mail letter.Mail) ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "From: Acme <codes@example.com>\r\nTo: reader@example.org\r\nSubject: %s\r\n", mime.QEncoding.Encode("utf-8", mail.Subject))
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=%q\r\n\r\n", parts.Boundary())
	for _, part := range [...]struct{ kind, content string }{{"text/plain", mail.Text}, {"text/html", mail.HTML}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {part.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		encoder := quotedprintable.NewWriter(w)
		if _, err := encoder.Write([]byte(part.content)); err != nil {
			return nil, err
		}
		if err := encoder.Close(); err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
