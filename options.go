package otp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// The defaults of [Options] that are plain numbers.
const (
	// DefaultTTL is how long a code lives, and the longest for a purpose that
	// is not named in Options.Purposes (NIST SP 800-63B 3.1.3.2, OWASP ASVS 6.5.5).
	DefaultTTL = 10 * time.Minute

	// MaxTTL is the longest life for a purpose named in Options.Purposes. Name
	// only kinds that prove an address there, no login and no recovery, for which
	// 10 minutes are the most (NIST SP 800-63A 3.8, OWASP ASVS 6.5.5).
	MaxTTL = 24 * time.Hour

	// DefaultGuesses is how many guesses a challenge takes.
	DefaultGuesses = 5
)

// Options configure a [Verifier]. The zero value means every default. Options
// are copied by [NewVerifier], which refuses negative and senseless values. fmt,
// slog and encoding/json show them without secrets, but package fmt cannot where
// they are in an unexported field.
type Options struct {
	// Secrets seal the ledgers: the first seals, all open. Each has 32 bytes or
	// more from a cryptographic source, not one byte repeated, and no two are
	// equal. To rotate, give a
	// new one to every verifier as the last, then make it the first, and keep
	// the old one 31 days. May be left out only with a *[MemoryStore], for
	// which a random one is made.
	Secrets [][]byte

	// IndexSecret names ledgers and signs challenge IDs and device tokens. 32
	// bytes or more; it does not rotate: under another one every count,
	// challenge and device token is lost, without an event. Default Secrets[0];
	// required with more than one secret (the first rotation sets it to the old
	// first, and there it stays).
	IndexSecret []byte

	// Namespace separates tenants or stages that share a store; any string.
	// Verifiers with different namespaces know nothing of each other.
	Namespace string

	// Purposes holds what differs for purposes of a kind, by kind: the part of
	// a purpose before the first colon.
	Purposes map[string]PurposeOptions

	// Generator makes the short codes. Default Digits(6). At least 19.9 bits:
	// 6 digits (OWASP ASVS 6.5.4). One that has no method Bits() float64 is taken
	// at its word, if its codes have 6 characters or more.
	Generator Generator

	// StrongGenerator makes the codes that are mailed when short ones have been
	// guessed at too often. Default Letters(14). At least 64 bits, so that
	// guesses at them need no count (NIST SP 800-63B 3.1.3.2). One that has no
	// method Bits() float64 is taken at its word.
	StrongGenerator Generator

	// TTL is how long a code lives. Default [DefaultTTL], which is the most
	// here; at least a second. See Purposes for more.
	TTL time.Duration

	// Guesses is how many guesses a challenge takes, 1 to 10. Default 5. It is
	// kept in the challenge: a change applies to new ones.
	Guesses int

	// Sends bounds the mails to an address (all its spellings and purposes) in
	// each lane. Default 1 in 60 s, 5 in an hour, 10 in 24 h. N is 1 to 100,
	// Per up to 24 h. At most 12 codes for an address live at once in a lane,
	// whatever N is.
	Sends []Limit

	// WrongGuesses bounds the wrong short codes for an address in each lane;
	// when it is spent only strong codes help. Default 10 in 24 h, 30 in 30
	// days. N is 1 to 100, Per up to 30 days. Success does not reset it.
	WrongGuesses []Limit

	// ClientStarts bounds the challenges that one client may open for
	// addresses as a stranger; the known lane draws none. Default 10 a minute,
	// 60 an hour. N is 1 to 100, Per up to an hour.
	ClientStarts []Limit

	// Admit, where set, is asked before a challenge is opened. false gives a
	// decoy: a challenge that looks real, sends nothing and can never be
	// passed; use it for addresses without an account. It does not know the
	// purpose: where sign-up and sign-in admit different ones, make a Verifier for
	// each over the same store and secrets. An error stops the request. May be called
	// concurrently; must answer within ctx. Default: every address.
	Admit func(ctx context.Context, to Address) (bool, error)

	// ParseAddress turns what was typed into an [Address]. Default
	// [ParseEmail]. It must accept the String of each Address that it returns
	// and then return the same one. May be called concurrently.
	ParseAddress func(string) (Address, error)

	// Observer is told of everything that happens; see [MultiObserver] for several.
	// Default: nobody.
	Observer Observer

	// Span is called at the beginning of each call of a Verifier, for traces: the
	// operation is "send", "resend", "check", "status" or "forget". The context that
	// it returns goes to store, sender and Admit; the function, not nil, is called
	// at the end with the error that the call returns. May be called
	// concurrently. Default: nothing.
	Span func(ctx context.Context, operation string) (context.Context, func(err error))

	// Now is the clock. Default [time.Now]. Verifiers on one store must agree
	// to a minute. May be called concurrently.
	Now func() time.Time
}

