package otp

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The lengths of RFC 5321 4.5.3.1, in bytes. A path may have 256 with its angle
// brackets, so an address may have 254.
const (
	maxAddress = 254
	maxTyped   = 512 // with what is ignored at the ends
	maxLocal   = 64
	maxDomain  = 253
	maxLabel   = 63
)

// Address is the destination of a code. It has two forms: the delivery form,
// which is exactly what is mailed, and a folded throttle key, which is only
// used for counting, so that all spellings of one mailbox share one budget.
//
// The zero value is not an address. Make one with [ParseEmail], [EmailParser]
// or [NewAddress]. Two Addresses are equal (==) if both forms are equal. To
// find the account of an address, compare [Address.Key] instead. An Address
// never changes and is safe for concurrent use.
//
// An Address is masked wherever a log may be written: package fmt, with every
// verb, and package log/slog print what [Address.Masked] returns. The whole
// address is returned only by [Address.String], if you call it, and by
// [Address.MarshalText], and therefore by encoding/json. Package fmt does not
// call Format for the verbs %p and %w, which go vet reports, nor for unexported
// fields: a struct that keeps an Address in one prints the whole address,
// unless the struct has its own Format method.
type Address struct {
	deliver  string
	throttle string
}

var (
	_ fmt.Stringer   = Address{}
	_ fmt.Formatter  = Address{}
	_ slog.LogValuer = Address{}
)

// String returns the whole delivery form: exactly what is mailed. It is empty
// for the zero value. Do not log it; [Address.Masked] is for logs.
func (a Address) String() string { return a.deliver }

// Key returns the form by which an application finds the account of an address:
// the delivery form in lower case. Store it beside the delivery form and put the
// unique index on it, so that somebody who signed up as Bob@example.com can sign
// in as bob@example.com. Mail to String, never to Key: the case before the @
// belongs to the server of the domain (RFC 5321 2.4), although hardly any server
// distinguishes it.
//
// Only A to Z are folded, and nothing else is. Full Unicode folding would give
// one person the account of another: it turns the dotless i of
// "mıke@example.com" into an i (CVE-2019-19844). Tags ("ann+news@example.com")
// and the dots of Gmail share a budget in this package, but they remain
// different keys, because they can be different accounts of their owner, and at
// other domains different people. Key is empty for the zero value.
func (a Address) Key() string { return lowerASCII(a.deliver) }

// Domain returns the part after the @, in lower-case ASCII (A-labels, RFC 5890)
// for addresses from [ParseEmail]. It is empty if there is none: for a phone
// number, a name like "@user" or the zero value.
//
// An app that trusts a domain should also reject % and ! before the @:
// "a%evil.example@corp.example" is a valid name at corp.example, but a relay
// that still honors such routes (RFC 1123 5.2.16) delivers it elsewhere.
func (a Address) Domain() string {
	_, domain := a.split()
	return domain
}

// Masked returns a form for pages and logs: the first letter and the domain of
// a mail address ("a***@example.com"), the last two characters of anything else
// that has at least six ("***67"), "***" for anything shorter, and "" for the
// zero value.
func (a Address) Masked() string {
	if a.deliver == "" {
		return ""
	}
	if local, domain := a.split(); domain != "" {
		_, first := utf8.DecodeRuneInString(local)
		return local[:first] + "***@" + domain
	}
	if utf8.RuneCountInString(a.deliver) < 6 {
		return "***"
	}
	_, last := utf8.DecodeLastRuneInString(a.deliver)
	_, before := utf8.DecodeLastRuneInString(a.deliver[:len(a.deliver)-last])
	return "***" + a.deliver[len(a.deliver)-last-before:]
}

// split cuts the delivery form at its last @. The domain is empty if nothing
// precedes that.
func (a Address) split() (local, domain string) {
	at := strings.LastIndexByte(a.deliver, '@')
	if at <= 0 {
		return a.deliver, ""
	}
	return a.deliver[:at], a.deliver[at+1:]
}

// Format prints the masked form, whatever the verb; %q quotes it. Width,
// precision and flags work as they do for a string.
func (a Address) Format(s fmt.State, verb rune) {
	if verb != 'q' {
		verb = 's'
	}
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), a.Masked())
}

