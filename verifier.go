package otp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
	"github.com/go-mailotp/otp/otpevent"
)

// Verifier sends codes and checks them. It is safe for concurrent use. Several
// verifiers, also in several processes, may share a [Store] if they have the
// same secrets and namespace.
//
// A Send costs a load and a swap of the store, and the same again if a client
// is named. A Check costs one swap in the process that sent the code, which
// remembers up to 2 MiB of sealed values, and a load and a swap elsewhere. A
// rejected call costs a load.
//
// Every method returns when its context ends, except that recording a failed
// mail may take up to five seconds more. A Send whose context ends may still
// have sent the mail. A Check whose context ends has verified nothing, but the
// guess may have been counted.
type Verifier struct {
	core    *core
	purpose string
	options PurposeOptions
}

// NewVerifier returns a verifier for the purpose "login"; see [Verifier.For]
// for others. Store and sender are required. A nil opts means every default,
// but a store other than *[MemoryStore] needs Options.Secrets. Invalid options
// are an error.
func NewVerifier(store Store, sender Sender, opts *Options) (*Verifier, error) {
	c, err := newCore(store, sender, opts)
	if err != nil {
		return nil, err
	}
	return (&Verifier{core: c}).For("login"), nil
}

// For returns the same verifier for another purpose, which says what a correct
// code may be used for, such as "change-email:user-17" or
// "pay:inv-42:99.00EUR". A code is accepted only by a verifier of exactly the
// purpose it was sent for; for other verifiers the challenge does not exist
// ([ErrUnknown]). The part before the first colon is the purpose's kind, which
// selects the options in Options.Purposes and the words of the mail. A purpose
// has 1 to 128 bytes of plain text and does not begin with a colon; with any
// other, every method returns an error. For is cheap.
func (v *Verifier) For(purpose string) *Verifier {
	o, ok := v.core.purposes[kindOf(purpose)]
	if !ok {
		o = v.core.standard
	}
	return &Verifier{core: v.core, purpose: purpose, options: o}
}

// Purpose returns what the verifier's codes may be used for: "login", or what
// was given to For.
func (v *Verifier) Purpose() string { return v.purpose }

// Send opens a challenge and mails its code.
//
// It returns [ErrAddress], a *[LimitError], a *[SendError], or an error that
// comes from the store, from Options.Admit or from an invalid request. With a
// SendError it also returns a challenge:
//
//   - a usable one if the mail may have been sent;
//   - a decoy, which looks real but can never be passed, after a permanent
//     refusal. Show it as if the mail had been sent, so that nobody learns
//     which mailboxes exist;
//   - otherwise the zero Challenge.
func (v *Verifier) Send(ctx context.Context, r Request) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "send")
	defer func() { end(err) }()
	to, c, err := v.checkRequest(r)
	if err != nil {
		return Challenge{}, err
	}
	key := v.core.keys.AddressKey(to.throttle)
	if r.Proven || r.Device != "" && v.core.keys.CheckDevice(r.Device, key, to.deliver, v.core.clock()) {
		c.Lane = ledger.Known
	}
	v.observe(ctx, otpevent.Asked, key, &c)
	return v.openChallenge(ctx, key, to, c, nil)
}

// Resend mails the code of a challenge again: the same code if it is valid for
// at least another minute, so that a first mail that arrives late works too. If
// the code has expired, is exhausted or is escalated, Resend opens a new
// challenge for the same address, purpose, locale and vars, with a new ID. It
// works until an hour after the deadline; after that, and for a challenge that
// was passed, it returns [ErrUnknown].
//
// It returns what Send returns. If mailing the same code fails, the challenge
// is unchanged and is returned with the error.
func (v *Verifier) Resend(ctx context.Context, id string) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "resend")
	defer func() { end(err) }()
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	var (
		to   Address
		re   ledger.Resent
		view Challenge
	)
	err = v.update(ctx, key, isUnknown, func(l *ledger.Ledger, now ledger.Ms) (action, error) {
		var err error
		if to, err = v.findChallenge(l, now, key, nonce); err != nil {
			return keep, err
		}
		re = l.Resend(now, v.core.rules, nonce, v.purpose)
		if re.Wait > 0 {
			return keep, &LimitError{RetryAfter: re.Wait}
		}
		view = v.publicView(id, l, &re.Challenge)
		if re.Renew {
			return keep, nil
		}
		return write, nil
	})
	c := re.Challenge
	if c.To != "" {
		asked := c
		if re.Renew {
			asked.Nonce = [16]byte{} // a start: the new challenge does not exist yet
		}
		v.observe(ctx, otpevent.Asked, key, &asked)
	}
	if err != nil {
		v.observeErrorMasked(ctx, key, &c, err, view.Masked)
		return Challenge{}, err
	}
	if re.Renew {
		return v.openChallenge(ctx, key, to, c, &nonce)
	}
	return v.deliver(ctx, delivery{key: key, to: to, challenge: &c, view: view, reserved: re.Reserved})
}

