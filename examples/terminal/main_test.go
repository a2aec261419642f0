package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// talk runs the conversation; answer gets what was shown since the last answer
// and returns the next line to type, or "" to close the input.
func talk(t *testing.T, answer func(shown string) string) (all string, err error) {
	t.Helper()
	t.Setenv("OTP_SMTP_URL", "")
	t.Setenv("OTP_FROM", "")
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(context.Background(), inR, outW)
		outW.Close()
	}()
	var whole, since bytes.Buffer
	for r := bufio.NewReader(outR); ; {
		b, err := r.ReadByte()
		if err != nil {
			break
		}
		whole.WriteByte(b)
		since.WriteByte(b)
		if shown := since.String(); strings.HasSuffix(shown, "E-mail address: ") || strings.HasSuffix(shown, "quit): ") {
			since.Reset()
			line := answer(shown)
			if line == "" {
				inW.Close()
				continue
			}
			go io.WriteString(inW, line+"\n")
		}
	}
	return whole.String(), <-done
}

var codeInMail = regexp.MustCompile(`(?m)^\| (\d{6})$`)

func TestTerminal(t *testing.T) {
	var code string
	step := 0
	shown, err := talk(t, func(shown string) string {
		if m := codeInMail.FindStringSubmatch(shown); m != nil {
			code = m[1]
		}
		step++
		switch step {
		case 1:
			return "bob"
		case 2:
			return " Bob@Example.com "
		case 3:
			return "12345"
		case 4:
			if code == "000000" {
				return "000001"
			}
			return "000000"
		case 5:
			return "resend"
		}
		return code[:3] + " " + code[3:]
	})
	require.NoError(t, err, shown)
	for _, want := range []string{
		"the @ is missing", "To: Bob@example.com", "on its way to B***@example.com", "A code has 6 digits",
		"Guesses left: 4", "Please wait 1m0s", "Verified: Bob@example.com is yours.",
	} {
		require.Contains(t, shown, want)
	}
}

func TestTerminal_exhausted(t *testing.T) {
	step := 0
	var code string
	shown, err := talk(t, func(shown string) string {
		if m := codeInMail.FindStringSubmatch(shown); m != nil {
			code = m[1]
		}
		step++
		switch {
		case step == 1:
			return "bob@example.com"
		case step < 8: // six wrong ones
			if code[0] == '0' {
				return "1" + code[1:]
			}
			return "0" + code[1:]
		}
		return "quit"
	})
	require.ErrorIs(t, err, errGaveUp)
	require.Contains(t, shown, "it was the last guess")
	require.Contains(t, shown, "This code can no longer be used (no guesses left for this code)")
}

func TestTerminal_endOfInput(t *testing.T) {
	_, err := talk(t, func(string) string { return "" })
	require.ErrorIs(t, err, errGaveUp)
}

func TestTerminal_halfConfigured(t *testing.T) {
	t.Setenv("OTP_SMTP_URL", "smtps://u:secret@127.0.0.1:1")
	t.Setenv("OTP_FROM", "")
	err := run(context.Background(), strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, "neither")
	t.Setenv("OTP_FROM", "a@example.com")
	err = run(context.Background(), strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, "connect", "nobody listens there, and that is said at once")
	require.NotContains(t, err.Error(), "secret")
}
