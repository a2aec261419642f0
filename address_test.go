package otp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/go-mailotp/otp"
)

// checkAccepted holds an accepted mail address against what must be true of
// every one of them.
func checkAccepted(t *testing.T, in string, o otp.EmailOptions, a otp.Address) {
	t.Helper()
	s := a.String()
	wire := "RCPT TO:<" + s + ">" // E1: nothing can end the path or add a parameter
	if strings.Count(wire, "<") != 1 || strings.Count(wire, ">") != 1 || strings.Count(wire, " ") != 1 || strings.ContainsAny(wire, "\r\n\t\x00\"(),;\\") {
		t.Errorf("%q: unsafe on the wire: %q", in, wire)
	}
	parsed, err := mail.ParseAddress(s) // E1: an independent parser reads the same
	if !o.LooseDots && (err != nil || parsed.Name != "" || parsed.Address != s) {
		t.Errorf("%q: net/mail reads %q as %+v, %v", in, s, parsed, err)
	}
	local, domain, _ := strings.Cut(s, "@")
	if len(s) > 254 || len(local) > 64 || len(domain) > 253 || !o.Dotless && !strings.Contains(domain, ".") { // E2, E3
		t.Errorf("%q: bad lengths or no dot: %q", in, s)
	}
	for i := 0; i < len(domain); i++ {
		if c := domain[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			t.Errorf("%q: domain %q", in, domain)
		}
	}
	if a.Domain() != domain {
		t.Errorf("%q: Domain() = %q, want %q", in, a.Domain(), domain)
	}
	typed := strings.TrimFunc(in, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
	if typed = strings.ReplaceAll(typed, "＠", "@"); !strings.HasPrefix(typed, local+"@") { // E6
		t.Errorf("%q: local part became %q", in, local)
	}
	key := otp.ThrottleKey(a)
	if at := strings.LastIndexByte(key, '@'); at <= 0 || at == len(key)-1 || strings.ContainsAny(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") { // E8
		t.Errorf("%q: throttle key %q", in, key)
	}
	again, err := otp.EmailParser(o)(s)
	if err != nil || again != a {
		t.Errorf("%q: String() %q is read as %q, %v", in, s, again.String(), err)
	}
	if k := a.Key(); k != asciiLower(s) {
		t.Errorf("%q: Key() = %q", in, k)
	}
	if masked := a.Masked(); !strings.HasSuffix(masked, "***@"+domain) || utf8.RuneCountInString(masked) != 5+len(domain) {
		t.Errorf("%q: Masked() = %q", in, masked)
	}
}

// asciiLower folds A to Z, character by character.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

var (
	parseUTF8 = otp.EmailParser(otp.EmailOptions{UTF8: true})
	loosest   = otp.EmailOptions{UTF8: true, Dotless: true, LooseDots: true}
	parsers   = map[string]func(string) (otp.Address, error){
		"ParseEmail": otp.ParseEmail, "UTF8": parseUTF8, "loosest": otp.EmailParser(loosest),
	}
)

func TestParseEmail(t *testing.T) {
	l63 := strings.Repeat("d", 63)
	d189 := strings.Repeat("a", 61) + "." + l63 + "." + l63 // 61+1+63+1+63
	for _, tc := range []struct{ in, deliver, throttle string }{
		{"ann@example.com", "ann@example.com", "ann@example.com"},
		{"Mike@EXAMPLE.org", "Mike@example.org", "mike@example.org"}, // E6
		{"a@b.co", "a@b.co", "a@b.co"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*@example.com"},
		{"first.last@sub.example.co.uk", "first.last@sub.example.co.uk", "first.last@sub.example.co.uk"},
		{"a=?b@example.com", "a=?b@example.com", "a=?b@example.com"},
		{"a-@3com.1-2.x1", "a-@3com.1-2.x1", "a-@3com.1-2.x1"},
		{"a@0x.example", "a@0x.example", "a@0x.example"},
		{"a@example.0xg", "a@example.0xg", "a@example.0xg"},
		{"a@example.x0", "a@example.x0", "a@example.x0"},
		{"a@example.1x0", "a@example.1x0", "a@example.1x0"},
		{"a@gamil.com", "a@gamil.com", "a@gamil.com"}, // E10

		// E8
		{"Ann+News@Example.com", "Ann+News@example.com", "ann@example.com"},
		{"ann+a+b@example.com", "ann+a+b@example.com", "ann@example.com"},
		{"ann+@example.com", "ann+@example.com", "ann@example.com"},
		{"+Tag@x.com", "+Tag@x.com", "+tag@x.com"},
		{"+@x.com", "+@x.com", "+@x.com"},
		{"A.n.N+x@GMail.com", "A.n.N+x@gmail.com", "ann@gmail.com"},
		{"a.nn@googlemail.com", "a.nn@googlemail.com", "ann@gmail.com"},
		{"+a.b@gmail.com", "+a.b@gmail.com", "+ab@gmail.com"},
		{"a.+b@gmail.com", "a.+b@gmail.com", "a@gmail.com"},
		{"a.b@mail.gmail.com", "a.b@mail.gmail.com", "a.b@mail.gmail.com"},
		{"a.b@gmail.de", "a.b@gmail.de", "a.b@gmail.de"},

		// E2
		{strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64) + "@example.com"},
		{"a@" + l63 + ".com", "a@" + l63 + ".com", "a@" + l63 + ".com"},
		{strings.Repeat("a", 64) + "@" + d189, strings.Repeat("a", 64) + "@" + d189, strings.Repeat("a", 64) + "@" + d189},

		// E3
		{"a@ｅxample.com", "a@example.com", "a@example.com"},
		{"a@b。com", "a@b.com", "a@b.com"},
		{"a@\u212Aelvin.com", "a@kelvin.com", "a@kelvin.com"},
		{"a@gmaıl.com", "a@xn--gmal-nza.com", "a@xn--gmal-nza.com"},
		{"a@gmail\uff0ecom", "a@gmail.com", "a@gmail.com"},
		{"a@BÜCHER.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@bu\u0308cher.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@straße.de", "a@xn--strae-oqa.de", "a@xn--strae-oqa.de"},
		{"a@例え.テスト", "a@xn--r8jz45g.xn--zckzah", "a@xn--r8jz45g.xn--zckzah"},
		{"a@דוגמה.co.il", "a@xn--6dbbec0c.co.il", "a@xn--6dbbec0c.co.il"},
	} {
		a, err := otp.ParseEmail(tc.in)
		if err != nil || a.String() != tc.deliver || otp.ThrottleKey(a) != tc.throttle {
			t.Errorf("ParseEmail(%q) = %q, counted as %q, %v; want %q, %q", tc.in, a.String(), otp.ThrottleKey(a), err, tc.deliver, tc.throttle)
			continue
		}
		checkAccepted(t, tc.in, otp.EmailOptions{}, a)
		for name, parse := range parsers {
			if u, err := parse(tc.in); err != nil || u != a {
				t.Errorf("%s: %q is %q, %v; want what ParseEmail gives", name, tc.in, u.String(), err)
			}
		}
	}
}

// White space and format characters at the ends come from keyboards and copied
// text, and a full-width @ from an input method. They change nothing.
func TestParseEmail_padding(t *testing.T) {
	want, err := otp.ParseEmail("Ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{
		" Ann@example.com", "Ann@example.com ", "\tAnn@example.com\r\n", "\v\f\u0085Ann@example.com\u00a0", "\u3000Ann@example.com\u2003\u2028",
		"\ufeffAnn@example.com", "\u200bAnn@example.com\u200b", "Ann@example.com\u00ad", "\u202aAnn@example.com\u202c", "\u2068Ann@example.com\u2069",
		"\U000e0001Ann@example.com \u200f \n", "Ann＠example.com", " Ann＠EXAMPLE.com\u200b",
		strings.Repeat(" ", 250) + "Ann@example.com" + strings.Repeat("\n", 247), // 512 bytes
	} {
		for name, parse := range parsers {
			if a, err := parse(in); err != nil || a != want {
				t.Errorf("%s: %q is %q, %v", name, in, a.String(), err)
			}
		}
		checkAccepted(t, in, otp.EmailOptions{}, want)
	}
	full := strings.Repeat("a", 64) + "＠" + strings.Repeat("b", 61) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 63)
	if a, err := otp.ParseEmail("  " + full + "  "); err != nil || len(a.String()) != 254 {
		t.Errorf("got %q, %v", a.String(), err)
	}
}

