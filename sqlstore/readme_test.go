package sqlstore_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/sqlstore"
)

// The README's Go stands in an Example, and its SQL is what Schema gives.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	text := unindent(string(examples))
	for _, d := range dialects {
		s, err := sqlstore.New(openAt(t, newFile(t)), d, nil)
		require.NoError(t, err)
		text += unindent(s.Schema())
	}
	blocks := regexp.MustCompile("(?s)```(go|sql)\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, blocks, 6)
	for _, block := range blocks {
		require.Contains(t, text, unindent(block[2]))
	}
}

// unindent takes the white space off the lines' ends.
func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
