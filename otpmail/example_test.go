package otpmail_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"regexp"
	"strings"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpmail"
)

// Any mailer can send the parts: here, a function that prints them.
func ExampleNew() {
	composer, err := otpmail.New("Example <login@example.com>", &otpmail.Options{Support: "help@example.com"})
	if err != nil {
		panic(err)
	}
	sender := composer.Sender(func(ctx context.Context, mail *otpmail.Mail) error {
		shown := regexp.MustCompile("[0-9]{6}").ReplaceAllString(mail.Subject+"\n"+mail.Text, "042137")
		fmt.Println(strings.Join(strings.Split(shown, "\n")[:6], "\n"))
		return nil
	})
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		panic(err)
	}
	if _, err := verifier.Send(context.Background(), otp.Request{To: "ann@example.org"}); err != nil {
		panic(err)
	}
	// Output:
	// Your Example verification code
	// Your verification code to sign in to Example is:
	//
	// 042137
	//
	// The code works for 10 minutes.
}

// Codes through the HTTP API of a provider.
func ExampleNew_provider() {
	post := func(ctx context.Context, m *otpmail.Mail) (status int, err error) {
		return http.StatusOK, nil
	}

	composer, err := otpmail.New("Acme <codes@example.com>", &otpmail.Options{Support: "help@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	sender := composer.Sender(func(ctx context.Context, mail *otpmail.Mail) error {
		status, err := post(ctx, mail) // yours: one request, with mail.ID as idempotency key
		switch {
		case err != nil: // the provider may have accepted it
			return &otp.SendError{Temporary: true, MaybeSent: true, Err: err}
		case status == http.StatusTooManyRequests || status >= 500:
			return &otp.SendError{Temporary: true, Err: fmt.Errorf("status %d", status)}
		case status >= 400:
			return &otp.SendError{Stage: "api", Err: fmt.Errorf("status %d", status)}
		}
		return nil
	})

	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Send(context.Background(), otp.Request{To: "bob@example.com"})
	fmt.Println(err)
	// Output: <nil>
}

// Codes through the mailer that an application has.
func ExampleComposer_Sender() {
	composer, err := otpmail.New("Acme <codes@example.com>", nil)
	if err != nil {
		log.Fatal(err)
	}
	var mailer appMailer

	sender := composer.Sender(func(ctx context.Context, mail *otpmail.Mail) error {
		return mailer.Send(ctx, mail.To, mail.Subject, mail.Text, mail.HTML)
	})

	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Send(context.Background(), otp.Request{To: "bob@example.com"})
	fmt.Println(err)
	// Output:
	// to bob@example.com: Your Acme verification code
	// <nil>
}

// The mail of a tenant comes from the tenant's name and your address.
func ExampleOptions_brandInFrom() {
	composer, err := otpmail.New("Acme <codes@example.com>", &otpmail.Options{BrandInFrom: true})
	if err != nil {
		log.Fatal(err)
	}
	sender := composer.Sender(func(ctx context.Context, mail *otpmail.Mail) error {
		fmt.Println(mail.From.String(), mail.Subject)
		return nil
	})
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = verifier.Send(context.Background(), otp.Request{
		To:   "bob@example.org",
		Vars: map[string]string{"brand": "Fish & Chips, Ltd."},
	})
	fmt.Println(err)
	// Output:
	// "Fish & Chips, Ltd." <codes@example.com> Your Fish & Chips, Ltd. verification code
	// <nil>
}

// appMailer stands for the mailer of an application.
type appMailer struct{}

func (appMailer) Send(_ context.Context, to, subject, text, html string) error {
	fmt.Printf("to %s: %s\n", to, subject)
	return nil
}
