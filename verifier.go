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
)

// Verifier runs the flow: Send mails a code, Check accepts it once. It is
// safe for concurrent use; several verifiers, also in several processes, may
// share a [Store] if they share secrets and namespace.
//
// A Send costs a load and a swap of the store, and the same again where a client
// is named. A Check costs a swap in the process that sent the code, which remembers
// up to 2 MiB of sealed values, and a load and a swap elsewhere. A refusal costs a load.
//
// Every method gives up when its context ends; only the note of what became of
// a failed mail may take five seconds more. A Send whose context ends may have
// mailed all the same; a Check whose context ends has verified nothing,
// though the guess may be counted.
type Verifier struct {
	core    *core
	purpose string
	options PurposeOptions
}

// NewVerifier returns a verifier for the purpose "login"; see [Verifier.For].
// Store and sender are required, opts may be nil for every default. It refuses
// senseless options, and with a store other than *[MemoryStore] it needs
// Options.Secrets.
func NewVerifier(store Store, sender Sender, opts *Options) (*Verifier, error) {
	c, err := newCore(store, sender, opts)
	if err != nil {
		return nil, err
	}
	return (&Verifier{core: c}).For("login"), nil
}

// For returns the same verifier for another purpose: what a right code is good
// for, such as "change-email:user-17" or "pay:inv-42:99.00EUR". A code is
// accepted only by a verifier of the whole purpose it was sent for; for others
// there is no such challenge ([ErrUnknown]). The part
// before the first colon is its kind, which chooses the options in
// Options.Purposes and the words of the mail. At most 128 bytes of plain text,
// not empty; with another, every method returns an error. For is cheap.
func (v *Verifier) For(purpose string) *Verifier {
	o, ok := v.core.purposes[kindOf(purpose)]
	if !ok {
		o = v.core.standard
	}
	return &Verifier{core: v.core, purpose: purpose, options: o}
}

// Purpose returns what the verifier's codes are good for: "login", or what was
// given to For.
func (v *Verifier) Purpose() string { return v.purpose }

// Send opens a challenge and mails its code.
//
// It returns [ErrAddress], a *[LimitError], a *[SendError], or the failure of
// something else: the store, Options.Admit, a request out of bounds. With a SendError
// it returns a usable Challenge where the mail may have gone out, a decoy after
// a permanent refusal (show it as if all was well, so as not to tell who has a
// mailbox), else the zero Challenge.
func (v *Verifier) Send(ctx context.Context, r Request) (_ Challenge, err error) {
	if v.core.span != nil {
		var end func(error)
		ctx, end = v.core.span(ctx, "send")
		defer func() { end(err) }()
	}
	to, c, err := v.request(r)
	if err != nil {
		return Challenge{}, err
	}
	key := v.core.keys.AddressKey(to.throttle)
	if r.Proven || r.Device != "" && v.core.keys.CheckDevice(r.Device, key, to.deliver, v.core.clock()) {
		c.Lane = ledger.Known
	}
	v.observe(ctx, EventAsked, key, &c, Event{})
	return v.open(ctx, key, to, c, nil)
}

