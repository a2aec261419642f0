//lint:file-ignore ST1008 the results of the library stand together, before the answer of the model

package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"pgregory.net/rapid"

	"github.com/go-mailotp/otp"
)

// A mailing is a Send or Resend under way. The model takes each step after the
// verifier has taken it, so that time can pass, or another call can be made,
// between two steps.
type mailing struct {
	policy  policy
	opening opening

	// Drawn at the start.
	admitted  bool
	admitErr  error
	sent      verdict
	sendErr   error
	inAdmit   func() // happens during Admit
	inSending func() // happens while the sender sends

	// The steps of the model and their results.
	look      func()     // the first step of a Resend
	lookSwaps bool       // whether it writes
	looked    bool       // whether it was taken
	renews    bool       // whether the call opens a challenge
	replaces  *challenge // which it replaces
	charged   answer     // zero before that step
	decided   bool
	lost      *challenge // opened by a swap whose answer was lost
	challenge *challenge // nil if it was refused
	reserved  int64
	answer    answer
	settled   bool

	asked, mailed bool // whether Admit and the sender were called
}

var errOfTest = errors.New("the test wants it so")

// sendErrors are the errors of a sender, by their meaning.
var sendErrors = map[verdict][]error{
	fine:        {nil},
	tryLater:    {&otp.SendError{Temporary: true, Err: errOfTest}},
	refusedSend: {&otp.SendError{Err: errOfTest}},
	maybeSent:   {&otp.SendError{MaybeSent: true}, &otp.SendError{MaybeSent: true, Temporary: true}, errOfTest},
}

// drawMailing draws the answers of Admit and of the sender, and what happens
// meanwhile.
func (w *world) drawMailing(p policy, smooth bool) *mailing {
	nothing := func() {}
	g := &mailing{policy: p, admitted: true, sent: fine, inAdmit: nothing, inSending: nothing, look: nothing, looked: true}
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
	g.sent = rapid.SampledFrom([]verdict{fine, fine, fine, fine, tryLater, tryLater, refusedSend, maybeSent}).Draw(w.T, "the sender")
	g.sendErr = rapid.SampledFrom(sendErrors[g.sent]).Draw(w.T, "its error")
	g.inAdmit, g.inSending = w.drawMeanwhile("during Admit"), w.drawMeanwhile("while sending")
	return g
}

// drawMeanwhile draws something that happens in the middle of a call.
func (w *world) drawMeanwhile(when string) func() {
	if w.depth > 0 || rapid.IntRange(0, 9).Draw(w.T, when) > 0 {
		return func() {}
	}
	if rapid.Bool().Draw(w.T, "only time passes") {
		d := rapid.SampledFrom(steps).Draw(w.T, "time")
		return func() { w.pass(d) }
	}
	return w.drawCall()
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
	r.Vars = rapid.SampledFrom([]map[string]string{nil, {"amount": "99.00 EUR"}}).Draw(w.T, "vars")
	return r
}

// send makes a random Send.
func (w *world) send() {
	w.sendBy(w.drawSide(), w.drawRequest(rapid.SampledFrom(persons).Draw(w.T, "person")))
}

// sendBy makes a Send with one of the two verifiers.
func (w *world) sendBy(side int, r request) (otp.Challenge, answer) {
	v, p := w.verifier(side, r.purpose)
	g := w.drawMailing(p, r.smooth)
	g.renews = true
	to, err := otp.ParseEmail(r.To)
	if err != nil {
		w.Fatal(err)
	}
	g.opening = opening{
		to: to, whose: addressLedger(p, to), client: clientLedger(p, r.Client),
		purpose: r.purpose, locale: r.Locale, vars: r.Vars,
	}
	if opens := r.token.opens(p, to, w.m.now); opens || r.Proven {
		g.opening.lane = known
	}
	what := fmt.Sprintf("by %s to %s for %q by %s, lane %d, Admit %t %v, %q", p, r.To, r.purpose, r.Client, g.opening.lane, g.admitted, g.admitErr, g.sent)
	return w.call("Send", what, func() (otp.Challenge, error, answer) {
		return w.mail(g, func() (otp.Challenge, error) { return v.Send(context.Background(), r.Request) })
	})
}

// resend makes a random Resend.
func (w *world) resend() { w.resendID(w.drawID()) }

func (w *world) resendID(id string) {
	v, p, purpose := w.drawVerifierFor(id)
	g := w.drawMailing(p, false)
	if w.depth == 0 && rapid.IntRange(0, 4).Draw(w.T, "the old one is gone during Admit") == 0 {
		g.inAdmit = func() { w.checkInput(id, w.drawInput(id, "right")); w.forget() }
	}
	g.looked, g.look = false, func() {
		c, at, renew, a := w.m.resend(p, purpose, id)
		g.challenge, g.reserved, g.answer, g.decided = c, at, a, renew == nil
		if renew != nil {
			g.opening, g.challenge, g.replaces, g.renews = *renew, nil, c, true
		}
	}
	what := fmt.Sprintf("by %s %.30s for %q, Admit %t %v, %q", p, id, purpose, g.admitted, g.admitErr, g.sent)
	w.call("Resend", what, func() (otp.Challenge, error, answer) {
		g.lookSwaps = w.m.resendSwaps(p, purpose, id)
		return w.mail(g, func() (otp.Challenge, error) { return v.Resend(context.Background(), id) })
	})
}

