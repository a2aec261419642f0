package model

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/go-mailotp/otp"
)

// A world is one random history: a store, two verifiers that share it, and the
// model that must agree with them.
type world struct {
	*rapid.T
	m            *model
	micros       int64   // the verifiers' clock, finer than the rules count
	skew         []int64 // how far the verifiers' clocks are ahead of it
	side         int     // the verifier that is called
	storeWait    bool    // whether the store's clock waits where the verifiers' was set back
	clocksAreSet bool    // whether the clocks are set back at times
	store        otp.Store
	counting     *countingStore // nil if the store is a bare MemoryStore
	setups       []setup        // the options of the two verifiers
	ring         int            // the secrets of both, of rings
	verifiers    map[string]*otp.Verifier
	tokens       []token
	told         []told
	depth        int // 1 while something happens in the middle of a mailing

	// These belong to the call under way.
	saw     []otp.Event
	address otp.Hash // that events of the call have, if it is known
	onAdmit func(otp.Address) (bool, error)
	onMail  func(otp.Message) error
	onRace  func()        // takes the model's steps before a swap that comes late
	onLost  func() func() // takes the model's step after a swap whose answer is lost; its result undoes the answer
	raced   bool
	quiet   bool // nothing else happened meanwhile
}

// A told is a wrong verdict that somebody was told about a short code, in true time.
type told struct {
	c  *challenge
	at int64
}

// A token is the token of a device, from a right Check.
type token struct {
	text, namespace string
	to              otp.Address
	at              int64 // when it was issued
	forged          bool
	revoked         bool // after it was issued, in true time
}

// rings are the secrets during a rotation, in order.
var rings = [][]string{{"a"}, {"a", "b"}, {"b", "a"}, {"b"}, {"b", "a"}, {"a", "b"}}

// newWorld draws what stays the same throughout a history.
func newWorld(t *rapid.T) *world {
	w := &world{
		T:         t,
		m:         &model{ledgers: map[string]*ledger{}, forgot: map[string]bool{}, versions: map[string]int{}},
		micros:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro(),
		storeWait: rapid.Bool().Draw(t, "the store's clock waits"),
		verifiers: map[string]*otp.Verifier{},
	}
	w.clocksAreSet = rapid.Bool().Draw(t, "the clocks are set back")
	w.skew = []int64{0, rapid.SampledFrom([]int64{0, 1, 999, 30 * second, slack - 1, slack, slack}).Draw(t, "skew")}
	w.m.now = w.nowOf(0)
	w.m.storeNow = w.m.now
	w.store = otp.NewMemoryStore(&otp.MemoryOptions{Now: func() time.Time { return time.UnixMilli(w.m.storeNow) }})
	if rapid.Bool().Draw(t, "no bare MemoryStore") {
		w.counting = &countingStore{Store: w.store}
		w.store = w.counting
	}
	w.T.Logf("the history begins at %s", clock(w.m.now))
	w.setups = rapid.SliceOfN(rapid.SampledFrom(setups), 2, 2).Draw(t, "options")
	w.m.oneBudget = slices.Equal(w.setups[0].policy.wrongs, w.setups[1].policy.wrongs)
	return w
}

// verifier returns one of the two verifiers and its policy.
func (w *world) verifier(i int, purpose string) (*otp.Verifier, policy) {
	s := w.setups[i]
	s.policy.name, s.policy.side, s.policy.secrets = s.name, i, rings[w.ring]
	name := s.policy.String() + strings.Join(rings[w.ring], "")
	if w.verifiers[name] == nil {
		o := s.options
		for _, letter := range rings[w.ring] {
			o.Secrets = append(o.Secrets, []byte(strings.Repeat(letter+".", 16)))
		}
		o.IndexSecret = []byte(strings.Repeat("the index", 4))
		o.Observer = w
		o.Now = func() time.Time { return time.UnixMicro(w.micros + w.skew[i]*1000) }
		if s.fewCodes {
			o.Generator = new(fewCodes)
		}
		if s.policy.asksAdmit {
			o.Admit = func(_ context.Context, to otp.Address) (bool, error) { return w.onAdmit(to) }
		}
		sender := otp.SenderFunc(func(_ context.Context, m otp.Message) error { return w.onMail(m) })
		v, err := otp.NewVerifier(w.store, sender, &o)
		if err != nil {
			w.Fatal(err)
		}
		w.verifiers[name] = v
	}
	return w.verifiers[name].For(purpose), s.policy
}

// Observe implements otp.Observer.
func (w *world) Observe(_ context.Context, e otp.Event) { w.saw = append(w.saw, e) }

// nowOf returns the time by the clock of a verifier.
func (w *world) nowOf(side int) int64 { return down(w.micros, 1000)/1000 + w.skew[side] }

// pass moves the clocks. The time can be negative.
func (w *world) pass(d time.Duration) {
	before := w.nowOf(0)
	w.micros += d.Microseconds()
	now := w.nowOf(0)
	w.m.now = w.nowOf(w.side)
	w.m.setBack = w.m.setBack || now < before
	if w.storeWait {
		w.m.storeNow = max(w.m.storeNow, now)
	} else {
		w.m.storeNow += max(0, now-before)
	}
	w.quiet = false
	w.say("%v later it is %s", d, clock(w.m.now))
}

// say adds a line to the report that rapid prints of a failure.
func (w *world) say(format string, args ...any) {
	w.Logf(strings.Repeat("    ", w.depth)+format, args...)
}

