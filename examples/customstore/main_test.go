package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The test binary acts as the program when demo starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "send" || os.Args[1] == "check") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, nil, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	order := regexp.MustCompile(`(?s)code for a\*\*\*@.*guesses left: 4\n.*guesses left: 3\n.*verified: ann@example.com\n.*no such challenge\n$`)
	if !order.MatchString(out.String()) {
		t.Error(out.String())
	}
}

func TestUsage(t *testing.T) {
	t.Setenv("OTP_SECRET", "73656372657g")
	for _, args := range [][]string{{"send"}, {"guess", "f"}, {"check"}, {"send", "f", "ann@example.com"}} {
		err := run(t.Context(), args, strings.NewReader("id\ncode\n"), nil)
		if err == nil || strings.Contains(err.Error(), "7365") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
