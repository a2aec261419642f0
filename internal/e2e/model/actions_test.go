//lint:file-ignore ST1008 the results of the library stand together, before the answer of the model

package model

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/go-mailotp/otp"
)

// actions returns what can happen. An action with two names happens more often.
func (w *world) actions() map[string]func(*rapid.T) {
	named := map[string]func(){
		"send": w.send, "send 2": w.send, "send again": w.sendAgain, "send again 2": w.sendAgain, "send to nobody": w.sendToNobody,
		"resend": w.resend, "resend 2": w.resend,
		"check": w.check, "check 2": w.check, "check 3": w.check,
		"status": w.status, "forget": w.forget, "rotate": w.rotate,
		"wait": w.wait, "wait a little": w.waitALittle, "wait for an edge": w.waitForEdge, "wait for an edge 2": w.waitForEdge,
		"guess on": w.guessOn, "wear out": w.wearOut, "flood": w.flood, "storm": w.storm, "old device": w.oldDevice,
		"revoke": w.revoke, "revoke twice": w.revokeTwice, "known device": w.knownDevice, "typos": w.typos, "one deadline": w.oneDeadline,
	}
	actions := map[string]func(*rapid.T){}
	for name, act := range named {
		actions[name] = func(t *rapid.T) { w.T = t; act() }
	}
	return actions
}

// drawCall draws a call that can be made during another.
func (w *world) drawCall() func() {
	name := rapid.SampledFrom([]string{"check", "check", "send", "send again", "resend", "forget", "status", "revoke"}).Draw(w.T, "meanwhile")
	return map[string]func(){"check": w.check, "send": w.send, "resend": w.resend, "send again": w.sendAgain, "forget": w.forget, "status": w.status, "revoke": w.revoke}[name]
}

// drawSide draws one of the two verifiers.
func (w *world) drawSide() int { return rapid.IntRange(0, 1).Draw(w.T, "verifier") }

// drawVerifierFor draws a verifier, most often for the purpose of a challenge.
func (w *world) drawVerifierFor(id string) (*otp.Verifier, policy, string) {
	side := w.drawSide()
	purpose := rapid.SampledFrom(purposes).Draw(w.T, "purpose")
	for _, c := range w.m.challenges {
		if c.id != "" && c.id == id && rapid.IntRange(0, 15).Draw(w.T, "another purpose") > 0 {
			purpose = c.purpose
		}
	}
	v, p := w.verifier(side, purpose)
	return v, p, purpose
}

// check makes a random Check.
func (w *world) check() {
	id := w.drawID()
	w.checkInput(id, w.drawInput(id, "right", "right", "spelled", "wrong", "wrong", "wrong", "of another", "odd"))
}

func (w *world) checkInput(id, input string) (otp.Challenge, answer) {
	v, p, purpose := w.drawVerifierFor(id)
	return w.checkBy(v, p, purpose, id, input)
}

func (w *world) checkBy(v *otp.Verifier, p policy, purpose, id, input string) (otp.Challenge, answer) {
	c, a := w.call("Check", fmt.Sprintf("by %s %.30s for %q, %q", p, id, purpose, input), p, func() (otp.Challenge, error, answer) {
		var known *answer
		w.onLost = func() func() {
			a := w.m.check(p, purpose, id, input)
			known = &a
			return func() { known = nil }
		}
		c, err := v.Check(context.Background(), id, input)
		if known == nil {
			w.onLost()
		}
		return c, err, *known
	})
	if a.passed {
		w.tokens = append(w.tokens, token{text: c.Device, namespace: p.namespace, to: a.about.to, at: a.issued})
	}
	if a.verdict == wrong && !a.about.strong {
		w.remember(a.about, p)
	}
	return c, a
}

// status makes a random Status.
func (w *world) status() {
	id := w.drawID()
	v, p, purpose := w.drawVerifierFor(id)
	w.call("Status", fmt.Sprintf("by %s %.30s for %q", p, id, purpose), p, func() (otp.Challenge, error, answer) {
		c, err := v.Status(context.Background(), id)
		return c, err, w.m.status(p, purpose, id)
	})
}

