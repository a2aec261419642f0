package otphttp

import (
	"encoding/json"
	"net/http"

	"github.com/go-mailotp/otp"
)

// challengeJSON is a challenge in the API. Times are in seconds from now, since
// the clocks of devices are often wrong.
type challengeJSON struct {
	ID          string `json:"id,omitempty"` // apps only
	Masked      string `json:"masked"`
	Reference   string `json:"reference"`
	Strong      bool   `json:"strong"`
	Letters     bool   `json:"letters"`
	KnownDevice bool   `json:"known_device"`
	GuessesLeft int    `json:"guesses_left"`
	ExpiresIn   int    `json:"expires_in"`
	ResendIn    int    `json:"resend_in"`
	ResendEnds  int    `json:"resend_ends_in"`
}

// problemJSON is an RFC 9457 problem.
type problemJSON struct {
	Type       string         `json:"type"`
	Title      string         `json:"title"`
	Status     int            `json:"status"`
	Detail     string         `json:"detail"` // in the preferred language
	RetryAfter int            `json:"retry_after,omitempty"`
	Scope      string         `json:"scope,omitempty"` // otp.LimitError.Scope
	Challenge  *challengeJSON `json:"challenge,omitempty"`
}

type verifiedJSON struct {
	Verified bool   `json:"verified"`
	Device   string `json:"device,omitempty"` // apps only
}

// publicView returns what the caller may see of c.
func (x *exchange) publicView(c otp.Challenge) *challengeJSON {
	now := x.h.opts.Now()
	v := &challengeJSON{
		Masked: c.Masked, Reference: c.Reference, Strong: c.Strong, Letters: c.Letters, KnownDevice: c.KnownDevice,
		GuessesLeft: c.GuessesLeft, ExpiresIn: seconds(c.ExpiresAt.Sub(now)), ResendIn: seconds(c.ResendAt.Sub(now)),
		ResendEnds: seconds(c.ResendUntil.Sub(now)),
	}
	if x.fromApp() {
		v.ID = c.ID
	}
	return v
}

// sent answers a start or a resend.
func (x *exchange) sent(c otp.Challenge, notice string) {
	if x.in.json {
		x.writeJSON(http.StatusAccepted, "application/json", x.publicView(c))
		return
	}
	x.toCodePage(c.Reference, notice, 0)
}

// verified answers a correct code if the application did not.
func (x *exchange) verified(c otp.Challenge) {
	if !x.in.json {
		x.redirect(Next(x.r, x.h.opts.Home))
		return
	}
	v := verifiedJSON{Verified: true}
	if x.fromApp() {
		v.Device = c.Device
	}
	x.writeJSON(http.StatusOK, "application/json", v)
}

func (x *exchange) writeProblem(c otp.Challenge, p problem) {
	words := x.h.pages.languages.Choose(x.language())
	x.w.Header().Set("Content-Language", words.lang)
	answer := problemJSON{
		Type: problemBase + p.name, Title: p.title, Status: p.status,
		Detail:     words.plain("errors."+p.sentence(c), map[string]string{"time": words.wait(seconds(p.wait))}),
		RetryAfter: seconds(p.wait), Scope: p.scope,
	}
	if c.ID != "" {
		answer.Challenge = x.publicView(c)
	}
	x.writeJSON(p.status, "application/problem+json", answer)
}

func (x *exchange) writeJSON(status int, kind string, v any) {
	x.w.Header().Set("Content-Type", kind)
	x.w.WriteHeader(status)
	if err := json.NewEncoder(x.w).Encode(v); err != nil {
		x.reportError(err)
	}
}
