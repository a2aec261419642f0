package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-mailotp/otp"
)

// The mail domains and languages of people, and what they use codes for.
var (
	domains = []weighted[string]{
		{"gmail.com", 32},
		{OutageDomain, 21},
		{"yahoo.com", 9},
		{"icloud.com", 9},
		{"gmx.de", 5},
		{"web.de", 4},
		{"orange.fr", 3},
		{"proton.me", 3},
		{"qq.com", 2},
		{"", 12}, // a company
	}
	languages = map[string][]weighted[string]{
		"gmx.de": {{"de", 94}, {"en", 6}}, "web.de": {{"de", 95}, {"tr", 5}}, "orange.fr": {{"fr", 97}, {"ar", 3}}, "qq.com": {{"zh-Hans", 1}},
		"": {{"en", 40}, {"de", 25}, {"fr", 12}, {"es", 9}, {"pl", 5}, {"ja", 4}, {"ar", 5}},
	}
	anyLanguage = []weighted[string]{{"en", 52}, {"de", 14}, {"es", 11}, {"fr", 9}, {"pt-BR", 6}, {"tr", 3}, {"hi", 3}, {"ar", 2}}
	purposes    = []weighted[string]{{"login", 76}, {"signup", 13}, {"pay", 7}, {"change-email", 3}, {"delete-account", 1}}
	apps        = []weighted[string]{{"web", 60}, {"ios", 23}, {"android", 17}}
)

// person is somebody who wants a code.
type person struct {
	*world
	ctx       context.Context
	verifier  *otp.Verifier
	request   otp.Request
	challenge otp.Challenge
	patience  time.Duration // until they ask again
	wrongs    int           // how often they will mistype
	resent    bool
}

// arrive simulates somebody who opens the page.
func (w *world) arrive() {
	domain := pick(w, domains)
	wishes, ok := languages[domain]
	if !ok {
		wishes = anyLanguage
	}
	if domain == "" {
		domain = fmt.Sprintf("company%d.example", w.rng.IntN(80))
	}
	name := fmt.Sprintf("p%d", w.rng.IntN(40*w.PerDay))
	if w.chance(0.03) {
		name = "z" + name // has no account
	}
	p := &person{
		world: w, ctx: context.WithValue(context.Background(), appKey{}, pick(w, apps)),
		verifier: w.verifier.For(pick(w, purposes)),
		request:  otp.Request{To: name + "@" + domain, Locale: pick(w, wishes), Client: w.ip()},
		patience: 70*time.Second + w.within(2*time.Minute),
	}
	if w.chance(0.07) {
		p.wrongs = 1 + int(w.rng.ExpFloat64()*0.6)
	}
	p.ask()
}

func (p *person) ask() {
	c, err := p.verifier.Send(p.ctx, p.request)
	if err != nil {
		return // rate-limited, and goes away
	}
	p.challenge = c
	p.wait()
}

// wait waits until the mail is read or the person loses patience.
func (p *person) wait() {
	m, late := p.mailed, p.late
	if m.To.String() != p.request.To || m.Reference != p.challenge.Reference {
		p.after(p.patience, p.again) // a decoy: there is no mail
		return
	}
	if p.chance(0.07) {
		return // forgets it
	}
	if late > p.patience {
		p.after(p.patience, p.again)
		if p.chance(0.4) { // some still type it when it arrives
			p.after(late, func() { p.answer(m.Code) })
		}
		return
	}
	p.after(late+time.Duration(p.lognormal(14, 0.65)*float64(time.Second)), func() { p.answer(m.Code) })
}

// again asks for the mail once more, or gives up.
func (p *person) again() {
	if p.resent || p.chance(0.45) {
		return
	}
	p.resent = true
	c, err := p.verifier.Resend(p.ctx, p.challenge.ID)
	if err != nil {
		return
	}
	p.challenge = c
	p.wait()
}

// answer types the code, or first mistypes it p.wrongs times.
func (p *person) answer(code string) {
	typed := code
	if p.wrongs > 0 {
		p.wrongs--
		typed = mistyped(code)
	}
	if p.chance(0.01) {
		typed = "what code?"
	}
	_, err := p.verifier.Check(p.ctx, p.challenge.ID, typed)
	switch {
	case err == nil:
	case errors.Is(err, otp.ErrCode), errors.Is(err, otp.ErrMalformed):
		if p.chance(0.93) {
			p.after(time.Duration(p.lognormal(9, 0.5)*float64(time.Second)), func() { p.answer(code) })
		}
	case otp.NeedsResend(err):
		p.again()
	}
}

func mistyped(code string) string {
	last := code[len(code)-1]
	if last < '0' || last > '9' {
		return code[:len(code)-1] + "?"
	}
	return code[:len(code)-1] + string('0'+(last-'0'+3)%10)
}

// attack simulates a botnet that asks for codes of many addresses and guesses
// at each as often as it can.
func (w *world) attack() {
	bots := make([]string, 150)
	for i := range bots {
		bots[i] = w.ip()
	}
	end := w.Attack.Add(AttackLength)
	var wave func()
	wave = func() {
		if !w.now.Before(end) {
			return
		}
		w.guess(fmt.Sprintf("p%d@%s", w.rng.IntN(100), cmp.Or(pick(w, domains), "company7.example")), bots[w.rng.IntN(len(bots))])
		w.after(time.Duration(w.rng.ExpFloat64()*float64(5*time.Second)), wave)
	}
	wave()
}

// guess opens a challenge for somebody else's address and guesses its code.
func (w *world) guess(to, bot string) {
	ctx := context.WithValue(context.Background(), appKey{}, "web")
	c, err := w.verifier.Send(ctx, otp.Request{To: to, Locale: "en", Client: bot})
	if err != nil {
		return
	}
	code := w.mailed.Code
	for i := range 6 {
		w.after(time.Duration(i+1)*1500*time.Millisecond, func() {
			guess := fmt.Sprintf("%06d", w.rng.IntN(1_000_000))
			if guess == code {
				return // the attack never succeeds here
			}
			w.verifier.Check(ctx, c.ID, guess)
		})
	}
}