// forget makes a Forget of a random address in any spelling.
func (w *world) forget() {
	typed := rapid.SampledFrom(rapid.SampledFrom(persons).Draw(w.T, "person")).Draw(w.T, "to")
	v, p := w.verifier(w.drawSide(), "login")
	to, err := otp.ParseEmail(typed)
	if err != nil {
		w.Fatal(err)
	}
	w.call("Forget", fmt.Sprintf("by %s of %s", p, typed), p, func() (otp.Challenge, error, answer) {
		var known *answer
		w.onLost = func() func() {
			a := w.m.forget(p, addressLedger(p, to))
			known = &a
			return func() { known = nil }
		}
		err := v.Forget(context.Background(), typed)
		if known == nil {
			w.onLost()
		}
		return otp.Challenge{}, err, *known
	})
	w.unremember(addressLedger(p, to))
}

// revoke makes a RevokeDevices of a random address in any spelling.
func (w *world) revoke() {
	w.revokeOf(w.drawSide(), rapid.SampledFrom(rapid.SampledFrom(persons).Draw(w.T, "person")).Draw(w.T, "to"))
}

func (w *world) revokeOf(side int, typed string) {
	v, p := w.verifier(side, "login")
	to, err := otp.ParseEmail(typed)
	if err != nil {
		w.Fatal(err)
	}
	w.call("RevokeDevices", fmt.Sprintf("by %s of %s", p, typed), p, func() (otp.Challenge, error, answer) {
		var known *answer
		w.onLost = func() func() {
			a := w.m.revoke(p, addressLedger(p, to))
			known = &a
			return func() { known = nil }
		}
		err := v.RevokeDevices(context.Background(), typed)
		if known == nil {
			w.onLost()
		}
		return otp.Challenge{}, err, *known
	})
	for i, t := range w.tokens {
		if t.namespace == p.namespace && addressLedger(p, t.to) == addressLedger(p, to) {
			w.tokens[i].revoked = true
		}
	}
}

// revokeTwice revokes the devices of an address, signs one in and revokes again, by
// verifiers whose clocks differ, before the last device comes back.
func (w *world) revokeTwice() {
	r := w.drawRequest(rapid.SampledFrom(persons).Draw(w.T, "person"))
	r.smooth, r.Device, r.token, r.Proven = true, "", token{}, false
	have := len(w.tokens)
	w.revokeOf(w.drawSide(), r.To)
	c, _ := w.sendBy(w.drawSide(), r)
	if c.ID == "" {
		return
	}
	w.checkInput(c.ID, w.drawInput(c.ID, "right"))
	if len(w.tokens) == have {
		return
	}
	w.waitALittle()
	if rapid.Bool().Draw(w.T, "revoke again") {
		w.revokeOf(w.drawSide(), r.To)
	}
	r.token = w.tokens[have]
	r.Device = r.token.text
	w.sendBy(w.drawSide(), r)
}

// knownDevice asks which of some tokens fits an address, which no store knows.
func (w *world) knownDevice() {
	typed := rapid.SampledFrom(rapid.SampledFrom(persons).Draw(w.T, "person")).Draw(w.T, "to")
	side := w.drawSide()
	v, p := w.verifier(side, "login")
	to, err := otp.ParseEmail(typed)
	if err != nil {
		w.Fatal(err)
	}
	var texts []string
	want := ""
	for range rapid.IntRange(0, 3).Draw(w.T, "tokens") {
		t := w.drawToken()
		if len(w.tokens) > 0 && rapid.Bool().Draw(w.T, "the last") {
			t = w.tokens[len(w.tokens)-1]
		}
		texts = append(texts, t.text)
		if want == "" && t.opens(p, to, w.nowOf(side)) {
			want = t.text
			hit("KnownDevice: found")
		}
	}
	if got := v.KnownDevice(typed, texts...); got != want {
		w.Fatalf("KnownDevice of %q for %s is %q, the model says %q", texts, typed, got, want)
	}
}