// Check answers a guess. A nil error means that the code was correct and had
// not been used before, and that Challenge.To is proven. Any error means that
// nothing is proven.
//
// Check returns, in this order of precedence, [ErrUnknown] for an ID that was
// never issued, [ErrMalformed] for input that is not a code at all,
// [ErrUnknown], [ErrExpired], [ErrExhausted], [ErrEscalated], [ErrMalformed]
// for the other kind of code (digits instead of letters, or the reverse), and
// [ErrCode]. Only ErrCode is counted as a guess.
//
// ErrExpired, ErrExhausted, ErrEscalated, ErrCode and the second ErrMalformed
// are accompanied by the current Challenge. The first ErrMalformed is decided
// without asking the store: call [Verifier.Status] for the Challenge.
func (v *Verifier) Check(ctx context.Context, id, code string) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "check")
	defer func() { end(err) }()
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	guess := ledger.Guess{Short: normalize(v.options.Generator, code), Strong: normalize(v.core.strong, code)}
	if guess == (ledger.Guess{}) {
		v.observeError(ctx, key, &ledger.Challenge{Nonce: nonce}, ErrMalformed)
		return Challenge{}, ErrMalformed
	}
	var (
		to      Address
		c       ledger.Challenge
		verdict ledger.Verdict
		view    Challenge
		at      ledger.Ms
	)
	err = v.update(ctx, key, isUnknown, func(l *ledger.Ledger, now ledger.Ms) (action, error) {
		var err error
		if to, err = v.findChallenge(l, now, key, nonce); err != nil {
			return keep, err
		}
		at = now
		verdict, c = l.Check(now, v.core.rules, nonce, v.purpose, guess)
		view = v.publicView(id, l, &c)
		if verdict == ledger.Wrong || verdict == ledger.Right {
			return write, verdictError(verdict)
		}
		return keep, verdictError(verdict)
	})
	if err != nil {
		v.observeErrorMasked(ctx, key, &c, err, view.Masked)
		if !isVerdict(err) {
			return Challenge{}, err
		}
		return view, err
	}
	if verdict != ledger.Right { // cannot happen; even then nothing is verified
		return Challenge{}, errors.New("otp: internal error: check ended without a verdict")
	}
	view.To, view.Vars = to, c.Vars
	view.Device = v.core.keys.NewDevice(key, to.deliver, time.UnixMilli(at))
	v.observeMore(ctx, otpevent.Verified, key, &c, Event{Masked: view.Masked})
	return view, nil
}

// Status reports the state of a challenge without side effects: use it when the
// page reloads. A nil error means that a guess can be made. Status returns
// [ErrUnknown], or [ErrExpired], [ErrExhausted] or [ErrEscalated] together with
// the Challenge.
func (v *Verifier) Status(ctx context.Context, id string) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "status")
	defer func() { end(err) }()
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	l, now, err := v.load(ctx, key)
	if err != nil {
		v.observeError(ctx, key, &ledger.Challenge{}, err)
		return Challenge{}, err
	}
	l.Repair(now)
	verdict, c := l.Look(now, v.core.rules, nonce, v.purpose)
	switch verdict {
	case ledger.Live:
		return v.publicView(id, l, &c), nil
	case ledger.Expired, ledger.Exhausted, ledger.Escalated:
		return v.publicView(id, l, &c), verdictError(verdict)
	}
	err = verdictError(verdict)
	v.observeError(ctx, key, &ledger.Challenge{}, err)
	return Challenge{}, err
}

// Forget erases everything stored about an address, in all its spellings and
// for all purposes: live challenges end, and budgets start again. It also
// erases the count of wrong guesses, so call it when an account is deleted and
// do not offer it to users. Device tokens remain valid. It returns
// [ErrAddress], or an error of the store, after which the data may or may not
// have been erased.
func (v *Verifier) Forget(ctx context.Context, address string) (err error) {
	ctx, end := v.core.begin(ctx, "forget")
	defer func() { end(err) }()
	to, err := v.parse(address)
	if err != nil {
		return err
	}
	key := v.core.keys.AddressKey(to.throttle)
	v.core.cache.take(key)
	exists := false
	_, err = v.core.transact(ctx, key, nil, new(ledger.Ledger),
		func(raw []byte, _ ledger.Ms) error { // erased even if it cannot be read
			exists = raw != nil
			return nil
		},
		func(ledger.Ms) (action, error) {
			if exists {
				return remove, nil
			}
			return keep, nil
		})
	if err != nil {
		v.observeError(ctx, key, &ledger.Challenge{}, err)
		return err
	}
	v.observe(ctx, otpevent.Forgotten, key, &ledger.Challenge{To: to.deliver})
	return nil
}

// String names the purpose; it shows no secret.
func (v *Verifier) String() string { return "Verifier{Purpose: " + kindOf(v.purpose) + "}" }

