package otphttp

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// Cookies of the prefix __Host- are this host's own: no other host can set
// them, and they travel by HTTPS only (RFC 6265bis 4.1.3.2).
const (
	challengeName = "__Host-otp"
	deviceName    = "__Host-otp-device"

	// maxChallenges is how many challenges a browser keeps: one for each tab,
	// the newest ones.
	maxChallenges = 4

	// deviceLife is how long a device token is good.
	deviceLife = 180 * 24 * time.Hour

	// afterlife is how long past its deadline a challenge can be sent again.
	afterlife = time.Hour
)

// kept are the challenges in a browser's cookie, newest first. Each is
// reference.ID, so that a page can say which of them it is about.
type kept []string

func challengeCookie(r *http.Request) kept {
	cookie, err := r.Cookie(challengeName)
	if err != nil || cookie.Value == "" {
		return nil
	}
	return strings.SplitN(cookie.Value, "~", maxChallenges+1)
}

// find returns the ID of the challenge with the reference, of the newest if
// that is empty; nothing if there is none.
func (k kept) find(reference string) string {
	for _, c := range k {
		if r, id, _ := strings.Cut(c, "."); r == reference || reference == "" {
			return id
		}
	}
	return ""
}

// keep puts c into the browser's cookie, in place of the one with an old ID.
func (x *exchange) keep(oldID string, c otp.Challenge) {
	if x.fromApp() {
		return
	}
	list := append(kept{c.Reference + "." + c.ID}, challengeCookie(x.r).without(oldID)...)
	x.setChallenges(list[:min(len(list), maxChallenges)], c.ExpiresAt.Sub(c.SentAt)+afterlife)
}

// drop takes a challenge that is over out of the browser's cookie.
func (x *exchange) drop(id string) {
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
		life = -time.Second // deletes it
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

// fromApp reports whether the caller keeps the challenge itself. A script of this
// site cannot pretend to be an app: browsers set these headers on every POST.
func (x *exchange) fromApp() bool {
	if !x.in.json {
		return false
	}
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	return x.r.Header.Get("Origin") == ""
}