// sendToNobody makes calls with invalid addresses.
func (w *world) sendToNobody() {
	v, p := w.verifier(w.drawSide(), "login")
	for _, typed := range []string{"", "ann", "ann@example.com, bob@example.com"} {
		w.call("Send", strconv.Quote(typed), p, func() (otp.Challenge, error, answer) {
			c, err := v.Send(context.Background(), otp.Request{To: typed, Client: "phone-7"})
			return c, err, answer{verdict: badAddress}
		})
		w.call("Forget", strconv.Quote(typed), p, func() (otp.Challenge, error, answer) {
			return otp.Challenge{}, v.Forget(context.Background(), typed), answer{verdict: badAddress}
		})
		w.call("RevokeDevices", strconv.Quote(typed), p, func() (otp.Challenge, error, answer) {
			return otp.Challenge{}, v.RevokeDevices(context.Background(), typed), answer{verdict: badAddress}
		})
	}
}

// rotate gives the verifiers other secrets, mostly the next ones of a rotation.
func (w *world) rotate() {
	if rapid.IntRange(0, 3).Draw(w.T, "a secret is lost") == 0 {
		w.ring = rapid.IntRange(0, len(rings)-1).Draw(w.T, "secrets")
	} else {
		w.ring = (w.ring + 1) % len(rings)
	}
	w.say("the secrets are %s", strings.Join(rings[w.ring], ", "))
}

// guessOn types wrong codes at one challenge until it takes no more.
func (w *world) guessOn() {
	id := w.drawID()
	for range rapid.IntRange(2, 12).Draw(w.T, "guesses") {
		if _, a := w.checkInput(id, w.drawInput(id, "wrong")); a.verdict != wrong {
			break
		}
	}
}

// wearOut opens challenges for one address and guesses at them until only
// strong codes are mailed.
func (w *world) wearOut() {
	person := rapid.SampledFrom(persons).Draw(w.T, "person")
	side := w.drawSide()
	for range rapid.IntRange(2, 12).Draw(w.T, "challenges") {
		c, a := w.sendBy(side, w.drawRequest(person))
		if a.verdict == limited {
			w.pass(time.Duration(a.retryAfter) * time.Millisecond)
		}
		for range 10 {
			if c.ID == "" {
				break
			}
			_, a := w.checkInput(c.ID, w.drawInput(c.ID, "wrong"))
			if a.verdict != wrong {
				break
			}
		}
	}
}

// flood opens challenges for one address as fast as the budgets allow.
func (w *world) flood() {
	person := rapid.SampledFrom(persons).Draw(w.T, "person")
	side := w.drawSide()
	large := rapid.Bool().Draw(w.T, "all large")
	spoil := rapid.Bool().Draw(w.T, "spoil them")
	for range rapid.IntRange(5, 20).Draw(w.T, "challenges") {
		r := w.drawRequest(person)
		if large {
			w.fill(side, &r)
		}
		c, a := w.sendBy(side, r)
		if a.verdict == limited && a.retryAfter < 2*minute {
			w.pass(time.Duration(a.retryAfter) * time.Millisecond)
		}
		if spoil && c.ID != "" {
			w.checkInput(c.ID, w.drawInput(c.ID, "wrong"))
		}
	}
}

// fill adds vars to a request that make its challenge large. If its lane is nearly
// full, the challenge just fits or is one byte too large.
func (w *world) fill(side int, r *request) {
	_, p := w.verifier(side, r.purpose)
	to, err := otp.ParseEmail(r.To)
	if err != nil {
		w.Fatal(err)
	}
	r.Proven = true // large challenges have a lane for themselves
	w.m.now = w.nowOf(side)
	c := w.m.opened(p, opening{to: to, whose: addressLedger(p, to), lane: known, purpose: r.purpose, locale: r.Locale, vars: map[string]string{"text": ""}}, true)
	n := 500
	if rest := maxBytes - size(w.m.lane(c.whose, known)...) - size(c); rest > 0 && rest < n {
		n = rest + rapid.IntRange(0, 1).Draw(w.T, "too much")
	}
	r.Vars = map[string]string{"text": strings.Repeat("a", n)}
}

