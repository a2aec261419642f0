package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// An op is a call that a client makes.
type op struct {
	name           string
	opens, guesses bool
	fails          error // what its sender returns
	run            func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error)
}

func sends(name string, fails error, request func(h *history) otp.Request) op {
	return op{name: name, opens: true, fails: fails, run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		r := request(h)
		r.To = h.address
		return v.Send(c.context(), r)
	}}
}

var (
	opSend   = sends("Send", nil, func(*history) otp.Request { return otp.Request{} })
	opProven = sends("Send proven", nil, func(*history) otp.Request { return otp.Request{Proven: true} })
	opDevice = sends("Send device", nil, func(h *history) otp.Request { return otp.Request{Device: h.device} })
	opClient = sends("Send client", nil, func(*history) otp.Request { return otp.Request{Client: "192.0.2.1"} })
	opHeld   = sends("Send held", nil, func(h *history) otp.Request {
		return otp.Request{Held: []string{h.first.id}, Proven: h.first.known}
	})
	opTemporary = sends("Send down", &otp.SendError{Temporary: true, Stage: "connect"}, func(*history) otp.Request { return otp.Request{} })
	opRefused   = sends("Send refused", &otp.SendError{Stage: "rcpt"}, func(*history) otp.Request { return otp.Request{} })
	opResend    = op{name: "Resend", opens: true, run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		return v.Resend(c.context(), h.first.id)
	}}
	opResendDown = op{name: "Resend down", opens: true, fails: opTemporary.fails, run: opResend.run}
	opRight      = op{name: "Check right", guesses: true, run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		return v.Check(c.context(), h.first.id, h.first.text)
	}}
	opWrong = op{name: "Check wrong", guesses: true, run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		return v.Check(c.context(), h.first.id, testkit.WrongCode(h.first.text))
	}}
	opRevoke = op{name: "RevokeDevices", run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		return otp.Challenge{}, v.RevokeDevices(c.context(), h.address)
	}}
	opForget = op{name: "Forget", run: func(h *history, v *otp.Verifier, c *call) (otp.Challenge, error) {
		return otp.Challenge{}, v.Forget(c.context(), h.address)
	}}
)

// A scene is a starting state.
type scene struct {
	name    string
	options otp.Options
	ops     []op
	set     func(h *history)
}

// tight are options under which a few calls meet every limit. Of a lane, the
// first two codes are short with two guesses, and the third one is strong.
func tight(mails int) otp.Options {
	return otp.Options{
		Guesses:      2,
		WrongGuesses: []otp.Limit{{N: wrongBudget, Per: 24 * time.Hour}, {N: 6, Per: 30 * 24 * time.Hour}},
		Sends:        []otp.Limit{{N: mails, Per: time.Minute}, {N: 4, Per: time.Hour}},
	}
}

const wrongBudget = 4

var (
	common  = []op{opSend, opHeld, opResend, opRight, opWrong, opRevoke, opForget, opTemporary, opRefused, opResendDown}
	ofKnown = []op{opSend, opDevice, opHeld, opResend, opRight, opWrong, opRevoke, opForget, opProven}
)

var scenes = []scene{
	{"fresh", tight(2), []op{opSend, opProven, opClient, opResend, opRight, opRevoke, opForget, opTemporary, opRefused}, func(h *history) {
		h.first = h.open(otp.Request{})
		h.must(h.verifiers[0].Forget(new(call).context(), h.address))
		h.over = true
		h.later(61 * time.Second)
	}},
	{"live", tight(2), append(common, opClient), func(h *history) {
		h.first = h.open(otp.Request{})
		h.later(61 * time.Second)
	}},
	{"just mailed", tight(1), common, func(h *history) {
		h.first = h.open(otp.Request{})
	}},
	{"one guess left", tight(2), common, func(h *history) {
		h.first = h.open(otp.Request{})
		h.later(61 * time.Second)
		h.wrongGuess()
	}},
	{"half over", tight(2), common, func(h *history) {
		h.first = h.open(otp.Request{})
		h.later(5*time.Minute + time.Millisecond)
	}},
	{"exhausted", tight(2), common, func(h *history) {
		h.first = h.open(otp.Request{})
		h.later(61 * time.Second)
		h.wrongGuess()
		h.wrongGuess()
		h.over = true
	}},
	{"known", tight(2), ofKnown, func(h *history) {
		c := h.open(otp.Request{Proven: true})
		got, err := h.verifiers[0].Check(new(call).context(), c.id, c.text)
		h.must(err)
		h.codes, h.device = nil, got.Device
		h.later(61 * time.Second)
		h.first = h.open(otp.Request{Device: h.device})
		h.later(61 * time.Second)
	}},
}

