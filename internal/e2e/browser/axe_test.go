package browser_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// axe-core finds faults of accessibility. It is downloaded from npm's registry,
// compared with this checksum and kept in the user's cache.
const (
	axeVersion = "4.14.1"
	axeSum     = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745" // SHA-256 of the package
)

var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "go-mailotp-otp")
	file := filepath.Join(dir, "axe-core-"+axeVersion+".tgz")
	packed, err := os.ReadFile(file)
	if err != nil || !isAxe(packed) {
		if packed, err = fetchAxe(); err != nil {
			return "", err
		}
		// An error does no harm: the next run downloads it again.
		os.MkdirAll(dir, 0o755)
		os.WriteFile(file, packed, 0o644)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err != nil {
			return "", err
		}
		if header.Name == "package/axe.min.js" {
			script, err := io.ReadAll(files)
			return string(script), err
		}
	}
})

func isAxe(packed []byte) bool {
	sum := sha256.Sum256(packed)
	return hex.EncodeToString(sum[:]) == axeSum
}

func fetchAxe() ([]byte, error) {
	dir, err := os.MkdirTemp("", "axe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("npm", "pack", "axe-core@"+axeVersion)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm pack: %w: %s", err, out)
	}
	packed, err := os.ReadFile(filepath.Join(dir, "axe-core-"+axeVersion+".tgz"))
	if err == nil && !isAxe(packed) {
		err = errors.New("axe-core has another checksum than expected")
	}
	return packed, err
}

// needAxe returns the script of axe-core. It skips the test if there is none.
func needAxe(t *testing.T) string {
	t.Helper()
	script, err := axe()
	if err != nil {
		testkit.Skip(t, "axe-core: %v", err)
	}
	return script
}

// violations returns what axe-core, which must be in the page, finds wrong by a
// rule, or by any rule if it is empty. Colours that it cannot judge are violations,
// too.
func (b *tab) violations(rule string) []string {
	b.t.Helper()
	options := "{}"
	if rule != "" {
		options = fmt.Sprintf("{runOnly: [%q]}", rule)
	}
	return b.axe(options, `[...found.violations, ...found.incomplete.filter(rule => rule.id === "color-contrast")]`)
}

// axe runs axe-core and returns a list of its findings.
func (b *tab) axe(options, list string) []string {
	b.t.Helper()
	return run(b, chromedp.Evaluate[[]string](`axe.run(document, `+options+`).then(found => `+list+`.flatMap(
		rule => rule.nodes.map(node => rule.id + ": " + node.failureSummary + " " + node.html)))`, chromedp.EvalAwaitPromise))
}

func TestAxe_seesFaults(t *testing.T) {
	t.Parallel()
	script := needAxe(t)
	b := newTab(t, newSite(t, plain))
	b.open("/login/")
	b.do(chromedp.Evaluate[chromedp.Void](script))
	require.Empty(t, b.violations(""))
	js[bool](b, `document.querySelector("label").remove() || true`)
	js[bool](b, `(document.querySelector("h1").style.color = "#ddd", true)`)
	require.Len(t, b.violations(""), 2)
	require.Len(t, b.violations("color-contrast"), 1)
}