// refused is what no parser may take, except for four cases of dots.
var refused = []struct{ name, in string }{
	// E1: what a lenient parser lets through, and where it would go.
	{"recipient injection", `"attacker@evil.test> ORCPT=rfc822;x"@corp.example`},
	{"recipient injection, bare", `attacker@evil.test> ORCPT=rfc822;x@corp.example`},
	{"recipient injection, one @", `attacker>x@corp.example`},
	{"command injection", "a@b.com\r\nRCPT TO:<x@evil.test>"},
	{"command injection, local", "a\r\nRCPT@b.com"},
	{"bare LF", "a\n@b.com"},
	{"bare LF in domain", "a@b\n.com"},
	{"LF and more", "a@b.com\nx"},
	{"bare CR", "a\r@b.com"},
	{"header injection", "a@b.com\r\nBcc: x@evil.test"},
	{"quoted", `"ann"@example.com`},
	{"quoted space", `"a b"@example.com`},
	{"quoted @", `"a@b"@example.com`},
	{"quoted null", `""@example.com`},
	{"half quoted", `a"b@example.com`},
	{"display name", "Ann <ann@example.com>"},
	{"angle brackets", "<ann@example.com>"},
	{"quoted display name", `"x@evil.test" <ann@example.com>`},
	{"comment", "ann@example.com (Ann)"},
	{"comment inside", "ann(x)@example.com"},
	{"comment in domain", "ann@(x)example.com"},
	{"group", "friends:ann@example.com;"},
	{"list", "ann@example.com,x@evil.test"},
	{"list with ;", "ann@example.com;x@evil.test"},
	{"list with blank", "ann@example.com x@evil.test"},
	{"route", "@evil.test:ann@example.com"},
	{"literal", "ann@[192.0.2.1]"},
	{"IPv6 literal", "ann@[IPv6:2001:db8::1]"},
	{"literal, dotted", "ann@[a.b]"},
	{"escape", `a\@b@example.com`},
	{"backslash", `a\b@example.com`},
	{"encoded word", "=?utf-8?q?=61=40evil?=@example.com"},
	{"encoded word inside", "x=?x?q?=41?=y@example.com"},
	{"mailto", "mailto:ann@example.com"},
	{"URL", "https://ann@example.com/"},
	{"percent-encoded @", "ann%40example.com"},

	{"empty", ""},
	{"only @", "@"},
	{"no @", "example.com"},
	{"two @", "a@b@example.com"},
	{"@@", "a@@example.com"},
	{"no local part", "@example.com"},
	{"no domain", "a@"},
	{"dot first", ".a@example.com"},
	{"dot last", "a.@example.com"},
	{"two dots", "a..b@example.com"},
	{"dot", ".@example.com"},
	{"only space", " "},
	{"padding of 498", strings.Repeat(" ", 498) + "ann@example.com"},
	{"space inside", "a b@example.com"},
	{"space before @", "a @example.com"},
	{"space in domain", "a@exam ple.com"},
	{"tab", "a\t@example.com"},
	{"NUL", "a\x00@example.com"},
	{"NUL in domain", "a@example\x00.com"},
	{"NUL at the end", "a@example.com\x00"},
	{"NUL at the beginning", "\x00a@example.com"},
	{"NUL after a space", "a@example.com \x00"},
	{"NUL before a space", "a@example.com\x00 "},
	{"bell at the end", "a@example.com\a"},
	{"control beyond ASCII at the end", "a@example.com\u0081"},
	{"DEL at the end", "a@example.com\x7f"},
	{"DEL", "a\x7f@example.com"},
	{"DEL in domain", "a@exam\x7fple.com"},
	{"escape code", "a\x1b[2J@example.com"},
	{"bad UTF-8", "a\xff@example.com"},
	{"bad UTF-8 in domain", "a@ex\xffample.com"},
	{"surrogate", "a\xed\xa0\x80@example.com"},
	{"surrogate in domain", "a@\xed\xa0\x80.com"},
	{"overlong @", "a\xc1\x80example.com"},
	{"UTF-16", "a\x00@\x00b\x00.\x00c\x00"},

	// E2
	{"local part of 65", strings.Repeat("a", 65) + "@example.com"},
	{"label of 64", "a@" + strings.Repeat("d", 64) + ".com"},
	{"total of 255", "ab@" + strings.Repeat("d.", 124) + "comx"},
	{"total of 255, local", strings.Repeat("a", 64) + "@" + strings.Repeat("a", 62) + "." + strings.Repeat("d", 63) + "." + strings.Repeat("d", 63)},
	{"too long only as A-labels", strings.Repeat("a", 20) + "@" + strings.Repeat("é.", 30) + "com"},
	{"label too long only as an A-label", "a@" + strings.Repeat("ü", 50) + strings.Repeat("x", 60) + ".com"},
	{"longer than its A-labels", "a@" + strings.Repeat("ｄ", 40) + "." + strings.Repeat("ｄ", 50) + ".com"},
	{"1 MB", strings.Repeat("a", 1<<20) + "@example.com"},
	{"1 MB of @", strings.Repeat("@", 1<<20)},

	// E3
	{"no dot", "a@localhost"},
	{"dot first in domain", "a@.example.com"},
	{"empty label", "a@example..com"},
	{"trailing dot", "a@example.com."},
	{"trailing ideographic dot", "a@example.com。"},
	{"trailing full-width dot", "a@example.com\uff0e"},
	{"two trailing dots", "a@example.com.."},
	{"two trailing ideographic dots", "a@ü.com。。"},
	{"only dots", "a@."},
	{"ideographic dot", "a@。"},
	{"underscore", "a@a_b.com"},
	{"hyphen first", "a@-x.com"},
	{"hyphen last", "a@x-.com"},
	{"hyphens in third place", "a@ab--c.com"},
	{"A-label of ASCII", "a@xn--example-.com"},
	{"broken A-label", "a@xn--zz.com"},
	{"empty A-label", "a@xn--.com"},
	{"hyphen A-label", "a@xn---.com"},
	{"A-label of capitals", "a@" + puny("BÜCHER") + ".com"},
	{"A-label of decomposed letters", "a@" + puny("bu\u0308cher") + ".com"},
	{"top label of digits", "a@example.123"},
	{"IP address", "a@127.0.0.1"},
	{"full-width top label of digits", "a@example.１２３"},
	{"two full-width @", "a＠b＠example.com"},
	{"full-width @ in domain", "a@b＠example.com"},
	{"full-width @ before @", "a＠b@example.com"},
	{"small @", "a﹫example.com"},
	{"hyphen first", "-a@example.com"},
	{"only a hyphen", "-@example.com"},
	{"hyphen after a space", " -a@example.com"},
	{"top label of hex", "a@example.0x1F"},
	{"top label of capital hex", "a@example.0X1f"},
	{"top label of 0x", "a@127.0x"},
	{"full-width top label of hex", "a@example.０ｘ１"},
	{"only dots before @", "...@example.com"},
	{"one label of hex", "a@0x7f000001"},
	{"one label of digits", "a@2130706433"},
	{"full-width >", "a@b＞.com"},
	{"slash by mapping", "a@x℀.com"},
	{"combining mark first in domain", "a@\u0301x.com"},
	{"mixed directions", "a@xאx.com"},
	{"mixed directions by mapping", "a@x\u2135x.com"},
	{"joiner where Hindi has it", "a@क्\u200dष.com"},
	{"the same as an A-label", "a@" + puny("क्\u200dष") + ".com"},
	{"non-joiner as an A-label", "a@" + puny("نامه\u200cای") + ".com"},
	{"digit before Hebrew", "a@1א.com"},
}

