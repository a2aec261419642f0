package browser_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// spoken is what a screen reader gets of a part of the page.
type spoken struct {
	role, name, description string
	properties              map[string]string
}

// spoken returns all parts of the page, in order.
func (b *tab) spoken() (all []spoken) {
	b.t.Helper()
	text := func(v *accessibility.Value) string {
		if v == nil || len(v.Value) == 0 {
			return ""
		}
		var s any
		require.NoError(b.t, json.Unmarshal(v.Value, &s))
		if s, ok := s.(string); ok {
			return s
		}
		return string(v.Value)
	}
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if n.Ignored {
			continue
		}
		one := spoken{text(n.Role), text(n.Name), text(n.Description), map[string]string{}}
		for _, p := range n.Properties {
			one.properties[string(p.Name)] = text(p.Value)
		}
		all = append(all, one)
	}
	return all
}

// part returns the only part with a role or, if name is not empty, with both.
func (b *tab) part(role, name string) spoken {
	b.t.Helper()
	var found []spoken
	for _, s := range b.spoken() {
		if s.role == role && (name == "" || s.name == name) {
			found = append(found, s)
		}
	}
	require.Len(b.t, found, 1, role)
	return found[0]
}

func TestNames(t *testing.T) { // H3, H4, H8
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	b.open("/login/")
	require.Equal(t, "Sign in – Acme", b.part("RootWebArea", "").name)
	require.Equal(t, "Sign in", b.part("heading", "").name)
	field := b.part("textbox", "")
	require.Equal(t, "Email address", field.name)
	require.Empty(t, field.description)
	require.Equal(t, "true", field.properties["required"])
	require.Equal(t, "false", field.properties["invalid"])
	b.part("button", "Send code")

	b.fill("#address", "bob@example")
	b.press("button")
	require.Equal(t, "Error: Sign in – Acme", b.part("RootWebArea", "").name)
	require.Equal(t, "1", b.part("heading", "Sign in").properties["level"])
	require.Equal(t, "2", b.part("heading", "There is a problem").properties["level"])
	require.Equal(t, "assertive", b.part("alert", "").properties["live"])
	field = b.part("textbox", "Email address")
	require.Equal(t, "There is a problem Enter an email address, such as name@example.com.", field.description)
	require.Equal(t, "true", field.properties["invalid"])

	b.fill("#code", testkit.WrongCode(b.strong(bob)))
	b.press(check)
	require.Equal(t, "Error: Check your email – Acme", b.part("RootWebArea", "").name)
	field = b.part("textbox", "Code from the email")
	require.Equal(t, "There is a problem That code is not right. Tries left: 4 This code is longer and may have letters in it.", field.description)
	require.Equal(t, "true", field.properties["invalid"])
	b.part("button", "Continue")
	b.part("button", "Send the email again")
	b.part("link", "Use another address")
	b.clock.Add(time.Minute)
	b.press(resend)
	require.Equal(t, "polite", b.part("status", "").properties["live"])
	require.Equal(t, "This code is longer and may have letters in it.", b.part("textbox", "").description)
}

// The field of the code has the attributes that keyboards, autofill and password
// managers need.
func TestNames_codeField(t *testing.T) { // H4, H5
	t.Parallel()
	b := newTab(t, newSite(t, plain))
	const attributes = `Object.fromEntries([...document.getElementById("code").attributes].map(a => [a.name, a.value]))`
	want := map[string]string{
		"id": "code", "name": "code", "type": "text", "dir": "ltr", "inputmode": "numeric", "autocomplete": "one-time-code",
		"autocapitalize": "off", "spellcheck": "false", "required": "",
	}
	b.start(bob)
	require.Equal(t, want, js[map[string]string](b, attributes))
	b.clock.Add(time.Minute)
	b.strong(bob)
	want["inputmode"], want["aria-describedby"] = "text", "hint"
	require.Equal(t, want, js[map[string]string](b, attributes))
}

// In a page that is written from right to left, texts from left to right stay in
// order.
func TestRightToLeft(t *testing.T) {
	for _, language := range []string{"ar", "he"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			b := newTab(t, newSite(t, plain))
			b.language(language)
			code := b.start(bob)
			require.Equal(t, language+" rtl", js[string](b, "document.documentElement.lang + ' ' + document.dir"))
			m, _ := b.inbox.Last(bob)
			require.Equal(t, bob, b.inOrder(".to bdi"))
			require.Equal(t, m.Reference, b.inOrder(".reference bdi"))
			require.Equal(t, "10:00", b.inOrder("form[action=check] [role=timer]"))
			require.Equal(t, "1:00", b.inOrder("form[action=resend] [role=timer]"))
			require.Equal(t, "ltr right", js[string](b, `(s => s.direction + " " + s.textAlign)(getComputedStyle(document.getElementById("code")))`))
			require.Equal(t, "right", js[string](b, `(e => e.getBoundingClientRect().x > innerWidth / 2 ? "right" : "left")(document.querySelector(".more a"))`))
			b.fillIn(digits(code, '٠'))
			b.says("Hello bob@example.com")
		})
	}
}

// inOrder returns the text of an element if each character is to the right of the
// one before it.
func (b *tab) inOrder(selector string) string {
	b.t.Helper()
	return js[string](b, fmt.Sprintf(`(text => {
		let last = -1;
		for (let i = 0; i < text.length; i++) {
			const range = document.createRange();
			range.setStart(text, i);
			range.setEnd(text, i + 1);
			const x = range.getBoundingClientRect().x;
			if (x <= last) return "out of order at " + i;
			last = x;
		}
		return text.data;
	})([...document.querySelector(%q).childNodes].find(node => node.nodeType === Node.TEXT_NODE))`, selector))
}