// storm opens many challenges where the budgets are a hundred. It passes them, or
// guesses in vain, and returns when there is room.
func (w *world) storm() {
	side := w.drawSide()
	if !w.setups[side].fewCodes || rapid.IntRange(0, 2).Draw(w.T, "storm") > 0 {
		return
	}
	r := w.drawRequest(persons[0])
	r.smooth, r.Proven = true, rapid.Bool().Draw(w.T, "all proven")
	if !r.Proven {
		r.Client, r.Device, r.token = clients[0][0], "", token{} // spends the client's budget first
	}
	v, p := w.verifier(side, r.purpose)
	kind, n := "right", 101
	if rapid.Bool().Draw(w.T, "in vain") {
		kind, n = "wrong", 12
	}
	for range n {
		c, a := w.sendBy(side, r)
		if a.verdict == limited {
			w.pass(time.Duration(a.retryAfter) * time.Millisecond)
			continue
		}
		for range 10 {
			if _, a := w.checkBy(v, p, r.purpose, c.ID, w.drawInput(c.ID, kind)); a.verdict != wrong {
				break
			}
		}
	}
}

// oldDevice uses the token of a device just before or just after it expires.
func (w *world) oldDevice() {
	if len(w.tokens) == 0 {
		w.Skip("no tokens")
	}
	if rapid.IntRange(0, 2).Draw(w.T, "old") > 0 {
		return // after half a year everything else has expired
	}
	r := w.drawRequest(persons[0])
	r.token = rapid.SampledFrom(w.tokens).Draw(w.T, "token")
	r.To, r.Device, r.Proven = r.token.to.String(), r.token.text, false
	side := w.drawSide()
	w.passTo(side, r.token.at+tokenLife+int64(rapid.SampledFrom([]int{-120_000, -1, 0, 1, 999, 1000}).Draw(w.T, "beside")))
	if c, _ := w.sendBy(side, r); c.ID != "" {
		w.wait()
		w.resendID(c.ID)
	}
}

// drawToken draws the token of a device, often none.
func (w *world) drawToken() token {
	n := rapid.IntRange(0, 7).Draw(w.T, "device")
	switch {
	case n == 0:
		return token{text: "no token", forged: true}
	case n < 4 || len(w.tokens) == 0:
		return token{}
	}
	t := rapid.SampledFrom(w.tokens).Draw(w.T, "token")
	if n == 4 {
		t.forged = true
		t.text = otherLetter(t.text, rapid.IntRange(0, len(t.text)-2).Draw(w.T, "at"))
	}
	return t
}

// opens reports whether a token opens the lane of known devices of an address, unless
// it was revoked.
func (t token) opens(p policy, to otp.Address, now int64) bool {
	why := "taken"
	switch {
	case t.text == "":
		return false
	case t.forged:
		why = "forged"
	case t.namespace != p.namespace:
		why = "another namespace"
	case t.to != to:
		why = "another address"
	case now >= t.at+tokenLife:
		why = "too old"
	}
	if why != "taken" {
		hit("token: " + why)
	}
	return why == "taken"
}

// otherLetter changes one character of a text.
func otherLetter(text string, at int) string {
	letter := "A"
	if text[at] == 'A' {
		letter = "B"
	}
	return text[:at] + letter + text[at+1:]
}

// typos opens a challenge, types wrong codes and then the right one.
func (w *world) typos() {
	r := w.drawRequest(rapid.SampledFrom(persons).Draw(w.T, "person"))
	r.smooth = true
	side := w.drawSide()
	c, a := w.sendBy(side, r)
	if a.verdict == limited && a.retryAfter < 2*minute {
		w.pass(time.Duration(a.retryAfter) * time.Millisecond)
		c, _ = w.sendBy(side, r)
	}
	if c.ID == "" {
		return
	}
	for range rapid.IntRange(1, 4).Draw(w.T, "typos") {
		w.checkInput(c.ID, w.drawInput(c.ID, "wrong"))
	}
	w.checkInput(c.ID, w.drawInput(c.ID, "right"))
}

