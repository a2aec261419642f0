package otp

import (
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/ledger"
)

// A Generator makes codes and reads them back from what people type. If it also
// has the method Bits() float64, which returns the strength of its codes in
// bits, [NewVerifier] checks that they are strong enough.
//
// Any number of goroutines may call both methods at once.
type Generator interface {
	// Generate returns a fresh code from a cryptographic source: 4 to 64 bytes
	// (6 to 64 without Bits) of printable ASCII, which Normalize returns
	// unchanged. After an error no challenge is opened and no mail is sent.
	Generate() (code string, err error)

	// Normalize converts what a person typed or pasted into the form that
	// Generate returns, or returns false if it cannot be a code. It is called
	// before anything is counted or compared, and never with more than 64
	// bytes.
	Normalize(input string) (code string, ok bool)
}

// sized is implemented by the generators of [Digits] and [Letters], and
// possibly by others. Bits returns the strength of the codes in bits, the
// binary logarithm of the number of equally likely codes; 0 if there are none.
type sized interface{ Bits() float64 }

var (
	_ sized     = codes{}
	_ Generator = codes{}
)

const (
	maxInput   = 64 // the longest input of Normalize, in bytes
	maxSymbols = 32 // the longest code

	digitSymbols = "0123456789"

	// letterSymbols is Crockford's base32, which has no I, L, O and U, without
	// the vowels A and E, so that there are no look-alikes and no words.
	letterSymbols = "0123456789BCDFGHJKMNPQRSTVWXYZ"
)

// Digits returns a [Generator] of codes of n uniform decimal digits, with
// leading zeros; n is 6 to 12. With any other n, [NewVerifier] returns an error
// and every Generate fails. Each digit has 3.32 bits, so six have 19.9.
//
// Normalize accepts the decimal digits of every script (Unicode category Nd)
// and ignores white space, dashes, minus signs, dots, underscores and invisible
// marks anywhere. Input with any other character, another number of digits,
// invalid UTF-8 or more than 64 bytes is not a code.
func Digits(n int) Generator { return digitCodes(n) }

func digitCodes(n int) codes {
	return codes{name: "Digits", symbols: digitSymbols, n: n, least: 6, most: 12}
}

// Letters returns a [Generator] of codes of n uniform characters out of thirty:
// the digits and the capital letters without A, E, I, L, O and U; n is 5 to 32.
// With any other n, [NewVerifier] returns an error and every Generate fails.
// Each character has 4.91 bits, so fourteen have 68.7.
//
// Normalize works like that of [Digits], and also accepts lower-case and
// full-width letters, O for 0, and I and L for 1.
func Letters(n int) Generator { return letterCodes(n) }

func letterCodes(n int) codes {
	return codes{name: "Letters", symbols: letterSymbols, n: n, least: 5, most: maxSymbols}
}

// shapeOf returns what a ledger remembers of the generator of a code.
func shapeOf(g Generator) ledger.Shape {
	c, ok := g.(codes)
	switch {
	case !ok:
		return ledger.Custom
	case c.symbols == digitSymbols:
		return ledger.Digits
	default:
		return ledger.Letters
	}
}

// codes is a generator of a fixed number of symbols of an alphabet.
type codes struct {
	name, symbols  string
	n, least, most int
}

func (c codes) valid() bool { return c.least <= c.n && c.n <= c.most }

// Bits returns the strength of a code in bits, 0 if n is out of range.
func (c codes) Bits() float64 {
	if !c.valid() {
		return 0
	}
	return float64(c.n) * math.Log2(float64(len(c.symbols)))
}

// Generate returns a fresh code. It fails only if n is out of range.
func (c codes) Generate() (string, error) {
	if !c.valid() {
		return "", fmt.Errorf("otp.%s(%d): want %d to %d characters", c.name, c.n, c.least, c.most)
	}
	// One small read nearly always suffices: 2% of the bytes are rejected for
	// digits and 6% for letters.
	var random [maxSymbols + maxSymbols/4 + 4]byte
	var code [maxSymbols]byte
	for have := 0; have < c.n; {
		draw := random[:c.n-have+c.n/4+4]
		if _, err := rand.Read(draw); err != nil {
			return "", fmt.Errorf("random source: %w", err)
		}
		have += pick(code[have:c.n], draw, c.symbols)
	}
	return string(code[:c.n]), nil
}

// pick fills dst with symbols chosen by random bytes and returns how many it
// chose. It drops bytes past the last whole multiple of the alphabet: a plain
// remainder would favor the first symbols (NIST SP 800-63B 3.2.12).
func pick(dst, random []byte, symbols string) (n int) {
	limit := 256 - 256%len(symbols)
	for _, b := range random {
		if n == len(dst) {
			break
		}
		if int(b) < limit {
			dst[n] = symbols[int(b)%len(symbols)]
			n++
		}
	}
	return n
}

// Normalize converts what was typed into the form of Generate.
func (c codes) Normalize(input string) (string, bool) {
	if !c.valid() || len(input) > maxInput {
		return "", false
	}
	var code [maxSymbols]byte
	have := 0
	for _, r := range input { // invalid UTF-8 comes as U+FFFD, which is no symbol
		if filler(r) {
			continue
		}
		symbol, ok := c.symbol(r)
		if !ok || have == c.n {
			return "", false
		}
		code[have] = symbol
		have++
	}
	if have != c.n {
		return "", false
	}
	if string(code[:have]) == input {
		return input, true
	}
	return string(code[:have]), true
}

// symbol returns the symbol that r stands for. It folds only ASCII and its
// full-width copies: strings.ToUpper would also accept U+0131 and U+017F.
func (c codes) symbol(r rune) (byte, bool) {
	if value, ok := digitValue(r); ok {
		return '0' + value, true
	}
	if '\uff21' <= r && r <= '\uff3a' || '\uff41' <= r && r <= '\uff5a' {
		r -= '\uff21' - 'A'
	}
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A'
	}
	if r < 'A' || r > 'Z' || len(c.symbols) == len(digitSymbols) {
		return 0, false
	}
	switch r {
	case 'O':
		return '0', true
	case 'I', 'L':
		return '1', true
	}
	return byte(r), strings.IndexByte(c.symbols, byte(r)) >= 0
}

// digitValue returns the value of a decimal digit of any script. Every range of
// category Nd begins with a zero and is a multiple of ten long.
func digitValue(r rune) (byte, bool) {
	if r < utf8.RuneSelf {
		return byte(r - '0'), '0' <= r && r <= '9'
	}
	for _, nd := range unicode.Nd.R16 {
		if rune(nd.Lo) <= r && r <= rune(nd.Hi) {
			return byte((r - rune(nd.Lo)) % 10), true
		}
	}
	for _, nd := range unicode.Nd.R32 {
		if rune(nd.Lo) <= r && r <= rune(nd.Hi) {
			return byte((r - rune(nd.Lo)) % 10), true
		}
	}
	return 0, false
}

// filler reports whether r is a character that people and programs put around
// and between the symbols of a code: white space, a dash, a minus sign, a dot,
// an underscore or an invisible format mark.
func filler(r rune) bool {
	if r < utf8.RuneSelf {
		switch r {
		case '\t', '\n', '\v', '\f', '\r', ' ', '-', '.', '_':
			return true
		}
		return false
	}
	return r == '\u2212' || unicode.In(r, unicode.White_Space, unicode.Pd, unicode.Cf)
}
