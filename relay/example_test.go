package relay_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/relay"
)

// Two providers behind a queue: Send returns at once, and the mail goes out by the
// provider that works.
func Example() {
	down := otp.SenderFunc(func(context.Context, otp.Message) error {
		return &otp.SendError{Temporary: true, Err: errors.New("connection refused")}
	})
	spare := new(otptest.Inbox) // in an application an *smtpsender.Sender, like the first

	providers, err := relay.NewFailover([]relay.Provider{
		{Name: "main", Sender: down},
		{Name: "spare", Sender: spare},
	}, &relay.FailoverOptions{
		Observe: func(_ context.Context, a relay.Attempt) { fmt.Println(a.Provider, a.Err) },
	})
	if err != nil {
		panic(err)
	}
	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
		Observe: func(r relay.Report) { fmt.Println(r.Masked, r.Outcome) },
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

	// At the end of the program: wait for what is queued.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := queue.Close(ctx); err != nil {
		panic(err)
	}
	// Output:
	// main otp: sending failed: connection refused
	// spare <nil>
	// b***@example.com sent
}
