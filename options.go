package otp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// Options configure a [Verifier]. The zero value has every default.
// [NewVerifier] copies them and rejects negative or out-of-range values.
// Packages fmt, log/slog and encoding/json print them without secrets, but
// package fmt cannot do so for Options in an unexported field.
type Options struct {
	// Secrets encrypt what is stored: the first one encrypts, and all of them
	// decrypt. [SecretFromEnv] reads one. Each has at least 32 bytes from a
	// cryptographic source; one that is shorter, is one byte repeated, or is
	// equal to another is an error. To rotate, first give a new secret to every
	// verifier as the last one, then make it the first, and keep the old one for
	// 31 days; an address whose devices were revoked ([Verifier.RevokeDevices])
	// then gets a month of strong codes, which keeping it for 181 days avoids.
	// Drop a secret that leaked at once. Default: none, which is allowed only
	// with a *[MemoryStore] and gives a random secret.
	Secrets [][]byte

	// IndexSecret derives the names of stored entries and signs challenge IDs
	// and device tokens. It has at least 32 bytes and does not rotate: changing
	// it silently invalidates all counts, challenges and device tokens. It is
	// required with more than one secret: set it to the first secret before the
	// first rotation, and leave it there. Default: Secrets[0].
	IndexSecret []byte

	// Namespace separates tenants or environments that share a store. Verifiers
	// with different namespaces do not see each other's challenges and counts.
	// Default: empty.
	Namespace string

	// Purposes are the options that differ for some kinds of purpose. The key
	// is the kind: the part of a purpose before the first colon.
	Purposes map[string]PurposeOptions

	// Generator makes the short codes. Codes of less than 19.9 bits (6 digits,
	// OWASP ASVS 6.5.4) are an error. A Generator without a method Bits()
	// float64 is trusted if its codes have at least 6 characters. Default:
	// Digits(6).
	Generator Generator

	// StrongGenerator makes the strong codes, which are mailed when too many
	// guesses at short ones were made or are reserved. Codes of less than 64 bits
	// are an error, because guesses at strong codes are not counted for the
	// address (NIST SP 800-63B 3.1.3.2). A Generator without a method Bits()
	// float64 is trusted. Default: Letters(14), 68.7 bits.
	StrongGenerator Generator

	// TTL is how long a code is valid, 1 second to 10 minutes (NIST SP 800-63B
	// 3.1.3.2, OWASP ASVS 6.5.5). For a longer time, name the kind in Purposes.
	// Default: 10 minutes.
	TTL time.Duration

	// Guesses is how many guesses a challenge accepts, 1 to 10. A change
	// applies to new challenges. Default: 5.
	Guesses int

	// Sends limits the mails to an address, over all its spellings and
	// purposes, separately for strangers and for known devices (see
	// Request.Device). A mail counts a little longer if Per is more than a
	// minute: until the next multiple of Per/12 of Unix time, so that the time
	// when service begins again does not tell when somebody else asked. A mail
	// whose code was typed in correctly no longer counts in limits of up to a
	// minute. N is 1 to 100, and Per is at most 24 hours. In addition, strangers
	// and known devices can each have at most 12 valid codes for an address at
	// once, fewer if they carry large Vars. Default: 1 in 60 seconds, 5 in an
	// hour, 10 in 24 hours.
	Sends []Limit

	// WrongGuesses limits the wrong short codes for an address, separately for
	// strangers and for known devices. A short challenge reserves its guesses
	// when it is opened, so nobody else can use them up; when fewer than two are
	// free, strong codes are mailed. While verifiers on one store have different
	// limits, as during a rollout, the stricter ones may end live codes, once as
	// many wrong guesses were made as they allow. A code that lives more than an
	// hour leaves half of them to others. A correct code drops as many wrong
	// guesses as its own challenge has had, which were typos. N is 1 to 100, and
	// Per is at most 30 days. Default: 10 in 24 hours, 30 in 30 days.
	WrongGuesses []Limit

	// ClientStarts limits the challenges that one client may open as a
	// stranger; known devices are not counted, and neither are starts that
	// another limit refused. Starts are counted in steps of 5 seconds (5 minutes
	// if Per is more than a minute), so a start may count that much longer. N is
	// 1 to 10,000, and Per is at most an hour. A school or an office behind one
	// address needs more than the default. Default: 30 a minute, 300 an hour.
	ClientStarts []Limit

	// StrangerStarts limits the challenges that all strangers together may open
	// through this verifier and those that [Verifier.For] returns, for any
	// address; known devices are not counted. It slows down anyone who fills the
	// store, and protects the reputation of the sending domain. N is 1 to
	// 10,000,000, and Per is at most 30 days. Default: over a [MemoryStore], a
	// quarter of its entries in the time for which it keeps values (see
	// MemoryOptions.MaxEntries), for all verifiers on it together; over any other
	// store, no limit.
	StrangerStarts []Limit

	// Admit, if set, decides whether this address gets mail. If it returns
	// false, the visitor gets a decoy: a challenge that looks real, but sends
	// no mail and cannot be passed, so nothing reveals which addresses have an
	// account. Admit does not know the purpose: if sign-up and sign-in admit
	// different addresses, make a Verifier for each over the same store and
	// secrets. If it returns an error, the call fails and no mail is sent. Any
	// number of goroutines may call it at once, and it must return when ctx
	// ends. Default: nil, every address is admitted.
	Admit func(ctx context.Context, to Address) (bool, error)

	// ParseAddress turns what was typed into an [Address]; see [EmailParser] for
	// more than [ParseEmail] accepts. It must accept the String of each Address
	// that it returns, and then return the same Address. A test site that mails
	// to qa+1@example.com, qa+2@example.com and so on, which share a budget,
	// keeps them apart with a function that returns NewAddress(a.String(),
	// a.Key()); never do that in production. Any number of goroutines may call
	// it at once. Default: ParseEmail.
	ParseAddress func(string) (Address, error)

	// Observer receives every event; see [MultiObserver] for several. Default:
	// nil; then what an operator must see goes to slog.Default(), masked, at most
	// one line a minute for each kind, with the number of events that it stands
	// for: mails that failed, except to addresses that do not exist; failures of
	// the system, except in calls whose caller left; unknown secrets; clocks that
	// are behind; and a flood of strangers (the kinds SendFailed, Failed,
	// UnknownKey, ClockBack, Crowded and Evicted of package otpevent).
	Observer Observer

	// Span is called at the beginning of each call of a Verifier, for traces.
	// The operation is "send", "resend", "check", "status", "revoke" or "forget". The
	// returned context is passed to store, sender and Admit; the returned
	// function, which must not be nil, is called at the end with the error that
	// the call returns. Any number of goroutines may call both at once.
	// Default: nil, no spans.
	Span func(ctx context.Context, operation string) (context.Context, func(err error))

	// Now is the clock. The clocks of all verifiers on one store must agree to
	// within a minute. Any number of goroutines may call it at once. Default:
	// [time.Now].
	Now func() time.Time
}

