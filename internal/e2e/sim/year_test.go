package sim

import (
	"container/heap"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// A plan is what will happen, in order of time.
type plan []event

type event struct {
	at time.Time
	n  int // in order of planning, so that a seed always gives the same order
	do func()
}

func (p plan) Len() int { return len(p) }
func (p plan) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].n < p[j].n
}
func (p plan) Swap(i, j int) { p[i], p[j] = p[j], p[i] }

// Push implements heap.Interface.
func (p *plan) Push(x any) { *p = append(*p, x.(event)) }

// Pop implements heap.Interface.
func (p *plan) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// A town is a world with people who live their days, and attackers.
type town struct {
	*world
	plan    plan
	planned int
}

// after plans what happens later.
func (t *town) after(d time.Duration, do func()) {
	t.planned++
	heap.Push(&t.plan, event{t.now.Add(d), t.planned, do})
}

// until lets everything happen until a time.
func (t *town) until(end time.Time) {
	for len(t.plan) > 0 && t.plan[0].at.Before(end) {
		e := heap.Pop(&t.plan).(event)
		t.now = e.at
		e.do()
	}
	t.now = end
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.dice.Int64N(int64(d))) }

// A person signs in every day.
type person struct {
	*town
	a       *account
	cookie  []*challenge // the challenges that the browser holds
	device  *token
	ends    int  // of sessions that ended with a right code
	careful bool // has no device
}

// Years of people who sign in, mistype, lose mails, press twice, ask again, use
// known devices and revoke them, beside attackers who open challenges, guess,
// poll, replay and forge.
func TestSimulator_years(t *testing.T) {
	seeds(t, 24, 15*time.Minute, func(seed uint64) map[string]int {
		s := drawSetup(seed)
		s.sends = defaultSends
		w := newWorld(t, seed, s)
		w.addAccounts(3)
		tn := &town{world: w}
		for i, a := range w.accounts {
			tn.after(w.upTo(24*time.Hour), (&person{town: tn, a: a, careful: i == 0}).day)
			tn.after(w.upTo(48*time.Hour), func() { tn.attack(a) })
		}
		tn.after(24*time.Hour, tn.operate)
		tn.until(noon.AddDate(1, 0, 0))
		return w.did
	})
}

// operate is what operators do now and then.
func (t *town) operate() {
	switch {
	case t.pick(40):
		t.rotate()
	case t.setup.losses && t.pick(200):
		t.lose()
	case t.pick(3):
		t.crash(pickOf(t.world, t.nodes))
	}
	t.after(time.Hour+t.upTo(48*time.Hour), t.operate)
}

// day is one day of a person.
func (p *person) day() {
	p.after(20*time.Hour+p.upTo(8*time.Hour), p.day)
	if p.pick(60) && p.device != nil {
		p.revoke(pickOf(p.world, p.nodes), p.a)
		p.device = nil
	}
	if p.pick(2000) {
		p.forget(pickOf(p.world, p.nodes), p.a)
	}
	purpose := "ten"
	if p.pick(8) {
		purpose = pickOf(p.world, purposes)
	}
	p.ask(purpose)
}

// ask requests a code, at times twice.
func (p *person) ask(purpose string) {
	r := otp.Request{Client: "198.51.100.1", Proven: p.pick(20)}
	var fails error
	if p.pick(40) {
		fails = pickOf(p.world, outcomes)
	}
	c := p.request(pickOf(p.world, p.nodes), p.a, purpose, r, p.device, p.cookie, fails)
	if c == nil {
		return // comes back tomorrow
	}
	p.cookie = append(p.cookie[max(0, len(p.cookie)-3):], c)
	if p.pick(10) {
		p.after(p.upTo(90*time.Second), func() { p.ask(purpose) })
	}
	slow := p.upTo(time.Minute)
	if p.pick(10) {
		slow = p.upTo(12 * time.Minute)
	}
	if p.pick(15) { // does not come
		p.after(time.Minute+p.upTo(6*time.Minute), func() {
			if again := p.resend(pickOf(p.world, p.nodes), c, nil); again != nil {
				p.after(p.upTo(time.Minute), func() { p.typeCode(again) })
			}
		})
		return
	}
	p.after(slow, func() { p.typeCode(c) })
}

// typeCode types the code of a mail, at times wrongly.
func (p *person) typeCode(c *challenge) {
	n := pickOf(p.world, p.nodes)
	for p.pick(4) {
		p.guess(n, c, false)
	}
	p.status(n, c)
	if p.guess(n, c, true) {
		p.ends++
		if !p.careful {
			p.device = p.a.tokens[len(p.a.tokens)-1]
		}
	}
}

// attack is an attack on an address, and the plan of the next one. It goes on
// for a minute, an hour, or a month.
func (t *town) attack(a *account) {
	length := []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}[t.dice.IntN(4)]
	t.after(length+t.upTo(20*24*time.Hour), func() { t.attack(a) })
	end := t.now.Add(length)
	step := max(length/time.Duration(20+t.dice.IntN(100)), time.Second)
	var mine []*challenge
	var once func()
	once = func() {
		t.once(a, &mine)
		if next := t.upTo(2 * step); t.now.Add(next).Before(end) {
			t.after(next, once)
		}
	}
	once()
}

// once is what an attacker does next.
func (t *town) once(a *account, mine *[]*challenge) {
	n := pickOf(t.world, t.nodes)
	switch x := t.dice.IntN(10); {
	case x < 4 || len(*mine) == 0:
		r := otp.Request{Client: "203.0.113." + strconv.Itoa(t.dice.IntN(t.setup.clients)), Device: "forged", Held: []string{strings.Repeat("A", 64)}}
		if c := t.request(n, a, pickOf(t.world, purposes), r, nil, nil, nil); c != nil {
			*mine = append(*mine, c)
		}
	case x < 8:
		c := pickOf(t.world, *mine)
		for range 1 + t.dice.IntN(12) {
			t.guess(n, c, false)
		}
	case x < 9:
		t.resend(n, pickOf(t.world, *mine), nil)
	default:
		for _, c := range a.codes { // polls, and replays what was passed
			if c.passed {
				t.guess(n, c, true)
			}
			t.status(n, c)
		}
		t.forge(n, pickOf(t.world, *mine))
	}
	*mine = (*mine)[max(0, len(*mine)-8):]
}

// forge tries IDs that were never issued: they cost the store nothing.
func (t *town) forge(n *node, c *challenge) {
	k := &call{}
	before := t.store.before
	t.store.before = func(visit) fault {
		t.violated("a forged ID reached the store")
		return none
	}
	defer func() { t.store.before = before }()
	forged := []byte(c.id)
	forged[t.dice.IntN(len(forged))] ^= 1
	if _, err := n.v.For(c.purpose).Check(k.context(), string(forged), "000000"); err == nil || fmt.Sprint(err) != otp.ErrUnknown.Error() {
		t.violated("a forged ID: %v", err)
	}
}