// PurposeOptions are what differs for purposes of one kind.
type PurposeOptions struct {
	// TTL is how long a code lives. Default Options.TTL; up to [MaxTTL].
	TTL time.Duration

	// Generator makes the short codes. Default Options.Generator.
	Generator Generator
}

// Limit allows N events in any span of length Per.
type Limit struct {
	// N is how many, 1 to 100.
	N int
	// Per is the length of the span, at least a millisecond.
	Per time.Duration
}

// String describes the options without their secrets.
func (o Options) String() string {
	return fmt.Sprintf("Options{Secrets: %d, Namespace: %q, Purposes: %d, TTL: %v, Guesses: %d}",
		len(o.Secrets), o.Namespace, len(o.Purposes), o.TTL, o.Guesses)
}

// Format prints what String returns, whatever the verb.
func (o Options) Format(f fmt.State, _ rune) { io.WriteString(f, o.String()) }

// LogValue logs what String returns.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText gives what String returns, so that encoding/json shows no secret.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// core is a checked configuration, shared by the verifiers of all purposes.
type core struct {
	store    Store
	sender   Sender
	keys     *seal.Keyring
	rules    ledger.Rules
	starts   []ledger.Limit
	guesses  int
	standard PurposeOptions // of kinds not in purposes
	purposes map[string]PurposeOptions
	strong   Generator
	admit    func(context.Context, Address) (bool, error)
	parse    func(string) (Address, error)
	ownParse bool     // parse is ParseEmail, which takes what it gives
	recent   *recent  // nil over a MemoryStore, which is as fast
	observer Observer // nil for nobody
	span     func(context.Context, string) (context.Context, func(error))
	clock    func() time.Time
}

