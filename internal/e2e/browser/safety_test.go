package browser_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// No page can put ours in a frame, whatever its origin.
func TestSafety_frame(t *testing.T) { // C10
	t.Parallel()
	s := newSite(t, plain)
	around := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		src := s.url + "/login/"
		if r.URL.Path == "/control" {
			src = s.url + "/" // may be framed
		}
		w.Write([]byte(`<!DOCTYPE html><title>Trap</title><iframe src="` + src + `"></iframe>`))
	}))
	t.Cleanup(around.Close)
	u, err := url.Parse(around.URL)
	require.NoError(t, err)
	b := newTab(t, s)
	refused := func(path string) string {
		b.leads(chromedp.Navigate("http://localhost:" + u.Port() + path)) // another origin, by its port
		frames := call(b, page.GetFrameTree, cdp.Empty{}).FrameTree.ChildFrames
		require.Len(t, frames, 1)
		return frames[0].Frame.UnreachableURL
	}
	require.Empty(t, refused("/control"))
	require.Empty(t, b.logged())
	require.Equal(t, s.url+"/login/", refused("/trap"))
	require.Equal(t, 1, s.asked("GET /login/"))
	logs := b.logged()
	require.NotEmpty(t, logs)
	require.Contains(t, logs[0], "frame-ancestors 'none'")
}

// If an attacker's script gets into a page, the browser does not run it.
func TestSafety_injected(t *testing.T) {
	t.Parallel()
	own, err := os.ReadFile("../../../otphttp/page.html.tmpl")
	require.NoError(t, err)
	const evil = `<script>document.title = "evil"</script><b onclick="document.title='evil'">press</b><style>h1{display:none}</style><img src="/evil"><h1>`
	require.Equal(t, 1, strings.Count(string(own), "<h1>"))
	opts := plain
	opts.Files = fstest.MapFS{"page.html.tmpl": {Data: []byte(strings.Replace(string(own), "<h1>", evil, 1))}}
	b := newTab(t, newSite(t, opts))
	b.open("/login/")
	b.do(b.click("b"))
	js[bool](b, `(() => { const s = document.createElement("script"); s.textContent = "document.title = 'evil'"; return !!document.body.append(s) || true })()`)
	require.Equal(t, "Sign in – Acme", js[string](b, "document.title"))
	require.Equal(t, "block", js[string](b, `getComputedStyle(document.querySelector("h1")).display`))
	require.Zero(t, b.asked("GET /evil"))
	logs := b.logged()
	require.Len(t, logs, 5, logs)
	for _, l := range logs {
		require.Contains(t, l, "Content Security Policy")
	}
	require.Equal(t, http.StatusUnprocessableEntity, b.press("button")) // ours still works
	b.logged()
}
