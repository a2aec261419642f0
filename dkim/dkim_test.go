package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os/exec"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/dkim"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/smtpsender"
)

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func newSigner(t testing.TB, selector string, key crypto.Signer) *dkim.Signer {
	t.Helper()
	s, err := dkim.NewSigner("acme.example", selector, key)
	require.NoError(t, err)
	return s
}

// dns has the records of signers.
func dns(signers ...*dkim.Signer) map[string]string {
	records := map[string]string{}
	for _, s := range signers {
		name, text := s.Record()
		records[name] = text
	}
	return records
}

// verify returns what go-msgauth says of each signature.
func verify(t testing.TB, records map[string]string, mail []byte) (verdicts []bool, keys [][]string) {
	t.Helper()
	found, err := msgauth.VerifyWithOptions(bytes.NewReader(mail), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		return []string{records[name]}, nil
	}})
	require.NoError(t, err)
	for _, v := range found {
		verdicts = append(verdicts, v.Err == nil)
		keys = append(keys, v.HeaderKeys)
	}
	return verdicts, keys
}

// verifyPython returns what dkimpy says of each signature of each mail.
func verifyPython(t testing.TB, records map[string]string, mails ...[]byte) (verdicts [][]bool) {
	t.Helper()
	python := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if path := servers.Binary(name); path != "" && exec.Command(path, "-c", "import dkim, nacl").Run() == nil {
			python = path
			break
		}
	}
	if python == "" {
		testkit.Skip(t, "no Python has dkim and nacl (Debian: python3-dkim, python3-nacl)")
	}
	input, err := json.Marshal(map[string]any{"records": records, "mails": mails})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Isolated: this folder is no place to look for a module of its name.
	cmd := exec.CommandContext(ctx, python, "-I", "verify.py")
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(output, &verdicts))
	return verdicts
}

// mail composes a mail with the library, over a sender of which nothing is
// sent.
func mail(t testing.TB, to string) (composed []byte) {
	t.Helper()
	s, err := smtpsender.New("localhost:25", "Größe & Söhne <codes@acme.example>", &smtpsender.Options{
		TLS: smtpsender.InsecureLoopback, ReplyTo: "help@acme.example",
		Sign: func(_ context.Context, mail []byte) ([]byte, error) {
			composed = mail
			return nil, context.Canceled
		},
	})
	require.NoError(t, err)
	require.ErrorIs(t, s.Send(t.Context(), message(t, to)), context.Canceled)
	return composed
}

func message(t testing.TB, to string) otp.Message {
	t.Helper()
	addr, err := otp.EmailParser(otp.EmailOptions{UTF8: true})(to)
	require.NoError(t, err)
	now := time.Now()
	return otp.Message{ID: "K3JQ2MZ5VZ7N4C6T8X9B2D4F6H", To: addr, Code: "042137", Purpose: "login", SentAt: now, ExpiresAt: now.Add(10 * time.Minute)}
}

