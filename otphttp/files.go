package otphttp

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-mailotp/otp/internal/phrases"
)

// pages renders the pages.
type pages struct {
	languages *phrases.Chooser[words]
	template  *template.Template
	custom    bool // the template is from Options.Files
	style     template.CSS
	script    template.JS
	policy    string // the Content-Security-Policy
}

// builtinPages returns the pages without Options.Files. It reads them once for
// the whole program.
var builtinPages = sync.OnceValues(func() (pages, error) { return readPages(nil) })

func newPages(o *Options) (*pages, error) {
	var p pages
	var err error
	if o.Files == nil {
		p, err = builtinPages()
	} else {
		p, err = readPages(o.Files)
	}
	if err != nil {
		return nil, err
	}
	if p.languages, err = newLanguages(o.Files, o.Locale); err != nil {
		return nil, err
	}
	p.policy = cmp.Or(o.ContentSecurityPolicy, p.policy)
	if o.Render != nil {
		if p.custom {
			return nil, errors.New("Options.Files: page.html.tmpl is not used if Options.Render is set")
		}
		p.policy = o.ContentSecurityPolicy // else that of the application
		return &p, nil
	}
	return &p, p.probe(o.Brand)
}

// readPages reads the template, the style and the script. Files of user, which
// may be nil, replace the built-in ones.
func readPages(user fs.FS) (pages, error) {
	p := pages{}
	files, replaced := map[string]string{}, map[string]bool{}
	for _, name := range []string{"page.html.tmpl", "style.css", "theme.css", "script.js"} {
		text, err := fs.ReadFile(builtin, name)
		if user != nil && name != "script.js" {
			custom, customErr := fs.ReadFile(user, name)
			if customErr == nil {
				text, err = custom, nil
				replaced[name] = true
			} else if !errors.Is(customErr, fs.ErrNotExist) {
				return p, fmt.Errorf("%s: %w", name, customErr)
			}
		}
		if err != nil && name != "theme.css" {
			return p, fmt.Errorf("%s: %w", name, err)
		}
		if !utf8.Valid(text) {
			return p, fmt.Errorf("%s: not valid UTF-8", name)
		}
		files[name] = newlines.Replace(string(text))
	}
	if user != nil && len(replaced) == 0 {
		if names, err := fs.Glob(user, "words/*.json"); err != nil || len(names) == 0 {
			return p, errors.Join(errors.New("Options.Files: no words/*.json, page.html.tmpl, style.css or theme.css (use fs.Sub for an embedded folder)"), err)
		}
	}
	p.style = template.CSS(files["style.css"] + files["theme.css"])
	if strings.Contains(strings.ToLower(string(p.style)), "</style") {
		return p, errors.New("style.css or theme.css: must not contain \"</style\"")
	}
	p.script = template.JS(files["script.js"])
	p.policy = policy(p.style, p.script)
	p.custom = replaced["page.html.tmpl"]
	var err error
	p.template, err = template.New("page.html.tmpl").Parse(files["page.html.tmpl"])
	return p, err
}

// newlines converts line ends as a browser does (HTML 13.2.3.5) before it
// computes the hash of a style.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// policy returns the Content-Security-Policy of a page.
func policy(style template.CSS, script template.JS) string {
	return "default-src 'none'; style-src " + hashSource(string(style)) + "; script-src " + hashSource(string(script)) +
		"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

// hashSource returns the name of an inline style or script in a policy.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (p *pages) render(page Page) ([]byte, error) {
	var b bytes.Buffer
	if err := p.template.Execute(&b, page); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// with returns the page with its words, style and script.
func (p *pages) with(page Page, w *words) Page {
	page.words, page.Lang, page.Dir = w, w.lang, w.dir
	page.Style, page.Script = p.style, p.script
	return page
}
