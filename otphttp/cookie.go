package otphttp

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// The prefix __Host- means that no other host can set the cookies and that they
// are sent over HTTPS only (RFC 6265bis 4.1.3.2).
const (
	challengeName = "__Host-otp"
	deviceName    = "__Host-otp-device"

	// maxChallenges is how many challenges a browser keeps, the newest ones:
	// each tab may have its own.
	maxChallenges = 4

	// maxCookie is the length of the longest list of challenges, in bytes.
	maxCookie = 2 << 10

	// maxDevices is how many device tokens a browser keeps.
	maxDevices = 4

	// deviceLife is how long a device token is valid.
	deviceLife = 180 * 24 * time.Hour

	// afterlife is how long after its deadline a challenge can be resent.
	afterlife = time.Hour
)

// kept are the challenges in a browser's cookie, newest first.
type kept []keptChallenge

// keptChallenge is written as reference.ID, so that a page can say which
// challenge it is about, and .address in base64 if the visitor typed one: the
// pages show it whole in that browser. After the right code, "-" takes the
// place of the ID, so that the pages know what became of it.
type keptChallenge struct{ reference, id, typed string }

// passedID is written in place of the ID of a challenge that was passed here.
const passedID = "-"

func challengeCookie(r *http.Request) (list kept) {
	cookie, err := r.Cookie(challengeName)
	if err != nil {
		return nil
	}
	for _, text := range strings.SplitN(cookie.Value, "~", maxChallenges+1) {
		parts := strings.SplitN(text, ".", 3)
		if len(parts) < 2 || len(list) == maxChallenges {
			continue
		}
		c := keptChallenge{reference: parts[0], id: parts[1]}
		if len(parts) == 3 {
			typed, err := base64.RawURLEncoding.DecodeString(parts[2])
			if err == nil && len(typed) <= maxHint && safetext.Check(string(typed)) == nil {
				c.typed = string(typed)
			}
		}
		list = append(list, c)
	}
	return list
}

// find returns the challenge with the reference, or the newest one if the
// reference is empty. It returns the zero value if there is none.
func (k kept) find(reference string) keptChallenge {
	for _, c := range k {
		if c.reference == reference || reference == "" {
			return c
		}
	}
	return keptChallenge{}
}

// ids returns the IDs of all challenges, newest first.
func (k kept) ids() (ids []string) {
	for _, c := range k {
		if c.id != passedID {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// has reports whether the challenge with the ID is one of them.
func (k kept) has(id string) bool { return slices.Contains(k.ids(), id) }

// without returns them without the one with an ID.
func (k kept) without(id string) kept {
	return slices.DeleteFunc(slices.Clone(k), func(c keptChallenge) bool { return c.id == id })
}

// String returns the value of the cookie, without the oldest ones if it would be
// too long.
func (k kept) String() string {
	var b strings.Builder
	for i, c := range k {
		text := c.reference + "." + c.id
		if c.typed != "" {
			text += "." + base64.RawURLEncoding.EncodeToString([]byte(c.typed))
		}
		if i == maxChallenges || b.Len()+1+len(text) > maxCookie {
			break
		}
		if i > 0 {
			b.WriteByte('~')
		}
		b.WriteString(text)
	}
	return b.String()
}

// keepChallenge puts c into the browser's cookie and removes the one with an
// old ID. typed is the address if the visitor typed it.
func (x *exchange) keepChallenge(oldID string, c otp.Challenge, typed string) {
	if x.fromApp() {
		return
	}
	list := append(kept{{c.Reference, c.ID, typed}}, challengeCookie(x.r).without(oldID)...)
	x.setChallenges(list)
}

// keepRenewed puts c into the browser's cookie. The reference of the challenge
// that it replaces leads to it too, since other tabs may still show that one.
func (x *exchange) keepRenewed(oldID string, c otp.Challenge) {
	if x.fromApp() {
		return
	}
	list := challengeCookie(x.r)
	fresh := keptChallenge{c.Reference, c.ID, list.find(x.in.reference).typed}
	for i := range list {
		if list[i].id == oldID {
			list[i].id = c.ID
		}
	}
	x.setChallenges(append(kept{fresh}, list...))
}

// dropChallenge removes the ID of a used challenge from the browser's cookie.
func (x *exchange) dropChallenge(id string) {
	list := challengeCookie(x.r)
	for i, c := range list {
		if c.id == id {
			list[i] = keptChallenge{reference: c.reference, id: passedID}
		}
	}
	if list != nil {
		x.setChallenges(list)
	}
}

// setChallenges keeps them for as long as any code may live (otp.Options.TTL),
// since the cookie does not say when each one ends.
func (x *exchange) setChallenges(list kept) {
	setCookie(x.w, challengeName, list.String(), 24*time.Hour+afterlife)
}

// deviceCookie returns the device tokens of a browser, newest first: each person
// or handler that uses it may have one.
func deviceCookie(r *http.Request) []string {
	cookie, err := r.Cookie(deviceName)
	if err != nil || cookie.Value == "" {
		return nil
	}
	tokens := strings.SplitN(cookie.Value, "~", maxDevices+1)
	return tokens[:min(len(tokens), maxDevices)]
}

// keepDevice puts the new token of an address into the browser's cookie, in
// place of its old ones.
func (x *exchange) keepDevice(to otp.Address, token string) {
	if x.fromApp() {
		return
	}
	tokens := []string{token}
	for _, other := range deviceCookie(x.r) {
		if len(tokens) < maxDevices && other != "" && len(other) <= len(token) && x.verifier.KnownDevice(to.String(), other) == "" {
			tokens = append(tokens, other)
		}
	}
	setCookie(x.w, deviceName, strings.Join(tokens, "~"), deviceLife)
}

func setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// fromApp reports whether the caller is an app, which keeps the challenge
// itself. A script on this site cannot pretend to be an app, since browsers set
// these headers on every POST.
func (x *exchange) fromApp() bool {
	if !x.in.json {
		return false
	}
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	return x.r.Header.Get("Origin") == ""
}
