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
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/otphttp"
)

// A state is a page as people may come to see it.
type state struct {
	name  string
	opts  otphttp.Options
	error string // as in otphttp.Page; empty for none
	reach func(b *tab)
}

const check, resend = "form[action=check] button", "form[action=resend] button"

// plain is for a site that asks for the address.
var plain = otphttp.Options{Brand: "Acme"}

// known is for a site that knows the address of the account.
var known = otphttp.Options{Brand: "Acme", Address: func(*http.Request) (string, error) { return longAddress, nil }}

// longAddress is long even when it is masked.
const longAddress = "bob@mail.department-of-long-names.subsidiary-of-the-company.example.com"

// states are all states.
var states = []state{
	{"address", plain, "", func(b *tab) { b.open("/login/") }},
	{"address-wrong", plain, "address", func(b *tab) {
		b.open("/login/")
		b.fill("#address", "bob@example")
		require.Equal(b.t, http.StatusUnprocessableEntity, b.press("button"))
	}},
	{"address-network", plain, "network", func(b *tab) {
		for i := range 30 { // otp.Options.ClientStarts
			_, err := b.verifier.Send(b.t.Context(), otp.Request{To: fmt.Sprintf("pupil%d@example.com", i), Client: "127.0.0.1"})
			require.NoError(b.t, err)
		}
		b.open("/login/")
		b.fill("#address", longAddress)
		require.Equal(b.t, http.StatusTooManyRequests, b.press("button"))
	}},
	{"address-recent", plain, "recent", func(b *tab) {
		b.start(bob)
		_, err := b.verifier.Send(b.t.Context(), otp.Request{To: longAddress}) // somebody else
		require.NoError(b.t, err)
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
	{"code-held", plain, "", func(b *tab) {
		b.start(longAddress)
		b.start(longAddress)
	}},
	{"code-wrong", plain, "wrong", func(b *tab) {
		b.fill("#code", testkit.WrongCode(b.start(longAddress)))
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
		b.fill("#code", testkit.WrongCode(b.strong(longAddress)))
		b.press(check)
	}},
	{"new-expired", plain, "expired", func(b *tab) { b.expired(longAddress) }},
	{"new-exhausted", plain, "exhausted", func(b *tab) { b.guessWrong(b.start(longAddress)) }},
	{"passed", plain, "", func(b *tab) {
		b.fillIn(b.start(longAddress))
		require.Equal(b.t, http.StatusOK, b.open("/login/code"))
	}},
	{"over-cookie", plain, "cookie", func(b *tab) {
		require.Equal(b.t, http.StatusNotFound, b.open("/login/code"))
	}},
	{"over-unknown", plain, "unknown", func(b *tab) {
		b.start(longAddress)
		require.Equal(b.t, http.StatusNotFound, b.open("/login/code?ref=ZZZZ"))
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

// later opens the page a minute after the first mail, when another may be sent.
func (b *tab) later(address string) {
	b.t.Helper()
	b.start(address)
	b.clock.Add(time.Minute)
	require.Equal(b.t, http.StatusOK, b.reload())
}

// expired opens the page of an expired code.
func (b *tab) expired(address string) {
	b.t.Helper()
	b.start(address)
	b.clock.Add(10 * time.Minute)
	require.Equal(b.t, http.StatusOK, b.reload())
}

// guessWrong uses up all guesses at the code.
func (b *tab) guessWrong(code string) {
	b.t.Helper()
	for b.has("#code") {
		b.fill("#code", testkit.WrongCode(code))
		require.Equal(b.t, http.StatusOK, b.press(check))
	}
}

// spent opens the page of an exhausted code, after which the address has no
// guesses at short codes left.
func (b *tab) spent(address string) {
	b.t.Helper()
	b.guessWrong(b.start(address))
	b.clock.Add(time.Minute)
	for range 2 {
		b.press(resend)
		b.guessWrong(b.inbox.Code(address))
		b.clock.Add(time.Minute)
	}
}

// strong opens the page for a code with letters and returns the code.
func (b *tab) strong(address string) string {
	b.t.Helper()
	b.spent(address)
	b.press(resend)
	return b.inbox.Code(address)
}

// shapes are windows: of a desktop, of the same at 200 % zoom, and of two phones.
var shapes = []struct {
	width, height int64
	scale         float64
}{{1280, 800, 1}, {640, 400, 2}, {360, 720, 3}, {320, 568, 2}}

// TestStates checks every page in light and in dark colours. By night it does so
// in two languages, and by day in one of them.
func TestStates(t *testing.T) { // H8
	script := needAxe(t)
	for n, s := range states {
		for l, language := range []string{"en", "ar"} {
			if !testkit.Nightly() && n%2 != l {
				continue
			}
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
					if i%2 == 1 || i == 0 && !testkit.Nightly() {
						continue // a shape with the same rules of style follows or, by night, came before
					}
					b.scheme("light")
					require.Empty(t, b.violations(""), "%d pixels wide, light", shape.width)
					b.scheme("dark") // changes only colours
					require.Empty(t, b.violations("color-contrast"), "%d pixels wide, dark", shape.width)
				}
				js[bool](b, `(document.documentElement.style.fontSize = "200%", true)`) // larger letters only
				require.Empty(t, b.cutOff(), "large letters")
			})
		}
	}
}

// problemText returns the text of a problem up to the first value in it.
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

// cutOff returns the elements that are wider than the window or than the element
// around them, so that people would have to scroll sideways. A region that is made
// to scroll may be wider.
func (b *tab) cutOff() []string {
	b.t.Helper()
	return js[[]string](b, `[...document.querySelectorAll("*")].filter(e => {
		if (e.closest("[role=region]")) return false;
		const box = e.getBoundingClientRect();
		return box.left < -0.5 || box.right > innerWidth + 0.5 || e.localName !== "input" && !e.ownerSVGElement && e.clientWidth && e.scrollWidth > e.clientWidth + 1;
	}).map(e => e.outerHTML.slice(0, 80))`)
}

// back goes back as the browser's button does. The page is loaded again or comes
// from a cache; then no event says that it is there.
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

// reload reloads the page as the browser's button does.
func (b *tab) reload() int {
	b.t.Helper()
	return b.leads(reloading)
}
