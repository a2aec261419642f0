package dkim_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/dkim"
	"github.com/go-mailotp/otp/internal/testkit/readme"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// privateKey is the key of RFC 8463 appendix A.2 in PEM format. Load yours from
// a file or a secret store.
const privateKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----`

func Example() {
	relay := &smtptest.Sink{} // a stand-in for a relay that does not sign
	stop, err := relay.Listen()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	key, err := dkim.ParseKey([]byte(privateKey))
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dkim.NewSigner("football.example.com", "brisbane", key)
	if err != nil {
		log.Fatal(err)
	}
	name, text := signer.Record()
	fmt.Println(name, "TXT", text)

	sender, err := smtpsender.New(relay.Addr, "Acme <codes@football.example.com>", &smtpsender.Options{
		TLS:  smtpsender.InsecureLoopback,
		Sign: signer.Sign,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
	to, err := otp.ParseEmail("mike@example.org")
	if err != nil {
		log.Fatal(err)
	}
	now := time.Now()
	err = sender.Send(context.Background(), otp.Message{
		ID: "5NQ2M7", To: to, Code: "042137", Purpose: "login", SentAt: now, ExpiresAt: now.Add(10 * time.Minute),
	})
	if err != nil {
		log.Fatal(err)
	}
	field, _, _ := strings.Cut(string(relay.Mails()[0].Data), ":")
	fmt.Println(field)
	// Output:
	// brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
	// DKIM-Signature
}

// An application contains this part. Its relay listens on port 465.
func ExampleNewSigner() {
	host, pemBytes := "smtp.example.com", []byte(privateKey)

	key, err := dkim.ParseKey(pemBytes) // from a file or a secret store
	if err != nil {
		log.Fatal(err)
	}
	signer, err := dkim.NewSigner("example.com", "codes2026", key)
	if err != nil {
		log.Fatal(err) // a weak key or an invalid name
	}
	sender, err := smtpsender.New(host, "Acme <codes@example.com>", &smtpsender.Options{Sign: signer.Sign})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
	fmt.Println(sender)
	// Output: smtpsender.Sender{smtp.example.com:465, from codes@example.com}
}

// Two keys, for receivers that know only one of the algorithms.
func ExampleSigner_Sign() {
	key, err := dkim.ParseKey([]byte(privateKey))
	if err != nil {
		log.Fatal(err)
	}
	first, err := dkim.NewSigner("example.com", "codes2026rsa", key) // use an RSA key here
	if err != nil {
		log.Fatal(err)
	}
	second, err := dkim.NewSigner("example.com", "codes2026ed", key)
	if err != nil {
		log.Fatal(err)
	}
	opts := &smtpsender.Options{
		Sign: func(ctx context.Context, mail []byte) ([]byte, error) {
			signed, err := first.Sign(ctx, mail)
			if err != nil {
				return nil, err
			}
			return second.Sign(ctx, signed)
		},
	}
	mail, err := opts.Sign(context.Background(), []byte("From: a@example.com\r\nSubject: x\r\n\r\nHello\r\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Count(string(mail), "DKIM-Signature:"), "signatures")
	// Output: 2 signatures
}

// The Go code of the README occurs in an example.
func TestREADME(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme.Check(t, string(code), readme.Blocks(t, "go"))
}
