package sim

import (
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// pair is a world of two verifiers whose clocks differ by a minute: the first
// one is slow.
func pair(t *testing.T, guesses int, sends []otp.Limit) *world {
	w := newWorld(t, 0, setup{guesses: []int{guesses, guesses}, wrong: defaultWrong, sends: sends})
	w.nodes[0].offset, w.nodes[1].offset = -30*time.Second, 30*time.Second
	w.skew = time.Minute
	w.addAccounts(1)
	return w
}

// must opens a challenge.
func (w *world) must(n *node, purpose string, r otp.Request) *challenge {
	w.Helper()
	c := w.request(n, w.accounts[0], purpose, r, nil, nil, nil)
	if c == nil {
		w.violated("no code was mailed")
	}
	return c
}

// spend makes all guesses that a challenge has left and returns how many wrong
// verdicts at a short code were told.
func (w *world) spend(n *node, c *challenge) (wrong int) {
	for before := -1; c.live(n) && before != c.wrong; {
		before = c.wrong
		w.guess(n, c, false)
	}
	if c.strong {
		return 0
	}
	return c.wrong
}

// 1. Codes that end at the same time do not give their guesses back while a
// slower clock still accepts them.
func TestRules_holdsOutlastSlowClocks(t *testing.T) {
	for _, guesses := range []int{1, 2, 5, 10} {
		w := pair(t, guesses, wideSends)
		slow, fast := w.nodes[0], w.nodes[1]
		end := w.now.Add(10 * time.Minute)
		var codes []*challenge
		for _, kind := range []string{"ten", "nine", "eight"} {
			w.now = end.Add(-kinds[kind])
			for range 4 {
				c := w.must(slow, kind, otp.Request{})
				if codes = append(codes, c); c.strong {
					break
				}
			}
		}
		// A second before the end by the slow clock, the fast one is past it.
		w.now = slow.at(codes[0].deadline).Add(-time.Second)
		codes = append(codes, w.must(fast, "ten", otp.Request{}))
		for _, n := range w.nodes {
			for _, c := range codes {
				w.spend(n, c)
			}
		}
		total := 0
		for _, c := range codes {
			if !c.strong {
				total += c.wrong
			}
		}
		if total != 10 {
			t.Errorf("%d guesses: %d wrong verdicts in all, want 10", guesses, total)
		}
	}
}

// 2. A wrong guess counts until every clock has seen the end of its window.
func TestRules_windowsOutlastFastClocks(t *testing.T) {
	for _, l := range defaultWrong {
		w := pair(t, 5, wideSends)
		slow, fast := w.nodes[0], w.nodes[1]
		// All of the budget, in one minute for each ten guesses.
		first := w.now
		for day := 0; ; day++ {
			w.now = first.Add(time.Duration(day) * 25 * time.Hour)
			if w.attackAll(slow) == 0 || l.Per == 24*time.Hour {
				break
			}
		}
		// From the end of the window by the fast clock on, until it is over by all.
		for _, early := range []time.Duration{time.Minute, 30 * time.Second, time.Millisecond} {
			w.now = first.Add(l.Per - early)
			w.spend(fast, w.must(fast, "ten", otp.Request{})) // counted by told
		}
		w.now = first.Add(l.Per)
		if w.must(fast, "ten", otp.Request{}).strong {
			t.Errorf("%v: still strong after the window", l)
		}
	}
}

// 26. A typo before each right code, two sign-ins a day for a year: every code is
// short with five guesses, and an attacker's guesses in between stay counted.
func TestRules_typosAreForgiven(t *testing.T) {
	w := pair(t, 5, defaultSends)
	w.nodes[0].offset, w.nodes[1].offset, w.skew = 0, 0, 0
	for range 2 * 365 {
		c := w.must(w.nodes[0], "ten", otp.Request{})
		if c.strong || c.guesses != 5 {
			t.Fatalf("after %v: %d guesses, strong %t", w.now.Sub(noon), c.guesses, c.strong)
		}
		w.now = w.now.Add(20 * time.Second)
		w.guess(w.nodes[0], c, false)
		w.guess(w.nodes[1], c, true)
		w.now = w.now.Add(12 * time.Hour)
	}
	// An attacker spends the ten guesses of a day. The owner's typos in between
	// are forgiven, and none of the attacker's.
	w.setup.sends = wideSends
	w.crash(w.nodes[0])
	w.crash(w.nodes[1])
	attacks := 0
	for range 3 {
		own := w.must(w.nodes[0], "ten", otp.Request{})
		w.now = w.now.Add(61 * time.Second)
		if c := w.must(w.nodes[1], "ten", otp.Request{}); !c.strong {
			attacks += w.spend(w.nodes[1], c)
		}
		w.now = w.now.Add(time.Second)
		if own.guesses > 1 {
			w.guess(w.nodes[0], own, false)
		}
		w.guess(w.nodes[0], own, true)
		w.now = w.now.Add(61 * time.Second)
	}
	w.now = w.now.Add(time.Hour)
	if c := w.must(w.nodes[0], "ten", otp.Request{}); !c.strong && c.guesses > (10-attacks+1)/2 {
		t.Errorf("after %d wrong guesses of an attacker: %d guesses", attacks, c.guesses)
	}
}

// 26. What the right code forgives are the oldest guesses that may be its typos:
// those of an attacker after them are counted for no shorter time.
func TestRules_typosForgiveNobodyElse(t *testing.T) {
	w := pair(t, 5, wideSends)
	own := w.must(w.nodes[0], "day", otp.Request{})
	begin := w.now
	w.guess(w.nodes[0], own, false)
	w.guess(w.nodes[0], own, false)
	w.now = begin.Add(12 * time.Hour)
	w.attackAll(w.nodes[1])
	w.now = begin.Add(20 * time.Hour)
	w.guess(w.nodes[0], own, true)
	w.attackAll(w.nodes[1])
	w.now = begin.Add(24*time.Hour + 3*time.Minute) // the typos are out of the window
	w.attackAll(w.nodes[1])                         // counted by told
}

// 26. The typos that are forgiven are those that the owner made, also where the
// clock that counted them is behind the one that sent the code.
func TestRules_typosBySlowClocks(t *testing.T) {
	w := pair(t, 5, wideSends)
	slow, fast := w.nodes[0], w.nodes[1]
	own := w.must(fast, "ten", otp.Request{})
	begin := w.now
	w.now = begin.Add(20 * time.Second)
	w.guess(slow, own, false)
	w.guess(slow, own, false)
	w.now = begin.Add(9 * time.Minute)
	w.attackAll(slow)
	w.now = begin.Add(9*time.Minute + 10*time.Second)
	if !w.guess(slow, own, true) {
		t.Fatal("the owner is refused")
	}
	w.now = begin.Add(10 * time.Minute)
	w.attackAll(slow)
	w.now = begin.Add(24*time.Hour + 2*time.Minute)
	w.attackAll(fast) // counted by told
}

// attackAll opens codes and spends their guesses until only strong ones are
// mailed. It returns how many it spent.
func (w *world) attackAll(n *node) (spent int) {
	for {
		c := w.must(n, "ten", otp.Request{})
		if c.strong {
			return spent
		}
		spent += w.spend(n, c)
	}
}

// 27. A clock that was a month ahead leaves no lasting damage.
func TestRules_clockAheadIsRepaired(t *testing.T) {
	w := pair(t, 5, defaultSends)
	w.nodes[0].offset, w.nodes[1].offset, w.skew = 0, 31*24*time.Hour, 0
	a := w.accounts[0]
	for range 3 {
		k := &call{account: a}
		got, err := w.nodes[1].v.For("ten").Send(k.context(), otp.Request{To: a.address})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d guesses, strong %t", got.GuessesLeft, got.Strong)
		w.now = w.now.Add(61 * time.Second)
	}
	w.nodes[1].offset = 0
	// The first request that a good clock sees repairs the ledger. Its mails then
	// count from now on.
	w.nodes[0].v.For("ten").Send((&call{account: a}).context(), otp.Request{To: a.address})
	w.now = w.now.Add(time.Hour)
	got, err := w.nodes[0].v.For("ten").Send((&call{account: a}).context(), otp.Request{To: a.address})
	if err != nil || got.Strong || got.GuessesLeft != 5 {
		t.Errorf("an hour after: %d guesses, strong %t, %v", got.GuessesLeft, got.Strong, err)
	}
}

// After the secrets are lost, a verifier does not answer from a value that it
// remembers and cannot open: another one may have replaced it.
func TestRules_lostValueIsNotAnAnswer(t *testing.T) {
	w := pair(t, 5, defaultSends)
	a := w.accounts[0]
	w.must(w.nodes[0], "ten", otp.Request{})
	w.now = w.now.Add(time.Hour)
	w.lose()
	down := w.store.before
	w.store.before = func(v visit) fault {
		if v.key != a.key {
			v.call.faulty = true
			return failed // the client cannot be charged, and the start is refused
		}
		return down(v)
	}
	w.request(w.nodes[1], a, "ten", otp.Request{Client: "192.0.2.1"}, nil, nil, nil)
	w.store.before = down
	c := w.must(w.nodes[0], "ten", otp.Request{})
	w.guess(w.nodes[1], c, true)
}

// After the secrets are lost, short codes are mailed again when every guess made
// before is out of every window, by all clocks.
func TestRules_lossOutlastsFastClocks(t *testing.T) {
	w := pair(t, 5, wideSends)
	w.setup.wrong = []otp.Limit{{N: 10, Per: 30 * 24 * time.Hour}}
	for _, n := range w.nodes {
		n.wrong = w.setup.wrong
		n.start()
	}
	slow, fast := w.nodes[0], w.nodes[1]
	w.attackAll(slow)
	w.lose()
	lost := w.now
	if !w.must(slow, "ten", otp.Request{}).strong {
		t.Error("a short code after a loss")
	}
	for _, early := range []time.Duration{time.Minute, 30 * time.Second, time.Millisecond} {
		w.now = lost.Add(30*24*time.Hour - early)
		w.attackAll(fast) // counted by told
	}
	w.now = lost.Add(30 * 24 * time.Hour)
	if w.must(fast, "ten", otp.Request{}).strong {
		t.Error("still strong a month after a loss")
	}
}
