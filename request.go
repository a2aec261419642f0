package otp

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/safetext"
)

// Request says who is to prove what.
type Request struct {
	// To is the address as typed. [ErrAddress] if it cannot be mailed.
	To string

	// Locale is the reader's language: a BCP 47 tag or a whole Accept-Language
	// header. What cannot be read is left out. Empty is the sender's default.
	Locale string

	// Client is who asks: an IP address (counted by /32 or /64), IP:port, or
	// a name for a device or app of at most 128 bytes. It is kept only as a
	// keyed hash. Empty means no client budget. Do not take it from a header
	// that the client can set.
	Client string

	// Device is the token from an earlier successful Check on this device.
	// A valid one uses the known lane: budgets that strangers cannot spend.
	// Empty or invalid means a stranger.
	Device string

	// Proven says that the app knows that this person owns To already, as in
	// confirming a payment while signed in: known lane. Never set it for the
	// new address of a change: that would open its owner's lane to others.
	Proven bool

	// Vars go to the mail's template and to the checked Challenge: brand,
	// tenant, amount. At most 512 bytes of names and values together, plain
	// text without control characters. They are not secret from the reader.
	Vars map[string]string
}

// String describes the request without whole address, device token and vars.
func (r Request) String() string {
	return fmt.Sprintf("Request{Locale: %q, Proven: %t, Vars: %d}", r.Locale, r.Proven, len(r.Vars))
}

// Format prints what String returns, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue logs what String returns.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText gives what String returns, so that encoding/json shows no
// address and no token either.
func (r Request) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// request checks a request and begins its challenge.
func (v *Verifier) request(r Request) (to Address, c ledger.Challenge, err error) {
	if err := checkPurpose(v.purpose); err != nil {
		return to, c, err
	}
	if to, err = v.parse(r.To); err != nil {
		return to, c, err
	}
	if !v.core.ownParse {
		if back, err := v.core.parse(to.deliver); err != nil || back != to || to == (Address{}) {
			return to, c, errors.New("otp: Options.ParseAddress does not accept its own address")
		}
	}
	size := 0
	for name, value := range r.Vars {
		size += len(name) + len(value)
		if !plainText(name) || !plainText(value) {
			return to, c, errors.New("otp: Request.Vars holds control characters or invalid UTF-8")
		}
	}
	if size > maxVars {
		return to, c, fmt.Errorf("otp: Request.Vars has %d bytes, want at most %d", size, maxVars)
	}
	if len(r.Client) > maxClient {
		return to, c, fmt.Errorf("otp: Request.Client has %d bytes, want at most %d", len(r.Client), maxClient)
	}
	c = ledger.Challenge{To: to.deliver, Purpose: v.purpose, Locale: shortLocale(r.Locale), Vars: r.Vars}
	if r.Client != "" {
		c.Client = v.core.keys.ClientKey(clientName(r.Client))
	}
	return to, c, nil
}

// parse is Options.ParseAddress, whose errors become ErrAddress and do not repeat
// what was typed.
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

// clientName brings addresses of one host, or one IPv6 network of 64 bits, as
// a customer is given, to one name.
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
// keeps the best tags that fit, best first, with commas.
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

// newReference makes a word of four consonants: nothing that looks like a
// code, and nothing that reads as a word.
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
