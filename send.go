package otp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/safetext"
	"github.com/go-mailotp/otp/internal/seal"
	"github.com/go-mailotp/otp/otpevent"
)

// checkRequest validates a request and begins its challenge.
func (v *Verifier) checkRequest(r Request) (to Address, c ledger.Challenge, err error) {
	if err := checkPurpose(v.purpose); err != nil {
		return to, c, err
	}
	if to, err = v.parse(r.To); err != nil {
		return to, c, err
	}
	if !v.core.ownParse {
		if back, err := v.core.parse(to.deliver); err != nil || back != to || to == (Address{}) {
			return to, c, errors.New("otp: Options.ParseAddress: must accept the String of an Address that it returned, and return the same Address")
		}
	}
	size := 0
	for name, value := range r.Vars {
		size += len(name) + len(value)
		if !plainText(name) || !plainText(value) {
			return to, c, errors.New("otp: Request.Vars: contains control characters or invalid UTF-8")
		}
	}
	if size > maxVars {
		return to, c, fmt.Errorf("otp: Request.Vars: %d bytes, want at most %d", size, maxVars)
	}
	if len(r.Client) > maxClient {
		return to, c, fmt.Errorf("otp: Request.Client: %d bytes, want at most %d", len(r.Client), maxClient)
	}
	c = ledger.Challenge{To: to.deliver, Purpose: v.purpose, Locale: shortLocale(r.Locale), Vars: r.Vars}
	if r.Client != "" {
		c.Client = v.core.keys.ClientKey(clientName(r.Client))
	}
	return to, c, nil
}

// parse calls Options.ParseAddress. Its errors become ErrAddress and do not
// repeat the input.
func (v *Verifier) parse(typed string) (Address, error) {
	to, err := v.core.parse(typed)
	if err == nil {
		return to, nil
	}
	text := safetext.Printable(safetext.Replace(err.Error(), typed, "[address]"))
	if errors.Is(err, ErrAddress) {
		return Address{}, &safetext.Error{Text: text, Err: err}
	}
	return Address{}, fmt.Errorf("%w: %w", ErrAddress, &safetext.Error{Text: text, Err: err})
}

// opening is a challenge that is about to be opened.
type opening struct {
	v         *Verifier
	challenge ledger.Challenge
	replaces  *[16]byte // the challenge that must still exist, nil for none
	id        string
	codes     [2]string // short and strong, generated when first needed
	view      Challenge
	reserved  ledger.Ms // when the send was reserved
}

// openChallenge opens a challenge and mails its code. If replaces is set, the
// new challenge takes the place of an old one, which must still exist.
func (v *Verifier) openChallenge(ctx context.Context, key seal.Key, to Address, c ledger.Challenge, replaces *[16]byte) (Challenge, error) {
	c.Nonce = [16]byte{} // that of the challenge that it replaces
	if c.Lane == ledger.Stranger && c.Client != [16]byte{} {
		if err := v.chargeClient(ctx, c.Client); err != nil {
			v.observeError(ctx, key, &c, err)
			return Challenge{}, err
		}
	}
	c.Decoy = false
	if v.core.admit != nil {
		admitted, err := v.core.admit(ctx, to)
		if err != nil {
			err = fmt.Errorf("otp: Options.Admit: %w", masked(err, Message{To: to}))
			v.observeError(ctx, key, &c, err)
			return Challenge{}, err
		}
		c.Decoy = !admitted
	}
	o := &opening{v: v, challenge: c, replaces: replaces}
	o.id, o.challenge.Nonce = v.core.keys.NewID(key)
	o.challenge.Reference, o.challenge.Guesses, o.challenge.Wrong = newReference(), v.core.guesses, 0
	if err := v.update(ctx, key, isNew, o.decide); err != nil {
		o.challenge.Nonce = [16]byte{} // this challenge never existed
		v.observeErrorMasked(ctx, key, &o.challenge, err, o.view.Masked)
		return Challenge{}, err
	}
	return v.deliver(ctx, delivery{key: key, to: to, challenge: &o.challenge, view: o.view, reserved: o.reserved, opened: true})
}

// decide adds the challenge to the ledger. It runs again after a lost race.
func (o *opening) decide(l *ledger.Ledger, now ledger.Ms) (action, error) {
	v, c := o.v, &o.challenge
	if o.replaces != nil {
		verdict, _ := l.Look(now, v.core.rules, *o.replaces, v.purpose)
		if verdict == ledger.Unknown || verdict == ledger.ClockBack {
			return keep, verdictError(verdict)
		}
	}
	c.SentAt, c.Deadline = now, now+ledger.Of(v.options.TTL)
	c.Strong = l.StrongNext(now, v.core.rules, c.Lane)
	var err error
	if c.Code, err = o.code(c.Strong); err != nil {
		return keep, fmt.Errorf("otp: generator: %w", err)
	}
	var wait time.Duration
	if o.reserved, wait = l.Open(now, v.core.rules, c); wait > 0 {
		return keep, &LimitError{RetryAfter: wait}
	}
	o.view = v.publicView(o.id, l, c)
	return write, nil
}

// code returns the short or the strong code of the opening.
func (o *opening) code(strong bool) (string, error) {
	generator, code := o.v.options.Generator, &o.codes[0]
	if strong {
		generator, code = o.v.core.strong, &o.codes[1]
	}
	if *code != "" {
		return *code, nil
	}
	fresh, err := generator.Generate()
	if err != nil {
		return "", err
	}
	if err := checkCode(generator, fresh); err != nil {
		return "", err
	}
	*code = fresh
	return fresh, nil
}