// invisible is refused everywhere (E4).
var invisible = []rune{
	0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202A, 0x202D, 0x202E, 0x2060, 0x2064, 0x2066, 0x2069, 0xFEFF, 0x00AD, 0x034F, 0x061C,
	0x115F, 0x1160, 0x17B4, 0x180B, 0x180E, 0x3164, 0xFFA0, 0xFE00, 0xFE0F, 0xE0100, 0xE0001, 0xE0041, 0x1BCA0, 0xFFF9, // ignorable, format
	0x0080, 0x0085, 0x009B, 0x00A0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, // controls, white space
	0x0378, 0xFFFE, 0xFDD0, 0x1FFFF, 0xE000, 0xF8FF, 0x10FFFD, // unassigned, private
}

func puny(label string) string { // encodes whatever it gets
	s, err := idna.Punycode.ToASCII(label)
	if err != nil {
		panic(err)
	}
	return s
}

func TestParseEmail_refused(t *testing.T) {
	cases := refused
	for _, r := range invisible { // E4
		for _, in := range []string{"a%cb@example.com", "%ca@example.com", "a%c@example.com", "a@exam%cple.com", "a@%cexample.com", "a@example.com%c"} {
			if unicode.In(r, unicode.Cf, unicode.White_Space) && (in[0] == '%' || in[len(in)-2] == '%') {
				continue // TestParseEmail_padding
			}
			cases = append(cases, struct{ name, in string }{fmt.Sprintf("%U", r), fmt.Sprintf(in, r)})
		}
		cases = append(cases, struct{ name, in string }{fmt.Sprintf("%U in an A-label", r), "a@" + puny("b"+string(r)+"c") + ".com"})
	}
	for _, tc := range cases {
		for name, parse := range parsers {
			if name == "loosest" && slices.Contains([]string{"dot first", "dot last", "two dots", "no dot"}, tc.name) {
				continue // TestEmailParser
			}
			a, err := parse(tc.in)
			if !errors.Is(err, otp.ErrAddress) || a != (otp.Address{}) {
				t.Errorf("%s: %s(%.300q) = %q, %v; want ErrAddress", tc.name, name, tc.in, a.String(), err)
				continue
			}
			reason, ok := strings.CutPrefix(err.Error(), otp.ErrAddress.Error()+": ")
			if !ok || reason == "" || len(reason) > 80 {
				t.Errorf("%s: no reason, or a long one: %q", tc.name, err)
			}
			if len(tc.in) > 4 && strings.Contains(err.Error(), tc.in) || strings.Contains(err.Error(), "xn--") || strings.Contains(err.Error(), "evil") {
				t.Errorf("%s: the error repeats the input: %q", tc.name, err) // D2
			}
		}
	}
}

