package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// sample reports whether only a sample is run: under the race detector all is
// many times slower, and it finds nothing where only one goroutine runs at a
// time. make sim runs everything without it.
func sample() bool { return testkit.RaceDetector() }

// seeds calls run with many seeds, or with the one in OTP_SIM_SEED. By day they
// are always the same, so that it is the change that failed; the nightly run has
// others every time, for as long as it says.
func seeds(t *testing.T, usual int, nightly time.Duration, run func(seed uint64) (did map[string]int)) {
	t.Helper()
	total := map[string]int{}
	do := func(seed uint64) {
		for what, n := range run(seed) {
			total[what] += n
		}
		total["world"]++
	}
	switch one := os.Getenv("OTP_SIM_SEED"); {
	case one != "":
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatalf("OTP_SIM_SEED: %v", err)
		}
		do(seed)
	case sample():
		for seed := range max(1, usual/20) {
			do(uint64(seed))
		}
	case testkit.Nightly():
		for begin := time.Now(); time.Since(begin) < nightly; {
			do(rand.Uint64())
		}
	default:
		for seed := range usual {
			do(uint64(seed))
		}
	}
	t.Log(total)
}

// admit is Options.Admit.
func (w *world) admit(_ context.Context, to otp.Address) (bool, error) {
	for _, a := range w.accounts {
		if a.address == to.String() {
			return a.admits, nil
		}
	}
	return false, errors.New("nobody's address")
}

func (w *world) addAccounts(n int) {
	for i := range n {
		w.accounts = append(w.accounts, &account{address: "p" + strconv.Itoa(i) + "@example.com", admits: true})
	}
}

// drawSetup draws the options of a world.
func drawSetup(seed uint64) setup {
	dice := rand.New(rand.NewPCG(seed, 1))
	guesses := []int{1, 2, 5, 10}
	s := setup{wrong: defaultWrong, sends: wideSends, skewed: dice.IntN(4) > 0}
	switch dice.IntN(4) {
	case 0:
		for range 3 {
			s.guesses = append(s.guesses, guesses[dice.IntN(4)])
		}
	case 1:
		s.guesses = []int{10, 10, 10}
	default:
		s.guesses = []int{5, 5, 5}
	}
	switch dice.IntN(6) {
	case 0:
		s.wrong = []otp.Limit{{N: 1, Per: time.Hour}}
	case 1:
		s.wrong = []otp.Limit{{N: 3, Per: 10 * time.Minute}, {N: 7, Per: 2 * time.Hour}}
	case 2:
		s.wrong = []otp.Limit{{N: 2, Per: time.Minute}, {N: 100, Per: 30 * 24 * time.Hour}}
	}
	switch dice.IntN(6) {
	case 0, 1:
		s.sends = defaultSends
	case 2: // with twelve codes at once, only clients have limits
		s.sends = []otp.Limit{{N: 100, Per: time.Minute}}
	}
	if dice.IntN(5) == 0 {
		s.stern = []otp.Limit{{N: 1 + dice.IntN(4), Per: time.Hour}}
	}
	s.clients = []int{2, 10, 200}[dice.IntN(3)]
	s.fat = dice.IntN(5) == 0
	s.faults, s.races, s.losses = dice.IntN(3) == 0, dice.IntN(3) == 0, dice.IntN(3) == 0
	return s
}

// 8. Random steps, with clocks up to a minute apart, against a naive counter: no
// window above its budget, no live code ended by another (J1, J2).
func TestSimulator_steps(t *testing.T) {
	seeds(t, 100, 20*time.Minute, func(seed uint64) map[string]int {
		w := newWorld(t, seed, drawSetup(seed))
		w.addAccounts(1 + w.dice.IntN(2))
		w.other = w.act
		for range 3000 {
			w.jump()
			w.act()
		}
		return w.did
	})
}

// jump lets time pass: often none, and often up to a point at which something
// ends, by the clock of one of the verifiers.
func (w *world) jump() {
	var d time.Duration
	switch w.dice.IntN(20) {
	case 0, 1, 2, 3, 4:
		d = time.Duration(w.dice.IntN(2000)) * time.Millisecond
	case 5, 6, 7:
		d = time.Duration(w.dice.IntN(120)) * time.Second
	case 8:
		d = time.Duration(w.dice.IntN(90)) * time.Minute
	case 9:
		if w.pick(3) {
			d = time.Duration(w.dice.IntN(48)) * time.Hour
		}
	case 10:
		if w.pick(30) {
			d = time.Duration(w.dice.IntN(31*24)) * time.Hour
		}
	case 11, 12, 13:
		if at := w.edge(); at.After(w.now) {
			d = at.Sub(w.now)
		}
	}
	w.now = w.now.Add(d.Truncate(time.Millisecond)) // finer than that, no verifier counts
}

