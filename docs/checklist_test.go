package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/checklist.md")

var rowID = regexp.MustCompile(`\b[A-J][0-9]{1,2}\b`)

// docs/checklist.md lists every requirement with the tests that name it, or the
// reason why there is none. Regenerate it with: go test ./docs -run TestChecklist -update
func TestChecklist(t *testing.T) {
	rows, err := os.ReadFile("docs/checklist.tsv")
	require.NoError(t, err)
	tests := testsByRow(t)
	var b strings.Builder
	b.WriteString("# Checklist\n\nThis page lists what a library for mailed codes must do, and the tests that cite each row. It is generated\n" +
		"from [checklist.tsv](checklist.tsv) and the comments of the tests; `TestChecklist` keeps it up to date.\n\n" +
		"| row | level | requirement | tests | notes |\n|---|---|---|---|---|\n")
	seen := map[string]bool{}
	for line := range strings.Lines(string(rows)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, fields, 4, line)
		id, note := fields[0], fields[3]
		require.False(t, seen[id], id)
		seen[id] = true
		names := slices.Sorted(maps.Keys(tests[id]))
		if len(names) == 0 && note == "" {
			t.Errorf("row %s has no test and no reason", id)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", id, fields[1], fields[2], strings.Join(names, ", "), note)
	}
	for id := range tests {
		if !seen[id] {
			t.Errorf("tests cite %s, which is not a row", id)
		}
	}
	const file = "docs/checklist.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	have, err := os.ReadFile(file)
	require.NoError(t, err)
	if string(have) != b.String() {
		t.Error(file, "is out of date; run: go test ./docs -run TestChecklist -update")
	}
}

// testsByRow finds the rows that the comments on and in each test name.
func testsByRow(t *testing.T) map[string]map[string]bool {
	tests := map[string]map[string]bool{}
	for _, file := range goFiles(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			from := fn.Pos()
			if fn.Doc != nil {
				from = fn.Doc.Pos()
			}
			for _, comment := range parsed.Comments {
				if comment.Pos() < from || comment.End() > fn.End()+80 || comment.Pos() > fn.End() {
					continue
				}
				for _, id := range rowID.FindAllString(comment.Text(), -1) {
					if tests[id] == nil {
						tests[id] = map[string]bool{}
					}
					name := fn.Name.Name
					if dir := path.Dir(file); dir != "." {
						name = dir + "." + name
					}
					tests[id][name] = true
				}
			}
		}
	}
	return tests
}
