package otp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"

	"github.com/go-mailotp/otp"
)

// Whatever a sender says, the Verifier's error repeats neither the code nor the
// address, stands in one line and is short.
func FuzzMaskText(f *testing.F) {
	for _, text := range []string{"", "{code}", "<{to}> {TO} {code}{code}", "no such user {to}\r\n550 {code}", "\x00{code}\x1b[2J", "\xff{code}\xff", "\u202e{code}\u2028{to}", "\u202e", "550 {to} \u2066{code}", "{co{code}de}", "{to}{code}@{to}", strings.Repeat("{code}", 90), strings.Repeat("\x01", 300), strings.Repeat("x", 197) + "{to}"} {
		for kind := range uint8(6) {
			f.Add(text, "rcpt", kind)
			f.Add("refused", text, kind)
			f.Add(text, text, kind|24)
		}
	}
	f.Fuzz(func(t *testing.T, text, stage string, kind uint8) {
		const to = "Ann.Marker@mail.acme.example"
		code := ""
		sender := otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			code = m.Code
			echo := strings.NewReplacer("{code}", m.Code, "{to}", to, "{TO}", strings.ToUpper(to))
			words := errors.New(echo.Replace(text))
			failure := &otp.SendError{Temporary: kind&8 != 0, MaybeSent: kind&16 != 0, Stage: echo.Replace(stage), Err: words}
			switch kind % 6 {
			case 0:
				return words
			case 1:
				return fmt.Errorf("%s: %w", echo.Replace(stage), words)
			case 2:
				return errors.Join(words, failure)
			case 3:
				return fmt.Errorf("%w: %w", failure, words)
			case 4:
				failure.Err = nil
			}
			return failure
		})
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{Generator: otp.Digits(12)})
		require.NoError(t, err)
		_, err = v.Send(t.Context(), otp.Request{To: to})
		require.ErrorIs(t, err, otp.ErrSend)
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%q", err)} {
			require.NotContains(t, shown, code)
			require.NotContains(t, strings.ToLower(shown), strings.ToLower(to))
		}
		require.True(t, utf8.ValidString(err.Error()))
		require.LessOrEqual(t, len(err.Error()), 400)
		for _, r := range err.Error() {
			require.False(t, unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029', "%q", err.Error())
		}
	})
}

// The locale that a sender sees is short and made of language tags, whatever the
// browser sent.
func FuzzLocale(f *testing.F) {
	for _, header := range []string{"", "de", "de-CH, fr;q=0.9, en;q=0.8, *;q=0.5", "*", "en;q=0", "en;q=NaN", "AA,AA;q=2", "en;q=1e9", "zh-Hant-TW-u-co-phonebk-x-a-very-long-private-use", "x-only", "i-klingon", "und, mul", ",,,;;;=", "\x00\n\xff", strings.Repeat("de,", 400), strings.Repeat("a", 600)} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		seen := "unset"
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			seen = m.Locale
			return nil
		}), nil)
		require.NoError(t, err)
		_, err = v.Send(t.Context(), otp.Request{To: "a@acme.example", Locale: header})
		require.NoError(t, err, "no header is the person's fault")
		require.LessOrEqual(t, len(seen), 35)
		if seen == "" {
			return
		}
		for tag := range strings.SplitSeq(seen, ",") {
			_, err := language.Parse(tag)
			require.NoError(t, err, "%q of %q", tag, seen)
		}
		first := seen
		_, err = v.Send(t.Context(), otp.Request{To: "b@acme.example", Locale: first})
		require.NoError(t, err)
		require.Equal(t, first, seen, "what came out goes in again")
	})
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

func FuzzParseEmail(f *testing.F) {
	seeds := 0
	add := func(s string) { f.Add(s); seeds++ }
	for _, tc := range refused {
		if len(tc.in) < 1000 {
			add(tc.in)
		}
	}
	for _, s := range []string{"Ann+x@Example.COM", "a@b。com", "a@xn--bcher-kva.example", "jürgen@bücher.example", "a.b@gmail.com", "+@x.com", "mıke@example.com"} {
		add(s)
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := otp.ParseEmail(s)
		u, utf8Err := otp.ParseEmailUTF8(s)
		if err == nil {
			checkAccepted(t, s, a)
			if utf8Err != nil || u != a {
				t.Errorf("%q: the parsers differ: %q, %q, %v", s, a.String(), u.String(), utf8Err)
			}
			if again, err := otp.ParseEmail(a.String()); err != nil || again != a {
				t.Errorf("%q: %q is read as %q, %v", s, a.String(), again.String(), err)
			}
		}
		if utf8Err == nil {
			checkAccepted(t, s, u)
		}
		for _, err := range []error{err, utf8Err} {
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
