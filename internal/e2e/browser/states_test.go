package browser_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otphttp"
)

// state is a page as people may come to see it.
type state struct {
	name  string
	opts  otphttp.Options
	error string // as in Page; empty for none
	reach func(b *tab)
}

const check, resend = "form[action=check] button", "form[action=resend] button"

// plain asks for the address.
var plain = otphttp.Options{Brand: "Acme"}

// known is for an account whose address the application knows.
var known = otphttp.Options{Brand: "Acme", Address: func(*http.Request) (string, error) { return longAddress, nil }}

// longAddress is masked to something that is long still.
const longAddress = "bob@mail.department-of-long-names.subsidiary-of-the-company.example.com"

// states are all of them.
var states = []state{
	{"address", plain, "", func(b *tab) { b.open("/login/") }},
	{"address-wrong", plain, "address", func(b *tab) {
		b.open("/login/")
		b.fill("#address", "bob@example")
		require.Equal(b.t, http.StatusUnprocessableEntity, b.press("button"))
	}},
	{"address-limited", plain, "limited", func(b *tab) {
		b.start(longAddress)
		b.open("/login/")
		b.fill("#address", longAddress)
		require.Equal(b.t, http.StatusTooManyRequests, b.press("button"))
	}},
	{"address-send", plain, "send", func(b *tab) {
		b.inbox.FailWith(&otp.SendError{Temporary: true, Stage: "test", Err: errors.New("down")})
		b.open("/login/")
		b.fill("#address", longAddress)
		require.Equal(b.t, http.StatusServiceUnavailable, b.press("button"))
	}},
	{"address-known", known, "", func(b *tab) { b.open("/login/") }},
	{"code", plain, "", func(b *tab) { b.start(longAddress) }},
	{"code-known", known, "", func(b *tab) {
		b.open("/login/")
		b.press("button")
	}},
	{"code-resendable", plain, "", func(b *tab) { b.later(longAddress) }},
	{"code-again", plain, "", func(b *tab) {
		b.later(longAddress)
		b.press(resend)
	}},
	{"code-new", plain, "", func(b *tab) {
		b.expired(longAddress)
		b.press(resend)
	}},
	{"code-wrong", plain, "wrong", func(b *tab) {
		b.fill("#code", wrong(b.start(longAddress)))
		b.press(check)
	}},
	{"code-malformed", plain, "malformed", func(b *tab) {
		b.start(longAddress)
		b.fill("#code", "hello")
		b.press(check)
	}},
	{"code-limited", plain, "limited", func(b *tab) {
		b.start(longAddress)
		b.press(resend)
	}},
	{"code-send", plain, "send", func(b *tab) {
		b.later(longAddress)
		b.inbox.FailWith(&otp.SendError{Temporary: true, Stage: "test", Err: errors.New("down")})
		b.press(resend)
	}},
	{"code-strong", plain, "", func(b *tab) { b.strong(longAddress) }},
	{"code-strong-wrong", plain, "wrong", func(b *tab) {
		b.fill("#code", wrong(b.strong(longAddress)))
		b.press(check)
	}},
	{"new-expired", plain, "expired", func(b *tab) { b.expired(longAddress) }},
	{"new-exhausted", plain, "exhausted", func(b *tab) { b.guessWrong(b.start(longAddress)) }},
	{"new-escalated", plain, "escalated", func(b *tab) { b.escalated(longAddress) }},
	{"over-unknown", plain, "unknown", func(b *tab) {
		require.Equal(b.t, http.StatusNotFound, b.open("/login/code"))
	}},
	{"over-forbidden", otphttp.Options{Brand: "Acme", Purpose: func(*http.Request) (string, error) { return "", otphttp.ErrForbidden }}, "forbidden", func(b *tab) {
		require.Equal(b.t, http.StatusForbidden, b.open("/login/"))
	}},
	{"over-request", plain, "request", func(b *tab) {
		require.Equal(b.t, http.StatusNotFound, b.open("/login/nothing"))
	}},
	{"over-server", otphttp.Options{Brand: "Acme", Purpose: func(*http.Request) (string, error) { return "", errors.New("down") }}, "server", func(b *tab) {
		require.Equal(b.t, http.StatusServiceUnavailable, b.open("/login/"))
	}},
}

// later is the page a minute after the first mail, when another may be asked for.
func (b *tab) later(address string) {
	b.t.Helper()
	b.start(address)
	b.pass(time.Minute)
	require.Equal(b.t, http.StatusOK, b.reload())
}

// expired is the page after the code's life.
func (b *tab) expired(address string) {
	b.t.Helper()
	b.start(address)
	b.pass(10 * time.Minute)
	require.Equal(b.t, http.StatusOK, b.reload())
}