// Signed mails verify, by two verifiers, and changed ones do not.
func TestSigner_Sign(t *testing.T) { // F12
	ed, rsa2048, rsa3072 := newSigner(t, "ed", edKey(t)), newSigner(t, "rsa", rsaKey(t, 2048)), newSigner(t, "big.rsa", rsaKey(t, 3072))
	records := dns(ed, rsa2048, rsa3072)
	var mails [][]byte
	var want [][]bool
	add := func(mail []byte, verdicts ...bool) {
		t.Helper()
		got, _ := verify(t, records, mail)
		require.Equal(t, verdicts, got, string(mail))
		mails, want = append(mails, mail), append(want, verdicts)
	}
	for _, to := range []string{"mike@example.com", "jürgen@example.com"} {
		plain := mail(t, to)
		for _, s := range []*dkim.Signer{ed, rsa2048, rsa3072} {
			out, err := s.Sign(t.Context(), plain)
			require.NoError(t, err)
			top, rest, _ := strings.Cut(string(out), "\r\nFrom: ")
			require.Equal(t, string(plain), "From: "+rest, "only a header on top")
			require.Contains(t, strings.NewReplacer("\r\n", "", " ", "").Replace(top), "c=relaxed/relaxed;d=acme.example;")
			for line := range strings.SplitSeq(top, "\r\n") {
				require.LessOrEqual(t, len(line), 998) // go-msgauth folds little
			}
			add(out, true)

			// What a relay may do, and what it may not.
			add(append([]byte("Received: from x\r\n\tby y\r\n"), out...), true)
			add(bytes.Replace(out, []byte("\r\nDate: "), []byte("\r\nDate:   "), 1), true)
			add(bytes.Replace(out, []byte("042137"), []byte("111111"), 1), false)
			add(append(bytes.Clone(out), "more\r\n"...), false)
			add(bytes.Replace(out, []byte("\r\nSubject: "), []byte("\r\nSubject: X"), 1), false)
			for _, field := range []string{
				"From: x@evil.example", "To: x@evil.example", "Cc: x@evil.example", "Reply-To: x@evil.example", "Subject: X",
				"Date: Mon, 23 Nov 2026 00:00:00 +0000", "Message-ID: <x@evil.example>", "References: <x@evil.example>", "In-Reply-To: <x@evil.example>",
				"MIME-Version: 1.0", "Content-Type: text/html", "Content-Transfer-Encoding: 8bit", "Auto-Submitted: no",
			} {
				if s == ed {
					add(append([]byte(field+"\r\n"), out...), false)
					add(bytes.Replace(out, []byte("\r\n\r\n"), []byte("\r\n"+field+"\r\n\r\n"), 1), false)
				}
			}
		}
		first, err := rsa2048.Sign(t.Context(), plain)
		require.NoError(t, err)
		both, err := ed.Sign(t.Context(), first)
		require.NoError(t, err)
		add(both, true, true)
	}
	out, err := ed.Sign(t.Context(), mail(t, "mike@example.com"))
	require.NoError(t, err)
	_, keys := verify(t, records, out)
	require.Equal(t, "From From To To Cc Reply-To Reply-To Subject Subject Date Date Message-ID Message-ID In-Reply-To References References "+
		"MIME-Version MIME-Version Content-Type Content-Type Content-Transfer-Encoding Auto-Submitted Auto-Submitted", strings.Join(keys[0], " "))
	require.Equal(t, want, verifyPython(t, records, mails...))
}

func TestSigner_refusesMails(t *testing.T) {
	s := newSigner(t, "ed", edKey(t))
	for _, mail := range []string{"", "Subject: x\r\n\r\nx\r\n", "From: a@b.example\r\nFrom: c@d.example\r\n\r\nx\r\n", "From\r\n\r\n", "From: 042137"} {
		_, err := s.Sign(t.Context(), []byte(mail))
		require.Error(t, err, mail)
		require.NotContains(t, err.Error(), "042137")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Sign(ctx, mail(t, "mike@example.com"))
	require.ErrorIs(t, err, context.Canceled)
}

// remote is a key that lies elsewhere.
type remote struct {
	crypto.Signer
	public crypto.PublicKey
}

func (r remote) Public() crypto.PublicKey { return r.public }

func TestNewSigner_refuses(t *testing.T) { // A9
	good := edKey(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	weak := rsaKey(t, 1024)
	almost := rsaKey(t, 2047)
	broken := *rsaKey(t, 2048)
	broken.D = weak.D
	mixed := append(append(ed25519.PrivateKey{}, good[:32]...), edKey(t)[32:]...)
	label := strings.Repeat("a", 63)
	for name, c := range map[string]struct {
		domain, selector string
		key              crypto.Signer
	}{
		"no domain":         {"", "s", good},
		"one label":         {"localhost", "s", good},
		"dot at the end":    {"acme.example.", "s", good},
		"two dots":          {"acme..example", "s", good},
		"hyphen in front":   {"-acme.example", "s", good},
		"hyphen behind":     {"acme-.example", "s", good},
		"letters beyond":    {"bücher.example", "s", good},
		"tag in domain":     {"acme.example; l=0", "s", good},
		"break in domain":   {"acme.example\r\nX: y", "s", good},
		"long label":        {label + "a.example", "s", good},
		"no selector":       {"acme.example", "", good},
		"dot in front":      {"acme.example", ".s", good},
		"space in selector": {"acme.example", "s s", good},
		"underscore":        {"acme.example", "s_1", good},
		"tag in selector":   {"acme.example", "s;l=0", good},
		"long together":     {strings.Repeat(label+".", 3) + "example", strings.Repeat("s", 50), good},
		"no key":            {"acme.example", "s", nil},
		"nil RSA":           {"acme.example", "s", (*rsa.PrivateKey)(nil)},
		"empty RSA":         {"acme.example", "s", new(rsa.PrivateKey)},
		"RSA 1024":          {"acme.example", "s", weak},
		"RSA 1024, remote":  {"acme.example", "s", remote{weak, weak.Public()}},
		"RSA 2047":          {"acme.example", "s", almost},
		"RSA 4097":          {"acme.example", "s", remote{good, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 4096), E: 65537}}},
		"RSA broken":        {"acme.example", "s", &broken},
		"Ed25519 empty":     {"acme.example", "s", ed25519.PrivateKey{}},
		"Ed25519 mixed":     {"acme.example", "s", mixed},
		"ECDSA":             {"acme.example", "s", ec},
		"nothing public":    {"acme.example", "s", remote{good, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := dkim.NewSigner(c.domain, c.selector, c.key)
			require.Error(t, err)
			require.Nil(t, s)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	for _, domain := range []string{"acme.example", "xn--bcher-kva.example", "MAIL.acme.example"} {
		_, err := dkim.NewSigner(domain, "codes.2026", good)
		require.NoError(t, err)
	}
}

func TestParseKey(t *testing.T) {
	ed, small := edKey(t), rsaKey(t, 2048)
	encode := func(kind string, der []byte, err error) []byte {
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return encode("PRIVATE KEY", der, err)
	}
	for _, c := range []struct {
		want interface{ Equal(crypto.PrivateKey) bool }
		text []byte
	}{
		{small, pkcs8(small)},
		{small, encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small), nil)},
		{ed, pkcs8(ed)},
	} {
		key, err := dkim.ParseKey(c.text)
		require.NoError(t, err)
		require.True(t, c.want.Equal(key))
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, text := range map[string][]byte{
		"nothing": nil, "text": []byte("secret-words"), "ECDSA": pkcs8(ec), "cut": encode("PRIVATE KEY", []byte("secret-words"), nil),
		"public": encode("PUBLIC KEY", []byte("x"), nil), "with a password": encode("ENCRYPTED PRIVATE KEY", []byte("x"), nil),
	} {
		key, err := dkim.ParseKey(text)
		require.Error(t, err, name)
		require.Nil(t, key)
		require.NotContains(t, err.Error(), "secret-words")
	}
}

func TestSigner_showsNoKey(t *testing.T) { // D1
	key := edKey(t)
	s := newSigner(t, "codes", key)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "signer", s, "in", struct{ S *dkim.Signer }{s})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "signer", s)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&log, verb, s)
		fmt.Fprintf(&log, verb, *s)
		fmt.Fprintf(&log, verb, []dkim.Signer{*s})
	}
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "signer", *s)
	require.Contains(t, log.String(), "Signer{codes._domainkey.acme.example, ed25519}")
	require.NotContains(t, log.String(), fmt.Sprint(key[0])+" "+fmt.Sprint(key[1]))
	require.NotContains(t, log.String(), "key:")
}

