// Package readme holds the code in a README.md against code that is compiled.
package readme

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var block = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")

// Blocks returns the blocks of README.md in the working directory that are in one
// of the languages.
func Blocks(t testing.TB, languages ...string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range block.FindAllStringSubmatch(string(text), -1) {
		if slices.Contains(languages, b[1]) {
			blocks = append(blocks, b[2])
		}
	}
	return blocks
}

// Check fails t unless code, such as that of the Examples, holds each of the
// blocks, white space at the ends of lines aside.
func Check(t testing.TB, code string, blocks []string) {
	t.Helper()
	if len(blocks) == 0 {
		t.Error("README.md has no code")
	}
	code = unindent(code)
	for _, b := range blocks {
		if !strings.Contains(code, unindent(b)) {
			t.Errorf("no example holds this piece of README.md:\n%s", b)
		}
	}
}

// unindent takes the white space off the lines' ends.
func unindent(code string) string {
	lines := strings.Split(code, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