// E4: no sign vanishes from a domain: whatever is accepted beside a letter is
// still there, or stands for another.
func TestParseEmail_everyRune(t *testing.T) {
	accepted := 0
	for r := rune(0x80); r <= utf8.MaxRune; r++ {
		// These are many and alike: one of 61 will do, and of all when in haste.
		many := unicode.In(r, unicode.Hangul, unicode.Han, unicode.Tangut, unicode.Co, unicode.Cn)
		if (many || testing.Short()) && r%61 != 0 && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			continue
		}
		a, err := otp.ParseEmail("x@a" + string(r) + "b.com")
		if err != nil {
			continue
		}
		accepted++
		if a.String() == "x@ab.com" {
			t.Errorf("%U vanished", r)
		}
		if accepted%16 == 0 {
			checkAccepted(t, "x@a"+string(r)+"b.com", otp.EmailOptions{}, a)
		}
	}
	if accepted < 300 {
		t.Errorf("only %d accepted", accepted)
	}
}

func TestEmailParser_UTF8(t *testing.T) {
	for _, tc := range []struct{ in, deliver, throttle string }{
		{"jürgen@example.com", "jürgen@example.com", "jürgen@example.com"},
		{"Ärger.X+Tag@EXAMPLE.com", "Ärger.X+Tag@example.com", "Ärger.x@example.com"},
		{"用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah", "用户@xn--r8jz45g.xn--zckzah"},
		{"δοκιμή@παράδειγμα.gr", "δοκιμή@xn--hxajbheg2az3al.gr", "δοκιμή@xn--hxajbheg2az3al.gr"},
		{"हिन्दी@example.com", "हिन्दी@example.com", "हिन्दी@example.com"},
		{"אבג@example.com", "אבג@example.com", "אבג@example.com"},
		{"é.é@gmail.com", "é.é@gmail.com", "éé@gmail.com"},
		{strings.Repeat("ü", 32) + "@example.com", strings.Repeat("ü", 32) + "@example.com", strings.Repeat("ü", 32) + "@example.com"},
		// E5
		{"mıke@example.com", "mıke@example.com", "mıke@example.com"},
		{"MİKE@example.com", "MİKE@example.com", "mİke@example.com"},
		{"miſe@example.com", "miſe@example.com", "miſe@example.com"},
		{"ＡＮＮ@example.com", "ＡＮＮ@example.com", "ＡＮＮ@example.com"},
	} {
		a, err := parseUTF8(tc.in)
		if err != nil || a.String() != tc.deliver || otp.ThrottleKey(a) != tc.throttle {
			t.Errorf("UTF8: parse(%q) = %q, counted as %q, %v; want %q, %q", tc.in, a.String(), otp.ThrottleKey(a), err, tc.deliver, tc.throttle)
			continue
		}
		checkAccepted(t, tc.in, otp.EmailOptions{UTF8: true}, a)
		if a, err := otp.ParseEmail(tc.in); !errors.Is(err, otp.ErrAddress) { // E9
			t.Errorf("ParseEmail(%q) = %q, %v; want ErrAddress", tc.in, a.String(), err)
		}
	}
	for name, in := range map[string]string{
		"combining mark first":           "\u0301a@example.com",
		"combining mark after dot":       "a.\u0301b@example.com",
		"decomposed":                     "ju\u0308rgen@example.com",
		"Kelvin sign":                    "\u212Aate@example.com", // E5: NFC would make it K
		"Greek question mark":            "a\u037Eb@example.com",  // NFC would make it ;
		"replacement character":          "j\ufffdrgen@example.com",
		"65 bytes":                       strings.Repeat("ü", 32) + "a@example.com",
		"dot last":                       "ü.@example.com",
		"quoted":                         `"ü"@example.com`,
		"decomposed, made of jamo alone": "\u1112\u1161\u11ab@example.com",
	} {
		if a, err := parseUTF8(in); !errors.Is(err, otp.ErrAddress) {
			t.Errorf("%s: parse(%q) = %q, %v; want ErrAddress", name, in, a.String(), err)
		}
	}
}

