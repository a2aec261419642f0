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
// Every method returns when its context ends, with two exceptions. Once a Send
// or Resend has reserved a mail, it is sent even if the visitor hangs up: within
// the deadline of the context, or 30 seconds if there is none. And recording a
// failed mail may take up to five seconds more. A Check whose context ends has
// verified nothing, but the guess may have been counted.
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

// Send opens a challenge and mails its code. If the visitor holds one already
// that can be mailed again (Request.Held), Send mails that one again.
//
// A nil error means that the challenge stands: show the page for the code. The
// mail was accepted or may have been sent, or the challenge is a decoy, because
// Options.Admit said no or the mail server refused the recipient; a page must
// not show the difference, so that nobody learns which mailboxes exist.
//
// Otherwise Send returns [ErrAddress], a *[LimitError], a *[SendError], or an
// error that comes from the store, from Options.Admit or from an invalid
// request. A challenge that comes with a LimitError or a SendError is one of
// Request.Held, and it still stands, but no mail was sent now.
//
// A sender that can hang keeps the caller waiting, even after the visitor has
// gone: put package relay's Queue before it.
func (v *Verifier) Send(ctx context.Context, r Request) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "send")
	defer func() { end(err) }()
	s := sending{v: v}
	if err := s.request(r); err != nil {
		return Challenge{}, err
	}
	return s.run(ctx)
}

// Resend mails the code of a challenge again: the same code if at least half of
// its life is left, so that a first mail that arrives late works too. Later, or
// if the code has expired or is exhausted, Resend opens a new challenge for the
// same address, purpose, locale and vars, with a new ID; one that is still valid
// stays so. It works until an hour after the deadline, or until the room of a
// challenge that has ended is needed for others of the address; after that, and
// for a challenge that was passed, it returns [ErrUnknown].
//
// It returns what Send returns. If the same code could not be mailed again, the
// challenge comes with the error and is unchanged.
//
// A challenge of a request with NoRenewal is never replaced: after its
// ResendUntil, Resend returns [ErrExpired], or [ErrExhausted], with the
// challenge. Its code may still be good until ExpiresAt.
func (v *Verifier) Resend(ctx context.Context, id string) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "resend")
	defer func() { end(err) }()
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	s := sending{v: v, key: key, resent: &challengeID{id, nonce}}
	return s.run(ctx)
}

