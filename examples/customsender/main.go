// Customsender sends codes in text messages (SMS) through the HTTP API of a
// provider, instead of by mail. Copy sender.go and phone.go. The program runs
// the flow with a provider in its own process and prints each step.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	far := &provider{token: rand.Text(), waiting: make(chan struct{}, 1)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: far, ReadTimeout: 10 * time.Second}
	go server.Serve(listener)
	defer server.Close()

	sender, err := NewSMSSender("http://"+listener.Addr().String()+"/messages", far.token, nil)
	if err != nil {
		return err
	}
	var failed *otp.SendError // by the last message
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{
		ParseAddress: ParsePhone,
		Observer: otp.ObserverFunc(func(_ context.Context, e otp.Event) {
			if e.Kind == otpevent.SendFailed {
				errors.As(e.Err, &failed)
			}
		}),
	})
	if err != nil {
		return err
	}

	for _, typed := range []string{"07700 900123", "+44 (0)7700 900123"} {
		_, err := verifier.Send(ctx, otp.Request{To: typed})
		fmt.Fprintf(out, "%s: %v\n", typed, err)
	}

	challenge, err := verifier.Send(ctx, otp.Request{To: "+44 7700 900123"})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sent to %s\n", challenge.Masked)
	text := far.received()[0].Text
	fmt.Fprintf(out, "on the phone: %s\n", text)
	code := text[:6]
	wrong := "000000"
	if code == wrong {
		wrong = "000001"
	}
	answer, err := verifier.Check(ctx, challenge.ID, wrong)
	fmt.Fprintf(out, "typed %s: %v, guesses left: %d\n", wrong, err, answer.GuessesLeft)
	answer, err = verifier.Check(ctx, challenge.ID, code)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "typed %s: %s is proven\n", code, answer.To.String())
	if _, err = verifier.Send(ctx, otp.Request{To: "+44 7700 900124"}); err != nil {
		return err
	}
	_, err = verifier.Send(ctx, otp.Request{To: "+44.7700.900.124"})
	fmt.Fprintf(out, "the same number in another spelling: %v\n", err)

	for i, fault := range []struct {
		what    string
		status  int
		stalled bool
	}{
		{"an overloaded provider", http.StatusServiceUnavailable, false},
		{"a number that does not exist", http.StatusUnprocessableEntity, false},
		{"a provider that disappears", 0, true},
	} {
		far.behave(fault.status, fault.stalled)
		if fault.stalled {
			go func() { <-far.waiting; server.Close() }()
		}
		failed = nil
		_, err := verifier.Send(ctx, otp.Request{To: fmt.Sprintf("+44 7700 90020%d", i)})
		if failed == nil {
			return fmt.Errorf("%s: %w", fault.what, err)
		}
		fmt.Fprintf(out, "%s: %v; temporary: %t, may have been sent: %t; Send returns an error: %t\n",
			fault.what, failed, failed.Temporary, failed.MaybeSent, err != nil)
	}
	return nil
}
