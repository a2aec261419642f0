package safetext_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/safetext"
)

func TestCheck(t *testing.T) { // F1
	for _, good := range []string{"", "Acme", "Müller & Söhne", "株式会社", "شركة", "👩\u200d🚀", "a\u00a0b", "\ufffd"} {
		require.NoError(t, safetext.Check(good), "%q", good)
	}
	for _, bad := range []string{
		"a\r\nBcc: x@y", "\n", "\r", "\x00", "\t", "\x7f", "\u0085", "\u009b", "\u2028", "\u2029",
		"\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "a\xff", "\xc3",
	} {
		require.Error(t, safetext.Check("x"+bad), "%q", bad)
		require.Error(t, safetext.Check(bad+"x"), "%q", bad)
	}
}

func TestCheckBesideCode(t *testing.T) { // I6
	for _, good := range []string{"", "Acme 24", "+49 30 12345 678", "12345", "2026-11-23"} {
		require.NoError(t, safetext.CheckBesideCode(good), good)
	}
	for _, bad := range []string{"123456", "call 0800123456", "\u0661\u0662\u0663\u0664\u0665\u0666", "a\nb"} {
		require.Error(t, safetext.CheckBesideCode(bad), bad)
	}
}
