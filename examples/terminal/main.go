// Terminal verifies an e-mail address in a terminal: it asks for the address,
// mails a code, and checks the code that you type.
//
// If OTP_SMTP_URL (smtps://user:password@host:465) and OTP_FROM are set, it
// sends real mail. Otherwise it starts an SMTP server on this machine, sends
// the mail there over TLS, and shows it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-mailotp/otp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errGaveUp = errors.New("not verified")

// run asks and answers until an address is verified. It then returns nil.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	sender, done, err := newSender(ctx, out)
	if err != nil {
		return err
	}
	defer done()
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, nil)
	if err != nil {
		return err
	}
	t := &terminal{lines: readLines(in), out: out}

	challenge, err := askAddress(ctx, t, verifier)
	if err != nil {
		return err
	}
	for {
		input, err := t.ask(ctx, "Code (or: resend, quit): ")
		switch {
		case err != nil:
			return err
		case strings.EqualFold(input, "quit"):
			return errGaveUp
		case strings.EqualFold(input, "resend"):
			challenge = resend(ctx, t, verifier, challenge)
			continue
		}
		answer, err := verifier.Check(ctx, challenge.ID, input)
		switch {
		case err == nil:
			t.say("Verified: %s is yours.", answer.To.String())
			return nil
		case errors.Is(err, otp.ErrMalformed) && challenge.Strong:
			t.say("A code has 14 letters and digits.")
		case errors.Is(err, otp.ErrMalformed):
			t.say("A code has 6 digits.")
		case errors.Is(err, otp.ErrCode) && answer.GuessesLeft > 0:
			t.say("That is not the code. Guesses left: %d.", answer.GuessesLeft)
		case errors.Is(err, otp.ErrCode):
			t.say("That is not the code, and it was the last guess. Type resend for a new one.")
		case otp.NeedsResend(err):
			t.say("This code can no longer be used (%s). Type resend for a new one.", reason(err))
		case errors.Is(err, otp.ErrUnknown):
			return errors.New("this code expired long ago, start again")
		default: // the store or the clock failed: not verified
			return err
		}
	}
}

// askAddress asks for an address until a mail has been sent.
func askAddress(ctx context.Context, t *terminal, verifier *otp.Verifier) (otp.Challenge, error) {
	for {
		to, err := t.ask(ctx, "E-mail address: ")
		if err != nil {
			return otp.Challenge{}, err
		}
		if strings.EqualFold(to, "quit") {
			return otp.Challenge{}, errGaveUp
		}
		challenge, err := verifier.Send(ctx, otp.Request{To: to})
		switch {
		case err == nil:
			t.say("A code is on its way to %s. Look for the mail with the reference %s.", challenge.Masked, challenge.Reference)
			return challenge, nil
		case errors.Is(err, otp.ErrAddress):
			t.say("That does not work: %s.", reason(err))
		case errors.Is(err, otp.ErrSend), errors.Is(err, otp.ErrLimited):
			t.say("No mail was sent (%s).", reason(err))
		default:
			return otp.Challenge{}, err
		}
	}
}

// resend mails the same code again or a new one. It returns the challenge that
// the next code belongs to.
func resend(ctx context.Context, t *terminal, verifier *otp.Verifier, old otp.Challenge) otp.Challenge {
	challenge, err := verifier.Resend(ctx, old.ID)
	var limit *otp.LimitError
	switch {
	case errors.As(err, &limit):
		t.say("Please wait %v before the next mail.", limit.RetryAfter.Round(time.Second))
	case err != nil:
		t.say("No mail was sent (%s).", reason(err))
	case challenge.ID == old.ID:
		t.say("The same code was mailed once more (reference %s).", challenge.Reference)
	default:
		t.say("A new code is on its way (reference %s).", challenge.Reference)
	}
	if challenge.ID == "" {
		return old
	}
	return challenge
}

// reason returns the text of an error for people.
func reason(err error) string {
	return strings.TrimPrefix(err.Error(), "otp: ")
}

// terminal reads lines and prints messages.
type terminal struct {
	lines <-chan string
	out   io.Writer
}

func (t *terminal) say(format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
}

// ask returns the next line, or an error at the end of the input.
func (t *terminal) ask(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(t.out, prompt)
	select {
	case line, ok := <-t.lines:
		if !ok {
			fmt.Fprintln(t.out)
			return "", errGaveUp
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		fmt.Fprintln(t.out)
		return "", errGaveUp
	}
}

// readLines reads in the background, so that an interrupt ends the program
// while it waits for input. The goroutine ends with the input or the process.
func readLines(in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}