// Check answers a guess. A nil error means that the code was correct and had
// not been used before, and that Challenge.To is proven. Any error means that
// nothing is proven.
//
// Check returns, in this order of precedence, [ErrUnknown], [ErrExpired],
// [ErrExhausted], [ErrMalformed] and [ErrCode]. Only ErrCode is counted as a
// guess. All but ErrUnknown are accompanied by the current Challenge; only an
// ErrMalformed for input of more than 64 bytes, which is decided without asking
// the store, is not.
func (v *Verifier) Check(ctx context.Context, id, code string) (_ Challenge, err error) {
	ctx, end := v.core.begin(ctx, "check")
	defer func() { end(err) }()
	key, nonce, err := v.locate(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	if len(code) > maxCode { // OWASP ASVS 2.2.1
		v.observeError(ctx, key, &ledger.Challenge{Nonce: nonce}, ErrMalformed)
		return Challenge{}, ErrMalformed
	}
	var (
		to      Address
		c       ledger.Challenge
		verdict ledger.Verdict
		view    Challenge
		issued  ledger.Ms
	)
	err = v.update(ctx, key, isUnknown, func(l *ledger.Ledger, now ledger.Ms) (action, error) {
		var err error
		if c, err = v.findChallenge(l, now, nonce); err == nil && !v.core.ownParse {
			to, err = v.mailedTo(key, &c) // may refuse it, so before the code is used up
		}
		if err != nil {
			return keep, err
		}
		issued = l.DeviceIssued(now)
		verdict, c = l.Check(now, v.core.rules, nonce, v.purpose, v.readCode(&c, code))
		if verdict == ledger.Right && v.core.ownParse {
			if to, err = v.mailedTo(key, &c); err != nil {
				return keep, err
			}
		}
		view = v.publicView(id, &c, verdict)
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
	view.Device = v.core.keys.NewDevice(key, to.deliver, deviceEnd(issued))
	v.observeMore(ctx, otpevent.Verified, key, &c, Event{Masked: view.Masked})
	return view, nil
}

// Status reports the state of a challenge without side effects: use it when the
// page reloads. A nil error means that a guess can be made. Status returns
// [ErrUnknown], or [ErrExpired] or [ErrExhausted] together with the Challenge.
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
	err = verdictError(verdict)
	if verdict == ledger.Live || isVerdict(err) {
		return v.publicView(id, &c, verdict), err
	}
	v.observeError(ctx, key, &ledger.Challenge{}, err)
	return Challenge{}, err
}

// KnownDevice returns the first of the device tokens that was issued for this
// address within the last 180 days, or "" if there is none. It asks no store, so
// it does not know of [Verifier.RevokeDevices]: pass the token as
// Request.Device, and Send decides. Use it to find the token of this address
// among several, or to exempt known devices from your own limits on strangers.
func (v *Verifier) KnownDevice(to string, tokens ...string) (token string) {
	address, err := v.parse(to)
	if err != nil {
		return ""
	}
	now, err := v.core.now()
	if err != nil {
		return ""
	}
	key := v.core.keys.AddressKey(address.throttle)
	var nothingRevoked ledger.Ledger
	for _, token := range tokens {
		if issued := v.deviceIssued(token, key, address); issued != 0 && nothingRevoked.DeviceKnown(now, issued) {
			return token
		}
	}
	return ""
}

// RevokeDevices makes all device tokens of an address invalid that were issued
// until now, in all its spellings, and ends the challenges that were opened with
// them or with Request.Proven. From then on these devices are strangers, until
// they pass a code again. Call it when somebody signs out everywhere, loses a
// device or changes a password. It returns [ErrAddress], or an error of the
// store, after which the tokens may or may not have been revoked.
func (v *Verifier) RevokeDevices(ctx context.Context, address string) (err error) {
	ctx, end := v.core.begin(ctx, "revoke")
	defer func() { end(err) }()
	to, err := v.parse(address)
	if err != nil {
		return err
	}
	key := v.core.keys.AddressKey(to.throttle)
	err = v.update(ctx, key, isNew, func(l *ledger.Ledger, now ledger.Ms) (action, error) {
		l.RevokeDevices(now)
		return write, nil
	})
	if err != nil {
		v.observeError(ctx, key, &ledger.Challenge{}, err)
		return err
	}
	v.observe(ctx, otpevent.Revoked, key, &ledger.Challenge{To: to.deliver})
	return nil
}

// AddressHash returns the Event.AddressHash of an address, so that a program can
// find one person's events. It returns [ErrAddress] for an address that cannot
// be mailed.
func (v *Verifier) AddressHash(address string) (Hash, error) {
	to, err := v.parse(address)
	if err != nil {
		return Hash{}, err
	}
	return Hash(v.core.keys.EventHash(v.core.keys.AddressKey(to.throttle))), nil
}

// Forget erases everything stored about an address, in all its spellings and
// for all purposes: live challenges end, and budgets start again. It also
// erases the count of wrong guesses, so call it when an account is deleted and
// do not offer it to users. Device tokens remain valid, unless they were
// revoked: the time of a [Verifier.RevokeDevices] is all that is kept, for 180
// days. Forget returns [ErrAddress], or an error of the store, after which the
// data may or may not have been erased.
func (v *Verifier) Forget(ctx context.Context, address string) (err error) {
	ctx, end := v.core.begin(ctx, "forget")
	defer func() { end(err) }()
	to, err := v.parse(address)
	if err != nil {
		return err
	}
	key := v.core.keys.AddressKey(to.throttle)
	v.core.cache.take(key)
	l := new(ledger.Ledger)
	exists := false
	_, err = v.core.transact(ctx, key, nil, l,
		func(raw []byte, now ledger.Ms) error {
			exists = raw != nil
			plain, lost, err := v.core.decode(nil, key, raw)
			if err == nil && !lost && exists {
				err = l.Decode(plain)
			}
			if lost || err != nil { // erased even if it cannot be read
				*l = *ledger.Lost(now)
			}
			return nil
		},
		func(ledger.Ms) (action, error) {
			switch {
			case !exists:
				l.Reset()
				return keep, nil
			case l.Forget():
				return write, nil
			default:
				return remove, nil
			}
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

// findChallenge returns a copy of a challenge.
func (v *Verifier) findChallenge(l *ledger.Ledger, now ledger.Ms, nonce [16]byte) (ledger.Challenge, error) {
	verdict, c := l.Look(now, v.core.rules, nonce, v.purpose)
	if verdict == ledger.Unknown || verdict == ledger.ClockBack {
		return ledger.Challenge{}, verdictError(verdict)
	}
	return c, nil
}

// mailedTo parses the address of a challenge.
func (v *Verifier) mailedTo(key seal.Key, c *ledger.Challenge) (Address, error) {
	to, err := v.core.parse(c.To)
	if err != nil || to.String() != c.To || !v.core.ownParse && v.core.keys.AddressKey(to.throttle) != key {
		return Address{}, errors.New("otp: Options.ParseAddress: no longer returns the address that was mailed")
	}
	return to, nil
}

// readCode returns the code of the challenge's kind that the input stands for,
// or "" if there is none. A code of digits or letters is read as what it is,
// whatever generators this verifier has now.
func (v *Verifier) readCode(c *ledger.Challenge, input string) string {
	var code string
	var ok bool
	switch c.Shape {
	case ledger.Digits:
		code, ok = digitCodes(len(c.Code)).Normalize(input)
	case ledger.Letters:
		code, ok = letterCodes(len(c.Code)).Normalize(input)
	default:
		code, ok = v.generator(c.Strong).Normalize(input)
	}
	if !ok {
		return ""
	}
	return code
}

// generator returns the generator of short or strong codes.
func (v *Verifier) generator(strong bool) Generator {
	if strong {
		return v.core.strong
	}
	return v.options.Generator
}

// deviceIssued returns when a device token of this address was issued, in Unix
// seconds, or 0 if it is not one.
func (v *Verifier) deviceIssued(token string, key seal.Key, to Address) int64 {
	if token == "" {
		return 0
	}
	end, ok := v.core.keys.DeviceEnd(token, key, to.deliver)
	if !ok {
		return 0
	}
	return end - int64(ledger.DeviceLife/time.Second)
}

// deviceEnd returns the end, in Unix seconds, of a device token that is issued at
// the time at.
func deviceEnd(at ledger.Ms) int64 { return time.UnixMilli(at).Add(ledger.DeviceLife).Unix() }

// publicView is what the visitor may see of a challenge. It shows only what
// follows from this challenge, never what others did.
func (v *Verifier) publicView(id string, c *ledger.Challenge, verdict ledger.Verdict) Challenge {
	view := Challenge{
		ID:          id,
		Masked:      Address{deliver: c.To}.Masked(),
		Purpose:     c.Purpose,
		Reference:   c.Reference,
		Strong:      c.Strong,
		KnownDevice: c.Lane == ledger.Known,
		Letters:     c.Shape != ledger.Digits,
		SentAt:      time.UnixMilli(c.SentAt),
		ExpiresAt:   time.UnixMilli(c.Deadline),
		ResendAt:    time.UnixMilli(c.ResendAt(v.core.rules)),
		ResendUntil: time.UnixMilli(c.ResendUntil()),
		GuessesLeft: c.Left(),
	}
	if verdict == ledger.Exhausted { // also by this verifier's own limits
		view.GuessesLeft = 0
	}
	return view
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
	case ErrCode, ErrMalformed, ErrExpired, ErrExhausted:
		return true
	}
	return false
}
