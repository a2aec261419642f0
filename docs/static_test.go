package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A6: nothing secret is compared but in constant time. What decides on codes,
// IDs and tokens has no other way to compare bytes or strings in it, but for
// emptiness and the purpose.
func TestConstantTime(t *testing.T) {
	files := []string{"verifier.go", "internal/ledger/rules.go", "internal/seal/seal.go", "internal/seal/token.go"}
	secretive := func(name string) bool {
		switch strings.ToLower(name) {
		case "code", "nonce", "typed", "sum", "mac", "id", "token", "deliver":
			return true
		}
		return false
	}
	constantTime := 0
	for _, path := range files {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
					pkg, _ := sel.X.(*ast.Ident)
					name := sel.Sel.Name
					if pkg != nil {
						name = pkg.Name + "." + name
					}
					switch name {
					case "bytes.Equal", "bytes.Compare", "strings.EqualFold", "strings.Compare", "slices.Equal", "reflect.DeepEqual":
						t.Errorf("%s: %s", fset.Position(n.Pos()), name)
					case "subtle.ConstantTimeCompare", "hmac.Equal":
						constantTime++
					}
				}
			case *ast.BinaryExpr:
				if n.Op != token.EQL && n.Op != token.NEQ {
					return true
				}
				if lit, ok := n.Y.(*ast.BasicLit); ok && lit.Value == `""` {
					return true
				}
				for _, side := range []ast.Expr{n.X, n.Y} {
					name := ""
					switch e := side.(type) {
					case *ast.Ident:
						name = e.Name
					case *ast.SelectorExpr:
						name = e.Sel.Name
					case *ast.IndexExpr, *ast.SliceExpr:
						name = "sum"
					}
					if secretive(name) {
						t.Errorf("%s: %s compared with %s", fset.Position(n.Pos()), name, n.Op)
					}
				}
			}
			return true
		})
	}
	require.GreaterOrEqual(t, constantTime, 6)
}

// D4: go-smtp's DebugWriter, which copies passwords and codes, is never set.
func TestNoDebugWriter(t *testing.T) {
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(text), "DebugWriter", path)
	}
}

// J19: every example ends by SIGTERM as it ends by Ctrl-C, and no body keeps a
// connection for ever.
func TestExamples_ends(t *testing.T) {
	servers := 0
	for _, path := range goFiles(t) {
		if !strings.HasPrefix(path, "examples/") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "signal.NotifyContext(") {
				require.Contains(t, line, "syscall.SIGTERM", path)
			}
			require.NotContains(t, line, "http.ListenAndServe", path)
			if strings.Contains(line, "http.Server{") {
				servers++
				require.Contains(t, line, " ReadTimeout: ", path)
			}
		}
	}
	require.Greater(t, servers, 4)
}