// LogValue makes package log/slog print the masked form.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.Masked()) }

// MarshalText returns the whole delivery form, for encoding/json and similar
// packages. It never fails; the zero value is the empty text.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.deliver), nil }

// ParseEmail parses one plain mail address such as "Ann@example.org", at most
// 254 bytes long. It is the default of Options.ParseAddress. White space and
// invisible format characters (Unicode category Cf) at both ends are ignored,
// because keyboards and copied text add them, and a full-width @ (U+FF20)
// counts as @.
//
// The part before the @ is a dot-atom in ASCII (RFC 5322 3.2.3) of at most 64
// bytes that does not begin with a hyphen, and is kept as typed, including its
// case (RFC 5321 2.4). The domain is converted to lower-case A-labels by the
// strict lookup rules of UTS 46 and must contain a dot. ParseEmail rejects
// display names, quotes, comments, lists, literals such as [192.0.2.1], white
// space inside, control, invisible and unassigned characters, a trailing dot,
// and a last label that is a number, in digits or as hexadecimal with 0x. It
// accepts what String returned, with an equal result.
//
// Every error wraps [ErrAddress] with a reason that does not repeat the input.
// For other forms of addresses, see [EmailParser].
func ParseEmail(s string) (Address, error) { return parseEmail(s, EmailOptions{}) }

// EmailOptions say which addresses an [EmailParser] accepts in addition to
// those of [ParseEmail].
type EmailOptions struct {
	// UTF8 accepts characters beyond ASCII before the @ (RFC 6531, RFC 6532),
	// for a sender whose server offers SMTPUTF8. Each must be a visible,
	// assigned letter, mark, number, punctuation or symbol, and no part between
	// dots may begin with a combining mark. The whole must be in Unicode's
	// composed form NFC (RFC 6532 3.1), so that each name has one spelling.
	// Nothing is folded or replaced: letters that look or fold alike remain
	// different addresses. Default: false, only ASCII.
	UTF8 bool

	// Dotless accepts domains of one label, as in intranets: "admin@localhost".
	// Default: false, a domain contains a dot.
	Dotless bool

	// LooseDots accepts dots anywhere before the @, as in the old addresses of
	// some mobile carriers: "a..b@docomo.ne.jp", "a.@docomo.ne.jp". At least
	// one character is not a dot. Many servers reject such addresses. Default:
	// false, single dots between other characters.
	LooseDots bool
}

// EmailParser returns a function like [ParseEmail] that also accepts the
// addresses that o allows, for Options.ParseAddress. For every address that
// ParseEmail accepts, the result is the same.
func EmailParser(o EmailOptions) func(string) (Address, error) {
	return func(s string) (Address, error) { return parseEmail(s, o) }
}

// NewAddress makes an Address for a sender that does not mail, such as a phone
// number. The sender gets deliver; throttle is used for counting and should be
// the same for all spellings of one destination. Both have 1 to 254 bytes of
// UTF-8 without control, invisible, bidirectional, private or unassigned
// characters, and without white space except single inner spaces (U+0020).
//
// NewAddress does not check that deliver is a mail address: use [ParseEmail]
// for those. Every error wraps [ErrAddress] with a reason that does not repeat
// the input.
func NewAddress(deliver, throttle string) (Address, error) {
	for _, s := range [2]string{deliver, throttle} {
		if err := checkOpaque(s); err != nil {
			return Address{}, err
		}
	}
	return Address{deliver: strings.Clone(deliver), throttle: strings.Clone(throttle)}, nil
}

func checkOpaque(s string) error {
	switch {
	case s == "":
		return badAddress("it is empty")
	case len(s) > maxAddress:
		return badAddress("it is too long")
	case !utf8.ValidString(s):
		return badAddress("it is not valid UTF-8")
	case s[0] == ' ' || s[len(s)-1] == ' ' || strings.Contains(s, "  "):
		return badAddress("it has a space at an end, or two spaces in a row")
	}
	for _, r := range s {
		if r != ' ' && unseen(r) {
			return badAddress("it has an invisible or control character")
		}
	}
	return nil
}

// badAddress is never called with a part of the input, since errors are logged.
func badAddress(reason string) error { return fmt.Errorf("%w: %s", ErrAddress, reason) }

