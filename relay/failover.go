package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// Provider is one of the senders of a [Failover].
type Provider struct {
	// Name identifies the provider in [Attempt]. It is required and must be
	// unique within the Failover.
	Name string
	// Sender sends the mails of this provider. It is required.
	Sender otp.Sender
}

// FailoverOptions configures [NewFailover]. The zero value uses every default;
// NewFailover returns an error if a number is negative.
type FailoverOptions struct {
	// Failures is the number of consecutive failures after which a provider
	// rests: it gets no mail for a while. Default: 5.
	Failures int

	// Rest is how long a provider rests. After that it gets one mail as a test.
	// Default: 30 seconds.
	Rest time.Duration

	// Attempt is the time limit for one provider. When it is exceeded, the next
	// provider is tried if the sender reports that the mail was definitely not
	// sent. By default there is no limit except the deadline of the context:
	// then a provider that hangs uses up the time of each mail until it rests.
	// Behind a [Queue], set Attempt shorter than QueueOptions.Attempt.
	Attempt time.Duration

	// RetryUnknown also tries the next provider if the mail may already have
	// been sent. Some recipients then get the same mail twice. Default: false.
	RetryUnknown bool

	// OnAttempt receives an Attempt for each provider that was tried or
	// skipped. Several goroutines call it at once; it must return quickly. Nil
	// disables reporting.
	OnAttempt func(context.Context, Attempt)
}

// Attempt describes how one provider handled one mail. It contains neither the
// code nor the whole address.
type Attempt struct {
	// Message is the ID of the mail, the same as in otp.Event.Message.
	Message string
	// Provider is the name of the provider.
	Provider string
	// Outcome is [otpevent.MailSent] if the provider accepted the mail,
	// [otpevent.MailUnknown] if the mail may have been sent,
	// [otpevent.MailRefused] if the recipient was rejected permanently, so that
	// no other provider will be tried, and [otpevent.MailFailed] for any other
	// failure. It is empty if Resting is true.
	Outcome otpevent.Outcome
	// Resting is true if the provider was skipped because it rests after too
	// many failures.
	Resting bool
	// Took is how long the attempt took.
	Took time.Duration
	// Err is the failure, or the reason why the provider was skipped. It is nil
	// if the provider accepted the mail.
	Err error
}

// ErrAllResting means that no provider was tried because all of them rest after
// too many failures. [Failover.Send] returns it wrapped in a temporary
// *otp.SendError whose stage is "failover"; the mail was definitely not sent.
var ErrAllResting = errors.New("relay: all providers are resting after failures")

// Failover is an otp.Sender that tries its providers in order until one accepts
// the mail. It stops early if the recipient was rejected permanently
// ([otp.SendError.RefusedRecipient]) or if the mail may already have been sent.
// Permanent rejections do not make a provider rest, since the mails may be the
// cause. Create a Failover with [NewFailover]. It is safe for concurrent use.
type Failover struct {
	providers []provider
	opts      FailoverOptions
}

var _ otp.Sender = (*Failover)(nil)

type provider struct {
	Provider
	breaker *gobreaker.CircuitBreaker[struct{}]
}

// NewFailover returns a sender that tries providers in the given order. If opts
// is nil, every default is used.
func NewFailover(providers []Provider, opts *FailoverOptions) (*Failover, error) {
	o := FailoverOptions{}
	if opts != nil {
		o = *opts
	}
	if err := cmp.Or(
		checkNumber("FailoverOptions.Failures", o.Failures), checkNumber("FailoverOptions.Rest", o.Rest),
		checkNumber("FailoverOptions.Attempt", o.Attempt),
	); err != nil {
		return nil, err
	}
	o.Failures, o.Rest = cmp.Or(o.Failures, 5), cmp.Or(o.Rest, 30*time.Second)
	if o.OnAttempt == nil {
		o.OnAttempt = func(context.Context, Attempt) {}
	}
	if len(providers) == 0 {
		return nil, errors.New("relay: NewFailover: there are no providers")
	}
	f := &Failover{opts: o}
	seen := map[string]bool{}
	for i, p := range providers {
		switch {
		case p.Sender == nil:
			return nil, fmt.Errorf("relay: provider %d: Sender is nil", i)
		case p.Name == "":
			return nil, fmt.Errorf("relay: provider %d: Name is empty", i)
		case seen[p.Name]:
			return nil, fmt.Errorf("relay: provider %d: Name: duplicate %q", i, p.Name)
		}
		seen[p.Name] = true
		f.providers = append(f.providers, provider{p, gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name:         p.Name,
			Timeout:      o.Rest,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= o.Failures },
			IsSuccessful: func(err error) bool { return err == nil || permanent(err) },
			IsExcluded:   func(err error) bool { return errors.Is(err, errCanceled) },
		})})
	}
	return f, nil
}