// Each option accepts its own addresses, and no others.
func TestEmailParser(t *testing.T) {
	utf8Only, dotless, looseDots := otp.EmailOptions{UTF8: true}, otp.EmailOptions{Dotless: true}, otp.EmailOptions{LooseDots: true}
	for _, tc := range []struct {
		in, deliver, throttle string
		needs                 otp.EmailOptions
	}{
		{"jürgen@example.com", "jürgen@example.com", "jürgen@example.com", utf8Only},
		{"Admin@LocalHost", "Admin@localhost", "admin@localhost", dotless},
		{"a+b@intranet", "a+b@intranet", "a@intranet", dotless},
		{"a@bücher", "a@xn--bcher-kva", "a@xn--bcher-kva", dotless},
		{"a@xn--bcher-kva", "a@xn--bcher-kva", "a@xn--bcher-kva", dotless},
		{"a@x1", "a@x1", "a@x1", dotless},
		{"A..b@docomo.ne.jp", "A..b@docomo.ne.jp", "a..b@docomo.ne.jp", looseDots},
		{".a@docomo.ne.jp", ".a@docomo.ne.jp", ".a@docomo.ne.jp", looseDots},
		{"a.@docomo.ne.jp", "a.@docomo.ne.jp", "a.@docomo.ne.jp", looseDots},
		{"...a...@docomo.ne.jp", "...a...@docomo.ne.jp", "...a...@docomo.ne.jp", looseDots},
		{"a..b@gmail.com", "a..b@gmail.com", "ab@gmail.com", looseDots},
		{"..+x@gmail.com", "..+x@gmail.com", "..@gmail.com", looseDots}, // E8: never empty
		{"ü..@x", "ü..@x", "ü..@x", loosest},
	} {
		for _, o := range []otp.EmailOptions{{}, utf8Only, dotless, looseDots, {UTF8: true, Dotless: true}, {UTF8: true, LooseDots: true}, {Dotless: true, LooseDots: true}, loosest} {
			a, err := otp.EmailParser(o)(tc.in)
			if has := (o.UTF8 || !tc.needs.UTF8) && (o.Dotless || !tc.needs.Dotless) && (o.LooseDots || !tc.needs.LooseDots); !has {
				if !errors.Is(err, otp.ErrAddress) {
					t.Errorf("%+v: %q is %q, %v; want ErrAddress", o, tc.in, a.String(), err)
				}
				continue
			}
			if err != nil || a.String() != tc.deliver || otp.ThrottleKey(a) != tc.throttle {
				t.Errorf("%+v: %q is %q, counted as %q, %v; want %q, %q", o, tc.in, a.String(), otp.ThrottleKey(a), err, tc.deliver, tc.throttle)
				continue
			}
			checkAccepted(t, tc.in, o, a)
		}
	}
}

