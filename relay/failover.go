package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/go-mailotp/otp"
)

// Provider is one of the senders of a [Failover].
type Provider struct {
	// Name is what events call it. Required, each once.
	Name string
	// Sender hands over its mails. Required.
	Sender otp.Sender
}

// FailoverOptions are the choices of [NewFailover]. The zero value has every
// default; a negative number is an error.
type FailoverOptions struct {
	// Failures is how many failures in a row take a provider out. 0 means 5.
	Failures int

	// Rest is how long a provider that was taken out is not asked; then one mail
	// is tried with it. 0 means 30 seconds.
	Rest time.Duration

	// Attempt is how long one provider may take before the next is asked, if its
	// sender then says that nothing went out. 0 means no bound but the context's:
	// then the next is only asked once the one that hangs rests. Behind a [Queue]
	// make it shorter than QueueOptions.Attempt.
	Attempt time.Duration

	// RetryUnknown asks the next provider also where a mail may have gone out
	// already, at the price of mails that arrive twice. Default: false.
	RetryUnknown bool

	// OnAttempt is told of each provider that was asked or passed over. It is
	// called by many goroutines at once and must be quick. Nil is nobody.
	OnAttempt func(context.Context, Attempt)
}

// Attempt tells how one provider served one mail. It holds neither code nor
// whole address.
type Attempt struct {
	// Message is the ID of the mail, as in otp.Event.Message.
	Message string
	// Provider is the name of the provider.
	Provider string
	// Outcome is [otp.OutcomeSent], [otp.OutcomeUnknown] if the mail may have
	// been sent, [otp.OutcomeRefused] if the recipient was refused for good so
	// that no other provider is asked, and else [otp.OutcomeFailed]. It is empty
	// if Resting is true, since the provider was not asked.
	Outcome otp.Outcome
	// Resting says that it was passed over after its failures.
	Resting bool
	// Took is how long it took.
	Took time.Duration
	// Err is its failure; nil without Resting says that it took the mail.
	Err error
}

// ErrAllResting says that no provider was asked, since all of them have failed
// too often in a row. It comes in an *otp.SendError of the stage "failover",
// temporary and surely not sent.
var ErrAllResting = errors.New("relay: all providers are resting after failures")

// Failover is an otp.Sender that asks providers in turn until one takes the mail.
// A failure moves on to the next, but for a recipient who was refused for good
// ([otp.SendError.RefusedRecipient]); and nothing is sent again that may have gone
// out already. A provider that refuses mails for good does not rest: the cause may
// be the mail. It is safe for concurrent use and must be made by [NewFailover].
type Failover struct {
	providers []provider
	opts      FailoverOptions
}

var _ otp.Sender = (*Failover)(nil)

type provider struct {
	Provider
	breaker *gobreaker.CircuitBreaker[struct{}]
}

// NewFailover returns a sender over providers, the first of which is asked first;
// opts may be nil.
func NewFailover(providers []Provider, opts *FailoverOptions) (*Failover, error) {
	o := FailoverOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Failures < 0 || o.Rest < 0 || o.Attempt < 0 {
		return nil, errors.New("relay: a negative number in FailoverOptions")
	}
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Rest == 0 {
		o.Rest = 30 * time.Second
	}
	if o.OnAttempt == nil {
		o.OnAttempt = func(context.Context, Attempt) {}
	}
	if len(providers) == 0 {
		return nil, errors.New("relay: no providers")
	}
	f := &Failover{opts: o}
	seen := map[string]bool{}
	for i, p := range providers {
		if p.Name == "" || p.Sender == nil || seen[p.Name] {
			return nil, fmt.Errorf("relay: provider %d has no sender, or no name of its own", i)
		}
		seen[p.Name] = true
		f.providers = append(f.providers, provider{p, gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name:         p.Name,
			Timeout:      o.Rest,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= o.Failures },
			IsSuccessful: func(err error) bool { return err == nil || refused(err) },
			IsExcluded:   func(err error) bool { return errors.Is(err, errGivenUp) },
		})})
	}
	return f, nil
}

// errGivenUp marks a failure of a caller who has given up: it says nothing about
// the provider. One whose time has run out does: a provider that hangs must rest
// some day, also where only its callers bound their time.
var errGivenUp = errors.New("the caller has given up")

// Send asks the providers in turn. It returns nil once one of them took the mail,
// else an *otp.SendError: the refusal of the recipient, the failure after which nothing
// is known, the last other one (temporary, if one of the providers may take the mail later),
// or [ErrAllResting].
func (f *Failover) Send(ctx context.Context, m otp.Message) error {
	var last error = &otp.SendError{Temporary: true, Stage: "failover", Err: ErrAllResting}
	maybe, later := false, false
	for _, p := range f.providers {
		if err := ctx.Err(); err != nil {
			last = &otp.SendError{Temporary: true, MaybeSent: maybe, Stage: "failover", Err: err}
			break
		}
		asked, err := f.ask(ctx, p, m)
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
	later = later && refused(e) && !e.RefusedRecipient()
	if later || maybe && !e.MaybeSent {
		// An earlier provider may take it later, or may have sent it, whatever the last one said.
		return &otp.SendError{Temporary: later || e.Temporary, MaybeSent: maybe, Stage: e.Stage, Err: e.Err}
	}
	return last
}

// ask asks one provider, if it is not resting. Its errors do not tell which: the
// provider may have a breaker of its own.
func (f *Failover) ask(ctx context.Context, p provider, m otp.Message) (asked bool, err error) {
	began := time.Now()
	_, err = p.breaker.Execute(func() (struct{}, error) {
		asked = true
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if f.opts.Attempt > 0 {
			attempt, cancel = context.WithTimeout(ctx, f.opts.Attempt)
		}
		defer cancel()
		err := heard(p.Sender.Send(attempt, m))
		if err != nil && ctx.Err() == context.Canceled && !refused(err) {
			err = &givenUp{err}
		}
		return struct{}{}, err
	})
	var ended *givenUp
	if errors.As(err, &ended) {
		err = ended.error
	}
	report := Attempt{Message: m.ID, Provider: p.Name, Resting: !asked, Took: time.Since(began), Err: masked(err, m)}
	if asked {
		report.Outcome = outcomeOf(err)
	}
	f.opts.OnAttempt(ctx, report)
	return asked, err
}

// outcomeOf says what one provider's answer means for the mail.
func outcomeOf(err error) otp.Outcome {
	if err == nil {
		return otp.OutcomeSent
	}
	switch e := asSendError(err); {
	case e.MaybeSent:
		return otp.OutcomeUnknown
	case e.RefusedRecipient():
		return otp.OutcomeRefused
	default:
		return otp.OutcomeFailed
	}
}

// givenUp is an error that the breaker does not count.
type givenUp struct{ error }

func (givenUp) Is(target error) bool { return target == errGivenUp }
func (g givenUp) Unwrap() error      { return g.error }

// String names the providers.
func (f *Failover) String() string {
	names := make([]string, len(f.providers))
	for i, p := range f.providers {
		names[i] = p.Name + " " + p.breaker.State().String()
	}
	return fmt.Sprintf("Failover%q", names)
}

// Format prints what String returns, whatever the verb.
func (f *Failover) Format(s fmt.State, _ rune) { io.WriteString(s, f.String()) }

// LogValue logs what String returns.
func (f *Failover) LogValue() slog.Value { return slog.StringValue(f.String()) }