// wrongGuess spends a guess of the first challenge.
func (h *history) wrongGuess() {
	_, err := h.verifiers[0].Check(new(call).context(), h.first.id, testkit.WrongCode(h.first.text))
	if !errors.Is(err, otp.ErrCode) {
		h.t.Fatalf("the starting state: %v", err)
	}
	h.first.guesses--
	h.spent++
}

// Every pair of calls, in every order of their calls of the store, by one
// process and by two, with one fault at each of these calls; at night with two.
func TestInterleavings_pairs(t *testing.T) {
	faults := 1
	switch {
	case sample():
		faults = 0
	case testkit.Nightly():
		faults = 2
	}
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			e := &enumeration{bench: newBench(t, s.options), scene: s, maxFaults: faults}
			for i := range s.ops {
				for j := i; j < len(s.ops); j++ {
					e.all([]int{0, 0}, s.ops[i], s.ops[j])
					// What a process remembers has nothing to do with its sender.
					if testkit.Nightly() || s.ops[i].fails == nil && s.ops[j].fails == nil {
						e.all([]int{0, 1}, s.ops[i], s.ops[j])
					}
				}
			}
			t.Logf("%d histories", e.histories)
		})
	}
}

// Three clients: without faults the calls that share most, and at night these
// with a fault, and all calls without one.
func TestInterleavings_triples(t *testing.T) {
	testkit.Long(t)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			e := &enumeration{bench: newBench(t, s.options), scene: s}
			few := []op{opSend, opResend, opRight, opWrong}
			switch {
			case sample():
				e.triples(few[:2], []int{0, 0, 1})
			case testkit.Nightly():
				e.triples(s.ops, []int{0, 0, 1})
				e.maxFaults = 1
				fallthrough
			default:
				e.triples(few, []int{0, 0, 1})
			}
			t.Logf("%d histories", e.histories)
		})
	}
}

// triples runs all histories of each three of some calls.
func (e *enumeration) triples(ops []op, processes []int) {
	for i := range ops {
		for j := i; j < len(ops); j++ {
			for k := j; k < len(ops); k++ {
				e.all(processes, ops[i], ops[j], ops[k])
			}
		}
	}
}

// An enumeration is all histories of a scene.
type enumeration struct {
	*bench
	scene      scene
	maxFaults  int
	histories  int
	references map[string][]reference
}

// A reference is what calls one after the other answer.
type reference struct {
	order []int // of the clients
	out   string
}

// all runs all histories of some calls.
func (e *enumeration) all(processes []int, ops ...op) {
	e.references = map[string][]reference{}
	for pick := new(choices); ; {
		e.one(pick, processes, ops)
		if !pick.next() {
			return
		}
	}
}

func (e *enumeration) one(pick *choices, processes []int, ops []op) {
	e.histories++
	h := e.begin(e.scene)
	s := &scheduler{maxFaults: e.maxFaults}
	answers := make([]answer, len(ops))
	var programs []func(*client)
	for i, o := range ops {
		programs = append(programs, func(c *client) {
			k := &call{client: c, fails: o.fails}
			got, err := o.run(h, e.verifiers[processes[i]], k)
			answers[i] = answer{got, err, k}
		})
	}
	s.run(pick, programs...)
	out := make([]string, len(ops))
	for i, o := range ops {
		out[i] = h.take(o, fmt.Sprintf("that of %d", i+1), answers[i])
	}
	h.check(ops, answers, s)
	all := strings.Join(out, "\n") + h.probe()
	h.checkAccepted()
	if !e.serial(ops, s, out, all) {
		e.t.Errorf("no order of the calls one after the other answers this:\n%s", all)
	}
	if e.t.Failed() {
		e.t.Logf("%s: %v in processes %v: %v\n%s", e.scene.name, names(ops), processes, s, all)
		for key, list := range e.references {
			for _, r := range list {
				e.t.Logf("one after the other (%s), order %v:\n%s", key, r.order, r.out)
			}
		}
		e.t.FailNow()
	}
}

