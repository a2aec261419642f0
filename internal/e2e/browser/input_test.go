package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// clipboard is the browser's only one.
var clipboard sync.Mutex

// paste pastes text into the field of the code. The text is copied in another
// tab.
func (b *tab) paste(from *tab, text string) {
	b.t.Helper()
	clipboard.Lock()
	defer clipboard.Unlock()
	js[bool](from, fmt.Sprintf(`(document.body.innerHTML = "<textarea></textarea>", document.querySelector("textarea").value = %q, document.querySelector("textarea").select(), true)`, text))
	from.command("copy")
	js[bool](b, `(document.getElementById("code").focus(), true)`)
	b.command("paste")
}

// command runs an editing command, as Ctrl and a key do in a field.
func (b *tab) command(name string) {
	b.t.Helper()
	key := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Key: "Control", Commands: []string{name}}
	call(b, input.DispatchKeyEvent, key)
	key.Type, key.Commands = input.DispatchKeyEventTypeKeyUp, nil
	call(b, input.DispatchKeyEvent, key)
}

func spaced(code string) string { return code[:3] + " " + code[3:] }

// digits writes a code with the digits of another script.
func digits(code string, zero rune) string {
	return strings.Map(func(r rune) rune { return zero + r - '0' }, code)
}

// People paste the code with the text around it, and the code is found.
func TestInput_paste(t *testing.T) { // H1, H2, H3
	same := func(code string) string { return code }
	cases := []struct {
		name    string
		pasted  func(code string) string
		shown   func(code string) string // in the field, with scripts
		scripts bool                     // are needed
	}{
		{"plain", same, same, false},
		{"spaced", spaced, spaced, false},
		{"lines", func(code string) string { return "\n " + code + " \n" }, same, false},
		{"sentence", func(code string) string { return "Your code is " + code + ". It is good until 9:41, 2026-11-23." }, same, true},
		{"whole mail, with its subject", func(code string) string {
			return code + " is your Example verification code\n\nYour verification code to sign in to Example is:\n\n" + code + "\n"
		}, same, true},
		{"Arabic sentence", func(code string) string { return "رمزك هو " + digits(code, '٠') + "." }, func(code string) string { return digits(code, '٠') }, true},
		{"Chinese sentence", func(code string) string { return "您的验证码为" + digits(code, '０') + "。" }, func(code string) string { return digits(code, '０') }, true},
	}
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %t", scripts), func(t *testing.T) {
			t.Parallel()
			b := newTab(t, newSite(t, plain))
			from := b.another()
			for i, c := range cases {
				if c.scripts && !scripts {
					continue
				}
				b.clock.Add(time.Hour)
				b.scripts(scripts)
				code := b.start(fmt.Sprintf("bob%d@example.com", i))
				b.paste(from, c.pasted(code))
				require.Equal(t, i, b.signedIn(), c.name)
				if scripts {
					require.Equal(t, c.shown(code), js[string](b, `document.getElementById("code").value`), c.name)
				}
				require.Equal(t, http.StatusOK, b.press(check))
				b.says("Hello bob")
			}
		})
	}
}

// A strong code is found in its sentence, too. Where there are two codes, the text
// stays as it was pasted.
func TestInput_pasteOther(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	from := b.another()
	value := func() string { return js[string](b, `document.getElementById("code").value`) }
	code := b.start(bob)
	b.paste(from, code+" or "+testkit.WrongCode(code))
	require.Equal(t, code+" or "+testkit.WrongCode(code), value())
	b.paste(from, "Your code is "+code+".")
	require.Equal(t, code, value())
	b.command("selectAll")
	b.paste(from, "1234567890123")
	require.Equal(t, "1234567890123", value())

	b.clock.Add(time.Hour)
	strong := b.strong("eve@example.com")
	b.paste(from, "Your verification code is "+strong+".")
	require.Equal(t, strong, value())
	b.press(check)
	b.says("Hello eve@example.com")
}

