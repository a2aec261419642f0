package browser_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

const bob = "bob@example.com"

// start asks for a code and returns it.
func (b *tab) start(address string) string {
	b.t.Helper()
	require.Equal(b.t, http.StatusOK, b.open("/login/?next=/cart"))
	b.fill("#address", address)
	require.Equal(b.t, http.StatusOK, b.press("button"))
	code := b.inbox.Code(address)
	require.NotEmpty(b.t, code)
	return code
}

func TestFlow(t *testing.T) { // H3, H7
	for name, scripts := range map[string]bool{"with scripts": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, plain)
			s.strip = !scripts // J12: as old browsers and some proxies do
			b := newTab(t, s)
			b.scripts(scripts)
			code := b.start(bob)
			b.says("Check your email", bob, "Time left", "10:00", "can be sent again", "1:00")

			b.clock.Add(time.Minute)
			b.press(resend)
			b.says("We sent the email again.")
			require.Equal(t, 2, b.inbox.Len())

			b.fill("#code", "what?")
			b.press(check)
			b.says("That is not a code.")
			b.fill("#code", testkit.WrongCode(code))
			b.press(check)
			b.says("That code is not right.", "Tries left: 4")
			b.fill("#code", code)
			require.Equal(t, http.StatusOK, b.press(check))
			b.says("Hello bob@example.com at /cart")
			require.Equal(t, 1, b.signedIn())

			// The second time, the browser has the cookie of a known device.
			b.clock.Add(time.Minute)
			b.fillIn(b.start(bob))
			require.Equal(t, 2, b.signedIn())
			require.Empty(t, b.failures)
		})
	}
}

// fillIn types the code and continues.
func (b *tab) fillIn(code string) {
	b.t.Helper()
	b.fill("#code", code)
	require.Equal(b.t, http.StatusOK, b.press(check))
}

func TestFlow_cookies(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	code := b.start(bob)
	cookies := func() map[string]string {
		found := map[string]string{}
		for _, c := range call(b, network.GetCookies, network.GetCookiesParams{}).Cookies {
			require.True(t, c.Secure && c.HTTPOnly && c.Path == "/" && c.Domain == "localhost", c.Name)
			found[c.Name] = c.Value
		}
		return found
	}
	require.Contains(t, cookies(), "__Host-otp")
	require.NotContains(t, b.html(), cookies()["__Host-otp"])
	require.Empty(t, js[string](b, "document.cookie"))
	b.fillIn(code)
	require.Regexp(t, `^[A-Z]{4}\.-$`, cookies()["__Host-otp"])
	require.Contains(t, cookies(), "__Host-otp-device")
}

// html returns the present source of the page.
func (b *tab) html() string { b.t.Helper(); return js[string](b, "document.documentElement.outerHTML") }

func TestFlow_keyboard(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	focus := func() string { return js[string](b, "document.activeElement.id || document.activeElement.innerText") }
	b.open("/login/")
	b.key(kb.Tab)
	require.Equal(t, "address", focus())
	b.key("bob@example")
	require.Equal(t, http.StatusUnprocessableEntity, b.leads(chromedp.KeyEvent(kb.Enter)))
	run(b, chromedp.Poll[bool](`document.activeElement.id === "problem"`))
	b.key(kb.Tab)
	require.Equal(t, "address", focus())
	require.Equal(t, "bob@example", js[string](b, "document.activeElement.value"))
	b.key(kb.End + ".com" + kb.Tab)
	require.Equal(t, "Send code", focus())
	require.Equal(t, http.StatusOK, b.leads(chromedp.KeyEvent(" ")))

	var order []string
	for range 4 {
		b.key(kb.Tab)
		require.Equal(t, "3px", js[string](b, "getComputedStyle(document.activeElement).outlineWidth")) // WCAG 2.4.7
		order = append(order, focus())
	}
	require.Equal(t, []string{"code", "Continue", "Send the email again", "Use another address"}, order)
	b.do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	require.Equal(t, "Send the email again", focus())
	for range 2 {
		b.do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	}
	b.key(b.inbox.Code(bob))
	b.leads(chromedp.KeyEvent(kb.Enter))
	b.says("Hello bob@example.com at /")
}