// What a real server delivers is what was signed, by whatever way it came.
func TestSigner_postfix(t *testing.T) { // F12
	p := servers.StartPostfix(t)
	rsa2048, ed := newSigner(t, "rsa", rsaKey(t, 2048)), newSigner(t, "ed", edKey(t))
	records := dns(rsa2048, ed)
	var signed []string
	sign := func(ctx context.Context, mail []byte) ([]byte, error) {
		out, err := rsa2048.Sign(ctx, mail)
		if err == nil {
			out, err = ed.Sign(ctx, out)
		}
		signed = append(signed, strings.ReplaceAll(string(out), "\r\n", "\n"))
		return out, err
	}
	for addr, mode := range map[string]smtpsender.TLSMode{p.TLS: smtpsender.ImplicitTLS, p.StartTLS: smtpsender.StartTLS, p.Simple: smtpsender.InsecureLoopback} {
		opts := &smtpsender.Options{TLS: mode, Sign: sign}
		if mode != smtpsender.InsecureLoopback {
			opts.TLSConfig, opts.Username, opts.Password = p.Client, servers.MailUser, servers.MailPassword
		}
		s, err := smtpsender.New(addr, "Größe & Söhne <codes@acme.example>", opts)
		require.NoError(t, err)
		require.NoError(t, s.Send(t.Context(), message(t, "inbox@otp.test")))
		require.NoError(t, s.Close())
	}
	delivered := p.Mails(t, "inbox", 3)
	require.Len(t, delivered, 3)
	var mails [][]byte
	for _, mail := range delivered {
		i := strings.Index(mail, "DKIM-Signature: ")
		require.Contains(t, signed, mail[i:])
		mails = append(mails, []byte(strings.ReplaceAll(mail, "\n", "\r\n")))
		verdicts, _ := verify(t, records, mails[len(mails)-1])
		require.Equal(t, []bool{true, true}, verdicts)
	}
	require.Equal(t, [][]bool{{true, true}, {true, true}, {true, true}}, verifyPython(t, records, mails...))
}
