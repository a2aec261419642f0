// Package browser_test drives the pages of otphttp with a real Chromium. It is a
// module of its own so that the driver stays out of the library's.
package browser_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

// patience is how long a step may take on a busy machine.
const patience = time.Minute

// chromium is the one browser of all tests, nil if none is installed. It ends with
// the program.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path := servers.Binary("chromium", "chromium-browser", "google-chrome")
	if path == "" {
		return nil, nil
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	return ctx, chromedp.Do(ctx)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if ctx, err := chromium(); ctx != nil && err == nil {
		chromedp.Cancel(ctx)
	}
	os.Exit(code)
}

// tab is a tab of the browser. Its test fails if the page logs anything: a violation
// of its policy, an exception. Its methods fail the test instead of returning errors.
type tab struct {
	*site
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex
	logs []string
}

// newTab opens a tab with cookies of its own.
func newTab(t *testing.T, s *site) *tab {
	t.Helper()
	ctx, err := chromium()
	require.NoError(t, err)
	if ctx == nil {
		testkit.Skip(t, "Chromium is not installed (Debian: chromium)")
	}
	return openTab(t, s, ctx, chromedp.WithNewBrowserContext())
}

// another opens a tab beside this one, with the same cookies.
func (b *tab) another() *tab {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).BrowserContextID
	return openTab(b.t, b.site, b.ctx, chromedp.WithExistingBrowserContext(id))
}

func openTab(t *testing.T, s *site, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{site: s, t: t}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	b.ctx = ctx
	t.Cleanup(func() {
		require.Empty(t, b.logged(), "the console")
		cancel()
	})
	require.NoError(t, chromedp.Do(ctx))
	b.language("en")
	return b
}

// noFaults are logged too: that a page has a status of 4xx or 503, and that a test was
// so quick to fill a field that the focus did not go to the problem any more.
var noFaults = []string{"the server responded with a status of ", "Autofocus processing was blocked"}

// listen keeps what the page logs.
func (b *tab) listen(event any) {
	var entry string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if slices.ContainsFunc(noFaults, func(text string) bool { return strings.Contains(e.Entry.Text, text) }) {
			return
		}
		entry = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		entry = e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		entry = fmt.Sprintf("console.%s", e.Type)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logs = append(b.logs, entry)
}

// logged returns what was logged since the last call.
func (b *tab) logged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	logs := b.logs
	b.logs = nil
	return logs
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(steps...))
}

func run[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	require.NoError(b.t, err)
	return v
}

// js evaluates an expression. The page's policy does not stop it.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](expression))
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	require.NoError(b.t, err)
	return result
}

// leads does what leads to another page and returns that page's status.
func (b *tab) leads(steps ...chromedp.Action[chromedp.Void]) int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, steps...)
	require.NoError(b.t, err)
	return int(answer.Status)
}

func (b *tab) open(path string) int {
	b.t.Helper()
	return b.leads(chromedp.Navigate(b.url + path))
}

// press clicks what leads to another page.
func (b *tab) press(selector string) int {
	b.t.Helper()
	return b.leads(b.click(selector))
}

// click is a click of the mouse. It does not ask the driver for the element, who has
// old ones where the browser has gone back to a page that it had kept.
func (b *tab) click(selector string, options ...chromedp.MouseOption) chromedp.Action[chromedp.Void] {
	b.t.Helper()
	at := js[[]float64](b, fmt.Sprintf(`(e => {
		e.scrollIntoView({block: "center"});
		const box = e.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})(document.querySelector(%q))`, selector))
	return chromedp.MouseClickXY(at[0], at[1], options...)
}

// fill puts text into a field, in place of what is there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	js[bool](b, fmt.Sprintf(`(e => (e.focus(), e.select(), true))(document.querySelector(%q))`, selector))
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// key presses keys one after the other.
func (b *tab) key(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// text is what the page shows.
func (b *tab) text() string {
	b.t.Helper()
	return js[string](b, `document.body.innerText`)
}

// says requires that the page shows all of these.
func (b *tab) says(texts ...string) {
	b.t.Helper()
	shown := b.text()
	for _, text := range texts {
		require.Contains(b.t, shown, text)
	}
}

// has reports whether there is such an element.
func (b *tab) has(selector string) bool {
	b.t.Helper()
	return js[bool](b, fmt.Sprintf("document.querySelector(%q) !== null", selector))
}

// language is what the reader prefers from now on.
func (b *tab) language(tag string) {
	b.t.Helper()
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": tag}})
}

// scripts turns JavaScript on or off.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// scheme is "light" or "dark".
func (b *tab) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// size makes the window that wide and high, in CSS pixels, of scale pixels each.
func (b *tab) size(width, height int64, scale float64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
}

// reloading does not wait for the page, unlike [chromedp.Reload].
var reloading = chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
	_, err := chromedp.Call(ctx, page.Reload, page.ReloadParams{})
	return err
})