// E5: the key of an account folds the case of ASCII, and nothing else.
func TestAddress_Key(t *testing.T) {
	for in, want := range map[string]string{
		"Bob@Example.COM":            "bob@example.com",
		"bob@example.com":            "bob@example.com",
		"B.o.b+News@Gmail.com":       "b.o.b+news@gmail.com",
		"bob@googlemail.com":         "bob@googlemail.com",
		"ÄRGER@example.com":          "Ärger@example.com",
		"mıKE@example.com":           "mıke@example.com",
		"MİKE@example.com":           "mİke@example.com",
		"straße@example.com":         "straße@example.com",
		" \u200bBob@example.com\r\n": "bob@example.com",
	} {
		a, err := parseUTF8(in)
		if err != nil || a.Key() != want {
			t.Errorf("%q: Key() = %q, %v; want %q", in, a.Key(), err, want)
		}
	}
	a, err := otp.NewAddress("Bob@Corp.Example", "another")
	if err != nil || a.Key() != "bob@corp.example" {
		t.Errorf("got %q, %v", a.Key(), err)
	}
	if key := (otp.Address{}).Key(); key != "" {
		t.Errorf("the zero value has %q", key)
	}
}

// E5, E8: which spellings share a budget, and that they stay different addresses.
func TestAddress_throttle(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"ann@example.com", "ANN+x@EXAMPLE.com", true},
		{"a.n.n@gmail.com", "ann+1@googlemail.com", true},
		{"a.nn@example.com", "ann@example.com", false},
		{"ann@gmail.com", "ann@example.com", false},
		{"mike@example.com", "mıke@example.com", false},
		{"mise@example.com", "miſe@example.com", false},
		{"mike@example.com", "mİke@example.com", false},
		{"ä@example.com", "Ä@example.com", false},
		{"ss@example.com", "ß@example.com", false},
		{"+a@example.com", "+b@example.com", false},
	} {
		a, err := parseUTF8(tc.a)
		b, err2 := parseUTF8(tc.b)
		if err != nil || err2 != nil {
			t.Fatal(tc, err, err2)
		}
		if a == b || a.String() == b.String() {
			t.Errorf("%q and %q are one address", tc.a, tc.b)
		}
		if same := otp.ThrottleKey(a) == otp.ThrottleKey(b); same != tc.same {
			t.Errorf("%q and %q: shared = %v, want %v", tc.a, tc.b, same, tc.same)
		}
	}
}