// Nothing is sent before a press of the button, and a code is right in every way
// in which people type it.
func TestInput_typed(t *testing.T) { // H1, H2, H6
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	for i, typed := range []func(code string) string{
		func(code string) string { return code },
		spaced,
		func(code string) string { return code[:3] + "-" + code[3:] },
		func(code string) string { return code[:2] + "–" + code[2:4] + "—" + code[4:] },
		func(code string) string { return strings.Join(strings.Split(code, ""), " ") },
		func(code string) string { return digits(code, '٠') },
		func(code string) string { return digits(code, '۰') },
		func(code string) string { return digits(code, '०') },
		func(code string) string { return spaced(digits(code, '０')[:9]) + digits(code, '０')[9:] },
	} {
		b.clock.Add(time.Hour)
		code := b.start(fmt.Sprintf("bob%d@example.com", i))
		requests := b.asked("")
		js[bool](b, `(document.getElementById("code").focus(), true)`)
		b.key(typed(code))
		require.Equal(t, "code", js[string](b, "document.activeElement.id"))
		require.Equal(t, typed(code), js[string](b, "document.activeElement.value"))
		require.Equal(t, requests, b.asked(""))
		require.Equal(t, http.StatusOK, b.press(check))
		b.says(fmt.Sprintf("Hello bob%d@example.com", i))
	}
}

// A second click on the same button before the answer arrives sends nothing.
// A keyboard's own clipboard types a whole sentence, without the event of a paste.
func TestInput_keyboardClipboard(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	code := b.start(bob)
	b.fill("#code", "Your code is "+code+".")
	require.Equal(t, http.StatusOK, b.press(check))
	b.says("Hello bob")
}

// The same form is sent again after 30 s, which a mail server may take, and one
// that was corrected at once.
func TestInput_again(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	b.open("/login/")
	// Events that are dispatched send nothing.
	send := func(address string) bool {
		return js[bool](b, fmt.Sprintf(`(() => { const form = document.forms[0]; form.address.value = %q;
			return form.dispatchEvent(new SubmitEvent("submit", {cancelable: true, bubbles: true})) })()`, address))
	}
	require.True(t, send("bob@exmaple.com"))
	require.False(t, send("bob@exmaple.com"))
	js[bool](b, "later(29000)")
	require.False(t, send("bob@exmaple.com"))
	require.True(t, send("bob@example.com"))
	js[bool](b, "later(30000)")
	require.True(t, send("bob@example.com"))
	require.Zero(t, b.asked("POST"))
}

func TestInput_doubleClick(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	twice := func(selector string) {
		t.Helper()
		posts, release := b.asked("POST"), b.hold()
		t.Cleanup(release) // or the server would not close
		b.leads(b.click(selector), b.click(selector, chromedp.ClickCount(2)), chromedp.Func(func(context.Context, *chromedp.Target) error {
			release()
			return nil
		}))
		require.Equal(t, posts+1, b.asked("POST"))
	}
	b.open("/login/")
	b.fill("#address", bob)
	twice("button")
	b.says("Check your email")
	b.fill("#code", testkit.WrongCode(b.inbox.Code(bob)))
	twice(check)
	b.says("Tries left: 4")
	b.fill("#code", b.inbox.Code(bob))
	twice(check)
	b.says("Hello bob@example.com")
}

// The times count down where scripts run. Without scripts they are there, too.
func TestCountdown(t *testing.T) {
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	b.start(bob)
	const times = `[...document.querySelectorAll("[role=timer]")].map(e => e.textContent).join(" ")`
	require.Equal(t, "10:00 1:00", js[string](b, times))
	js[bool](b, `later(1000)`)
	run(b, chromedp.Poll[bool](times+` === "9:59 0:59"`))
	require.Equal(t, 1, b.asked("POST"))

	// The device sleeps.
	js[bool](b, `later(3600e3) && document.dispatchEvent(new Event("visibilitychange", {bubbles: true}))`)
	require.Equal(t, "0:00 0:00", js[string](b, times))
	require.Equal(t, "hidden", js[string](b, `getComputedStyle(document.querySelector("form[action=resend] .hint")).visibility`))
	require.Equal(t, 1, b.asked("POST"))

	b.scripts(false)
	b.clock.Add(30 * time.Second)
	b.reload()
	require.Equal(t, "9:30 0:30", js[string](b, times))
}
