//lint:file-ignore ST1008 the results of the library stand together, before the answer of the model

package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// A mailing is a Send or Resend under way. The model takes each step after the
// verifier has taken it, so that time can pass, or another call can be made,
// between two steps.
type mailing struct {
	policy  policy
	opening opening

	// Of a Send.
	by   proof
	held []string

	// Drawn at the start.
	admitted  bool
	admitErr  error
	said      outcome
	sendErr   error
	overdue   bool   // the caller's deadline is over when the sender would be called
	inAdmit   func() // happens during Admit
	inSending func() // happens while the sender sends

	// The steps of the model and their results.
	look       func()       // the first step
	lookSwaps  bool         // whether it writes
	looked     bool         // whether it was taken
	loaded     func()       // makes everything as it was loaded then
	version    int          // of the ledger that was loaded
	loadedAt   int64        // by the store's clock
	candidates []*challenge // of those held; one of them may be mailed again
	remails    *challenge   // the one that is
	sends      bool         // a Send, and no Resend
	opens      bool         // whether the call opens a challenge, as far as is known
	replaces   *challenge   // which it replaces
	chosen     bool         // whether that is decided
	charged    bool         // whether the client was
	decided    bool
	lost       *challenge // opened by a swap whose answer was lost
	challenge  *challenge // nil if it was refused
	reserved   int64
	noMail     bool // a decoy, or overdue
	answer     answer
	settled    bool
	unknownKey bool // a ledger was loaded that is sealed under an unknown secret

	asked, mailed bool // whether Admit and the sender were called
}

var errOfTest = errors.New("the test wants it so")

// sendErrors are the errors of a sender, by their meaning.
var sendErrors = map[outcome][]error{
	taken: {nil},
	maybe: {
		&otp.SendError{MaybeSent: true}, &otp.SendError{MaybeSent: true, Temporary: true}, errOfTest,
		&otp.SendError{MaybeSent: true, Class: otpevent.ClassRecipient, Stage: "rcpt"},
	},
	recipient: {
		&otp.SendError{Stage: "rcpt", Err: errOfTest}, &otp.SendError{Class: otpevent.ClassRecipient},
		&otp.SendError{Class: otpevent.ClassRecipient, Stage: "data", Err: errOfTest},
	},
	failure: {
		&otp.SendError{Temporary: true, Err: errOfTest}, &otp.SendError{}, &otp.SendError{Stage: "data", Err: errOfTest},
		&otp.SendError{Temporary: true, Stage: "rcpt"}, &otp.SendError{Temporary: true, Class: otpevent.ClassRecipient},
		&otp.SendError{Class: otpevent.ClassUs, Stage: "rcpt"}, &otp.SendError{Class: otpevent.ClassMailbox, Stage: "rcpt"},
		&otp.SendError{Class: otpevent.ClassContent, Stage: "data"}, &otp.SendError{Class: otpevent.ClassUnknown, Stage: "rcpt"},
		&otp.SendError{Class: otpevent.ClassThrottle, Temporary: true, RetryAfter: time.Minute},
	},
}

// drawMailing draws the answers of Admit and of the sender, and what happens
// meanwhile.
func (w *world) drawMailing(p policy, smooth bool) *mailing {
	nothing := func() {}
	g := &mailing{policy: p, admitted: true, said: taken, inAdmit: nothing, inSending: nothing}
	if smooth {
		return g
	}
	if p.asksAdmit {
		switch rapid.SampledFrom([]string{"yes", "yes", "yes", "yes", "yes", "no", "no", "fails"}).Draw(w.T, "Admit") {
		case "no":
			g.admitted = false
		case "fails":
			g.admitErr = errOfTest
		}
	}
	g.said = rapid.SampledFrom([]outcome{taken, taken, taken, taken, taken, failure, failure, recipient, maybe}).Draw(w.T, "the sender")
	g.sendErr = rapid.SampledFrom(sendErrors[g.said]).Draw(w.T, "its error")
	g.overdue = rapid.IntRange(0, 15).Draw(w.T, "overdue") == 0
	g.inAdmit, g.inSending = w.drawMeanwhile("during Admit"), w.drawMeanwhile("while sending")
	return g
}

// drawMeanwhile draws something that happens in the middle of a call.
func (w *world) drawMeanwhile(when string) func() {
	if w.depth > 0 || rapid.IntRange(0, 9).Draw(w.T, when) > 0 {
		return func() {}
	}
	if rapid.Bool().Draw(w.T, "only time passes") {
		d := w.drawStep(len(steps))
		return func() { w.pass(d) }
	}
	return w.drawCall()
}

