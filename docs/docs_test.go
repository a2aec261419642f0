package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/readme"
	"github.com/go-mailotp/otp/smtpsender"
)

// The tests of this package read the repository from its root.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Every exported name, field and interface method of every importable package
// is documented.
func TestDocumented(t *testing.T) {
	fset := token.NewFileSet()
	names := 0
	missing := func(pos token.Pos, name string) { t.Errorf("%s: %s has no comment", fset.Position(pos), name) }
	for _, path := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "examples/") || strings.Contains("/"+path, "/internal/") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		if file.Name.Name == "main" {
			continue
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
					names++
					if d.Doc.Text() == "" {
						missing(d.Pos(), d.Name.Name)
					}
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					var idents []*ast.Ident
					doc := ""
					switch s := spec.(type) {
					case *ast.ValueSpec:
						idents, doc = s.Names, s.Doc.Text()+s.Comment.Text()
					case *ast.TypeSpec:
						idents, doc = []*ast.Ident{s.Name}, s.Doc.Text()
						if s.Name.IsExported() {
							names += fields(s, missing)
						}
					}
					if len(d.Specs) == 1 {
						doc += d.Doc.Text()
					}
					for _, id := range idents {
						if id.IsExported() {
							names++
							if doc == "" {
								missing(id.Pos(), id.Name)
							}
						}
					}
				}
			}
		}
	}
	require.Greater(t, names, 150, "the walk has lost its way")
}

func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	return typ.(*ast.Ident).Name
}

// fields checks the fields and methods of an exported type.
func fields(s *ast.TypeSpec, missing func(token.Pos, string)) (names int) {
	var list []*ast.Field
	switch typ := s.Type.(type) {
	case *ast.StructType:
		list = typ.Fields.List
	case *ast.InterfaceType:
		list = typ.Methods.List
	}
	for _, f := range list {
		for _, id := range f.Names {
			if id.IsExported() {
				names++
				if doc := f.Doc.Text() + f.Comment.Text(); doc == "" {
					missing(id.Pos(), s.Name.Name+"."+id.Name)
				}
			}
		}
	}
	return names
}

// goFiles lists the Go files of the repository.
func goFiles(t *testing.T) []string {
	t.Helper()
	return files(t, ".go")
}

// files lists the files of the repository with a suffix.
func files(t *testing.T, suffix string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && path != "." && path != ".github" && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return paths
}

// The README's program runs. All other Go code in the README and on the pages
// stands in an Example, which is compiled and run.
func TestREADME(t *testing.T) {
	examples := exampleCode(t)
	var pieces []string
	programs := 0
	for _, code := range readme.Blocks(t, "go") {
		if !strings.HasPrefix(code, "package main") {
			pieces = append(pieces, code)
			continue
		}
		programs++
		require.LessOrEqual(t, strings.Count(code, "\n"), 45)
		runProgram(t, code)
	}
	require.Equal(t, 1, programs)
	readme.Check(t, examples, pieces)
	for _, page := range []string{"docs/operating.md", "docs/recipes.md", "docs/testing.md"} {
		readme.Check(t, examples, readme.BlocksOf(t, page, "go"))
	}
}

// What the recipe for a local mail server sets as SMTP_URL works, and the host
// is the name of a service in its Compose file.
func TestRecipes_localMailServer(t *testing.T) {
	text, err := os.ReadFile("docs/recipes.md")
	require.NoError(t, err)
	modes := map[string]smtpsender.TLSMode{}
	for _, m := range regexp.MustCompile(`smtp\+insecure://\w[^\s`+"`"+`]*`).FindAllString(string(text), -1) {
		host, opts, err := smtpsender.ParseURL(m)
		require.NoError(t, err, m)
		sender, err := smtpsender.New(host, "Acme <codes@example.com>", opts)
		require.NoError(t, err, m)
		require.NoError(t, sender.Close())
		modes[host] = opts.TLS
	}
	require.Equal(t, map[string]smtpsender.TLSMode{
		"localhost:1025":   smtpsender.InsecureLoopback,
		"mailpit:1025":     smtpsender.InsecurePrivateNetwork,
		"mail.mail.svc:25": smtpsender.InsecurePrivateNetwork,
	}, modes)

	compose := readme.BlocksOf(t, "docs/recipes.md", "yaml")
	require.Len(t, compose, 1)
	require.Contains(t, compose[0], "SMTP_URL=smtp+insecure://mailpit:1025\n")
	require.Contains(t, compose[0], "\n  mailpit:\n")
}

// exampleCode returns the code of all Examples in the repository.
func exampleCode(t *testing.T) string {
	t.Helper()
	var code strings.Builder
	for _, path := range goFiles(t) {
		if base := filepath.Base(path); strings.HasPrefix(base, "example_") && strings.HasSuffix(base, "_test.go") {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			code.Write(b)
		}
	}
	return code.String()
}

// The README stays short enough to be read.
func TestREADME_length(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Less(t, strings.Count(string(text), "\n"), 200)
	code := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if !code && !strings.HasPrefix(line, "|") {
			require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 100, line)
		}
	}
}

// Relative links lead to files that exist, and to headings that they have.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	links := 0
	for _, page := range files(t, ".md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target, anchor, hasAnchor := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
				continue
			}
			if !hasAnchor || !strings.HasSuffix(file, ".md") {
				continue
			}
			to, err := os.ReadFile(file)
			require.NoError(t, err)
			found := false
			for _, h := range heading.FindAllStringSubmatch(string(to), -1) {
				slug := strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				found = found || slug == anchor
			}
			if !found {
				t.Errorf("%s links to %s, but there is no such heading", page, m[1])
			}
		}
	}
	require.Greater(t, links, 50)
}

// The package index stays short enough to be read at once: functions, types,
// constants, variables and methods, without those that only implement the
// interfaces of fmt, errors, encoding and log/slog.
func TestPackageIndex(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	common := regexp.MustCompile(`^(String|Format|LogValue|Is|Error|Unwrap|Marshal.*|Unmarshal.*)$`)
	names := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d)) && !common.MatchString(d.Name.Name)) {
					names++
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							names++
						}
					case *ast.ValueSpec:
						for _, id := range s.Names {
							if id.IsExported() {
								names++
							}
						}
					}
				}
			}
		}
	}
	require.LessOrEqual(t, names, 65)
	require.Greater(t, names, 40, "the count misses something")
}

// runProgram runs the README's first program and types the code that it shows.
func runProgram(t *testing.T, code string) {
	t.Helper()
	main := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(main, []byte(code), 0o600))
	cmd := exec.Command("go", "run", main)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	var out strings.Builder
	codeLine := regexp.MustCompile(`: (\d{6})\n`)
	typed := false
	buf := make([]byte, 4096)
	for {
		n, err := stdout.Read(buf)
		out.Write(buf[:n])
		if m := codeLine.FindStringSubmatch(out.String()); m != nil && !typed {
			typed = true
			_, err := stdin.Write([]byte(m[1] + "\n"))
			require.NoError(t, err)
		}
		if err != nil {
			break
		}
	}
	require.NoError(t, cmd.Wait(), out.String())
	require.True(t, typed, out.String())
	require.Contains(t, out.String(), "proven")
}