func parseEmail(s string, o EmailOptions) (Address, error) {
	// Before anything that reads the whole input: parsers have been quadratic.
	if len(s) > maxTyped {
		return Address{}, badAddress("it is too long")
	}
	s = strings.ReplaceAll(strings.TrimFunc(s, isPadding), "\uff20", "@")
	if len(s) > maxAddress {
		return Address{}, badAddress("it is too long")
	}
	at := strings.IndexByte(s, '@')
	switch {
	case s == "":
		return Address{}, badAddress("it is empty")
	case at < 0:
		return Address{}, badAddress("the @ is missing")
	case strings.IndexByte(s[at+1:], '@') >= 0:
		return Address{}, badAddress("it has more than one @")
	}
	local := s[:at]
	if err := checkLocal(local, o); err != nil {
		return Address{}, err
	}
	domain, err := asciiDomain(s[at+1:], o.Dotless)
	if err != nil {
		return Address{}, err
	}
	if len(local)+1+len(domain) > maxAddress {
		return Address{}, badAddress("it is too long")
	}
	deliver := s
	if domain != s[at+1:] {
		deliver = local + "@" + domain
	}
	return Address{deliver: deliver, throttle: throttleKey(deliver)}, nil
}

// isPadding reports whether r may stand before or after an address: white space,
// which includes tabs and line ends, and format characters such as U+200B and
// U+FEFF. Other control characters are not padding.
func isPadding(r rune) bool {
	return unicode.IsSpace(r) || r > unicode.MaxASCII && unicode.Is(unicode.Cf, r) // no ASCII character is Cf
}

// checkLocal accepts dot-atom (RFC 5322 3.2.3) and, if asked, the
// UTF8-non-ascii of RFC 6532 3.2 without invisible characters, and dots
// anywhere.
func checkLocal(local string, o EmailOptions) error {
	switch {
	case local == "":
		return badAddress("there is nothing before the @")
	case len(local) > maxLocal:
		return badAddress("the part before the @ is too long")
	case local[0] == '-': // an option, for a program that gets it as an argument
		return badAddress("it begins with a hyphen")
	case o.LooseDots && strings.Trim(local, ".") == "",
		!o.LooseDots && (local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..")):
		return badAddress("the part before the @ has a misplaced dot")
	}
	ascii, start := true, true
	for _, r := range local {
		switch {
		case r == '.' || r < utf8.RuneSelf && atext[r]:
		case r == ' ':
			return badAddress("it has a space")
		case r < ' ' || r == 0x7f:
			return badAddress("it has a control character")
		case r < utf8.RuneSelf:
			return badAddress("the part before the @ has a character that is not supported")
		case !o.UTF8:
			return badAddress("the part before the @ has a letter that is not plain ASCII")
		case r == utf8.RuneError: // also U+FFFD itself: a name that was damaged in transit
			return badAddress("it is not valid UTF-8")
		case unseen(r) || start && unicode.Is(unicode.M, r):
			return badAddress("it has an invisible or misplaced character")
		default:
			ascii = false
		}
		start = r == '.'
	}
	// RFC 2047 5(3) bars encoded-words here; some mail programs decode them.
	if _, word, found := strings.Cut(local, "=?"); found && strings.Contains(word, "?=") {
		return badAddress("the part before the @ has an encoded word")
	}
	if !ascii && !norm.NFC.IsNormalString(local) {
		return badAddress("the part before the @ is not in composed form (Unicode NFC)")
	}
	return nil
}

// atext is the set of RFC 5322 3.2.3.
var atext = func() (set [utf8.RuneSelf]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~" {
		set[c] = true
	}
	return set
}()

// unseen reports whether r is white space, a control, format, private,
// surrogate or unassigned code point, or ignorable by default: characters that
// people cannot see and that UTS 46 would drop silently.
func unseen(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f
	}
	// Graphic without the spaces is L, M, N, P and S.
	return !unicode.IsGraphic(r) || unicode.IsSpace(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// idnaLookup is the strict lookup profile of UTS 46. The rules of idna.Lookup
// alone let empty and overlong labels pass.
var idnaLookup = idna.New(idna.MapForLookup(), idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true))