// An overdueContext is a caller's context whose deadline is over, although it has not
// ended yet: as when the deadline passes while the swap is under way.
type overdueContext struct{ context.Context }

func (overdueContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Hour), true }

func (g *mailing) context() context.Context {
	if g.overdue {
		return overdueContext{context.Background()}
	}
	return context.Background()
}

// A request is an otp.Request and what else a Send depends on.
type request struct {
	otp.Request
	purpose string
	token   token
	smooth  bool // nothing goes wrong and nothing else happens
}

// drawRequest draws a request for an address in one of its spellings.
func (w *world) drawRequest(spellings []string) request {
	r := request{purpose: rapid.SampledFrom(purposes).Draw(w.T, "purpose"), token: w.drawToken()}
	r.To = rapid.SampledFrom(spellings).Draw(w.T, "to")
	r.Locale = rapid.SampledFrom([]string{"", "de", "pt-BR"}).Draw(w.T, "locale")
	r.Client = rapid.SampledFrom(rapid.SampledFrom(clients).Draw(w.T, "client")).Draw(w.T, "spelling")
	r.Device = r.token.text
	r.Proven = rapid.IntRange(0, 5).Draw(w.T, "proven") == 0
	r.NoRenewal = rapid.IntRange(0, 7).Draw(w.T, "no renewal") == 0
	r.Vars = rapid.SampledFrom([]map[string]string{nil, {"amount": "99.00 EUR"}}).Draw(w.T, "vars")
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2, 9}).Draw(w.T, "held") {
		r.Held = append(r.Held, w.drawID())
	}
	return r
}

// send makes a random Send.
func (w *world) send() {
	w.sendBy(w.drawSide(), w.drawRequest(rapid.SampledFrom(persons).Draw(w.T, "person")))
}

// sendAgain makes a Send as somebody does who sends a form twice: like one before, and
// its challenge is held. Often something else is different.
func (w *world) sendAgain() {
	if len(w.m.challenges) == 0 {
		w.Skip("nothing was sent")
	}
	c := w.challengeOf(w.drawID())
	if c == nil {
		return
	}
	r := request{purpose: c.purpose}
	r.To, r.Vars, r.Proven, r.NoRenewal = c.to.String(), c.vars, c.lane == known, c.noRenewal
	r.Locale = rapid.SampledFrom([]string{c.locale, "fr"}).Draw(w.T, "locale")
	r.Held = []string{c.id}
	switch rapid.SampledFrom([]string{"", "", "", "", "spelling", "purpose", "vars", "renewal", "lane", "many", "others"}).Draw(w.T, "different") {
	case "spelling":
		for _, spellings := range persons {
			if slices.Contains(spellings, r.To) {
				r.To = rapid.SampledFrom(spellings).Draw(w.T, "to")
			}
		}
	case "purpose":
		r.purpose = rapid.SampledFrom(purposes).Draw(w.T, "purpose")
	case "vars":
		r.Vars = map[string]string{"amount": "1.00 EUR"}
	case "renewal":
		r.NoRenewal = !r.NoRenewal
	case "lane":
		r.Proven = !r.Proven
	case "many":
		for range rapid.IntRange(7, 8).Draw(w.T, "forged") {
			r.Held = append([]string{otherLetter(c.id, 40)}, r.Held...)
		}
	case "others":
		r.Held = append([]string{w.drawID()}, append(r.Held, w.drawID())...)
	}
	w.sendBy(w.drawSide(), r)
}

// sendBy makes a Send with one of the two verifiers.
func (w *world) sendBy(side int, r request) (otp.Challenge, answer) {
	v, p := w.verifier(side, r.purpose)
	to, err := otp.ParseEmail(r.To)
	if err != nil {
		w.Fatal(err)
	}
	what := fmt.Sprintf("by %s to %s for %q by %s, proven %t, token %.10s, held %.20q", p, r.To, r.purpose, r.Client, r.Proven, r.Device, r.Held)
	g := w.drawMailing(p, r.smooth)
	return w.call("Send", what, p, func() (otp.Challenge, error, answer) {
		w.address = w.hashOf(v, p, to)
		g.sends, g.opens, g.by, g.held = true, true, proof{r.token, r.Proven}, r.Held
		g.opening = opening{
			to: to, whose: addressLedger(p, to), client: clientLedger(p, r.Client),
			purpose: r.purpose, locale: r.Locale, vars: r.Vars, noRenewal: r.NoRenewal,
		}
		g.look = func() {
			again, a := w.m.ask(p, &g.opening, g.by, g.held)
			g.candidates, g.unknownKey = again, a.unknownKey
			g.decided, g.answer = a.verdict == limited, a
		}
		g.lookSwaps = w.lookSwaps(g)
		return w.mail(g, func() (otp.Challenge, error) { return v.Send(g.context(), r.Request) })
	})
}

