package otphttp_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// english returns the built-in file of words with changes; nil removes a key.
func english(t *testing.T, changes map[string]any) map[string]any {
	raw, err := os.ReadFile("words/en.json")
	require.NoError(t, err)
	var words map[string]any
	require.NoError(t, json.Unmarshal(raw, &words))
	for key, value := range changes {
		group, name, nested := strings.Cut(key, "/")
		into := words
		if nested {
			into = words[group].(map[string]any)
		} else {
			name = group
		}
		if into[name] = value; value == nil {
			delete(into, name)
		}
	}
	return words
}

func words(t *testing.T, changes map[string]any) *fstest.MapFile {
	raw, err := json.Marshal(english(t, changes))
	require.NoError(t, err)
	return &fstest.MapFile{Data: raw}
}

// Each file can be replaced separately; the others stay as they are.
func TestFiles_replaced(t *testing.T) {
	s := newSite(t, otphttp.Options{Files: fstest.MapFS{
		"theme.css":        file(":root { --otp-accent: #00aa00; }"),
		"words/en.json":    file(`{"send": "Mail me \u003cb\u003e", "title": {"login": "Welcome", "club": "Join & win"}}`),
		"words/en-GB.json": file(`{"send": "Post me"}`),
		"words/tlh.json":   words(t, map[string]any{"lang": "tlh", "minutes/one": nil, "hours/one": nil, "send": "yIngeH"}),
		"words/README.txt": file("not read"),
	}, Purpose: func(r *http.Request) (string, error) {
		if club := r.URL.Query().Get("club"); club != "" {
			return "club:" + club, nil
		}
		return "login", nil
	}}, nil)
	for language, want := range map[string]string{"": ">Mail me &lt;b&gt;</button>", "en-GB": ">Post me</button>", "tlh": ">yIngeH</button>", "xx": ">Mail me"} {
		b := s.browser()
		b.header.Set("Accept-Language", language)
		answer, body := b.get("/login/")
		require.Contains(t, body, want)
		require.Contains(t, body, "--otp-accent: #00aa00")
		require.Contains(t, body, "Email address")
		if language != "tlh" {
			require.Contains(t, body, "<h1>Welcome</h1>")
		}
		if language == "" || language == "xx" {
			require.Equal(t, "en", answer.Header.Get("Content-Language"))
		}
	}
	_, body := s.browser().get("/login/?club=7")
	require.Contains(t, body, "<h1>Join &amp; win</h1>")

	own := newSite(t, otphttp.Options{Brand: "A<b>", Files: fstest.MapFS{
		"page.html.tmpl": file(`{{.Brand}}|{{.Step}}|{{.Error}}|{{.Address}}|{{.To}}|{{.Next}}|{{.URL ""}}|{{.Say "send"}}`),
	}}, nil)
	_, body = own.browser().get("/login/?next=/x%26y")
	require.Equal(t, "A&lt;b&gt;|address||||/x&amp;y|./?next=%2Fx%26y|Send code", body)
	_, body = own.browser().post("start", url.Values{"address": {"<script>alert(1)</script>"}})
	require.Equal(t, "A&lt;b&gt;|address|address|&lt;script&gt;alert(1)&lt;/script&gt;|||./|Send code", body)
}

// Everything that visitors type is escaped where it is shown.
func TestPages_escape(t *testing.T) {
	s := newSite(t, otphttp.Options{Brand: `"><script>alert(1)</script>`}, nil)
	b := s.browser()
	const evil = `"><script>alert(2)</script>'<img src=x onerror=alert(3)>`
	_, body := b.post("start", url.Values{"address": {evil}, "next": {"/" + evil}})
	require.Contains(t, body, `value="&#34;&gt;&lt;script&gt;alert(2)`)
	pages := []string{body}
	for _, path := range []string{"?next=/" + url.QueryEscape(evil), "code?ref=" + url.QueryEscape(evil), "code?say=" + url.QueryEscape(evil), "code?wait=" + url.QueryEscape(evil)} {
		_, body := b.get("/login/" + path)
		pages = append(pages, body)
	}
	_, reference := b.start("&b@example.com")
	_, body = b.get("/login/code?say=<script>&wait=<b>&next=/" + url.QueryEscape(evil) + "&ref=" + reference)
	require.Contains(t, body, shown("&amp;b@example.com"))
	pages = append(pages, body)
	for _, body := range pages {
		require.NotContains(t, body, "<script>alert")
		require.NotContains(t, body, "<img")
		require.Equal(t, 1, strings.Count(body, "<script>"))
	}
}

// brokenFS is a folder whose theme.css cannot be read.
type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	err := fs.ErrNotExist
	if name == "theme.css" {
		err = errors.New("disk failure")
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}