// asciiDomain returns the domain in lower-case A-labels.
func asciiDomain(s string, dotless bool) (string, error) {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return mapDomain(s, dotless)
		}
	}
	reason, encoded := checkDomain(s, dotless)
	switch {
	case reason != "":
		return "", badAddress(reason)
	case encoded:
		return mapDomain(s, dotless)
	}
	// The common case; UTS 46 would give the same more slowly.
	return lowerASCII(s), nil
}

// mapDomain applies UTS 46, for domains with letters beyond ASCII or A-labels.
func mapDomain(s string, dotless bool) (string, error) {
	if !utf8.ValidString(s) {
		return "", badAddress("it is not valid UTF-8")
	}
	for _, r := range s {
		if unseen(r) {
			return "", badAddress("the domain has a space or an invisible character")
		}
	}
	domain, err := idnaLookup.ToASCII(s)
	if err != nil {
		return "", badAddress("the domain is not a valid international name")
	}
	if reason, _ := checkDomain(domain, dotless); reason != "" {
		return "", badAddress(reason)
	}
	// A-labels can encode characters that nobody can type: check what they
	// decode to, and that the name is the same the next time it is parsed.
	shown, err := idnaLookup.ToUnicode(domain)
	again, err2 := idnaLookup.ToASCII(domain)
	if err != nil || err2 != nil || again != domain || strings.ContainsFunc(shown, unseen) {
		return "", badAddress("the domain is not a valid international name")
	}
	return domain, nil
}

// checkDomain checks an ASCII domain by RFC 1123 2.1 and RFC 5890 2.3.1 and
// returns what is wrong with it; encoded means that a label begins with "xn--".
func checkDomain(s string, dotless bool) (reason string, encoded bool) {
	switch {
	case s == "":
		return "there is nothing after the @", false
	case len(s) > maxDomain:
		return "the domain is too long", false
	case !dotless && !strings.Contains(s, "."):
		return "the domain has no dot", false
	}
	for rest, more := s, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		switch {
		case label == "":
			return "the domain has a misplaced dot", false
		case len(label) > maxLabel:
			return "a part of the domain is too long", false
		case label[0] == '-' || label[len(label)-1] == '-':
			return "the domain has a misplaced hyphen", false
		case len(label) > 4 && label[2:4] == "--":
			if label[0]|0x20 != 'x' || label[1]|0x20 != 'n' {
				return "the domain has a misplaced hyphen", false
			}
			encoded = true
		}
		digits := 0
		for i := 0; i < len(label); i++ {
			switch c := label[i]; {
			case '0' <= c && c <= '9':
				digits++
			case c == ' ':
				return "it has a space", false
			case c != '-' && (c|0x20 < 'a' || c|0x20 > 'z'):
				return "the domain has a character that is not supported", false
			}
		}
		if !more && (digits == len(label) || isHex(label)) {
			return "the domain ends in a number", false
		}
	}
	return "", encoded
}

// isHex reports whether label is a hexadecimal number: programs that parse hosts
// as browsers do (WHATWG URL 3.5) take a domain that ends in one for an IPv4
// address.
func isHex(label string) bool {
	return len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' && strings.Trim(label[2:], "0123456789abcdefABCDEF") == ""
}

// throttleKey folds spellings that commonly reach the same mailbox: ASCII case,
// +tags, and Gmail's dots and second domain. It never folds beyond ASCII
// (CVE-2019-19844) and never leaves an empty local part.
func throttleKey(deliver string) string {
	local, home, _ := strings.Cut(deliver, "@")
	key, domain := lowerASCII(local), home
	if plus := strings.IndexByte(key, '+'); plus > 0 {
		key = key[:plus]
	}
	if domain == "gmail.com" || domain == "googlemail.com" {
		domain = "gmail.com"
		if undotted := strings.ReplaceAll(key, ".", ""); undotted != "" {
			key = undotted
		}
	}
	if key == local && domain == home {
		return deliver
	}
	return key + "@" + domain
}

// lowerASCII lower-cases A to Z byte by byte. strings.ToLower also folds
// U+212A to k and U+0130 to i.
func lowerASCII(s string) string {
	i := 0
	for i < len(s) && (s[i] < 'A' || s[i] > 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s)
	for ; i < len(b); i++ {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
