package otphttp

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// The prefix __Host- means that no other host can set the cookies and that they
// are sent over HTTPS only (RFC 6265bis 4.1.3.2).
const (
	challengeName = "__Host-otp"
	deviceName    = "__Host-otp-device"

	// maxChallenges is how many challenges a browser keeps, the newest ones:
	// each tab may have its own.
	maxChallenges = 4

	// deviceLife is how long a device token is valid.
	deviceLife = 180 * 24 * time.Hour

	// afterlife is how long after its deadline a challenge can be resent.
	afterlife = time.Hour
)

// kept are the challenges in a browser's cookie, newest first. Each is written
// as reference.ID, so that a page can say which of them it is about.
type kept []string

func challengeCookie(r *http.Request) kept {
	cookie, err := r.Cookie(challengeName)
	if err != nil || cookie.Value == "" {
		return nil
	}
	return strings.SplitN(cookie.Value, "~", maxChallenges+1)
}

// find returns the ID of the challenge with the reference, or of the newest one
// if the reference is empty. It returns "" if there is none.
func (k kept) find(reference string) string {
	for _, c := range k {
		if r, id, _ := strings.Cut(c, "."); r == reference || reference == "" {
			return id
		}
	}
	return ""
}

// ids returns the IDs of all challenges, newest first.
func (k kept) ids() []string {
	var ids []string
	for _, c := range k {
		if _, id, ok := strings.Cut(c, "."); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// has reports whether the challenge with the ID is one of them.
func (k kept) has(id string) bool { return slices.Contains(k.ids(), id) }

// keepChallenge puts c into the browser's cookie and removes the one with an
// old ID.
func (x *exchange) keepChallenge(oldID string, c otp.Challenge) {
	if x.fromApp() {
		return
	}
	list := append(kept{c.Reference + "." + c.ID}, challengeCookie(x.r).without(oldID)...)
	x.setChallenges(list[:min(len(list), maxChallenges)], c.ExpiresAt.Sub(c.SentAt)+afterlife)
}

// dropChallenge removes a used challenge from the browser's cookie.
func (x *exchange) dropChallenge(id string) {
	if old := challengeCookie(x.r); len(old) > 0 {
		x.setChallenges(old.without(id), 10*time.Minute+afterlife)
	}
}

func (k kept) without(id string) kept {
	var rest kept
	for _, c := range k {
		if _, other, ok := strings.Cut(c, "."); ok && other != id {
			rest = append(rest, c)
		}
	}
	return rest
}

func (x *exchange) setChallenges(list kept, life time.Duration) {
	if len(list) == 0 {
		life = -time.Second // deletes the cookie
	}
	setCookie(x.w, challengeName, strings.Join(list, "~"), life)
}

func deviceCookie(r *http.Request) string {
	cookie, err := r.Cookie(deviceName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (x *exchange) keepDevice(token string) {
	if !x.fromApp() {
		setCookie(x.w, deviceName, token, deviceLife)
	}
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