func names(ops []op) (list []string) {
	for _, o := range ops {
		list = append(list, o.name)
	}
	return list
}

// check checks what must hold after every history, whatever went wrong.
func (h *history) check(ops []op, answers []answer, s *scheduler) {
	passed := 0
	for _, c := range h.codes {
		if len(c.lefts) > c.guesses {
			h.t.Errorf("%s: %d wrong verdicts at %d guesses", c.name, len(c.lefts), c.guesses)
		}
		seen := map[int]bool{}
		for _, left := range c.lefts {
			if seen[left] || left < 0 || left >= c.guesses {
				h.t.Errorf("%s: wrong guesses were told that %v guesses are left, of %d", c.name, c.lefts, c.guesses)
			}
			seen[left] = true
		}
	}
	for i, o := range ops {
		if o.name == opRight.name && len(answers[i].call.changed) > 0 {
			passed = 1 // also if nobody was told
		}
	}
	var typed *code
	forgotten := false
	for _, o := range ops {
		if o.name == opRight.name {
			typed = h.first
		}
		forgotten = forgotten || o.name == opForget.name
	}
	if !forgotten { // which begins the budgets again
		for n, mails := range h.mails { // a passed code frees its minute
			if mails > h.scene.options.Sends[0].N+passed {
				h.t.Errorf("%d mails in the minute (lane %d)", mails, n)
			}
		}
		for n, wrong := range h.drain(typed) {
			if wrong > wrongBudget {
				h.t.Errorf("%d wrong verdicts at short codes (lane %d)", wrong, n)
			}
		}
	}
	for _, c := range h.codes {
		h.checkAlive(c, ops, answers, s)
	}
	for i, o := range ops {
		ends := o.name == opForget.name || o.name == opRevoke.name && h.first.known
		if _, err := h.verifiers[2].Status(new(call).context(), h.first.id); ends && answers[i].err == nil && !errors.Is(err, otp.ErrUnknown) {
			h.t.Errorf("the first challenge is still there after %s: %v", o.name, err)
		}
	}
}

// checkAlive checks that nobody but its owner ended a code: it stands unless
// somebody typed it, or spent its guesses, or Forget or RevokeDevices were
// called and did not come before it.
func (h *history) checkAlive(c *code, ops []op, answers []answer, s *scheduler) {
	if c == h.first && h.over {
		return
	}
	opener, spent := -1, 0
	for i, a := range answers {
		if ops[i].opens && c != h.first && a.challenge.ID == c.id {
			opener = i
		}
	}
	for i, o := range ops {
		cl := s.clients[i]
		earlier := opener >= 0 && cl.last <= s.clients[opener].first
		switch {
		case o.name == opForget.name && !earlier, o.name == opRevoke.name && c.known && !earlier:
			return
		case o.name == opRight.name && c == h.first:
			return
		case o.name == opWrong.name && c == h.first:
			spent += 1 + len(cl.faults)
		}
	}
	got, err := h.verifiers[2].Status(new(call).context(), c.id)
	c.mustPass = spent < c.guesses && !c.refused
	switch {
	case spent >= c.guesses:
	case err != nil:
		h.t.Errorf("%s was ended: %v", c.name, err)
	case got.GuessesLeft < c.guesses-spent || got.GuessesLeft > c.guesses-len(c.lefts):
		h.t.Errorf("%s has %d guesses left, of %d; %d were told wrong", c.name, got.GuessesLeft, c.guesses, len(c.lefts))
	}
}

// checkAccepted checks that no code passed twice, that no decoy did, and that all
// did that must.
func (h *history) checkAccepted() {
	for _, c := range h.codes {
		if c.accepted > 1 || c.accepted > 0 && c.decoy {
			h.t.Errorf("%s was accepted %d times; decoy: %t", c.name, c.accepted, c.decoy)
		}
		if c.mustPass && c.accepted == 0 {
			h.t.Errorf("%s does not pass", c.name)
		}
	}
}