// guessWrong uses all guesses up.
func (b *tab) guessWrong(code string) {
	b.t.Helper()
	for range 5 {
		b.fill("#code", wrong(code))
		require.Equal(b.t, http.StatusOK, b.press(check))
	}
}

// tenWrong is the page after so many guesses, when the address gets no more short codes.
func (b *tab) tenWrong(address string) {
	b.t.Helper()
	b.guessWrong(b.start(address))
	b.pass(time.Minute)
	b.press(resend)
	b.guessWrong(b.inbox.Code(address))
	b.pass(time.Minute)
}

// escalated is the page of a code that was sent before that and is not guessed at itself.
func (b *tab) escalated(address string) {
	b.t.Helper()
	b.start(address)
	path := js[string](b, "location.pathname + location.search")
	b.pass(time.Minute)
	b.tenWrong(address)
	require.Equal(b.t, http.StatusOK, b.open(path))
}

// strong is the page for a code with letters, which it returns.
func (b *tab) strong(address string) string {
	b.t.Helper()
	b.tenWrong(address)
	b.press(resend)
	return b.inbox.Code(address)
}

// shapes are windows: a desktop's, the same at 200 % zoom, and phones.
var shapes = []struct {
	width, height int64
	scale         float64
}{{1280, 800, 1}, {640, 400, 2}, {360, 720, 3}, {320, 568, 2}}

// TestStates looks at every page in two languages, in the light and in the dark.
func TestStates(t *testing.T) { // H8
	script := needAxe(t)
	for _, s := range states {
		for _, language := range []string{"en", "ar"} {
			t.Run(s.name+" "+language, func(t *testing.T) {
				t.Parallel()
				b := newTab(t, newSite(t, s.opts))
				b.language(language)
				s.reach(b)
				require.Equal(t, language, js[string](b, "document.documentElement.lang"))
				require.LessOrEqual(t, js[int](b, `document.querySelectorAll("input:not([type=hidden])").length`), 1) // H3
				if s.error == "" {
					require.False(t, b.has("#problem"))
				} else {
					run(b, chromedp.Poll[bool](`document.activeElement.id === "problem"`))
					b.says(problemText(t, language, s.error))
					require.NotEqual(t, js[string](b, `document.querySelector("h1").innerText + " – Acme"`), js[string](b, "document.title"))
				}
				b.do(chromedp.Evaluate[chromedp.Void](script))
				for i, shape := range shapes {
					b.size(shape.width, shape.height, shape.scale)
					require.Empty(t, b.cutOff(), "%d pixels wide", shape.width)
					if i%2 == 1 {
						continue // no other rules of style than before
					}
					b.scheme("light")
					require.Empty(t, b.violations(""), "%d pixels wide, light", shape.width)
					b.scheme("dark") // which changes colours and nothing else
					require.Empty(t, b.violations("color-contrast"), "%d pixels wide, dark", shape.width)
				}
				js[bool](b, `(document.documentElement.style.fontSize = "200%", true)`) // larger letters only
				require.Empty(t, b.cutOff(), "large letters")
			})
		}
	}
}

// problemText is how a problem is told, up to the first value in it.
func problemText(t *testing.T, language, problem string) string {
	t.Helper()
	file, err := os.ReadFile("../../../otphttp/words/" + language + ".json")
	require.NoError(t, err)
	var words struct{ Errors map[string]string }
	require.NoError(t, json.Unmarshal(file, &words))
	text, _, _ := strings.Cut(words.Errors[problem], "{")
	require.NotEmpty(t, text, problem)
	return strings.TrimSpace(text)
}

// cutOff lists what is wider than its place: one must scroll sideways for it or cannot see it.
// A region that is made to scroll may.
func (b *tab) cutOff() []string {
	b.t.Helper()
	return js[[]string](b, `[...document.querySelectorAll("*")].filter(e => {
		if (e.closest("[role=region]")) return false;
		const box = e.getBoundingClientRect();
		return box.left < -0.5 || box.right > innerWidth + 0.5 || e.localName !== "input" && !e.ownerSVGElement && e.clientWidth && e.scrollWidth > e.clientWidth + 1;
	}).map(e => e.outerHTML.slice(0, 80))`)
}

// back goes back as the browser's button does. The page may be loaded again or may
// have been kept, and then no event tells that it is there.
func (b *tab) back() {
	b.t.Helper()
	history := run(b, chromedp.NavigationEntries())
	to := history.Entries[history.CurrentIndex-1]
	call(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: to.ID})
	servers.Wait(b.t, "the page before", func() error {
		if there, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.readyState + " " + location.href`)); err != nil || there != "complete "+to.URL {
			return fmt.Errorf("at %s: %w", there, err)
		}
		return nil
	})
}

// reload loads the page again, as the browser's button does.
func (b *tab) reload() int {
	b.t.Helper()
	return b.leads(reloading)
}