// Resend mails the code of a challenge again: the same one while it is good
// for another minute, so that a first mail that arrives late works too. Where
// the code has expired, is exhausted or escalated, it opens a new challenge for
// the same address, purpose, locale and vars, with a new ID. It works until an
// hour after the deadline; then, and for a challenge that was passed, it
// returns [ErrUnknown].
//
// It returns what Send returns. After a failed attempt to mail the same code
// the challenge stands as it was and comes back with the error.
func (v *Verifier) Resend(ctx context.Context, id string) (_ Challenge, err error) {
	if v.core.span != nil {
		var end func(error)
		ctx, end = v.core.span(ctx, "resend")
		defer func() { end(err) }()
	}
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	var (
		to   Address
		re   ledger.Resent
		view Challenge
	)
	err = v.update(ctx, key, existing, func(l *ledger.Ledger, now ledger.Ms) (bool, error) {
		var err error
		if to, err = v.look(l, now, key, nonce); err != nil {
			return false, err
		}
		re = l.Resend(now, v.core.rules, nonce, v.purpose)
		if re.Wait > 0 {
			return false, &LimitError{RetryAfter: re.Wait}
		}
		view = v.view(id, l, &re.Challenge)
		return !re.Renew, nil
	})
	c := re.Challenge
	if c.To != "" {
		asked := c
		if re.Renew {
			asked.Nonce = [16]byte{} // a start: the new challenge is not there yet
		}
		v.observe(ctx, EventAsked, key, &asked, Event{})
	}
	if err != nil {
		v.observeError(ctx, key, &c, err, view.Masked)
		return Challenge{}, err
	}
	if re.Renew {
		return v.open(ctx, key, to, c, &nonce)
	}
	return v.deliver(ctx, key, to, &c, view, re.Reserved, false)
}

// Check answers a guess. nil means that the code was right, now and for the
// first time, and that Challenge.To is proven; any error means that nothing is.
//
// It returns, in this order of precedence, [ErrUnknown] for an ID that was
// never given out, [ErrMalformed] for input that is no code, [ErrUnknown],
// [ErrExpired], [ErrExhausted], [ErrEscalated], [ErrMalformed] for the other
// kind of code, and [ErrCode]. Only ErrCode is counted as a guess. The Challenge
// as it stands comes with all of them but ErrUnknown and the first ErrMalformed,
// which is decided without the store; ask [Verifier.Status] then.
func (v *Verifier) Check(ctx context.Context, id, code string) (_ Challenge, err error) {
	if v.core.span != nil {
		var end func(error)
		ctx, end = v.core.span(ctx, "check")
		defer func() { end(err) }()
	}
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	guess := ledger.Guess{Short: read(v.options.Generator, code), Strong: read(v.core.strong, code)}
	if guess == (ledger.Guess{}) {
		v.observeError(ctx, key, &ledger.Challenge{Nonce: nonce}, ErrMalformed, "")
		return Challenge{}, ErrMalformed
	}
	var (
		to      Address
		c       ledger.Challenge
		verdict ledger.Verdict
		view    Challenge
		at      ledger.Ms
	)
	err = v.update(ctx, key, existing, func(l *ledger.Ledger, now ledger.Ms) (bool, error) {
		var err error
		if to, err = v.look(l, now, key, nonce); err != nil {
			return false, err
		}
		at = now
		verdict, c = l.Check(now, v.core.rules, nonce, v.purpose, guess)
		view = v.view(id, l, &c)
		return verdict == ledger.Wrong || verdict == ledger.Right, verdictError(verdict)
	})
	if err != nil {
		v.observeError(ctx, key, &c, err, view.Masked)
		if !isVerdict(err) {
			return Challenge{}, err
		}
		return view, err
	}
	if verdict != ledger.Right { // no way here; not verified all the same
		return Challenge{}, errors.New("otp: no verdict")
	}
	view.To, view.Vars = to, c.Vars
	view.Device = v.core.keys.NewDevice(key, to.deliver, time.UnixMilli(at))
	v.observe(ctx, EventVerified, key, &c, Event{Masked: view.Masked})
	return view, nil
}

// Status says how a challenge stands, without counting or changing anything:
// what a page needs after a reload. nil means that a guess can be made. It
// returns [ErrUnknown], or with the Challenge [ErrExpired], [ErrExhausted] or
// [ErrEscalated].
func (v *Verifier) Status(ctx context.Context, id string) (_ Challenge, err error) {
	if v.core.span != nil {
		var end func(error)
		ctx, end = v.core.span(ctx, "status")
		defer func() { end(err) }()
	}
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	l, now, err := v.load(ctx, key)
	if err != nil {
		v.observeFailure(ctx, key, err)
		return Challenge{}, err
	}
	l.Repair(now)
	verdict, c := l.Look(now, v.core.rules, nonce, v.purpose)
	switch verdict {
	case ledger.Live:
		return v.view(id, l, &c), nil
	case ledger.Expired, ledger.Exhausted, ledger.Escalated:
		return v.view(id, l, &c), verdictError(verdict)
	}
	err = verdictError(verdict)
	v.observeFailure(ctx, key, err)
	return Challenge{}, err
}

