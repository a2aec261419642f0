package letter_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/letter"
)

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"short":          {"a b\n", "a b\n"},
		"empty lines":    {"\n\na\n", "\n\na\n"},
		"no end":         {"a", "a"},
		"exactly":        {strings.Repeat("x", 72) + "\n", strings.Repeat("x", 72) + "\n"},
		"at a space":     {strings.Repeat("x", 70) + " yyy\n", strings.Repeat("x", 70) + "\nyyy\n"},
		"fits":           {strings.Repeat("x", 70) + " y\n", strings.Repeat("x", 70) + " y\n"},
		"long word":      {"a " + strings.Repeat("x", 80) + " b\n", "a\n" + strings.Repeat("x", 80) + "\nb\n"},
		"many spaces":    {strings.Repeat("x", 71) + "    y\n", strings.Repeat("x", 71) + "\ny\n"},
		"indented":       {"  " + strings.Repeat("x", 80) + "\n", "  " + strings.Repeat("x", 80) + "\n"},
		"no-break space": {strings.Repeat("x", 60) + " " + "a\u00a0" + strings.Repeat("y", 20) + "\n", strings.Repeat("x", 60) + "\na\u00a0" + strings.Repeat("y", 20) + "\n"},
		"accents":        {strings.Repeat("e\u0301", 72) + "\n", strings.Repeat("e\u0301", 72) + "\n"},
		"two columns":    {strings.Repeat("字", 37) + "\n", strings.Repeat("字", 36) + "\n字\n"},
		"full stop":      {strings.Repeat("字", 36) + "。字\n", strings.Repeat("字", 35) + "\n字。字\n"},
		"opening":        {strings.Repeat("字", 35) + "「字\n", strings.Repeat("字", 35) + "\n「字\n"},
		"long vowel":     {strings.Repeat("カ", 35) + "コード\n", strings.Repeat("カ", 35) + "\nコード\n"},
		"number":         {strings.Repeat("字", 34) + "123456分字字\n", strings.Repeat("字", 34) + "\n123456分字字\n"},
		"unit":           {strings.Repeat("字", 34) + "1234分\n", strings.Repeat("字", 34) + "\n1234分\n"},
		"wide number":    {strings.Repeat("字", 35) + "１２３字\n", strings.Repeat("字", 35) + "\n１２３字\n"},
		"currency":       {strings.Repeat("字", 35) + "￥500\n", strings.Repeat("字", 35) + "\n￥500\n"},
		"Latin brand":    {strings.Repeat("字", 34) + "Example字\n", strings.Repeat("字", 34) + "\nExample字\n"},
		"voiced mark":    {strings.Repeat("字", 35) + "か\u3099か\u3099\n", strings.Repeat("字", 35) + "か\u3099\nか\u3099\n"},
		"emoji":          {strings.Repeat("字", 35) + "👩\u200d🚀字\n", strings.Repeat("字", 35) + "\n👩\u200d🚀字\n"},
		"Korean":         {strings.Repeat("가", 30) + " " + strings.Repeat("나", 10) + "\n", strings.Repeat("가", 30) + "\n" + strings.Repeat("나", 10) + "\n"},
		"Korean name":    {strings.Repeat("가", 40) + "\n", strings.Repeat("가", 36) + "\n" + strings.Repeat("가", 4) + "\n"},
		"Thai spaces":    {strings.Repeat("ก", 60) + " " + strings.Repeat("ข", 20) + "\n", strings.Repeat("ก", 60) + "\n" + strings.Repeat("ข", 20) + "\n"},
		"Thai":           {strings.Repeat("ก", 71) + "เก\n", strings.Repeat("ก", 71) + "\nเก\n"},
		"Thai marks":     {strings.Repeat("ที่", 73) + "\n", strings.Repeat("ที่", 72) + "\nที่\n"},
		"Thai am":        {strings.Repeat("ก", 71) + "กำ\n", strings.Repeat("ก", 71) + "\nกำ\n"},
		"Khmer":          {strings.Repeat("ក", 71) + "ស្ត\n", strings.Repeat("ក", 71) + "\nស្ត\n"},
		"isolate":        {strings.Repeat("א", 60) + " \u2068one two three four five\u2069 ב\n", strings.Repeat("א", 60) + " \u2068one two\u2069\n\u2068three four five\u2069 ב\n"},
		"long isolate": {
			"\u2068" + strings.Repeat(strings.Repeat("x", 50)+" ", 3) + "y\u2069 ב\n",
			strings.Repeat("\u2068"+strings.Repeat("x", 50)+"\u2069\n", 2) + "\u2068" + strings.Repeat("x", 50) + " y\u2069 ב\n",
		},
	} {
		require.Equal(t, c.want, letter.Wrap(c.in), name)
	}
	long := strings.Repeat("y", 1<<20)
	require.Equal(t, long, letter.Wrap(long), "in time that does not grow with the square")
}

var numbers = regexp.MustCompile(`\p{Nd}+`)

// bare is s without what wrapping may change: spaces, line ends, isolates.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \n\u2066\u2068\u2069", r) {
			return -1
		}
		return r
	}, s)
}

// checkWrapped checks what wrapping may never do to a text.
func checkWrapped(t *testing.T, text, wrapped string) {
	t.Helper()
	require.Equal(t, bare(text), bare(wrapped))
	require.Equal(t, numbers.FindAllString(text, -1), numbers.FindAllString(wrapped, -1))
	var last rune
	for i, r := range wrapped {
		if last == '\n' && i > 0 && !strings.Contains(text, "\n"+string(r)) && unicode.Is(unicode.Mn, r) {
			require.Failf(t, "a line begins with a mark", "%q", wrapped)
		}
		last = r
	}
	for line := range strings.SplitSeq(wrapped, "\n") {
		if line = strings.Trim(line, " "); columnsOf(line) > 72 {
			require.NotRegexp(t, `[^ ]+ +[^ ]`, line, "a long line with a space in it")
			require.NotRegexp(t, `\p{Han}\p{Han}`, line)
			require.NotRegexp(t, `[ก-ฮ][ก-ฮ]`, line)
		}
	}
}

func FuzzWrap(f *testing.F) {
	for _, s := range []string{"a b", strings.Repeat("word ", 40), strings.Repeat("字", 90), "x\u2068" + strings.Repeat("שלום 12 ", 20) + "\u2069.", strings.Repeat("ที่เก่า", 30)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		checkWrapped(t, s, letter.Wrap(s))
	})
}
