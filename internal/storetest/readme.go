package storetest

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

var codeBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// README checks that the Go code in README.md stands in example_test.go, and that
// the example prints what it should. It is called where both files are.
func README(t *testing.T, example func(), want string) {
	t.Helper()
	unindent := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(string(text), "")
	}
	examples := unindent("example_test.go")
	blocks := codeBlock.FindAllStringSubmatch(unindent("README.md"), -1)
	if len(blocks) == 0 {
		t.Error("README.md has no Go code")
	}
	for _, b := range blocks {
		if !strings.Contains(examples, b[1]) {
			t.Errorf("no example has this:\n%s", b[1])
		}
	}
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
