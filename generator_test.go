package otp_test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

const (
	digitSigns  = "0123456789"
	letterSigns = "0123456789BCDFGHJKMNPQRSTVWXYZ"
)

func TestGenerator_Generate(t *testing.T) {
	for _, tc := range []struct {
		name        string
		make        func(int) otp.Generator
		signs       string
		least, most int
	}{
		{"Digits", otp.Digits, digitSigns, 6, 12},
		{"Letters", otp.Letters, letterSigns, 5, 32},
	} {
		for n := tc.least; n <= tc.most; n++ {
			g := tc.make(n)
			seen := map[string]bool{}
			for range 200 {
				code, err := g.Generate()
				if err != nil || len(code) != n || strings.Trim(code, tc.signs) != "" {
					t.Fatalf("%s(%d): %q, %v", tc.name, n, code, err)
				}
				if back, ok := g.Normalize(code); !ok || back != code {
					t.Fatalf("%s(%d): %q is read as %q, %v", tc.name, n, code, back, ok)
				}
				seen[code] = true
			}
			if len(seen) < 195 {
				t.Errorf("%s(%d): %d different codes of 200", tc.name, n, len(seen))
			}
			if want := float64(n) * math.Log2(float64(len(tc.signs))); math.Abs(otp.GeneratorBits(g)-want) > 1e-9 {
				t.Errorf("%s(%d): %v bits, want %v", tc.name, n, otp.GeneratorBits(g), want)
			}
		}
		// A9: out of range it makes and reads nothing.
		for _, n := range []int{math.MinInt, -1, 0, 1, tc.least - 1, tc.most + 1, 64, math.MaxInt} {
			g := tc.make(n)
			code, err := g.Generate()
			if err == nil || code != "" || !strings.Contains(err.Error(), tc.name) || otp.GeneratorBits(g) != 0 {
				t.Errorf("%s(%d): %q, %v, %v bits", tc.name, n, code, err, otp.GeneratorBits(g))
			}
			for _, in := range []string{"", "1", "123456", strings.Repeat("1", max(0, min(n, 64)))} {
				if code, ok := g.Normalize(in); ok {
					t.Errorf("%s(%d): %q is read as %q", tc.name, n, in, code)
				}
			}
		}
	}
	// The strong codes stay above the 64 bits from which no rate limit is needed.
	if bits := otp.GeneratorBits(otp.Letters(14)); bits < 68.6 || bits > 68.8 {
		t.Errorf("Letters(14): %v bits", bits)
	}
}

// A2, A3: which random bytes become which symbols.
func TestGenerator_pick(t *testing.T) {
	for _, tc := range []struct {
		random []byte
		signs  string
		room   int
		want   string
	}{
		{[]byte{0, 10, 100, 250, 4, 2}, digitSigns, 6, "00042"}, // 250 is dropped, zeros are kept
		{[]byte{0, 0, 0, 0, 4, 2, 7}, digitSigns, 6, "000042"},
		{[]byte{249, 250, 251, 252, 253, 254, 255, 9}, digitSigns, 6, "99"},
		{[]byte{29, 30, 239, 240, 255, 10}, letterSigns, 6, "Z0ZB"},
		{nil, digitSigns, 6, ""},
		{[]byte{1, 2}, digitSigns, 0, ""},
	} {
		dst := make([]byte, tc.room)
		if n := otp.Pick(dst, tc.random, tc.signs); string(dst[:n]) != tc.want {
			t.Errorf("%v of %s: %q, want %q", tc.random, tc.signs, dst[:n], tc.want)
		}
	}
	// Each symbol for exactly as many of the 256 bytes.
	for signs, each := range map[string]int{digitSigns: 25, letterSigns: 8} {
		count := map[byte]int{}
		for b := range 256 {
			dst := make([]byte, 1)
			if otp.Pick(dst, []byte{byte(b)}, signs) == 1 {
				count[dst[0]]++
			}
		}
		for _, c := range []byte(signs) {
			if count[c] != each {
				t.Errorf("%c of %s: for %d bytes, want %d", c, signs, count[c], each)
			}
		}
	}
}