// resend makes a random Resend.
func (w *world) resend() { w.resendID(w.drawID()) }

func (w *world) resendID(id string) {
	v, p, purpose := w.drawVerifierFor(id)
	what := fmt.Sprintf("by %s %.30s for %q", p, id, purpose)
	g := w.drawMailing(p, false)
	if w.depth == 0 && rapid.IntRange(0, 4).Draw(w.T, "the old one is gone during Admit") == 0 {
		g.inAdmit = func() { w.checkInput(id, w.drawInput(id, "right")); w.forget() }
	}
	w.call("Resend", what, p, func() (otp.Challenge, error, answer) {
		g.look = func() {
			var c *challenge
			var renew *opening
			w.m.dry(func() { c, renew, _ = w.m.resend(p, purpose, id) })
			if renew != nil { // so far nothing is written
				g.opening, g.replaces, g.opens = *renew, c, true
				return
			}
			g.challenge, _, g.answer = w.m.resend(p, purpose, id)
			if g.decided = true; g.challenge != nil {
				g.reserved, g.noMail = g.challenge.mailedAt, g.overdue || g.challenge.decoy
			}
		}
		g.lookSwaps = w.lookSwaps(g)
		return w.mail(g, func() (otp.Challenge, error) { return v.Resend(g.context(), id) })
	})
}

// lookSwaps reports whether the first step of a mailing writes, without taking it.
func (w *world) lookSwaps(g *mailing) (writes bool) {
	before := *g
	w.m.dry(func() {
		swaps := len(w.m.swaps)
		g.look()
		writes = len(w.m.swaps) > swaps
	})
	*g = before
	return writes
}

// mail makes a Send or Resend and takes the steps of the model.
func (w *world) mail(g *mailing, call func() (otp.Challenge, error)) (otp.Challenge, error, answer) {
	w.say("to %s by %s: Admit %t %v, the sender %q, overdue %t", g.opening.to, g.policy, g.admitted, g.admitErr, g.said, g.overdue)
	w.onAdmit = func(to otp.Address) (bool, error) {
		w.look(g)
		if len(g.candidates) == 0 {
			w.charge(g)
		}
		if g.decided || !g.opens || g.asked || to != g.opening.to {
			w.Fatalf("Admit is called for %v, but not in the model, which says %+v\n%v", to, g.answer, w.m)
		}
		g.asked = true
		g.inAdmit()
		return g.admitted, g.admitErr
	}
	w.onMail = func(m otp.Message) error {
		w.decide(g)
		w.compareMessage(g, m)
		g.mailed = true
		g.inSending()
		return g.sendErr
	}
	loads, swaps := w.storeCalls()
	w.onRace = func() {
		l, s := w.storeCalls()
		w.catchUp(g, l-loads, s-swaps)
	}
	w.onLost = func() func() {
		l, s := w.storeCalls()
		w.catchUp(g, l-loads, s-swaps-1)
		return w.lose(g)
	}
	c, err := call()
	defer func() { w.compareTrips(g, loads) }()
	w.look(g)
	if !g.decided && len(g.candidates) == 0 && !g.asked { // else it was charged before Admit, or it is in decide
		w.charge(g)
	}
	if !g.decided && g.policy.asksAdmit && !g.asked {
		w.Fatalf("Admit was not called (%v)", err)
	}
	if !g.decided {
		w.decide(g)
	}
	g.answer.unknownKey = g.answer.unknownKey || g.unknownKey
	if g.challenge == nil {
		return c, err, g.answer
	}
	if g.mailed == g.noMail {
		w.Fatalf("mailed: %t (%v)\n%v", g.mailed, err, w.m)
	}
	w.settle(g)
	// A lost ledger forgets when devices were revoked; a token that was issued between
	// two revocations in one second is issued ahead of the clock and outlives the loss.
	if g.by.token.revoked && g.opening.issued != 0 && w.quiet && !w.m.setBack && !w.m.forgot[g.opening.whose] {
		w.Fatalf("a token of a device was revoked and is known\n%v", w.m)
	}
	var told *otp.SendError
	if errors.As(err, &told) && g.mailed {
		if said := g.sendErr.(*otp.SendError); told.Temporary != said.Temporary || told.Class != said.Class || told.Stage != said.Stage || told.RetryAfter != said.RetryAfter {
			w.Fatalf("the sender says %#v, the verifier %#v", said, told)
		}
	}
	return c, err, g.answer
}

