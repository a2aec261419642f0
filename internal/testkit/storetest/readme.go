package storetest

import (
	"io"
	"os"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit/readme"
)

// README checks that example_test.go contains the Go code of README.md, and that
// the example prints want. The test must run in the folder of both files.
func README(t *testing.T, example func(), want string) {
	t.Helper()
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme.Check(t, string(examples), readme.Blocks(t, "go"))
	if got := printed(t, example); got != want {
		t.Errorf("the example printed %q, want %q", got, want)
	}
}

// printed runs f and returns what it printed.
func printed(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	f()
	w.Close()
	text, _ := io.ReadAll(r)
	return string(text)
}
