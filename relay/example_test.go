package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/relay"
)

// Two providers behind a queue: Send returns immediately, and the provider that
// works sends the mail.
func Example() {
	down := otp.SenderFunc(func(context.Context, otp.Message) error {
		return &otp.SendError{Temporary: true, Err: errors.New("connection refused")}
	})
	spare := new(otptest.Inbox) // in an application an *smtpsender.Sender, like the first

	providers, err := relay.NewFailover([]relay.Provider{
		{Name: "main", Sender: down},
		{Name: "spare", Sender: spare},
	}, &relay.FailoverOptions{
		OnAttempt: func(_ context.Context, a relay.Attempt) { fmt.Println(a.Provider, a.Outcome) },
	})
	if err != nil {
		panic(err)
	}
	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
		OnReport: func(_ context.Context, r relay.Report) { fmt.Println(r.Masked, r.Outcome) },
	})
	if err != nil {
		panic(err)
	}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), queue, nil)
	if err != nil {
		panic(err)
	}
	if _, err := verifier.Send(context.Background(), otp.Request{To: "bob@example.com"}); err != nil {
		panic(err)
	}

	// When the program ends, wait for the queued mails.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := queue.Close(ctx); err != nil {
		panic(err)
	}
	// Output:
	// main failed
	// spare sent
	// b***@example.com sent
}

// A queue before two providers.
func ExampleNewQueue() {
	first, second := new(otptest.Inbox), new(otptest.Inbox)

	providers, err := relay.NewFailover([]relay.Provider{
		{Name: "main", Sender: first},
		{Name: "spare", Sender: second},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
		OnReport: func(_ context.Context, r relay.Report) { log.Println(r.Masked, r.Outcome, r.Err) },
	})
	if err != nil {
		log.Fatal(err)
	}

	if err := queue.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
}