// New rejects an invalid file; the error names the file and, if it has keys,
// the key.
func TestFiles_refused(t *testing.T) {
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(io.Discard), nil)
	require.NoError(t, err)
	one := func(name, text string) fs.FS { return fstest.MapFS{name: file(text)} }
	changed := func(changes map[string]any) fs.FS { return fstest.MapFS{"words/en.json": words(t, changes)} }
	for want, files := range map[string]fs.FS{
		"words/en.json: ":                                     one("words/en.json", `{"send": "x"`),
		"words/de-AT.json: not a JSON":                        one("words/de-AT.json", `[]`),
		"words/en.json: send: must be a string":               one("words/en.json", `{"send": 1}`),
		"words/en.json: send: duplicate key":                  one("words/en.json", `{"send": "x", "send": "y"}`),
		"words/en.json: sned: unknown key":                    one("words/en.json", `{"sned": "x"}`),
		"words/en.json: errors.oops: unknown key":             one("words/en.json", `{"errors": {"oops": "x"}}`),
		"send: must be a string":                              one("words/en.json", `{"send": {"a": "x"}}`),
		"words/en.json: sent: names in braces are []":         changed(map[string]any{"sent": "We sent it."}),
		"words/en.json: send: names in braces are [x]":        changed(map[string]any{"send": "Send {x}"}),
		"words/en.json: timeLeft":                             changed(map[string]any{"timeLeft": "{time} {time}"}),
		"words/en.json: errors.limited":                       changed(map[string]any{"errors/limited": "{"}),
		"words/en.json: lang":                                 one("words/en.json", `{"lang": "de"}`),
		"words/en.json: dir":                                  one("words/en.json", `{"dir": "rtl"}`),
		"words/tlh.json: ":                                    fstest.MapFS{"words/tlh.json": words(t, map[string]any{"lang": "tlh", "minutes/one": nil, "hours/one": nil, "errors/wrong": nil})},
		"errors.wrong: missing":                               fstest.MapFS{"words/tlh.json": words(t, map[string]any{"lang": "tlh", "minutes/one": nil, "hours/one": nil, "errors/wrong": nil})},
		"words/tlh.json: hours.one: unknown key, or a plural": fstest.MapFS{"words/tlh.json": words(t, map[string]any{"lang": "tlh"})},
		"minutes.other: names in braces are []":               changed(map[string]any{"minutes/other": "minutes"}),
		"hours.one: names in braces are [n]":                  changed(map[string]any{"hours/one": "{n} hour"}),
		"words/EN.json: ":                                     one("words/EN.json", `{}`),
		"words/x y.json: ":                                    one("words/x y.json", `{}`),
		"not valid UTF-8":                                     one("words/en.json", "{\"send\": \"\xff\"}"),
		"page.html.tmpl":                                      one("page.html.tmpl", `{{.Step`),
		"page.html.tmpl:1":                                    one("page.html.tmpl", `{{.Stepp}}`),
		"Stepp":                                               one("page.html.tmpl", `{{if eq .Step "over"}}{{.Stepp}}{{end}}`),
		`en.json has no "nope"`:                               one("page.html.tmpl", `{{.Say "nope"}}`),
		"Stepq":                                               one("page.html.tmpl", `{{if eq .Error "send"}}{{.Stepq}}{{end}}`),
		`has no "nopq"`:                                       one("page.html.tmpl", `{{if eq .Notice "sentNew"}}{{.Say "nopq"}}{{end}}`),
		`has no "nopr"`:                                       one("page.html.tmpl", `{{if not .To}}{{.Say "nopr"}}{{end}}`),
		`has no "title.club"`:                                 fstest.MapFS{"page.html.tmpl": file(`{{.Say "title.club"}}`), "words/en.json": file(`{"title": {"club": "Join"}}`)},
		"Options.Files: no words/*.json":                      one("pages/theme.css", "a{}"),
		`words/tlh.json: dir: must be "ltr"`:                  one("words/tlh.json", `{"send": "yIngeH"}`),
		"no such template":                                    one("page.html.tmpl", `{{template "x"}}`),
		"ends in a non-text context":                          one("page.html.tmpl", `<a href="{{.Next}}`),
		`style.css or theme.css: must not contain "</style"`:  one("theme.css", `a{}</STYLE ><script>x</script>`),
		"style.css: not valid UTF-8":                          one("style.css", "\xff"),
		"theme.css: ":                                         brokenFS{},
	} {
		_, err := otphttp.New(verifier, &otphttp.Options{OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) {}, Files: files})
		require.ErrorContains(t, err, want, want)
		require.ErrorContains(t, err, "otphttp: ")
	}
}