// mail makes a Send or Resend and takes the steps of the model.
func (w *world) mail(g *mailing, call func() (otp.Challenge, error)) (otp.Challenge, error, answer) {
	w.onAdmit = func(to otp.Address) (bool, error) {
		w.charge(g)
		if g.charged.verdict != fine || !g.renews || g.asked || to != g.opening.to {
			w.Fatalf("Admit is called for %v, but not in the model", to)
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
	w.charge(g)
	switch {
	case g.charged.verdict != fine:
		return c, err, g.charged
	case g.renews && g.policy.asksAdmit && !g.asked:
		w.Fatalf("Admit was not called (%v)", err)
	case g.asked && g.admitErr != nil:
		hit("Admit fails")
		return c, err, answer{verdict: broken, unknownKey: g.charged.unknownKey}
	}
	w.decide(g)
	g.answer.unknownKey = g.answer.unknownKey || g.charged.unknownKey
	if g.challenge == nil {
		return c, err, g.answer
	}
	if !g.mailed && !g.challenge.decoy {
		w.Fatalf("no mail (%v)", err)
	}
	w.settle(g)
	return c, err, g.answer
}

// look lets the model take the first step of a Resend, once.
func (w *world) look(g *mailing) {
	if !g.looked {
		g.looked = true
		g.look()
	}
}

// charge lets the model take its step on the ledger of the client, once.
func (w *world) charge(g *mailing) {
	w.look(g)
	if g.charged.verdict == "" && g.renews {
		g.charged = w.m.charge(g.policy, g.opening)
	} else if g.charged.verdict == "" {
		g.charged.verdict = fine
	}
}

// decide lets the model take its step on the ledger of the address, once.
func (w *world) decide(g *mailing) {
	w.charge(g)
	if g.decided {
		return
	}
	g.decided, g.challenge = true, nil
	if g.replaces != nil && !w.m.mayReplace(g.policy, g.replaces, &g.answer) {
		return
	}
	if g.lost != nil && w.m.reopen(g.policy, g.lost, &g.answer) {
		g.challenge, g.reserved = g.lost, g.lost.sentAt
		return
	}
	g.challenge, g.reserved, g.answer = w.m.open(g.policy, g.opening, g.admitted)
}

// settle lets the model take the step after the sender's answer, once.
func (w *world) settle(g *mailing) {
	if g.mailed && g.sent != fine && !g.settled {
		g.settled = true
		g.answer = w.m.settle(g.policy, g.challenge, g.reserved, g.answer, g.sent, g.renews)
	}
}

// catchUp lets the model take the steps that the verifier has taken, as its calls of
// the store show. The first step of a Resend that does not write is taken with its
// load: what the verifier remembers of a ledger decides nothing by itself.
func (w *world) catchUp(g *mailing, loads, swaps int) {
	if !g.looked && g.lookSwaps && swaps > 0 {
		swaps--
		w.look(g)
	} else if !g.looked && !g.lookSwaps && loads > 0 {
		w.look(g)
	}
	if swaps > 0 {
		w.charge(g)
	}
}

// lose lets the model take the step that has just been written. Its result makes
// the model forget that step, as the verifier does if it cannot know of it.
func (w *world) lose(g *mailing) (forget func()) {
	if g.looked && (!g.renews || g.opening.client == "" || g.opening.lane == known) {
		w.charge(g) // writes nothing
	}
	before := *g
	switch {
	case !g.looked:
		w.look(g)
	case g.charged.verdict == "":
		w.charge(g)
	case !g.decided:
		w.decide(g)
		before.lost = g.challenge
	default:
		w.settle(g)
	}
	return func() { *g = before }
}

// compareMessage compares a mail with the model.
func (w *world) compareMessage(g *mailing, m otp.Message) {
	c := g.challenge
	if c == nil || c.decoy || g.mailed {
		w.Fatal("the model expects no mail")
	}
	if c.code == "" {
		c.code, c.reference = m.Code, m.Reference
		s := g.policy.short[kindOf(c.purpose)]
		if c.strong {
			s = fourteen
		}
		if code, ok := s.read(m.Code); !ok || code != m.Code {
			w.Fatalf("strong: %t, but the code does not look like one", c.strong)
		}
	}
	if m.To != c.to || m.Code != c.code || m.Purpose != c.purpose || m.Locale != c.locale || m.Reference != c.reference ||
		!maps.Equal(m.Vars, c.vars) || !m.SentAt.Equal(time.UnixMilli(g.reserved)) || !m.ExpiresAt.Equal(time.UnixMilli(c.deadline)) {
		w.Fatalf("the mail differs from the one of the model: %v at %v, reserved at %s\n%v", m, m.SentAt.UTC(), clock(g.reserved), w.m)
	}
}