func TestNewAddress(t *testing.T) {
	a, err := otp.NewAddress("+49 151 2345 67", "+4915123456 7")
	if err != nil || a.String() != "+49 151 2345 67" || otp.ThrottleKey(a) != "+4915123456 7" || a.Domain() != "" || a.Masked() != "***67" {
		t.Errorf("got %q, %q, %q, %q, %v", a.String(), otp.ThrottleKey(a), a.Domain(), a.Masked(), err)
	}
	for _, ok := range []string{"1", strings.Repeat("9", 254), "Müller", "@ann", "тест", "a@b"} {
		if _, err := otp.NewAddress(ok, ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	bad := []string{"", strings.Repeat("9", 255), " 1", "1 ", "1  2", "1\t2", "1\r\n2", "1\x002", "1\x7f2", "1\xff", "\xed\xa0\x80"}
	for _, r := range invisible {
		bad = append(bad, "1"+string(r)+"2")
	}
	for _, s := range bad {
		for _, pair := range [][2]string{{s, "1"}, {"1", s}} {
			a, err := otp.NewAddress(pair[0], pair[1])
			if !errors.Is(err, otp.ErrAddress) || a != (otp.Address{}) {
				t.Errorf("NewAddress(%q, %q) = %q, %v; want ErrAddress", pair[0], pair[1], a.String(), err)
			}
		}
	}
}

func TestAddress_Masked(t *testing.T) {
	for _, tc := range []struct{ in, masked, domain string }{
		{"ann@example.com", "a***@example.com", "example.com"},
		{"a@example.com", "a***@example.com", "example.com"},
		{"Ünal@example.com", "Ü***@example.com", "example.com"},
		{"+4915123", "***23", ""},
		{"123456", "***56", ""},
		{"12345", "***", ""},
		{"1", "***", ""},
		{"телефон", "***он", ""},
		{"телеф", "***", ""},
		{"@telegram", "***am", ""},
		{"telegram@", "***m@", ""},
		{"@", "***", ""},
	} {
		a, err := otp.NewAddress(tc.in, "x")
		if err != nil || a.Masked() != tc.masked || a.Domain() != tc.domain {
			t.Errorf("%q: %q, %q, %v; want %q, %q", tc.in, a.Masked(), a.Domain(), err, tc.masked, tc.domain)
		}
	}
	var zero otp.Address
	if zero.Masked() != "" || zero.String() != "" || zero.Domain() != "" || fmt.Sprint(zero) != "" {
		t.Error("the zero value shows something")
	}
}

// D2: only String and MarshalText show an address whole.
func TestAddress_logs(t *testing.T) {
	a, err := otp.ParseEmail("Secret.Name+x@example.com")
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ To otp.Address }
	values := []any{a, &a, holder{a}, &holder{a}, []otp.Address{a}, map[string]otp.Address{"k": a}, map[otp.Address]int{a: 1}, errors.Join(fmt.Errorf("x: %v", a))}
	for _, v := range values {
		for _, verb := range "vsqdxXbcoOUeEfFgGtz" {
			for _, flag := range []string{"", "+", "#", "-30", "30", "0", " ", ".3"} {
				out := fmt.Sprintf("%"+flag+string(verb), v)
				if lower := strings.ToLower(out); strings.Contains(lower, "ecret") || strings.Contains(lower, "name") || strings.Contains(lower, "6563726574") {
					t.Errorf("%%%s%c of %T: %s", flag, verb, v, out)
				}
			}
		}
	}
	for format, want := range map[string]string{
		"%v": "S***@example.com", "%s": "S***@example.com", "%d": "S***@example.com", "%#v": "S***@example.com", "%x": "S***@example.com",
		"%q": `"S***@example.com"`, "%20s|": "    S***@example.com|", "%-20v|": "S***@example.com    |",
	} {
		if out := fmt.Sprintf(format, a); out != want {
			t.Errorf("%s: %q, want %q", format, out, want)
		}
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("sent", "to", a, slog.Any("also", a))
		if strings.Contains(b.String(), "ecret") || !strings.Contains(b.String(), "S***@example.com") {
			t.Errorf("slog %s: %s", name, b.String())
		}
	}
	out, err := json.Marshal(holder{a})
	if err != nil || string(out) != `{"To":"Secret.Name+x@example.com"}` {
		t.Errorf("JSON: %s, %v", out, err)
	}
}

// E3: the quick way for plain ASCII domains decides as UTS 46 does.
func checkQuickDomain(t *testing.T, s string) {
	t.Helper()
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return
		}
	}
	got, err := otp.ASCIIDomain(s)
	want, slowErr := otp.IDNALookup.ToASCII(s)
	top := want[strings.LastIndexByte(want, '.')+1:]
	refuse := slowErr != nil || !strings.Contains(want, ".") || top == "" || strings.Trim(top, "0123456789") == "" ||
		strings.HasPrefix(top, "0x") && strings.Trim(top[2:], "0123456789abcdef") == ""
	if err == nil && (refuse || got != want) || err != nil && !refuse && !strings.Contains(want, "xn--") {
		t.Errorf("%q: %q, %v; UTS 46 says %q, %v", s, got, err, want, slowErr)
	}
}