// Reloading a page or going back to one sends nothing and counts nothing.
func TestFlow_reloadAndBack(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	code := b.start(bob)
	posts := b.asked("POST")
	again := func(text string) {
		t.Helper()
		for range 2 {
			require.Equal(t, http.StatusOK, b.reload())
			b.says(text)
		}
		require.Equal(t, posts, b.asked("POST"))
	}
	again("We sent a code")
	b.fill("#code", testkit.WrongCode(code))
	b.press(check)
	posts++
	again("Tries left: 4")
	b.fill("#code", "?")
	b.press(check)
	posts++
	again("That is not a code.")
	b.press(resend)
	posts++
	again("Too many requests.")
	b.clock.Add(time.Minute)
	b.press(resend)
	posts++
	again("We sent the email again.")
	require.Equal(t, 2, b.inbox.Len())

	// Go back to the page after the wrong code, and continue with the right one.
	for range 3 {
		b.back()
	}
	b.says("That code is not right.", "Tries left: 4")
	b.fillIn(code)
	posts++
	again("Hello bob@example.com")
	b.back()
	b.says("has been used already", "If you have just used it, go on.")
	require.False(t, b.has("#problem"))
	require.Equal(t, posts, b.asked("POST"))
	require.Equal(t, 1, b.signedIn())
	require.Equal(t, 2, b.inbox.Len())
	b.press("p.more a")
	b.says("Sign in")
	require.Equal(t, "/cart", js[string](b, "document.forms[0].next.value"))
	b.back()
	b.press(".button")
	b.says("Hello bob@example.com at /cart")
}

func TestFlow_twoTabs(t *testing.T) {
	t.Parallel()
	one := newTab(t, newSite(t, plain))
	two := one.another()
	first, second := one.start(bob), two.start("eve@example.com")
	one.fill("#code", testkit.WrongCode(first))
	one.press(check)
	one.says(bob, "Tries left: 4")
	two.reload()
	two.says("eve@example.com")
	one.fillIn(first)
	one.says("Hello bob@example.com")
	two.fillIn(second)
	two.says("Hello eve@example.com")
	require.Equal(t, 2, one.signedIn())
}

// A person who asks again too early is led to the page of the existing code.
// Sending the form again leads to the page for the code that was mailed. J13
func TestFlow_again(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	code := b.start(bob)
	for _, said := range []string{"1:00", "We sent the email again."} {
		b.press("p.more a")
		b.fill("#address", bob)
		require.Equal(t, http.StatusOK, b.press("button"))
		b.says(bob, said)
		require.False(t, b.has("#problem"))
		b.clock.Add(time.Minute)
	}
	b.fillIn(code)
	b.says("Hello bob@example.com at /cart")
	require.Equal(t, 2, b.inbox.Len())
}

// A request for another address that is limited leaves a way back.
func TestFlow_haveCode(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	code := b.start(bob)
	const eve = "eve@example.com"
	_, err := b.verifier.Send(t.Context(), otp.Request{To: eve}) // somebody else
	require.NoError(t, err)
	b.press("p.more a")
	b.fill("#address", eve)
	require.Equal(t, http.StatusTooManyRequests, b.press("button"))
	b.says("it cannot be entered here. Ask for a new one. Time until the next try: 1 minute", "I already have a code")
	require.Equal(t, eve, js[string](b, "document.forms[0].address.value"))
	b.press("p.more a")
	b.says(bob)
	b.fillIn(code)
	b.says("Hello bob@example.com at /cart")
}

// However a challenge ends, one press leads to a new code, and that code works.
func TestFlow_ends(t *testing.T) { // H10
	for name, end := range map[string]func(b *tab){
		"expired":   func(b *tab) { b.expired(bob) },
		"exhausted": func(b *tab) { b.guessWrong(b.start(bob)); b.clock.Add(time.Minute) },
		"spent":     func(b *tab) { b.spent(bob) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTab(t, newSite(t, plain))
			end(b)
			require.False(t, b.has("#code"))
			require.Equal(t, http.StatusOK, b.press(resend))
			b.says("We sent a new code.")
			mode := js[string](b, `document.getElementById("code").inputMode`) // H4
			require.Equal(t, map[bool]string{true: "text", false: "numeric"}[name == "spent"], mode)
			b.fillIn(b.inbox.Code(bob))
			b.says("Hello bob@example.com at /cart")
		})
	}
}