// look lets the model take the first step, once.
func (w *world) look(g *mailing) {
	if !g.looked {
		g.looked = true
		g.look()
		whose := g.opening.whose
		g.loaded, g.version, g.loadedAt = w.m.keep(), w.m.versions[whose], w.m.storeNow
	}
}

// choose decides, after Admit was asked, whether a held challenge is mailed again. If
// not, it is an ordinary Send, which the address may refuse.
func (w *world) choose(g *mailing) {
	w.look(g)
	if len(g.candidates) == 0 || g.chosen {
		return
	}
	g.chosen = true
	w.m.dry(func() {
		w.m.laneOf(g.policy, &g.opening, g.by)
		g.candidates = w.m.candidates(g.policy, g.opening, g.held)
	})
	if g.remails = g.admits(); g.remails != nil {
		return
	}
	if len(g.candidates) > 0 {
		hit("held: Admit says something else")
	}
	if g.lost != nil && !g.lost.gone {
		return // it is opened already
	}
	if _, a := w.m.ask(g.policy, &g.opening, g.by, nil); a.verdict == limited {
		g.decided, g.answer = true, a
	}
}

// admits returns the best of the challenges that can be mailed again, if Admit says the
// same as when it was opened.
func (g *mailing) admits() *challenge {
	if len(g.candidates) > 0 && g.candidates[0].turnedAway == !g.admitted {
		return g.candidates[0]
	}
	return nil
}

// charges reports whether the step on the ledger of the client is still to come.
func (w *world) charges(g *mailing) bool {
	if g.asked && g.admitErr != nil { // Admit has refused the start
		return false
	}
	if g.asked && g.sends && !g.decided { // meanwhile the token of a device can have become too old
		w.m.dry(func() { w.m.laneOf(g.policy, &g.opening, g.by) })
	}
	return g.opens && !g.decided && !g.charged && g.remails == nil && g.opening.lane == strangers && g.opening.client != ""
}

// charge lets the model take its step on the ledger of the client, once.
func (w *world) charge(g *mailing) {
	if w.look(g); !w.charges(g) {
		return
	}
	g.charged = true
	a := w.m.charge(g.policy, g.opening)
	g.unknownKey = g.unknownKey || a.unknownKey
	if a.verdict != fine {
		g.decided, g.answer = true, a
		w.m.mend(g.policy, g.opening.whose)
	}
}

// decide lets the model take its step on the ledger of the address, once. Time has
// passed since the first one, so all is decided anew on what was loaded. A refusal is
// told; else the swap shows whether others have written, and then it is decided on that.
func (w *world) decide(g *mailing) {
	if w.look(g); g.decided {
		return
	}
	stored := w.m.ledgers[g.opening.whose]
	if w.m.versions[g.opening.whose] != g.version || stored != nil && w.m.storeNow >= stored.dropAt {
		trial, written := *g, 0
		w.m.dry(func() {
			storeNow := w.m.storeNow
			g.loaded()
			w.m.storeNow = g.loadedAt
			written = len(w.m.swaps)
			w.decideAnew(&trial)
			written -= len(w.m.swaps)
			w.m.storeNow = storeNow
		})
		if trial.challenge == nil && written == 0 {
			hit("refused by what was loaded before")
			*g = trial
			return
		}
	}
	w.decideAnew(g)
}

func (w *world) decideAnew(g *mailing) {
	fails := g.asked && g.admitErr != nil
	if !fails {
		w.choose(g)
		w.charge(g)
	}
	if g.decided {
		return
	}
	if g.replaces != nil && !w.m.mayReplace(g.policy, g.replaces, &g.answer) {
		g.decided = true
		return
	}
	if fails {
		hit("Admit fails")
		w.m.mend(g.policy, g.opening.whose)
		g.decided, g.answer = true, answer{verdict: broken}
		return
	}
	w.m.dry(func() {
		if g.sends {
			w.m.laneOf(g.policy, &g.opening, g.by)
			g.candidates = w.m.candidates(g.policy, g.opening, g.held)
			g.remails = g.admits()
			return
		}
		w.m.load(g.policy, g.opening.whose)
		g.opening = g.replaces.opening // its locale can be another by now
		g.opening.lane, g.opening.issued = w.m.renewal(g.replaces)
		if g.remails = nil; w.m.again(g.policy, g.replaces) {
			g.remails = g.replaces
		}
	})
	if w.charges(g) { // the lane was that of known devices before
		var a answer
		w.m.dry(func() { a = w.m.refuse(g.policy, g.opening, g.replaces) })
		if a.verdict == fine {
			hit("charged late")
			w.charge(g)
		}
		if g.decided {
			return
		}
	}
	g.decided = true
	switch {
	case g.lost != nil && w.m.reopen(g.policy, g.lost, &g.answer):
		g.challenge = g.lost
	case g.remails != nil:
		if g.answer = w.m.remail(g.policy, g.remails); g.answer.verdict == limited {
			hit("held: limited")
			return
		}
		g.challenge = g.remails
		if g.sends {
			g.challenge.locale = g.opening.locale
		}
		if g.challenge.decoy {
			hit("held: decoy")
		}
	default:
		g.challenge, g.answer = w.m.open(g.policy, g.opening, g.replaces, g.admitted)
	}
	if g.challenge != nil {
		g.reserved, g.noMail = g.challenge.mailedAt, g.overdue || g.challenge.decoy
	}
}