// errCanceled marks a failure of an attempt that its caller canceled. The
// breaker ignores it, since it says nothing about the provider. A deadline that
// passed does count: a provider that hangs must rest even if only its callers
// limit the time.
var errCanceled = errors.New("the caller canceled the attempt")

// Send tries the providers in order. It returns nil if one of them accepted the
// mail. Otherwise it returns the permanent rejection of the recipient, or the
// failure after which the mail may have been sent, or the last other failure,
// or [ErrAllResting]. The last other failure is temporary if any provider may
// accept the mail later.
func (f *Failover) Send(ctx context.Context, m otp.Message) error {
	var last error = &otp.SendError{Temporary: true, Stage: "failover", Err: ErrAllResting}
	maybe, later := false, false
	for _, p := range f.providers {
		if err := ctx.Err(); err != nil {
			last = &otp.SendError{Temporary: true, MaybeSent: maybe, Stage: "failover", Err: err}
			break
		}
		asked, err := f.try(ctx, p, m)
		if !asked {
			later = true
			continue
		}
		if err == nil {
			return nil
		}
		e := asSendError(err)
		last, maybe, later = err, maybe || e.MaybeSent, later || e.Temporary
		if e.RefusedRecipient() || e.MaybeSent && !f.opts.RetryUnknown {
			break
		}
	}
	e := asSendError(last)
	later = later && permanent(e) && !e.RefusedRecipient()
	if later || maybe && !e.MaybeSent {
		// An earlier provider may accept the mail later or may have sent it.
		// The last provider's error alone does not say so.
		return &otp.SendError{
			Temporary: later || e.Temporary, MaybeSent: maybe, Stage: e.Stage, Class: e.Class, RetryAfter: e.RetryAfter, Err: e.Err,
		}
	}
	return last
}

// try calls one provider unless it rests; asked reports whether it did. The
// error cannot tell: a provider may itself return the errors of a circuit
// breaker.
func (f *Failover) try(ctx context.Context, p provider, m otp.Message) (asked bool, err error) {
	began := time.Now()
	_, err = p.breaker.Execute(func() (struct{}, error) {
		asked = true
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if f.opts.Attempt > 0 {
			attempt, cancel = context.WithTimeout(ctx, f.opts.Attempt)
		}
		defer cancel()
		err := readable(p.Sender.Send(attempt, m))
		if err != nil && ctx.Err() == context.Canceled && !permanent(err) {
			err = &canceledError{err}
		}
		return struct{}{}, err
	})
	var canceled *canceledError
	if errors.As(err, &canceled) {
		err = canceled.error
	}
	report := Attempt{Message: m.ID, Provider: p.Name, Resting: !asked, Took: time.Since(began), Err: masked(err, m)}
	if asked {
		report.Outcome = outcomeOf(err)
	}
	f.opts.OnAttempt(ctx, report)
	return asked, err
}

// outcomeOf returns the outcome of an attempt that ended with err.
func outcomeOf(err error) otpevent.Outcome {
	if err == nil {
		return otpevent.MailSent
	}
	switch e := asSendError(err); {
	case e.MaybeSent:
		return otpevent.MailUnknown
	case e.RefusedRecipient():
		return otpevent.MailRefused
	default:
		return otpevent.MailFailed
	}
}

// canceledError wraps an error that the breaker ignores.
type canceledError struct{ error }

func (canceledError) Is(target error) bool { return target == errCanceled }
func (e canceledError) Unwrap() error      { return e.error }

// String returns the name of each provider and the state of its circuit
// breaker.
func (f *Failover) String() string {
	names := make([]string, len(f.providers))
	for i, p := range f.providers {
		names[i] = p.Name + " " + p.breaker.State().String()
	}
	return fmt.Sprintf("Failover%q", names)
}

// Format prints the result of String for every verb.
func (f *Failover) Format(s fmt.State, _ rune) { io.WriteString(s, f.String()) }

// LogValue returns the result of String.
func (f *Failover) LogValue() slog.Value { return slog.StringValue(f.String()) }