// chargeClient counts one start of a client.
func (v *Verifier) chargeClient(ctx context.Context, client seal.Key) error {
	record := new(ledger.Client)
	_, err := v.core.transact(ctx, client, nil, record,
		func(raw []byte, _ ledger.Ms) error {
			*record = ledger.Client{}
			plain, lost, err := v.core.decode(client, raw)
			if err != nil {
				return err
			}
			if lost {
				v.observe(ctx, otpevent.UnknownKey, seal.Key{}, &ledger.Challenge{Client: client})
			}
			if raw == nil || lost {
				return nil
			}
			return record.Decode(plain)
		},
		func(now ledger.Ms) (action, error) {
			if wait, ok := record.Start(now, v.core.starts); !ok {
				return keep, &LimitError{RetryAfter: wait}
			}
			return write, nil
		})
	return err
}

// delivery is a reserved send.
type delivery struct {
	key       seal.Key
	to        Address
	challenge *ledger.Challenge
	view      Challenge
	reserved  ledger.Ms
	opened    bool // by this call: not a resend of the same code
}

// deliver mails a reserved send and records what its failure means.
func (v *Verifier) deliver(ctx context.Context, d delivery) (Challenge, error) {
	c := d.challenge
	if c.Decoy {
		v.observeMore(ctx, otpevent.Decoy, d.key, c, Event{Resend: !d.opened})
		return d.view, nil
	}
	m := Message{
		ID: rand.Text(), To: d.to, Code: c.Code, Purpose: c.Purpose, Locale: c.Locale, Reference: c.Reference,
		Vars: c.Vars, SentAt: time.UnixMilli(d.reserved), ExpiresAt: d.view.ExpiresAt,
	}
	err := ctx.Err()
	if err != nil {
		err = &SendError{Temporary: true, Err: err}
	} else {
		err = v.core.sender.Send(ctx, m)
	}
	if err == nil {
		v.observeMore(ctx, otpevent.Sent, d.key, c, Event{Message: m.ID, Resend: !d.opened})
		return d.view, nil
	}
	failed := asSendError(err, m)
	v.observeMore(ctx, otpevent.SendFailed, d.key, c, Event{Message: m.ID, Resend: !d.opened, Err: failed})
	switch {
	case failed.MaybeSent:
		return d.view, failed
	case failed.Temporary:
		v.recordFailure(ctx, d.key, func(l *ledger.Ledger, now ledger.Ms) {
			l.Refund(now, d.reserved, c, d.opened)
			d.view.ResendAt = time.UnixMilli(l.ResendAt(v.core.rules, c))
		})
		if d.opened {
			return Challenge{}, failed
		}
	case d.opened:
		v.recordFailure(ctx, d.key, func(l *ledger.Ledger, _ ledger.Ms) { l.MakeDecoy(c) })
	}
	return d.view, failed
}

// recordFailure records what a failed send changes, even if the request has
// ended. If the store fails here, the send stays spent and nobody can use the
// code.
func (v *Verifier) recordFailure(ctx context.Context, key seal.Key, change func(*ledger.Ledger, ledger.Ms)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := v.update(ctx, key, isUnknown, func(l *ledger.Ledger, now ledger.Ms) (action, error) {
		change(l, now)
		return write, nil
	})
	if err != nil {
		v.observeError(ctx, key, &ledger.Challenge{}, err)
	}
}

// clientName returns one name for all addresses of a host, or of an IPv6
// network of 64 bits, which is what a provider assigns to one customer.
func clientName(client string) string {
	addr, err := netip.ParseAddr(strings.Trim(client, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(client)
		if err != nil {
			return client
		}
		addr = withPort.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, _ := addr.Prefix(64)
	return network.String()
}

// shortLocale reads a tag or an Accept-Language header (RFC 9110 12.5.4) and
// keeps the best tags that fit, best first, separated by commas.
func shortLocale(header string) string {
	if header == "" {
		return ""
	}
	type choice struct {
		tag string
		q   float32
	}
	if len(header) > 512 {
		header = header[:max(0, strings.LastIndexByte(header[:512], ','))]
	}
	var choices []choice
	for part := range strings.SplitSeq(header, ",") {
		tags, q, err := language.ParseAcceptLanguage(part)
		if err != nil || len(tags) != 1 || q[0] <= 0 {
			continue
		}
		c := choice{tags[0].String(), q[0]}
		if c.tag != "und" && c.tag != "mul" { // "*" reads as mul
			choices = append(choices, c)
		}
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(b.q, a.q) })
	short := ""
	for i, c := range choices {
		if slices.ContainsFunc(choices[:i], func(better choice) bool { return better.tag == c.tag }) {
			continue
		}
		if short == "" && len(c.tag) <= maxLocale {
			short = c.tag
		} else if len(short)+1+len(c.tag) <= maxLocale {
			short += "," + c.tag
		}
	}
	return short
}

// newReference makes a word of four consonants, which neither looks like a code
// nor reads like a word.
func newReference() string {
	const letters = "BCDFGHJKMNPQRSTVWXYZ" // 20 of them
	word := make([]byte, 0, 4)
	var b [8]byte
	for {
		rand.Read(b[:])
		for _, r := range b {
			if r >= 240 { // keep it uniform: 240 = 12 * 20
				continue
			}
			if word = append(word, letters[r%20]); len(word) == cap(word) {
				return string(word)
			}
		}
	}
}