// edge returns a time at which something ends.
func (w *world) edge() time.Time {
	a, n := pickOf(w, w.accounts), pickOf(w, w.nodes)
	near := []time.Duration{-time.Second, -time.Millisecond, 0, time.Millisecond, time.Second, time.Minute - time.Millisecond, time.Minute, time.Minute + time.Millisecond}
	shift := pickOf(w, near)
	l := &a.lanes[w.dice.IntN(2)]
	if recent := len(l.forecast.wrong); recent > 0 && w.pick(2) {
		per := pickOf(w, w.setup.wrong).Per
		first := l.forecast.wrong[w.dice.IntN(recent)]
		return n.at(first).Add(per + shift)
	}
	if len(a.codes) == 0 {
		return w.now
	}
	c := pickOf(w, a.codes)
	if w.pick(3) {
		return n.at((c.sentAt + c.deadline) / 2).Add(shift)
	}
	return n.at(c.deadline).Add(shift)
}

// outcomes are what senders return.
var outcomes = []error{
	&otp.SendError{Temporary: true, Stage: "connect"},
	&otp.SendError{Temporary: true, MaybeSent: true, Stage: "data"},
	&otp.SendError{Stage: "rcpt"},
	&otp.SendError{Stage: "data"},
	errors.New("who knows"),
}

// act does one thing.
func (w *world) act() {
	a, n := pickOf(w, w.accounts), pickOf(w, w.nodes)
	var fails error
	if w.pick(15) {
		fails = pickOf(w, outcomes)
	}
	var c *challenge
	if len(a.codes) > 0 {
		c = pickOf(w, a.codes[max(0, len(a.codes)-12):])
	}
	switch x := w.dice.IntN(100); {
	case x < 22:
		w.actSend(n, a, fails)
	case x < 26 && c != nil:
		w.resend(n, c, fails)
	case x < 80 && c != nil:
		if c.gone && c.text != "" || w.pick(12) { // replays, too
			w.guess(n, c, true)
		} else {
			for range 1 + w.dice.IntN(3) {
				w.guess(n, c, false)
			}
		}
	case x < 93:
		for _, c := range a.codes {
			w.status(n, c)
		}
	case x < 94:
		if w.depth == 0 && w.pick(4) {
			w.burst()
		}
	case x < 96:
		a.admits = w.depth > 0 && a.admits || w.depth == 0 && !w.pick(4)
	case x < 97:
		w.crash(n)
	case x < 98 && w.pick(4):
		w.revoke(n, a)
	case x < 99 && w.pick(40):
		w.forget(n, a)
	case w.depth == 0 && w.setup.losses && w.pick(100):
		w.lose()
	case w.depth == 0 && w.pick(20):
		w.rotate()
	}
}

// burst is what one client does who presses without end.
func (w *world) burst() {
	w.did["burst"]++
	r := otp.Request{}
	if w.setup.fat {
		// When the first ones end, by some clock, the lane is full of others.
		r.Vars = map[string]string{"v": strings.Repeat("v", 500)}
		defer func() {
			if a := pickOf(w, w.accounts); len(a.codes) > 0 && w.pick(2) {
				at := pickOf(w, w.nodes).at(pickOf(w, a.codes).deadline)
				w.now = latest(w.now, at.Add(time.Duration(w.dice.IntN(90))*time.Second))
				w.burst()
				for _, n := range w.nodes {
					for _, c := range a.codes {
						w.status(n, c)
					}
				}
			}
		}()
	}
	r.Client = "192.0.2." + strconv.Itoa(w.dice.IntN(w.setup.clients))
	pause := w.dice.Int64N(5000)
	for range w.dice.IntN(40) {
		w.now = w.now.Add(time.Duration(w.dice.Int64N(pause+1)) * time.Millisecond)
		w.request(pickOf(w, w.nodes), pickOf(w, w.accounts), pickOf(w, purposes), r, nil, nil, nil)
	}
}

func (w *world) actSend(n *node, a *account, fails error) {
	r := otp.Request{Proven: w.pick(5)}
	if w.pick(4) {
		r.Client = "192.0.2." + strconv.Itoa(w.dice.IntN(w.setup.clients))
	}
	if w.setup.fat || w.pick(3) {
		r.Vars = map[string]string{"v": pickOf(w, []string{"1", "2"})}
		if w.setup.fat {
			r.Vars["v"] += strings.Repeat("v", 500)
		}
	}
	var device *token
	if len(a.tokens) > 0 && w.pick(3) {
		device = pickOf(w, a.tokens)
	}
	purpose := pickOf(w, purposes)
	if w.pick(2) {
		purpose = pickOf(w, purposes[:3])
	}
	var held []*challenge
	for w.pick(2) && len(a.codes) > 0 && len(held) < 8 {
		held = append(held, pickOf(w, a.codes))
	}
	w.request(n, a, purpose, r, device, held, fails)
}