// Format prints what String returns, whatever the verb.
func (v *Verifier) Format(f fmt.State, _ rune) { io.WriteString(f, v.String()) }

// LogValue logs what String returns.
func (v *Verifier) LogValue() slog.Value { return slog.StringValue(v.String()) }

// begin calls Options.Span. The returned function ends the span.
func (c *core) begin(ctx context.Context, operation string) (context.Context, func(error)) {
	if c.span == nil {
		return ctx, func(error) {}
	}
	return c.span(ctx, operation)
}

// locate splits an ID into its parts without asking the store.
func (v *Verifier) locate(ctx context.Context, id string) (key seal.Key, nonce [16]byte, err error) {
	if err := checkPurpose(v.purpose); err != nil {
		return key, nonce, err
	}
	key, nonce, ok := v.core.keys.ParseID(id)
	if !ok {
		v.observeError(ctx, key, &ledger.Challenge{}, ErrUnknown)
		return key, nonce, ErrUnknown
	}
	return key, nonce, nil
}

// findChallenge finds a challenge and parses its address, before anything is
// decided that would have to be stored.
func (v *Verifier) findChallenge(l *ledger.Ledger, now ledger.Ms, key seal.Key, nonce [16]byte) (Address, error) {
	verdict, c := l.Look(now, v.core.rules, nonce, v.purpose)
	if verdict == ledger.Unknown || verdict == ledger.ClockBack {
		return Address{}, verdictError(verdict)
	}
	to, err := v.core.parse(c.To)
	if err != nil || to.deliver != c.To || !v.core.ownParse && v.core.keys.AddressKey(to.throttle) != key {
		return Address{}, errors.New("otp: Options.ParseAddress: no longer returns the address that was mailed")
	}
	return to, nil
}

// normalize returns the code that the generator finds in the input, or "" if it
// cannot be one of its codes.
func normalize(g Generator, input string) string {
	if len(input) > maxCode { // OWASP ASVS 2.2.1
		return ""
	}
	if code, ok := g.Normalize(input); ok {
		return code
	}
	return ""
}

// publicView is what the visitor may see of a challenge.
func (v *Verifier) publicView(id string, l *ledger.Ledger, c *ledger.Challenge) Challenge {
	return Challenge{
		ID:          id,
		Masked:      Address{deliver: c.To}.Masked(),
		Purpose:     c.Purpose,
		Reference:   c.Reference,
		Strong:      c.Strong,
		Letters:     c.Strong && !isDigits(v.core.strong) || !c.Strong && !isDigits(v.options.Generator),
		SentAt:      time.UnixMilli(c.SentAt),
		ExpiresAt:   time.UnixMilli(c.Deadline),
		ResendAt:    time.UnixMilli(l.ResendAt(v.core.rules, c)),
		GuessesLeft: c.Left(),
	}
}

var errClock = errors.New("otp: Options.Now: the clock is behind the one that sent the code")

// verdictError is the error for a verdict, nil for Right and Live.
func verdictError(verdict ledger.Verdict) error {
	switch verdict {
	case ledger.Right, ledger.Live:
		return nil
	case ledger.ClockBack:
		return errClock
	case ledger.Expired:
		return ErrExpired
	case ledger.Exhausted:
		return ErrExhausted
	case ledger.Escalated:
		return ErrEscalated
	case ledger.Malformed:
		return ErrMalformed
	case ledger.Wrong:
		return ErrCode
	}
	return ErrUnknown
}

// isVerdict reports whether the challenge is returned with the error. It
// compares values: an error of a store that wraps one of ours is not a verdict.
func isVerdict(err error) bool {
	//nolint:errorlint // by value, as said above
	switch err {
	case ErrCode, ErrMalformed, ErrExpired, ErrExhausted, ErrEscalated:
		return true
	}
	return false
}

// KnownDevice returns the first of the device tokens that was issued for this
// address and is not too old, or "" if there is none. It asks no store, so it
// does not know of [Verifier.RevokeDevices]: pass the token as Request.Device,
// and Send decides.
func (v *Verifier) KnownDevice(to string, tokens ...string) (token string) {
	address, err := v.parse(to)
	if err != nil {
		return ""
	}
	key := v.core.keys.AddressKey(address.throttle)
	for _, token := range tokens {
		if v.core.keys.CheckDevice(token, key, address.deliver, v.core.clock()) {
			return token
		}
	}
	return ""
}

// RevokeDevices takes back all device tokens of an address, and ends the
// challenges that known devices have open.
func (v *Verifier) RevokeDevices(ctx context.Context, address string) (err error) {
	return errors.New("otp: not yet")
}

// AddressHash returns the hash that stands for an address in events, so that a
// program can find the events of one person.
func (v *Verifier) AddressHash(address string) (Hash, error) {
	to, err := v.parse(address)
	if err != nil {
		return Hash{}, err
	}
	return Hash(v.core.keys.AddressKey(to.throttle)), nil
}
