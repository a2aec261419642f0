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

// request validates a request and prepares its sending. (A function that returned
// a new sending would move it to the heap.)
func (s *sending) request(r Request) error {
	v := s.v
	if err := checkPurpose(v.purpose); err != nil {
		return err
	}
	to, err := v.parse(r.To)
	if err != nil {
		return err
	}
	if !v.core.ownParse {
		if back, err := v.core.parse(to.deliver); err != nil || back != to || to == (Address{}) {
			return errors.New("otp: Options.ParseAddress: must accept the String of an Address that it returned, and return the same Address")
		}
	}
	size := 0
	for name, value := range r.Vars {
		size += len(name) + len(value)
		if !plainText(name) || !plainText(value) {
			return errors.New("otp: Request.Vars: contains control characters or invalid UTF-8")
		}
	}
	if size > maxVars {
		return fmt.Errorf("otp: Request.Vars: %d bytes, want at most %d", size, maxVars)
	}
	if len(r.Client) > maxClient {
		return fmt.Errorf("otp: Request.Client: %d bytes, want at most %d", len(r.Client), maxClient)
	}
	s.key, s.to, s.proven = v.core.keys.AddressKey(to.throttle), to, r.Proven
	s.want = ledger.Challenge{To: to.deliver, Purpose: v.purpose, Locale: shortLocale(r.Locale), Vars: r.Vars, NoRenewal: r.NoRenewal}
	if r.Client != "" {
		s.want.Client = v.core.keys.ClientKey(clientName(r.Client))
	}
	if !r.Proven {
		s.want.Device = v.deviceIssued(r.Device, s.key, to)
	}
	for _, id := range r.Held[:min(len(r.Held), maxHeld)] {
		if key, nonce, ok := v.core.keys.ParseID(id); ok && key == s.key {
			s.held = append(s.held, challengeID{id, nonce})
		}
	}
	return nil
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

// sending is one Send or Resend on its way to the mail. Its decide is called
// again after a lost race, so what must happen once is kept here.
type sending struct {
	v      *Verifier
	key    seal.Key
	to     Address
	want   ledger.Challenge // what a Send asks for
	proven bool
	held   []challengeID
	resent *challengeID // the challenge to resend, nil for a Send

	c      ledger.Challenge // what is mailed
	view   Challenge        // what the visitor sees of it
	opened bool             // by this call: not a resend of the same code

	id        string // of a new challenge
	nonce     [16]byte
	reference string
	codes     [2]string // short and strong, generated when first needed

	asked    bool      // the event was emitted
	loaded   bool      // a Resend has seen what the store holds, and not only what is remembered
	charged  bool      // the start of a stranger was charged
	answered bool      // Admit was asked
	admitted bool      // what it said
	refused  error     // what refused the start of a new challenge
	counted  bool      // among the starts of all strangers
	start    ledger.Ms // the time of that start
	stored   bool      // its client was stored, or may have been
	swapping bool      // the challenge was given to the store, which has not said no
}

// challengeID is the ID of a challenge and the random part of it.
type challengeID struct {
	id    string
	nonce [16]byte
}

// maxHeld is how many IDs of Request.Held are read.
const maxHeld = 8

// run reserves a send and makes it.
func (s *sending) run(ctx context.Context) (Challenge, error) {
	v := s.v
	absent := missing(s.resent == nil)
	err := v.update(ctx, s.key, absent, func(l *ledger.Ledger, now ledger.Ms) (action, error) { return s.decide(ctx, l, now) })
	if err == nil {
		return v.deliver(ctx, s)
	}
	if s.counted && !s.stored && (!s.swapping || errors.Is(err, errStoreFull)) { // what fills the store stays counted
		v.core.strangers.GiveBack(s.start)
	}
	if s.resent == nil {
		s.observeAsked(ctx, &s.want)
	}
	_, limited := err.(*LimitError) //nolint:errorlint // of decide itself
	stands := s.view.ID != "" && (limited || isVerdict(err))
	if !stands {
		s.c.Nonce, s.view = [16]byte{}, Challenge{} // this challenge never existed
	}
	v.observeErrorMasked(ctx, s.key, &s.c, err, s.view.Masked)
	return s.view, err
}

// observeAsked emits the event for the request, once. A new challenge does not
// exist yet.
func (s *sending) observeAsked(ctx context.Context, c *ledger.Challenge) {
	if !s.asked {
		s.asked = true
		s.v.observe(ctx, otpevent.Asked, s.key, c)
	}
}

// decide chooses what is mailed, a challenge that exists or a new one, and
// reserves the send.
func (s *sending) decide(ctx context.Context, l *ledger.Ledger, now ledger.Ms) (action, error) {
	s.opened, s.swapping, s.view = false, false, Challenge{}
	if s.resent != nil {
		return s.decideResend(ctx, l, now)
	}
	s.c = s.want
	if s.proven || s.c.Device != 0 && l.DeviceKnown(now, s.c.Device) {
		s.c.Lane = ledger.Known
	} else {
		s.c.Device = 0
	}
	s.observeAsked(ctx, &s.c)
	if s.refused != nil {
		return keep, s.refused
	}
	if id, held, ok := s.heldChallenge(l, now); ok {
		if !s.ask(ctx) {
			return again, nil
		}
		if s.admitted == !held.TurnedAway {
			return s.mailAgain(l, now, id, held.Nonce, true)
		}
	}
	return s.open(ctx, l, now, nil)
}

// heldChallenge returns the challenge of Request.Held to go on with.
func (s *sending) heldChallenge(l *ledger.Ledger, now ledger.Ms) (id string, held ledger.Challenge, ok bool) {
	if len(s.held) == 0 {
		return "", held, false
	}
	var room [maxHeld][16]byte
	nonces := room[:0]
	for _, h := range s.held {
		nonces = append(nonces, h.nonce)
	}
	if held, ok = l.Held(now, s.v.core.rules, &s.c, nonces); !ok {
		return "", held, false
	}
	for _, h := range s.held {
		if h.nonce == held.Nonce {
			id = h.id
		}
	}
	return id, held, true
}

func (s *sending) decideResend(ctx context.Context, l *ledger.Ledger, now ledger.Ms) (action, error) {
	v := s.v
	old, err := v.findChallenge(l, now, s.resent.nonce)
	if err != nil {
		return keep, err
	}
	if s.to, err = v.mailedTo(s.key, &old); err != nil {
		return keep, err
	}
	if l.MailsAgain(now, v.core.rules, &old) {
		s.observeAsked(ctx, &old)
		return s.mailAgain(l, now, s.resent.id, old.Nonce, false)
	}
	if old.NoRenewal {
		verdict, _ := l.Look(now, v.core.rules, old.Nonce, v.purpose)
		s.c, s.view = old, v.publicView(s.resent.id, &old, verdict)
		return keep, cmp.Or(verdictError(verdict), ErrExpired)
	}
	s.c = ledger.Challenge{
		Lane: old.Lane, To: old.To, Purpose: old.Purpose, Locale: old.Locale, Vars: old.Vars, Client: old.Client, Device: old.Device,
	}
	if old.Lane == ledger.Known && old.Device != 0 && !l.DeviceKnown(now, old.Device) {
		s.c.Lane, s.c.Device = ledger.Stranger, 0 // the token itself would no longer be accepted
	}
	s.observeAsked(ctx, &s.c)
	if s.refused != nil {
		return keep, s.refused
	}
	return s.open(ctx, l, now, &old)
}

// mailAgain reserves a mail with the code of a challenge that exists.
func (s *sending) mailAgain(l *ledger.Ledger, now ledger.Ms, id string, nonce [16]byte, held bool) (action, error) {
	v, locale := s.v, s.c.Locale
	re := l.Resend(now, v.core.rules, nonce, v.purpose)
	s.c = re.Challenge
	s.view = v.publicView(id, &s.c, re.Verdict)
	if re.Wait > 0 {
		return keep, &LimitError{RetryAfter: re.Wait, Scope: scopeAddress}
	}
	if held {
		l.SetLocale(&s.c, locale)
	}
	return write, nil
}

// open adds a new challenge to the ledger. old is the one that it replaces, or
// nil. The first time it only tries whether the address has room; then the start
// is charged and Admit is asked, which takes time, and all is decided anew.
func (s *sending) open(ctx context.Context, l *ledger.Ledger, now ledger.Ms, old *ledger.Challenge) (action, error) {
	v, c := s.v, &s.c
	s.opened = true
	if s.id == "" {
		s.id, s.nonce = v.core.keys.NewID(s.key)
		s.reference = newReference()
	}
	c.Nonce, c.Reference, c.Wrong = s.nonce, s.reference, 0
	c.SentAt, c.Deadline = now, now+ledger.Of(v.options.TTL)
	c.Strong, c.Guesses = l.Reserve(now, v.core.rules, c.Lane, v.core.guesses, v.options.TTL)
	c.Shape = shapeOf(v.generator(c.Strong))
	c.TurnedAway = s.answered && !s.admitted
	c.Decoy = c.TurnedAway
	var err error
	if c.Code, err = s.code(c.Strong); err != nil {
		return keep, fmt.Errorf("otp: generator: %w", err)
	}
	if wait := l.Open(now, v.core.rules, c, old); wait > 0 {
		return keep, &LimitError{RetryAfter: wait, Scope: scopeAddress}
	}
	if s.resent != nil && !s.loaded {
		s.loaded = true
		return confirm, nil // a start that the address refuses must not be charged
	}
	if s.charge(ctx) {
		return again, nil
	}
	s.view, s.swapping = v.publicView(s.id, c, ledger.Live), true
	return write, nil
}

// code returns the short or the strong code of the new challenge.
func (s *sending) code(strong bool) (string, error) {
	generator, code := s.v.generator(strong), &s.codes[0]
	if strong {
		code = &s.codes[1]
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

// charge charges the start of a new challenge, once, and asks Admit. It reports
// whether that took time, so that the decision must be made anew; if something
// refused the start, it sets s.refused.
func (s *sending) charge(ctx context.Context) (tookTime bool) {
	if s.c.Lane == ledger.Stranger && !s.charged {
		s.charged = true
		if s.refused = s.countStranger(ctx); s.refused != nil {
			return true
		}
		if s.c.Client != [16]byte{} {
			tookTime = true
			s.refused = s.v.chargeClient(ctx, s.c.Client)
			_, limited := s.refused.(*LimitError) //nolint:errorlint // of chargeClient itself
			if s.stored = !limited && !errors.Is(s.refused, errStoreFull); s.refused != nil {
				return true
			}
		}
	}
	return !s.ask(ctx) || tookTime
}

// ask asks Admit, once. It reports whether the answer was known before; if Admit
// fails, it sets s.refused.
func (s *sending) ask(ctx context.Context) (known bool) {
	if s.answered {
		return true
	}
	s.answered, s.admitted = true, true
	if s.v.core.admit == nil {
		return true
	}
	var err error
	if s.admitted, err = s.v.core.admit(ctx, s.to); err != nil {
		s.refused = fmt.Errorf("otp: Options.Admit: %w", masked(err, Message{To: s.to}))
	}
	return false
}

// countStranger counts one start of all strangers.
func (s *sending) countStranger(ctx context.Context) error {
	c := s.v.core
	if c.strangers == nil {
		return nil
	}
	at := c.strangerTime()
	wait, ok, crowded := c.strangers.Take(at)
	if crowded {
		s.v.observe(ctx, otpevent.Crowded, seal.Key{}, &ledger.Challenge{})
	}
	if !ok {
		return &LimitError{RetryAfter: wait, Scope: scopeAll}
	}
	s.counted, s.start = true, at
	return nil
}

// The values of LimitError.Scope.
const (
	scopeAddress = "address"
	scopeClient  = "client"
	scopeAll     = "all"
)

// chargeClient counts one start of a client.
func (v *Verifier) chargeClient(ctx context.Context, client seal.Key) error {
	record := new(ledger.Client)
	_, err := v.core.transact(ctx, client, nil, record,
		func(raw []byte, _ ledger.Ms) error {
			*record = ledger.Client{}
			plain, lost, err := v.core.decode(nil, client, raw)
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
				return keep, &LimitError{RetryAfter: wait, Scope: scopeClient}
			}
			return write, nil
		})
	if err == errRaces { //nolint:errorlint // of transact itself: many starts at once, and each may be the last one allowed
		return &LimitError{RetryAfter: time.Second, Scope: scopeClient}
	}
	return err
}

// deliver mails a reserved send and records what its failure means.
func (v *Verifier) deliver(ctx context.Context, s *sending) (Challenge, error) {
	c := &s.c
	m := Message{
		ID: rand.Text(), To: s.to, Code: c.Code, Purpose: c.Purpose, Locale: c.Locale, Reference: c.Reference,
		Vars: c.Vars, Known: c.Lane == ledger.Known, SentAt: time.UnixMilli(c.MailedAt), ExpiresAt: s.view.ExpiresAt,
	}
	sendCtx, late := v.mailContext(ctx, c)
	defer sendCtx.end()
	var err error
	switch {
	case late: // it was surely not sent
		err = &SendError{Temporary: true, Err: context.DeadlineExceeded}
	case c.Decoy:
		v.observeMore(ctx, otpevent.Decoy, s.key, c, Event{Resend: !s.opened})
		return s.view, nil
	default:
		err = v.core.sender.Send(sendCtx, m)
	}
	if err == nil {
		v.observeMore(ctx, otpevent.Sent, s.key, c, Event{Message: m.ID, Resend: !s.opened})
		return s.view, nil
	}
	failed := asSendError(err, m)
	v.observeMore(ctx, otpevent.SendFailed, s.key, c, Event{Message: m.ID, Resend: !s.opened, Err: failed})
	switch {
	case failed.MaybeSent:
		return s.view, nil
	case failed.RefusedRecipient():
		if s.opened {
			v.recordFailure(ctx, s.key, func(l *ledger.Ledger, _ ledger.Ms) { l.MakeDecoy(c) })
		}
		return s.view, nil
	}
	v.recordFailure(ctx, s.key, func(l *ledger.Ledger, now ledger.Ms) { l.Refund(now, c, s.opened) })
	if s.opened {
		return Challenge{}, failed
	}
	return s.view, failed
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
// network of 56 bits, which is what a provider assigns to one customer (RIPE-690
// 4.2).
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
	network, _ := addr.Prefix(56)
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