// remember notes a wrong verdict and checks, by true time, that no window has more of
// them than its budget, whatever was guessed at and whoever asked. What is promised is
// promised while clocks are not set back and both verifiers have the same budget.
func (w *world) remember(c *challenge, p policy) {
	at := w.nowOf(0)
	w.told = append(w.told, told{c, at})
	if w.m.setBack || !w.m.oneBudget {
		return
	}
	for _, limit := range p.wrongs {
		n := 0
		for _, t := range w.told {
			if t.c.whose == c.whose && t.c.lane == c.lane && !t.c.done && at-t.at < limit.Per.Milliseconds() {
				n++
			}
		}
		if n > limit.N {
			w.Fatalf("%d wrong verdicts in %v\n%v", n, limit.Per, w.m)
		}
	}
}

// unremember is for Forget, which frees guesses.
func (w *world) unremember(whose string) {
	w.told = slices.DeleteFunc(w.told, func(t told) bool { return t.c.whose == whose })
}

// call makes one call and compares its answer with the model's. Calls can be
// nested: in Admit, in the sender, or before a swap, which then fails.
func (w *world) call(method, what string, p policy, run func() (otp.Challenge, error, answer)) (otp.Challenge, answer) {
	side := w.side
	w.side, w.m.now = p.side, w.nowOf(p.side)
	defer func() { w.side, w.m.now = side, w.nowOf(side) }()
	saw, address, onAdmit, onMail, onRace, onLost := w.saw, w.address, w.onAdmit, w.onMail, w.onRace, w.onLost
	w.saw, w.address, w.onAdmit, w.onMail, w.onRace, w.onLost = nil, otp.Hash{}, nil, nil, func() {}, nil
	if w.quiet = w.depth == 0; w.depth == 0 {
		w.m.swaps, w.raced = nil, false
		if w.counting != nil {
			w.drawTrouble()
		}
	}
	w.depth++
	loads, swaps := w.storeCalls()
	c, err, want := run()
	if w.depth--; w.depth > 0 && w.counting != nil { // the calls of this one do not belong to the outer one
		l, s := w.storeCalls()
		w.counting.nestedLoads += l - loads
		w.counting.nestedSwaps += s - swaps
	}
	w.say("%s %s: %s, %d guesses left, %v", method, what, want.verdict, c.GuessesLeft, err)
	w.compare(want, c, err)
	hit(method + ": " + string(want.verdict))
	w.saw, w.address, w.onAdmit, w.onMail, w.onRace, w.onLost = saw, address, onAdmit, onMail, onRace, onLost
	if w.depth == 0 && w.counting != nil {
		w.compareSwaps()
	}
	return c, want
}

// storeCalls returns how many loads and swaps were made by the call under way.
func (w *world) storeCalls() (loads, swaps int) {
	if w.counting == nil {
		return 0, 0
	}
	return w.counting.loads - w.counting.nestedLoads, len(w.counting.ttls) - w.counting.nestedSwaps
}

// drawTrouble draws what happens to one of the swaps of a call.
func (w *world) drawTrouble() {
	s := w.counting
	*s = countingStore{Store: s.Store}
	trouble := rapid.SampledFrom([]string{"", "", "", "", "", "denied", "late", "overtaken"}).Draw(w.T, "trouble")
	if trouble == "" {
		return
	}
	w.quiet = false
	at := rapid.IntRange(1, 3).Draw(w.T, "at swap")
	w.say("swap %d of the next call is %s", at, trouble)
	if trouble == "denied" {
		s.denied = at
		return
	}
	other := w.drawCall()
	w.raced = true
	if trouble == "late" {
		s.late, s.before = at, func() {
			w.onRace()
			other()
			hit("trouble: late")
		}
		return
	}
	s.denied, s.after = at, func(same func() bool) {
		forget := w.onLost()
		other()
		if !same() {
			forget()
			hit("trouble: overtaken")
		}
	}
}

// A countingStore records the time to live of every swap that it makes. Since it is
// not a *MemoryStore, its verifier also remembers what it wrote.
type countingStore struct {
	otp.Store
	loads                    int
	ttls                     []int64
	nestedLoads, nestedSwaps int                    // of calls in the middle of another
	late, denied             int                    // count down to a swap
	before                   func()                 // happens before the late one
	after                    func(same func() bool) // happens after the denied one; same reports whether its value is still there
}

// Load implements otp.Store.
func (s *countingStore) Load(ctx context.Context, key string) ([]byte, error) {
	s.loads++
	return s.Store.Load(ctx, key)
}

// CompareAndSwap implements otp.Store.
func (s *countingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if s.late--; s.late == 0 {
		s.before() // and then it fails
	}
	swapped, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	if err != nil || !swapped {
		return swapped, err
	}
	if bytes.Equal(old, new) {
		return false, errors.New("a swap that changes nothing")
	}
	if new != nil {
		s.ttls = append(s.ttls, ttl.Milliseconds())
	}
	if s.denied--; s.denied != 0 {
		return true, nil
	}
	// The swap was made and is denied, as after a driver's own retry (rule 11). If
	// another one follows at once, the verifier cannot recognize its own.
	if s.after != nil {
		s.after(func() bool {
			value, err := s.Store.Load(ctx, key)
			return err == nil && bytes.Equal(value, new)
		})
	} else {
		hit("trouble: denied")
	}
	return false, nil
}
