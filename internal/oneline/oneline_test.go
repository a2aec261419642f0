package oneline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/oneline"
)

func TestCheck(t *testing.T) { // F1
	for _, good := range []string{"", "Acme", "Müller & Söhne", "株式会社", "شركة", "👩\u200d🚀", "a\u00a0b", "\ufffd"} {
		require.NoError(t, oneline.Check(good), "%q", good)
	}
	for _, bad := range []string{
		"a\r\nBcc: x@y", "\n", "\r", "\x00", "\t", "\x7f", "\u0085", "\u009b", "\u2028", "\u2029",
		"\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c", "a\xff", "\xc3",
	} {
		require.Error(t, oneline.Check("x"+bad), "%q", bad)
		require.Error(t, oneline.Check(bad+"x"), "%q", bad)
	}
}