// A2: chi-square. The thresholds are those of p = 1e-6.
func TestGenerator_uniform(t *testing.T) {
	threshold := map[int]float64{10: 44.81, 30: 80.44, 100: 180.79} // by number of buckets
	check := func(what string, counts []int) {
		t.Helper()
		total := 0
		for _, c := range counts {
			total += c
		}
		want, chi := float64(total)/float64(len(counts)), 0.0
		for _, c := range counts {
			chi += (float64(c) - want) * (float64(c) - want) / want
		}
		if chi > threshold[len(counts)] {
			t.Errorf("%s: chi-square %.1f over %d buckets, at most %.1f", what, chi, len(counts), threshold[len(counts)])
		}
	}
	draws := 1_000_000
	if testing.Short() {
		draws = 100_000
	}
	for _, tc := range []struct {
		name, signs string
		g           otp.Generator
		n, draws    int
	}{
		{"Digits(6)", digitSigns, otp.Digits(6), 6, draws},
		{"Letters(14)", letterSigns, otp.Letters(14), 14, draws / 4},
	} {
		var index [256]int
		for i, c := range []byte(tc.signs) {
			index[c] = i
		}
		positions := make([][30]int, tc.n)
		var pairs [100]int
		for range tc.draws {
			code, err := tc.g.Generate()
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.n {
				positions[i][index[code[i]]]++
			}
			if tc.signs == digitSigns {
				pairs[index[code[0]]*10+index[code[1]]]++
			}
		}
		for i := range positions {
			check(tc.name+", position "+strconv.Itoa(i), positions[i][:len(tc.signs)])
		}
		if tc.signs == digitSigns {
			check(tc.name+", first two", pairs[:])
		}
	}
}

// A1: nothing in the repository but tests, and the simulated people of an example,
// imports a random source that can be guessed.
func TestGenerator_imports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.ToSlash(path) == "examples/analytics/traffic/traffic.go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if name == "math/rand" || strings.HasPrefix(name, "math/rand/") {
				t.Errorf("%s imports %s", path, name)
			}
			if path == "generator.go" && name == "crypto/rand" {
				seen++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != 1 {
		t.Error("generator.go was not seen to import crypto/rand")
	}
}

var normalizeCases = []struct {
	name, in        string
	digits, digits8 string // what Digits(6) and Digits(8) make of it; empty = no code
	letters         string // what Letters(6) makes of it
}{
	// H1
	{"plain", "123456", "123456", "", "123456"},
	{"leading zeros", "000042", "000042", "", "000042"}, // A3
	{"space", "123 456", "123456", "", "123456"},
	{"spaces everywhere", " 1 2  3 4 5 6 ", "123456", "", "123456"},
	{"no-break space", "123\u00a0456", "123456", "", "123456"},
	{"thin and narrow spaces", "12\u200934\u202f56", "123456", "", "123456"},
	{"ideographic space", "123\u3000456", "123456", "", "123456"},
	{"next line, line separator", "123\u0085456\u2028", "123456", "", "123456"},
	{"newline", " 123456\r\n", "123456", "", "123456"},
	{"tabs", "\t123\v456\f", "123456", "", "123456"},
	{"hyphen", "123-456", "123456", "", "123456"},
	{"dashes", "12\u201034\u201356\u2014", "123456", "", "123456"},
	{"wave dash, small hyphen, full-width hyphen", "1\u301c2\ufe633\uff0d456", "123456", "", "123456"},
	{"minus", "123\u2212456", "123456", "", "123456"},
	{"dots", "123.456.", "123456", "", "123456"},
	{"underscores", "12_34_56", "123456", "", "123456"},
	{"isolates", "\u2066123456\u2069", "123456", "", "123456"},
	{"bidi marks", "\u200e123\u200f456\u061c\u202c", "123456", "", "123456"},
	{"zero width", "\ufeff1\u200b2\u200c3\u200d4\u20605\u00ad6", "123456", "", "123456"},
	{"bytes to the limit", "123456" + strings.Repeat(" ", 58), "123456", "", "123456"},

	{"empty", "", "", "", ""},
	{"blank", " ", "", "", ""},
	{"one digit", "0", "", "", ""}, // A7
	{"five", "12345", "", "", ""},
	{"seven", "1234567", "", "", ""},
	{"eight", "12345678", "", "12345678", ""},
	{"null", "null", "", "", ""},
	{"undefined", "undefined", "", "", ""},
	{"letter inside", "123a456", "", "", ""},
	{"sentence", "Your code is 123 456", "", "", ""},
	{"labelled", "Code: 123456", "", "", ""},
	{"plus", "+123456", "", "", ""},
	{"comma", "123,456", "", "", ""},
	{"slash", "123/456", "", "", ""},
	{"quotes", `"123456"`, "", "", ""},
	{"hash", "#123456", "", "", ""},
	{"exponent", "123e45", "", "", ""},
	{"hex", "0x1234", "", "", "0X1234"},
	{"NUL", "123456\x00", "", "", ""},
	{"NUL inside", "123\x00456", "", "", ""},
	{"escape", "\x1b123456", "", "", ""},
	{"DEL", "123456\x7f", "", "", ""},
	{"bad UTF-8", "123456\xff", "", "", ""},
	{"bad UTF-8 inside", "123\xc0456", "", "", ""},
	{"surrogate", "123456\xed\xa0\x80", "", "", ""},
	{"overlong zero", "\xc0\xb012345", "", "", ""},
	{"replacement character", "123456\ufffd", "", "", ""},
	{"65 bytes", "123456" + strings.Repeat(" ", 59), "", "", ""}, // B7
	{"1 MB", strings.Repeat("1", 1<<20), "", "", ""},
	{"combining mark", "123456\u0301", "", "", ""},
	{"keycap", "123456\u20e3", "", "", ""},

	// H2
	{"Arabic-Indic", "٠١٢٣٤٥", "012345", "", "012345"},
	{"Extended Arabic-Indic", "۴۵۶۷۸۹", "456789", "", "456789"},
	{"Devanagari", "१२३४५६", "123456", "", "123456"},
	{"full-width", "１２３４５６", "123456", "", "123456"},
	{"NKo", "߁߂߃߄߅߆", "123456", "", "123456"},
	{"mathematical", "𝟏𝟚𝟥𝟰𝟻𝟎", "123450", "", "123450"},
	{"mixed", "1٢३４𝟻߆", "123456", "", "123456"},
	{"superscripts", "12345\u00b2", "", "", ""},
	{"superscript three", "³³³³³³", "", "", ""},
	{"subscript", "12345₆", "", "", ""},
	{"circled", "①②③④⑤⑥", "", "", ""},
	{"parenthesised", "12345⑶", "", "", ""},
	{"digit full stop", "12345⒍", "", "", ""},
	{"Han", "一二三四五六", "", "", ""},
	{"Roman", "12345Ⅵ", "", "", ""},
	{"half", "12345½", "", "", ""},
	{"Ethiopic", "፩፪፫፬፭፮", "", "", ""},

	// A10
	{"letters", "BCDFGH", "", "", "BCDFGH"},
	{"small letters", "bcdfgh", "", "", "BCDFGH"},
	{"look-alikes", "OoIiLl", "", "", "001111"},
	{"look-alikes for digits", "12345O", "", "", "123450"},
	{"grouped", "bcd-FGH", "", "", "BCDFGH"},
	{"full-width letters", "ＢｃＤｏｌ９", "", "", "BCD019"},
	{"vowel A", "BCDFGA", "", "", ""},
	{"vowel e", "bcdfge", "", "", ""},
	{"vowel U", "BCDFGU", "", "", ""},
	{"full-width A", "BCDFGＡ", "", "", ""},
	{"Kelvin sign", "BCDFG\u212a", "", "", ""},
	{"long s", "bcdfg\u017f", "", "", ""},
	{"dotless i", "12345\u0131", "", "", ""},
	{"dotted I", "12345\u0130", "", "", ""},
	{"Cyrillic", "BСDFGH", "", "", ""},
	{"Greek", "ΒCDFGH", "", "", ""},
	{"mathematical letter", "BCDFG𝐇", "", "", ""},
	{"around the letters", "BCDFG@", "", "", ""},
	{"around the small letters", "BCDFG`", "", "", ""},
	{"around full-width", "BCDFG\uff20", "", "", ""},
	{"around full-width Z", "BCDFG\uff3b", "", "", ""},
	{"around full-width a", "BCDFG\uff40", "", "", ""},
	{"around full-width z", "BCDFG\uff5b", "", "", ""},
}