// newCore fills in the defaults and refuses what makes no sense. It is the
// only place that does either.
func newCore(store Store, sender Sender, opts *Options) (*core, error) {
	if isNil(store) {
		return nil, errors.New("otp: no store")
	}
	if isNil(sender) {
		return nil, errors.New("otp: no sender")
	}
	o := Options{}
	if opts != nil {
		o = *opts
	}
	c := &core{
		store: store, sender: sender, admit: o.Admit, observer: o.Observer, span: o.Span,
		parse: o.ParseAddress, clock: o.Now, guesses: o.Guesses, strong: o.StrongGenerator,
		purposes: make(map[string]PurposeOptions, len(o.Purposes)),
		standard: PurposeOptions{TTL: o.TTL, Generator: o.Generator},
	}
	if c.parse == nil {
		c.parse, c.ownParse = ParseEmail, true
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if isNil(c.observer) {
		c.observer = nil
	}
	if c.guesses == 0 {
		c.guesses = DefaultGuesses
	}
	if c.guesses < 1 || c.guesses > 10 {
		return nil, fmt.Errorf("otp: Options.Guesses is %d, want 1 to 10", o.Guesses)
	}
	if c.standard.TTL == 0 {
		c.standard.TTL = DefaultTTL
	}
	if err := checkTTL(c.standard.TTL, DefaultTTL); err != nil {
		return nil, fmt.Errorf("otp: Options.TTL %w; name the kind in Purposes for more", err)
	}
	if c.standard.Generator == nil {
		c.standard.Generator = Digits(6)
	}
	if c.strong == nil {
		c.strong = Letters(14)
	}
	if err := checkGenerator(c.standard.Generator, minBits); err != nil {
		return nil, fmt.Errorf("otp: Options.Generator %w", err)
	}
	if err := checkGenerator(c.strong, minStrongBits); err != nil {
		return nil, fmt.Errorf("otp: Options.StrongGenerator %w", err)
	}
	for kind, p := range o.Purposes {
		if err := checkPurpose(kind); err != nil || strings.Contains(kind, ":") {
			return nil, fmt.Errorf("otp: Options.Purposes: %q is no kind of purpose", kind)
		}
		if p.TTL == 0 {
			p.TTL = c.standard.TTL
		}
		if err := checkTTL(p.TTL, MaxTTL); err != nil {
			return nil, fmt.Errorf("otp: Options.Purposes[%q].TTL %w", kind, err)
		}
		if p.Generator == nil {
			p.Generator = c.standard.Generator
		}
		if err := checkGenerator(p.Generator, minBits); err != nil {
			return nil, fmt.Errorf("otp: Options.Purposes[%q].Generator %w", kind, err)
		}
		c.purposes[kind] = p
	}
	var err error
	if c.rules.Sends, err = limits("Sends", o.Sends, ledger.KeepSends,
		Limit{1, time.Minute}, Limit{5, time.Hour}, Limit{10, 24 * time.Hour}); err != nil {
		return nil, err
	}
	if c.rules.Wrong, err = limits("WrongGuesses", o.WrongGuesses, ledger.KeepWrong,
		Limit{10, 24 * time.Hour}, Limit{30, 30 * 24 * time.Hour}); err != nil {
		return nil, err
	}
	if c.starts, err = limits("ClientStarts", o.ClientStarts, ledger.KeepStarts,
		Limit{10, time.Minute}, Limit{60, time.Hour}); err != nil {
		return nil, err
	}
	if c.keys, err = newKeyring(store, &o); err != nil {
		return nil, err
	}
	if _, ok := store.(*MemoryStore); !ok {
		c.recent = newRecent()
	}
	return c, nil
}

func newKeyring(store Store, o *Options) (*seal.Keyring, error) {
	secrets, index := o.Secrets, o.IndexSecret
	if len(secrets) == 0 {
		if _, ok := store.(*MemoryStore); !ok {
			return nil, errors.New("otp: Options.Secrets is empty: a store that outlives the process needs a secret that does too")
		}
		random := make([]byte, seal.MinSecret)
		rand.Read(random)
		secrets = [][]byte{random}
	}
	if len(index) == 0 {
		if len(secrets) > 1 {
			return nil, errors.New("otp: Options.IndexSecret is required with more than one secret; set it to the secret that was first when the first ledger was written")
		}
		index = secrets[0]
	}
	keys, err := seal.New(secrets, index, o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("otp: Options: %w", err)
	}
	return keys, nil
}

// limits checks a list and converts it; longest is how long its events are kept.
func limits(field string, list []Limit, longest time.Duration, standard ...Limit) ([]ledger.Limit, error) {
	if len(list) == 0 {
		list = standard
	}
	out := make([]ledger.Limit, len(list))
	for i, l := range list {
		if l.N < 1 || l.N > ledger.MaxEvents || l.Per < time.Millisecond || l.Per > longest {
			return nil, fmt.Errorf("otp: Options.%s: %d in %v, want 1 to %d in up to %v", field, l.N, l.Per, ledger.MaxEvents, longest)
		}
		out[i] = ledger.Limit(l)
	}
	return out, nil
}

func checkTTL(ttl, longest time.Duration) error {
	if ttl < time.Second || ttl > longest {
		return fmt.Errorf("is %v, want 1s to %v", ttl, longest)
	}
	return nil
}

const (
	minBits       = 19.9 // 6 decimal digits
	minStrongBits = 64

	maxCode    = 64  // bytes, also of what is typed
	minCode    = 4   // bytes; of a generator that does not tell its bits:
	minUntold  = 6   // 19.9 bits if they are digits
	maxPurpose = 128 // bytes
	maxLocale  = 35  // bytes
	maxVars    = 512 // bytes, names and values together
	maxClient  = 128 // bytes
)

// checkGenerator asks for a code, to find out now rather than at night.
func checkGenerator(g Generator, bits float64) error {
	if isNil(g) {
		return errors.New("is a nil pointer")
	}
	b, told := g.(sized)
	if told && b.Bits() < bits {
		return fmt.Errorf("has %.1f bits, want %.1f", b.Bits(), bits)
	}
	code, err := g.Generate()
	if err != nil {
		return fmt.Errorf("does not work: %w", err)
	}
	if !told && len(code) < minUntold {
		return fmt.Errorf("made a code of %d characters, want %d", len(code), minUntold)
	}
	return checkCode(g, code)
}

// checkCode holds a generator to its contract.
func checkCode(g Generator, code string) error {
	if len(code) < minCode || len(code) > maxCode {
		return fmt.Errorf("made a code of %d bytes, want %d to %d", len(code), minCode, maxCode)
	}
	for i := range len(code) {
		if code[i] <= ' ' || code[i] > '~' {
			return errors.New("made a code that is not printable ASCII")
		}
	}
	if back, ok := g.Normalize(code); !ok || back != code {
		return errors.New("does not accept its own code")
	}
	return nil
}

func checkPurpose(p string) error {
	if p == "" || p[0] == ':' || len(p) > maxPurpose || !plainText(p) {
		return fmt.Errorf("otp: the purpose must have 1 to %d bytes of plain text and not begin with a colon", maxPurpose)
	}
	return nil
}

// plainText reports whether s is UTF-8 without control characters or line
// breaks, so that it is safe in a header, a log and a page's text.
func plainText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
	})
}

// isNil reports a nil interface or a nil pointer, function or map in one.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Chan:
		return r.IsNil()
	}
	return false
}
