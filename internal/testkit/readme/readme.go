// Package readme compares the code in a README.md with code that is compiled.
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
func Blocks(t testing.TB, languages ...string) []string {
	t.Helper()
	return BlocksOf(t, "README.md", languages...)
}

// BlocksOf is Blocks for another page.
func BlocksOf(t testing.TB, page string, languages ...string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(page)
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

// Check fails t unless code, such as that of the Examples, contains each of the
// blocks, except for white space at the ends of lines.
func Check(t testing.TB, code string, blocks []string) {
	t.Helper()
	if len(blocks) == 0 {
		t.Error("the page has no code")
	}
	code = unindent(code)
	for _, b := range blocks {
		if !strings.Contains(code, unindent(b)) {
			t.Errorf("no example contains this block of the page:\n%s", b)
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