func TestParseEmail_quickDomain(t *testing.T) {
	for _, tc := range refused {
		if _, domain, ok := strings.Cut(tc.in, "@"); ok && len(domain) < 1000 {
			checkQuickDomain(t, domain)
		}
	}
	// Every domain of up to five of the signs that matter, before ".c0".
	const signs = "aX0-.n_ "
	for n := range 6 {
		total := 1
		for range n {
			total *= len(signs)
		}
		for k := range total {
			b := make([]byte, 0, 8)
			for range n {
				b = append(b, signs[k%len(signs)])
				k /= len(signs)
			}
			checkQuickDomain(t, string(b))
			checkQuickDomain(t, string(b)+".c0")
		}
	}
}

// E2: told, never judged: how long a refusal of 1 MB takes.
func TestParseEmail_long(t *testing.T) {
	s := strings.Repeat("a.", 1<<19) + "@example.com"
	start := time.Now()
	if _, err := otp.ParseEmail(s); !errors.Is(err, otp.ErrAddress) {
		t.Errorf("got %v, want ErrAddress", err)
	}
	t.Logf("1 MB refused in %v", time.Since(start))
}

func BenchmarkParseEmail(b *testing.B) {
	for _, s := range []string{"ann@example.com", "Ann.Lee+news@GMail.com", "ann@bücher.example"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := otp.ParseEmail(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzParseEmail(f *testing.F) {
	seeds := 0
	add := func(s string) { f.Add(s); seeds++ }
	for _, tc := range refused {
		if len(tc.in) < 1000 {
			add(tc.in)
		}
	}
	for _, s := range []string{"Ann+x@Example.COM", "a@b。com", "a@xn--bcher-kva.example", "jürgen@bücher.example", "a.b@gmail.com", "+@x.com", "mıke@example.com", "\ufeff a＠b.com\n", "a..b@x", "..+@gmail.com"} {
		add(s)
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := otp.ParseEmail(s)
		u, utf8Err := parseUTF8(s)
		l, loosestErr := otp.EmailParser(loosest)(s)
		if err == nil {
			checkAccepted(t, s, otp.EmailOptions{}, a)
			if utf8Err != nil || u != a {
				t.Errorf("%q: the parsers differ: %q, %q, %v", s, a.String(), u.String(), utf8Err)
			}
			if again, err := otp.ParseEmail(a.String()); err != nil || again != a {
				t.Errorf("%q: %q is read as %q, %v", s, a.String(), again.String(), err)
			}
		}
		if utf8Err == nil {
			checkAccepted(t, s, otp.EmailOptions{UTF8: true}, u)
			if loosestErr != nil || l != u {
				t.Errorf("%q: the parsers differ: %q, %q, %v", s, u.String(), l.String(), loosestErr)
			}
		}
		if loosestErr == nil {
			checkAccepted(t, s, loosest, l)
		}
		for _, err := range []error{err, utf8Err, loosestErr} {
			if err != nil && !errors.Is(err, otp.ErrAddress) {
				t.Errorf("%q: %v", s, err)
			}
		}
		if _, domain, ok := strings.Cut(s, "@"); ok {
			checkQuickDomain(t, domain)
		}
		if n, err := otp.NewAddress(s, s); err == nil && (n.String() != s || !strings.Contains(n.Masked(), "***")) {
			t.Errorf("NewAddress(%q) = %q, %q", s, n.String(), n.Masked())
		}
	})
}
