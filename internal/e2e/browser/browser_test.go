// Package browser_test drives the pages of otphttp and the dashboard of otpstats
// with a real Chromium. By day each page is checked in fewer languages and
// windows than by night, when OTP_TEST_NIGHTLY=1 is set.
package browser_test

import (
	"context"
	"flag"
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
const patience = 5 * time.Minute

// chromium starts the one browser of all tests. It returns nil if none is
// installed.
var chromium = sync.OnceValues(func() (context.Context, error) {
	// The headless shell takes a third of the processor time of the others.
	path := servers.Binary("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
	if path == "" {
		return nil, nil
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stopChromium = cancel
	return ctx, chromedp.Do(ctx)
})

var stopChromium = func() {}

// TestMain runs nothing with -short: every test needs the browser.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped with -short: needs a browser")
		return
	}
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// A tab is a tab of the browser. Its test fails if the page logs anything, such
// as an exception or a violation of the page's policy. The methods fail the test
// instead of returning errors.
type tab struct {
	*site
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex
	logs []string
}

// newTab opens a tab that shares no cookies with other tabs.
func newTab(t *testing.T, s *site) *tab {
	t.Helper()
	ctx, err := chromium()
	require.NoError(t, err)
	if ctx == nil {
		testkit.Skip(t, "Chromium is not installed (Debian: chromium-headless-shell)")
	}
	return openTab(t, s, ctx, chromedp.WithNewBrowserContext())
}

// another opens a second tab with the same cookies.
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
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: stoppedClock})
	b.language("en")
	return b
}

// stoppedClock stops the clocks of a page, so that no test depends on how long a
// step takes. Only the function later moves them, by milliseconds.
const stoppedClock = `(() => {
	let date = Date.now(), passed = performance.now();
	Date.now = () => date;
	performance.now = () => passed;
	window.later = (ms) => { date += ms; passed += ms; return true; };
})()`

// noFaults are log entries that are not faults: a page may have a status of 4xx
// or 503, and a test may fill a field before the focus moves to the problem.
var noFaults = []string{"the server responded with a status of ", "Autofocus processing was blocked"}

// listen records what the page logs.
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
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Steps(steps...))
	require.NoError(b.t, err)
}

// run runs one action. A page that is replaced at that moment takes the context of
// a script with it, before the script has run: then it is run in the new page.
func run[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	for err != nil && strings.Contains(err.Error(), "Cannot find context with specified id") && ctx.Err() == nil {
		v, err = chromedp.Run(ctx, action)
	}
	require.NoError(b.t, err)
	return v
}

// js evaluates an expression, whatever the page's policy says.
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

// leads takes steps that lead to another page and returns the status of that
// page.
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

// click is a click of the mouse. It does not ask the driver for the element: the
// driver knows only old elements once the browser has gone back to a cached page.
func (b *tab) click(selector string, options ...chromedp.MouseOption) chromedp.Action[chromedp.Void] {
	b.t.Helper()
	at := js[[]float64](b, fmt.Sprintf(`(e => {
		e.scrollIntoView({block: "center"});
		const box = e.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})(document.querySelector(%q))`, selector))
	return chromedp.MouseClickXY(at[0], at[1], options...)
}

// fill replaces the text of a field.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	js[bool](b, fmt.Sprintf(`(e => (e.focus(), e.select(), true))(document.querySelector(%q))`, selector))
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// key presses keys one after the other.
func (b *tab) key(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// text returns the text that the page shows.
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

// language sets the reader's preferred language.
func (b *tab) language(tag string) {
	b.t.Helper()
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": tag}})
}

// scripts turns JavaScript on or off.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// scheme sets the reader's preferred colours, "light" or "dark".
func (b *tab) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// size sets the size of the window in CSS pixels, each of which is scale pixels
// wide.
func (b *tab) size(width, height int64, scale float64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
}

// reloading does not wait for the page, unlike [chromedp.Reload].
var reloading = chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
	_, err := chromedp.Call(ctx, page.Reload, page.ReloadParams{})
	return err
})
