package smtpsender_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/smtpsender"
)

// One sender serves the whole program. Ping at start-up finds a wrong host,
// certificate or password before the first user does.
func ExampleNew() {
	sender, err := smtpsender.New("smtp.example.com", "Acme <codes@example.com>", &smtpsender.Options{
		Username: "codes@example.com",
		Password: os.Getenv("SMTP_PASSWORD"),
		Support:  "help@example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := sender.Ping(ctx); err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}

// A relay on the same machine may be spoken to in clear text.
func ExampleNew_loopback() {
	relay := &smtptest.Sink{} // stands in for a relay on this host
	stop, err := relay.Listen()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	sender, err := smtpsender.New(relay.Addr, "Acme <codes@example.com>", &smtpsender.Options{TLS: smtpsender.InsecureLoopback})
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
	var failed *otp.SendError
	if errors.As(err, &failed) {
		log.Fatal(failed.Stage, failed.Temporary)
	}
	fmt.Println(relay.Mails()[0].To)
	// Output: mike@example.org
}

// The built-in letter has a choice of its own.
func ExampleNew_letter() {
	words, err := letter.New(&letter.Options{SubjectWithCode: true})
	if err != nil {
		log.Fatal(err)
	}
	sender, err := smtpsender.New("smtp.example.com", "codes@example.com", &smtpsender.Options{Letter: words, Brand: "Acme"})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

func ExampleParseURL() {
	host, opts, err := smtpsender.ParseURL("smtps://codes%40example.com:p%2Fw@smtp.example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(host, opts.Username, opts.TLS)
	fmt.Println(opts) // without the password
	// Output:
	// smtp.example.com:465 codes@example.com ImplicitTLS
	// Options{TLS: ImplicitTLS, Login: true, Dial: false, HelloName: , Bounces: , Brand: }
}

// freshToken stands in for an OAuth 2.0 token source.
func freshToken(context.Context) (string, error) { return "token", nil }

// The token may be short-lived, since it is asked for at each new connection.
func ExampleXOAuth2() {
	relay := &smtptest.Sink{Users: map[string]string{"codes@example.com": "token"}, Mechanisms: []string{"XOAUTH2"}}
	stop, err := relay.Listen()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	sender, err := smtpsender.New(relay.Addr, "codes@example.com", &smtpsender.Options{
		TLS:  smtpsender.InsecureLoopback, // for the example: use TLS
		Auth: smtpsender.XOAuth2("codes@example.com", freshToken),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
	fmt.Println(sender.Ping(context.Background()))
	// Output: <nil>
}

// Mails in German where the reader's language is not known, with words and
// templates of the application's own from a folder.
func ExampleOptions_letter() {
	words, err := letter.New(&letter.Options{Files: os.DirFS("mail"), Locale: "de"})
	if err != nil {
		log.Fatal(err) // it names the file and the key that are wrong
	}
	sender, err := smtpsender.New("smtp.example.com", "Acme <codes@example.com>", &smtpsender.Options{Letter: words})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

// Header fields that a provider reads.
func ExampleOptions_headers() {
	sender, err := smtpsender.New("smtp.example.com", "Acme <codes@example.com>", &smtpsender.Options{
		Headers: map[string]string{
			"X-PM-Message-Stream":     "login-codes", // Postmark
			"X-SES-CONFIGURATION-SET": "login-codes", // Amazon SES
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()

	_, err = smtpsender.New("smtp.example.com", "Acme <codes@example.com>", &smtpsender.Options{
		Headers: map[string]string{"Bcc": "archive@example.com"},
	})
	fmt.Println(err)
	// Output:
	// smtpsender: otpmail: Options.Headers: "Bcc": reserved name: the library or mail servers write this field
}

// A test server without TLS on this machine, such as Mailpit.
func ExampleNew_development() {
	sender, err := smtpsender.New("localhost:1025", "Acme <codes@example.com>", &smtpsender.Options{
		TLS: smtpsender.InsecureLoopback, // accepted for this machine only
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

// The server comes from the environment, such as smtp+insecure://mailpit:1025
// while developing and smtps://user:password@smtp.example.com in production.
func ExampleParseURL_environment() {
	host, opts, err := smtpsender.ParseURL(os.Getenv("SMTP_URL"))
	if err != nil {
		log.Fatal(err)
	}
	sender, err := smtpsender.New(host, "Acme <codes@example.com>", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

// Connections over IPv4 only, for a host whose IPv6 address has no name that
// mail servers accept.
func ExampleOptions_dial() {
	dialer := &net.Dialer{}
	sender, err := smtpsender.New("smtp.example.com", "codes@example.com", &smtpsender.Options{
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}