// PurposeOptions are the options that may differ for purposes of one kind.
type PurposeOptions struct {
	// TTL is how long a code is valid, 1 second to 24 hours. Use more than 10
	// minutes only for kinds that prove an address, never for login or recovery
	// (NIST SP 800-63A 3.8, OWASP ASVS 6.5.5). Default: Options.TTL.
	TTL time.Duration

	// Generator makes the short codes. Default: Options.Generator.
	Generator Generator
}

// Limit allows N events in any span of length Per.
type Limit struct {
	// N is the number of events, at least 1.
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

// MarshalText returns what String returns, so that encoding/json shows no
// secret.
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
	ownParse bool         // parse is ParseEmail, which accepts what it returns
	cache    *cache       // nil over a MemoryStore, which is as fast
	memory   *MemoryStore // nil over any other store
	observer Observer
	quiet    bool // the observer is the default one, which ignores most events
	span     func(context.Context, string) (context.Context, func(error))
	clock    func() time.Time
	ownClock bool // clock is Options.Now
	// strangers counts the starts of all strangers; nil for no limit.
	strangers    *ledger.Ceiling
	strangerTime func() ledger.Ms // the clock that it counts by
}

// newCore fills in the defaults and validates the options. It is the only place
// that does either.
func newCore(store Store, sender Sender, opts *Options) (*core, error) {
	if isNil(store) {
		return nil, errors.New("otp: NewVerifier: store is nil; use NewMemoryStore for a single process")
	}
	if isNil(sender) {
		return nil, errors.New("otp: NewVerifier: sender is nil; use NewLogSender while developing")
	}
	o := Options{}
	if opts != nil {
		o = *opts
	}
	c := &core{
		store: store, sender: sender, admit: o.Admit, observer: o.Observer, span: o.Span,
		parse: o.ParseAddress, clock: o.Now, ownClock: o.Now != nil,
		guesses:  cmp.Or(o.Guesses, 5),
		strong:   cmp.Or(o.StrongGenerator, Letters(14)),
		purposes: make(map[string]PurposeOptions, len(o.Purposes)),
		standard: PurposeOptions{TTL: cmp.Or(o.TTL, longestTTL), Generator: cmp.Or(o.Generator, Digits(6))},
	}
	if c.parse == nil {
		c.parse, c.ownParse = ParseEmail, true
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	if isNil(c.observer) {
		c.observer, c.quiet = newAlarmObserver(), true
	}
	if c.guesses < 1 || c.guesses > 10 {
		return nil, fmt.Errorf("otp: Options.Guesses: %d, want 1 to 10", o.Guesses)
	}
	if err := checkTTL(c.standard.TTL, longestTTL); err != nil {
		return nil, fmt.Errorf("otp: Options.TTL: %w; name the kind in Options.Purposes for up to %v", err, longestNamedTTL)
	}
	if err := checkGenerator(c.standard.Generator, minBits); err != nil {
		return nil, fmt.Errorf("otp: Options.Generator: %w", err)
	}
	if err := checkGenerator(c.strong, minStrongBits); err != nil {
		return nil, fmt.Errorf("otp: Options.StrongGenerator: %w", err)
	}
	for kind, p := range o.Purposes {
		if err := checkPurpose(kind); err != nil || strings.Contains(kind, ":") {
			return nil, fmt.Errorf("otp: Options.Purposes: %q is not a kind of purpose: want 1 to %d bytes of plain text without a colon", kind, maxPurpose)
		}
		p.TTL = cmp.Or(p.TTL, c.standard.TTL)
		p.Generator = cmp.Or(p.Generator, c.standard.Generator)
		if err := checkTTL(p.TTL, longestNamedTTL); err != nil {
			return nil, fmt.Errorf("otp: Options.Purposes[%q].TTL: %w", kind, err)
		}
		if err := checkGenerator(p.Generator, minBits); err != nil {
			return nil, fmt.Errorf("otp: Options.Purposes[%q].Generator: %w", kind, err)
		}
		c.purposes[kind] = p
	}
	var err error
	if c.rules.Sends, err = limits("Sends", o.Sends, ledger.MaxEvents, ledger.LongestSends,
		Limit{1, time.Minute}, Limit{5, time.Hour}, Limit{10, 24 * time.Hour}); err != nil {
		return nil, err
	}
	if c.rules.Wrong, err = limits("WrongGuesses", o.WrongGuesses, ledger.MaxEvents, ledger.LongestWrong,
		Limit{10, 24 * time.Hour}, Limit{30, 30 * 24 * time.Hour}); err != nil {
		return nil, err
	}
	if c.starts, err = limits("ClientStarts", o.ClientStarts, maxStarts, ledger.LongestStarts,
		Limit{30, time.Minute}, Limit{300, time.Hour}); err != nil {
		return nil, err
	}
	if c.keys, err = newKeyring(store, &o); err != nil {
		return nil, err
	}
	strangers, err := limits("StrangerStarts", o.StrangerStarts, maxStrangerStarts, 30*24*time.Hour)
	if err != nil {
		return nil, err
	}
	if len(strangers) > 0 {
		c.strangers, c.strangerTime = ledger.NewCeiling(strangers), func() ledger.Ms { return c.clock().UnixMilli() }
	}
	if memory, ok := store.(*MemoryStore); ok {
		c.useMemory(memory)
	} else {
		c.cache = newCache()
	}
	return c, nil
}

// fewStrangers is a ceiling over strangers that an ordinary service may reach.
const fewStrangers = 1000

// useMemory makes the store keep what codes of the longest TTL need, and, unless
// Options.StrangerStarts says otherwise, leaves three quarters of it to known
// devices and to clients.
func (c *core) useMemory(s *MemoryStore) {
	longest := c.standard.TTL
	for _, p := range c.purposes {
		longest = max(longest, p.TTL)
	}
	s.keepAtLeast(longest)
	c.memory = s
	if c.strangers != nil {
		return
	}
	c.strangers, c.strangerTime = s.strangers, s.elapsed
	if n, per := s.strangerLimit(); n < fewStrangers {
		slog.Warn("otp: this MemoryStore lets strangers open few codes; raise MemoryOptions.MaxEntries for production",
			"codes", n, "in", per)
	}
}

func newKeyring(store Store, o *Options) (*seal.Keyring, error) {
	secrets, index := o.Secrets, o.IndexSecret
	if len(secrets) == 0 {
		if _, ok := store.(*MemoryStore); !ok {
			return nil, errors.New("otp: Options.Secrets: required with a store that outlives the process; generate 32 bytes once, with openssl rand -hex 32, and load them from your configuration")
		}
		random := make([]byte, seal.MinSecret)
		rand.Read(random)
		secrets = [][]byte{random}
	}
	if len(index) == 0 && len(secrets) > 1 {
		return nil, errors.New("otp: Options.IndexSecret: required with more than one secret; set it to the secret that was the first before any rotation")
	}
	return seal.New(secrets, index, o.Namespace)
}

// SecretFromEnv returns the secret in an environment variable, for
// Options.Secrets and Options.IndexSecret: at least 32 bytes in hex or in
// base64, in the standard or the URL alphabet, with or without padding. White
// space around it is ignored. Its errors name the variable, and never show its
// content.
func SecretFromEnv(name string) ([]byte, error) {
	text := strings.TrimSpace(os.Getenv(name))
	if text == "" {
		return nil, fmt.Errorf("otp: environment variable %s: not set; run openssl rand -hex 32 once, and set it to the result", name)
	}
	secret, err := decodeSecret(text)
	if err != nil { // its text would repeat a character of the secret
		return nil, fmt.Errorf("otp: environment variable %s: neither hex nor base64; openssl rand -hex 32 makes a secret", name)
	}
	if len(secret) < seal.MinSecret {
		return nil, fmt.Errorf("otp: environment variable %s: %d bytes, want at least %d; openssl rand -hex 32 makes a secret", name, len(secret), seal.MinSecret)
	}
	return secret, nil
}

// decodeSecret decodes hex or base64. Text of hexadecimal digits alone is hex,
// also if a digit is missing: it would pass as base64, and be another secret.
func decodeSecret(text string) ([]byte, error) {
	if strings.Trim(text, "0123456789abcdefABCDEF") == "" {
		return hex.DecodeString(text)
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// limits validates a list of limits and converts it; most is the largest N, and
// longest the longest Per.
func limits(field string, list []Limit, most int, longest time.Duration, standard ...Limit) ([]ledger.Limit, error) {
	if len(list) == 0 {
		list = standard
	}
	out := make([]ledger.Limit, len(list))
	for i, l := range list {
		if l.N < 1 || l.N > most || l.Per < time.Millisecond || l.Per > longest {
			return nil, fmt.Errorf("otp: Options.%s: %d in %v, want 1 to %d in at most %v", field, l.N, l.Per, most, longest)
		}
		out[i] = ledger.Limit(l)
	}
	return out, nil
}

func checkTTL(ttl, longest time.Duration) error {
	if ttl < time.Second || ttl > longest {
		return fmt.Errorf("%v, want 1s to %v", ttl, longest)
	}
	return nil
}

const (
	longestTTL      = 10 * time.Minute // unless the kind is named in Options.Purposes
	longestNamedTTL = 24 * time.Hour

	minBits       = 19.9 // 6 decimal digits
	minStrongBits = 64

	maxCode    = 64  // bytes, also of what is typed
	minCode    = 4   // bytes
	minUnsized = 6   // bytes, of a generator without Bits: 19.9 bits if they are digits
	maxPurpose = 128 // bytes
	maxLocale  = 35  // bytes
	maxVars    = 512 // bytes, names and values together
	maxClient  = 128 // bytes

	maxStarts         = 10_000     // the largest N of ClientStarts
	maxStrangerStarts = 10_000_000 // the largest N of StrangerStarts
)

// checkGenerator makes a trial code, to find problems at start-up.
func checkGenerator(g Generator, bits float64) error {
	if isNil(g) {
		return errors.New("is a nil pointer")
	}
	code, err := g.Generate()
	if err != nil {
		return err
	}
	b, isSized := g.(sized)
	if isSized && b.Bits() < bits {
		return fmt.Errorf("codes have %.1f bits, want at least %.1f", b.Bits(), bits)
	}
	if !isSized && len(code) < minUnsized {
		return fmt.Errorf("codes have %d characters, want at least %d", len(code), minUnsized)
	}
	return checkCode(g, code)
}

// checkCode checks that a generator keeps its contract.
func checkCode(g Generator, code string) error {
	if len(code) < minCode || len(code) > maxCode {
		return fmt.Errorf("made a code of %d bytes, want %d to %d", len(code), minCode, maxCode)
	}
	for i := range len(code) {
		if code[i] <= ' ' || code[i] > '~' {
			return errors.New("made a code that is not printable ASCII")
		}
	}
	if _, ours := g.(codes); ours {
		return nil
	}
	if back, ok := g.Normalize(code); !ok || back != code {
		return errors.New("Normalize does not accept a code that Generate made")
	}
	return nil
}

func checkPurpose(p string) error {
	if p == "" || p[0] == ':' || len(p) > maxPurpose || !plainText(p) {
		return fmt.Errorf("otp: purpose: want 1 to %d bytes of plain text that do not begin with a colon", maxPurpose)
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

// isNil reports whether v is nil or contains a nil pointer, function, map or
// channel.
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