func TestGenerator_Normalize(t *testing.T) { // A10
	for _, tc := range normalizeCases {
		for _, c := range []struct {
			name, want string
			g          otp.Generator
		}{{"Digits(6)", tc.digits, otp.Digits(6)}, {"Digits(8)", tc.digits8, otp.Digits(8)}, {"Letters(6)", tc.letters, otp.Letters(6)}} {
			if code, ok := c.g.Normalize(tc.in); ok != (c.want != "") || code != c.want {
				t.Errorf("%s: %s reads %.80q as %q, %v; want %q", tc.name, c.name, tc.in, code, ok, c.want)
			}
		}
	}
}

// H1: every white space, dash and format mark of Unicode is dropped, and no
// other sign is.
func TestGenerator_fillers(t *testing.T) {
	g := otp.Digits(6)
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) || unicode.Is(unicode.Nd, r) {
			continue
		}
		if (r >= 0x20000 && r < 0xE0000 || r >= 0xE1000) && r%101 != 0 {
			continue // Han, unassigned and private: alike
		}
		want := strings.ContainsRune("\u2212._", r) || unicode.In(r, unicode.White_Space, unicode.Pd, unicode.Cf)
		if _, ok := g.Normalize("123" + string(r) + "456"); ok != want {
			t.Errorf("%U: %v, want %v", r, ok, want)
		}
	}
}

// zeros are the zero digits of Unicode 15, by its own numeric values.
var zeros = []rune{
	0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50, 0x0ED0, 0x0F20,
	0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0,
	0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730,
	0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16A60, 0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140,
	0x1E2F0, 0x1E4F0, 0x1E950, 0x1FBF0,
}