// oneDeadline opens codes that live for 10, 9 and 8 minutes so that they end at once,
// with a code of a day beside them, and guesses at all of them around their end. It
// tries to get more verdicts than the budget allows by the difference of the clocks.
func (w *world) oneDeadline() {
	side := w.drawSide()
	if !w.setups[side].wide {
		return
	}
	person := rapid.SampledFrom(persons).Draw(w.T, "person")
	r := request{smooth: true}
	r.To, r.Proven = person[0], rapid.Bool().Draw(w.T, "proven")
	var ids []string
	var end int64
	open := func(purpose string) {
		r.purpose = purpose
		if c, _ := w.sendBy(w.drawSide(), r); c.ID != "" {
			ids = append(ids, c.ID)
			end = c.ExpiresAt.UnixMilli()
		}
	}
	if rapid.Bool().Draw(w.T, "one of a day") {
		open("slow")
	}
	for _, purpose := range purposes[:3] {
		open(purpose)
		open(purpose)
		w.pass(time.Minute)
	}
	if end == 0 {
		return
	}
	w.passTo(side, end+int64(rapid.SampledFrom([]int{-1000, -1, 0, 59_000, 59_999, 60_000}).Draw(w.T, "beside")))
	for range 2 {
		open("login")
	}
	for _, id := range ids {
		for range 10 {
			if _, a := w.checkInput(id, w.drawInput(id, "wrong")); a.verdict != wrong {
				break
			}
		}
	}
}

// challengeOf returns the challenge with an ID.
func (w *world) challengeOf(id string) *challenge {
	for _, c := range w.m.challenges {
		if c.id != "" && c.id == id {
			return c
		}
	}
	return nil
}

// drawID draws the ID of a challenge, mostly of a late and live one, or a forged ID.
func (w *world) drawID() string {
	var all, good []string
	for _, c := range w.m.challenges {
		if c.id != "" {
			all = append(all, c.id)
			if !c.gone {
				good = append(good, c.id)
			}
		}
	}
	if len(all) == 0 {
		return strings.Repeat("A", 64)
	}
	switch n := rapid.IntRange(0, 19).Draw(w.T, "ID"); {
	case n == 0:
		id := rapid.SampledFrom(all).Draw(w.T, "forged from")
		changed := otherLetter(id, rapid.IntRange(0, 63).Draw(w.T, "at"))
		return rapid.SampledFrom([]string{changed, changed, "", id[:63], id + "A", id[:63] + "="}).Draw(w.T, "forged")
	case n <= 2 || len(good) == 0:
		return rapid.SampledFrom(all).Draw(w.T, "one of all")
	case n <= 12:
		return good[len(good)-1]
	default:
		return rapid.SampledFrom(good).Draw(w.T, "one of the good")
	}
}

// drawInput draws the input of a person for a challenge.
func (w *world) drawInput(id string, kinds ...string) string {
	right, codes := "000000", []string(nil)
	for _, c := range w.m.challenges {
		if c.code != "" {
			codes = append(codes, c.code)
		}
		if c.id != "" && c.id == id && c.code != "" {
			right = c.code
		} else if c.id != "" && c.id == id {
			right = strings.Repeat("0", c.length)
		}
	}
	switch rapid.SampledFrom(kinds).Draw(w.T, "input") {
	case "spelled":
		return " " + strings.ToLower(right[:3]) + "-" + right[3:] + " "
	case "wrong":
		return otherDigit(right, rapid.IntRange(0, len(right)-1).Draw(w.T, "at"))
	case "of another":
		return rapid.SampledFrom(slices.Concat([]string{right}, codes)).Draw(w.T, "code")
	case "odd":
		return rapid.SampledFrom(oddInputs).Draw(w.T, "shape")
	}
	return right
}

// otherDigit changes one character of a code.
func otherDigit(code string, at int) string {
	digit := "7"
	if code[at] == '7' {
		digit = "8"
	}
	return code[:at] + digit + code[at+1:]
}

// oddInputs are not codes, or are codes of the wrong kind.
var oddInputs = []string{
	"", "12345", "1234567", "00000O", "000000", "00000000", "ZZZZZZZZZZZZZZ", "12345678901234", "ABCDEFGHIJKLMN", strings.Repeat("9", 70),
}