// settle lets the model take the step after the sender's answer, once.
func (w *world) settle(g *mailing) {
	if g.settled || !g.mailed && !g.overdue || g.challenge == nil {
		return
	}
	g.settled = true
	said := g.said
	if g.overdue {
		said = failure
		hit("overdue")
		if g.challenge.decoy { // or it would tell who is one
			hit("overdue: decoy")
		}
	}
	if said != taken {
		g.answer = w.m.settle(g.policy, g.challenge, g.reserved, g.answer, said, g.opens && g.remails == nil)
	}
}

// catchUp lets the model take the steps that the verifier has taken, as its calls of
// the store show. A first step that does not write is taken with its load: what the
// verifier remembers of a ledger decides nothing by itself.
func (w *world) catchUp(g *mailing, loads, swaps int) {
	if !g.looked && (g.lookSwaps && swaps > 0 || !g.lookSwaps && loads > 0) {
		w.look(g)
	}
	if g.looked && g.lookSwaps {
		swaps--
	}
	if g.decided || !g.looked {
		return
	}
	if swaps > 0 && !g.charged && g.admitErr == nil {
		w.choose(g)
		w.charge(g)
	}
	if g.charged {
		swaps--
	}
	if swaps > 0 {
		w.decide(g)
	}
}

// lose lets the model take the step that has just been written. Its result makes
// the model forget that step, as the verifier does if it cannot know of it.
func (w *world) lose(g *mailing) (forget func()) {
	before := *g
	if g.looked && g.admitErr == nil {
		w.choose(g)
	}
	switch {
	case !g.looked:
		w.look(g)
	case w.charges(g):
		w.charge(g)
	case !g.decided:
		w.decide(g)
		if g.remails == nil {
			before.lost = g.challenge
		}
	default:
		w.settle(g)
	}
	return func() { *g = before }
}

// compareMessage compares a mail with the model.
func (w *world) compareMessage(g *mailing, m otp.Message) {
	c := g.challenge
	if c == nil || g.noMail || g.mailed {
		w.Fatal("the model expects no mail")
	}
	if c.code == "" {
		c.code, c.reference = m.Code, m.Reference
		if code, ok := c.reader(g.policy).read(m.Code); !ok || code != m.Code {
			w.Fatalf("strong: %t, but the code %q does not look like one", c.strong, m.Code)
		}
	}
	if m.To != c.to || m.Code != c.code || m.Purpose != c.purpose || m.Locale != c.locale || m.Reference != c.reference || m.Known != (c.lane == known) ||
		!maps.Equal(m.Vars, c.vars) || !m.SentAt.Equal(time.UnixMilli(g.reserved)) || !m.ExpiresAt.Equal(time.UnixMilli(c.deadline)) {
		w.Fatalf("the mail differs from the one of the model: %v at %v until %v in %q with %v, known %t, reserved at %s for\n%+v\n%v", m, m.SentAt.UTC(), m.ExpiresAt.UTC(), m.Locale, m.Vars, m.Known, clock(g.reserved), c, w.m)
	}
}

// compareTrips compares the loads of a Send with the model: one of the address and,
// before a stranger's challenge is opened, one of the client. What happens after the
// mail is not a part of it.
func (w *world) compareTrips(g *mailing, before int) {
	loads, _ := w.storeCalls()
	if w.counting == nil || !w.quiet || !g.sends || g.settled || w.Failed() {
		return
	}
	want := 1
	if g.charged {
		want++
	}
	if loads-before != want {
		w.Fatalf("%d loads, the model %d", loads-before, want)
	}
}