// H2
func TestGenerator_everyDigit(t *testing.T) {
	g := otp.Digits(6)
	for _, zero := range zeros {
		for d := range rune(10) {
			if code, ok := g.Normalize("12345" + string(zero+d)); !ok || code != "12345"+string('0'+d) {
				t.Errorf("%U: %q, %v; want the digit %d", zero+d, code, ok, d)
			}
		}
	}
	// What the arithmetic rests on, also for later versions of Unicode.
	ranges, digits := 0, 0
	inspect := func(lo, hi, stride rune) {
		ranges++
		digits += int(hi - lo + 1)
		if stride != 1 || (hi-lo+1)%10 != 0 {
			t.Errorf("range %U to %U by %d is not made of tens", lo, hi, stride)
		}
		if code, _ := g.Normalize("12345" + string(lo)); code != "123450" {
			t.Errorf("range %U begins with %q, not with a zero", lo, code)
		}
	}
	for _, r := range unicode.Nd.R16 {
		inspect(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range unicode.Nd.R32 {
		inspect(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	if ranges < 64 || digits < 10*len(zeros) {
		t.Errorf("%d ranges with %d digits, want at least 64 with %d", ranges, digits, 10*len(zeros))
	}
	if unicode.Version == "15.0.0" && (ranges != 64 || digits != 10*len(zeros)) {
		t.Errorf("%d ranges with %d digits, want 64 with %d", ranges, digits, 10*len(zeros))
	}
}

// Many goroutines may use one Generator; the race detector watches.
func TestGenerator_concurrent(t *testing.T) {
	for _, g := range []otp.Generator{otp.Digits(6), otp.Letters(14)} {
		done := make(chan []byte)
		for range 8 {
			go func() {
				var all bytes.Buffer
				for range 200 {
					code, _ := g.Generate()
					back, _ := g.Normalize(strings.ToLower(code))
					if code == back {
						all.WriteString(back)
					}
				}
				done <- all.Bytes()
			}()
		}
		one, _ := g.Generate()
		for range 8 {
			if got := len(<-done); got != 200*len(one) {
				t.Errorf("%d bytes of codes, want %d", got, 200*len(one))
			}
		}
	}
}

func BenchmarkGenerator(b *testing.B) {
	for _, tc := range []struct {
		name, input string
		g           otp.Generator
	}{{"Digits6", "123 456", otp.Digits(6)}, {"Letters14", "bcdfg-hjkm-npqrs", otp.Letters(14)}} {
		b.Run(tc.name+"/Generate", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tc.g.Generate(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(tc.name+"/Normalize", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := tc.g.Normalize(tc.input); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}

// Challenge.Letters goes by the generator and not by the code, which may have no
// letter by chance.
func TestChallenge_Letters(t *testing.T) {
	own := struct{ otp.Generator }{otp.Digits(6)}
	for _, c := range []struct {
		short, strong otp.Generator
		want          [2]bool // short, strong
	}{
		{nil, nil, [2]bool{false, true}},
		{otp.Digits(8), otp.Letters(20), [2]bool{false, true}},
		{otp.Letters(6), nil, [2]bool{true, true}},
		{own, nil, [2]bool{true, true}},
	} {
		r := newRig(t, otp.Options{Generator: c.short, StrongGenerator: c.strong, Guesses: 10, Sends: []otp.Limit{{N: 10, Per: time.Hour}}})
		ch, code := r.ask(otp.Request{To: bob})
		require.Equal(t, c.want[0], ch.Letters)
		for !ch.Strong { // until the budget of the address is spent
			for range ch.GuessesLeft {
				r.Check(ctx, ch.ID, testkit.WrongCode(code))
			}
			ch, code = r.ask(otp.Request{To: bob})
		}
		ch, _ = r.ask(otp.Request{To: bob})
		require.True(t, ch.Strong)
		require.Equal(t, c.want[1], ch.Letters)
	}
}

func FuzzNormalize(f *testing.F) {
	seeds := 0
	for _, tc := range normalizeCases {
		if len(tc.in) < 200 {
			f.Add(tc.in)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, in string) {
		for n := range 34 {
			for _, c := range []struct {
				g     otp.Generator
				signs string
			}{{otp.Digits(n), digitSigns}, {otp.Letters(n), letterSigns}} {
				code, ok := c.g.Normalize(in)
				if !ok {
					if code != "" {
						t.Errorf("%q is refused as %q", in, code)
					}
					continue
				}
				if len(in) > 64 || !utf8.ValidString(in) || len(code) != n || strings.Trim(code, c.signs) != "" {
					t.Errorf("%q is read as %q", in, code)
				}
				if again, ok := c.g.Normalize(code); !ok || again != code {
					t.Errorf("%q is read as %q and that as %q", in, code, again)
				}
			}
		}
	})
}