// Forget erases all that is remembered about an address, in all its spellings
// and for all purposes: live challenges end, and budgets are free again. For
// the erasure of an account; not something to offer on request, since it gives
// guesses back. Device tokens survive. It returns [ErrAddress], or an error of
// the store, after which the erasure may have happened or not.
func (v *Verifier) Forget(ctx context.Context, address string) (err error) {
	if v.core.span != nil {
		var end func(error)
		ctx, end = v.core.span(ctx, "forget")
		defer func() { end(err) }()
	}
	to, err := v.parse(address)
	if err != nil {
		return err
	}
	key := v.core.keys.AddressKey(to.throttle)
	v.core.recent.take(key)
	for range maxTries {
		old, err := v.core.load(ctx, key.String())
		if err != nil {
			v.observeFailure(ctx, key, err)
			return err
		}
		done := old == nil
		if !done {
			if done, err = v.core.store.CompareAndSwap(ctx, key.String(), old, nil, 0); err != nil {
				err = fmt.Errorf("otp: delete: %w", err)
				v.observeFailure(ctx, key, err)
				return err
			}
		}
		if done {
			v.observe(ctx, EventForgotten, key, &ledger.Challenge{To: to.deliver}, Event{})
			return nil
		}
	}
	v.observeFailure(ctx, key, errRaces)
	return errRaces
}

// String names the purpose; it shows no secret.
func (v *Verifier) String() string { return "Verifier{Purpose: " + kindOf(v.purpose) + "}" }

// Format prints what String returns, whatever the verb.
func (v *Verifier) Format(f fmt.State, _ rune) { io.WriteString(f, v.String()) }

// LogValue logs what String returns.
func (v *Verifier) LogValue() slog.Value { return slog.StringValue(v.String()) }

// locate takes an ID apart without asking the store.
func (v *Verifier) locate(ctx context.Context, id string) (key seal.Key, nonce [16]byte, err error) {
	if err := checkPurpose(v.purpose); err != nil {
		return key, nonce, err
	}
	key, nonce, ok := v.core.keys.ParseID(id)
	if !ok {
		v.observeFailure(ctx, key, ErrUnknown)
		return key, nonce, ErrUnknown
	}
	return key, nonce, nil
}

// look finds a challenge and parses its address, before anything is decided that
// would have to be kept.
func (v *Verifier) look(l *ledger.Ledger, now ledger.Ms, key seal.Key, nonce [16]byte) (Address, error) {
	verdict, c := l.Look(now, v.core.rules, nonce, v.purpose)
	if verdict == ledger.Unknown || verdict == ledger.ClockBack {
		return Address{}, verdictError(verdict)
	}
	to, err := v.core.parse(c.To)
	if err != nil || to.deliver != c.To || !v.core.ownParse && v.core.keys.AddressKey(to.throttle) != key {
		return Address{}, errors.New("otp: Options.ParseAddress no longer gives the address that was mailed")
	}
	return to, nil
}

// read is what the generator makes of the input, empty for none of its codes.
func read(g Generator, input string) string {
	if len(input) > maxCode { // OWASP ASVS 2.2.1
		return ""
	}
	if code, ok := g.Normalize(input); ok {
		return code
	}
	return ""
}

// view is what the asker may see of a challenge.
func (v *Verifier) view(id string, l *ledger.Ledger, c *ledger.Challenge) Challenge {
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
