package sqlstore_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/readme"
	"github.com/go-mailotp/otp/sqlstore"
)

// The Go code of the README is in an example, and its SQL is that of Schema.
func TestREADME(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	for _, d := range dialects {
		s, err := sqlstore.New(openAt(t, newFile(t)), d, nil)
		require.NoError(t, err)
		code = append(code, s.Schema()...)
	}
	blocks := readme.Blocks(t, "go", "sql")
	require.Len(t, blocks, 6)
	readme.Check(t, string(code), blocks)
}
