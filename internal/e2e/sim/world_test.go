package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// A world is one simulated history: a store, verifiers in several processes,
// and the addresses of people. Everything in it follows from its seed.
type world struct {
	testing.TB
	seed     uint64
	dice     *rand.Rand
	now      time.Time // the true time
	store    *store
	setup    setup
	nodes    []*node
	skew     time.Duration // between the fastest clock and the slowest one
	accounts []*account
	secrets  [][]byte
	made     int                    // secrets
	promoted time.Time              // when the first secret became the first
	depth    int                    // 1 while something happens in the middle of a call
	other    func()                 // what happens there
	starts   map[string][]time.Time // of strangers, by client
	log      []string
	did      map[string]int
}

// A setup is what differs between worlds.
type setup struct {
	guesses []int       // of the verifiers
	wrong   []otp.Limit // of all of them
	stern   []otp.Limit // of the first one, if it differs from the others
	sends   []otp.Limit
	skewed  bool // clocks differ by up to a minute
	faults  bool // of the store
	races   bool // calls overlap
	losses  bool // of secrets
	fat     bool // requests are so long that a lane gets full
	clients int  // how many strangers there are
}

// kinds are the purposes, with their lives.
var kinds = map[string]time.Duration{
	"ten": 10 * time.Minute, "nine": 9 * time.Minute, "eight": 8 * time.Minute,
	"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
}

var purposes = []string{"ten", "nine", "eight", "minute", "hour", "day"}

var (
	defaultSends = []otp.Limit{{N: 1, Per: time.Minute}, {N: 5, Per: time.Hour}, {N: 10, Per: 24 * time.Hour}}
	wideSends    = []otp.Limit{{N: 100, Per: time.Hour}}
	clientStarts = []otp.Limit{{N: 4, Per: time.Minute}, {N: 20, Per: time.Hour}}
	defaultWrong = []otp.Limit{{N: 10, Per: 24 * time.Hour}, {N: 30, Per: 30 * 24 * time.Hour}}
)

// A node is a verifier in a process of its own, with its own clock.
type node struct {
	w       *world
	name    int
	offset  time.Duration
	guesses int
	wrong   []otp.Limit
	v       *otp.Verifier
}

// An account is one address.
type account struct {
	address string
	admits  bool
	lanes   [2]struct {
		counter
		forecast
	}
	codes  []*challenge
	tokens []*token
	key    string    // of its ledger
	lost   bool      // its ledger was lost with its secret
	unsure time.Time // until then a code that nobody knows of may hold guesses
}

// A token is a device token.
type token struct {
	text    string
	at      time.Time
	revoked bool // it must never be known again
	doubt   bool // it may be known or not
}

// A challenge is one that a verifier has told of.
type challenge struct {
	a              *account
	id, text       string
	purpose, vars  string
	client         string
	known          bool
	strong, decoy  bool
	turnedAway     bool
	guesses, wrong int // wrong: counted
	sentAt         int64
	deadline       int64
	resendAt       time.Time
	resendDoubt    bool
	passed, gone   bool
	last           *mail
}

func newWorld(t testing.TB, seed uint64, s setup) *world {
	w := &world{TB: t, seed: seed, dice: rand.New(rand.NewPCG(seed, 15)), now: noon, setup: s, starts: map[string][]time.Time{}, did: map[string]int{}}
	w.store = &store{now: func() time.Time { return w.now }, values: map[string]value{}, before: w.disturb}
	w.secrets = [][]byte{w.secret()}
	low, high := time.Duration(0), time.Duration(0)
	for i, g := range s.guesses {
		n := &node{w: w, name: i, guesses: g, wrong: s.wrong}
		if i == 0 && s.stern != nil {
			n.wrong = s.stern
		}
		if s.skewed {
			n.offset = time.Duration(w.dice.IntN(60_001)-30_000) * time.Millisecond
			if w.dice.IntN(3) > 0 { // most clocks are at an edge
				n.offset = 30 * time.Second
				if i%2 == 1 {
					n.offset = -n.offset
				}
			}
		}
		low, high = min(low, n.offset), max(high, n.offset)
		w.nodes = append(w.nodes, n)
	}
	w.skew = high - low
	for _, n := range w.nodes {
		n.start()
	}
	return w
}

// secret makes a secret.
func (w *world) secret() []byte {
	w.made++
	return fmt.Appendf(nil, "secret %d of a simulated world, long enough", w.made)
}

// start starts the process of n anew: it has forgotten what it remembered.
func (n *node) start() {
	purposes := map[string]otp.PurposeOptions{}
	for kind, ttl := range kinds {
		purposes[kind] = otp.PurposeOptions{TTL: ttl}
	}
	v, err := otp.NewVerifier(n.w.store, otp.SenderFunc(deliver), &otp.Options{
		Secrets: n.w.secrets, IndexSecret: []byte("the index secret is never rotated"),
		Purposes: purposes, Guesses: n.guesses, WrongGuesses: n.wrong, Sends: n.w.setup.sends,
		Observer: deaf, Admit: n.w.admit, Now: func() time.Time { return n.w.now.Add(n.offset) },
		ClientStarts: clientStarts,
	})
	if err != nil {
		n.w.Fatal(err)
	}
	n.v = v
}

func (n *node) ms() int64 { return n.w.now.Add(n.offset).UnixMilli() }

func (n *node) at(ms int64) time.Time { return time.UnixMilli(ms).Add(-n.offset) }

// say adds a line to what is printed of a failure.
func (w *world) say(format string, args ...any) {
	line := w.now.Format("2006-01-02 15:04:05.000 ") + strings.Repeat("  ", w.depth) + fmt.Sprintf(format, args...)
	if w.log = append(w.log, line); len(w.log) > 400 {
		w.log = slices.Delete(w.log, 0, 200)
	}
}

// violated reports that a promise was broken.
func (w *world) violated(format string, args ...any) {
	w.Helper()
	tail := w.log[max(0, len(w.log)-60):]
	w.Fatalf("%s\n%+v, clocks %v\nOTP_SIM_SEED=%d: %s", strings.Join(tail, "\n"), w.setup, w.nodes, w.seed, fmt.Sprintf(format, args...))
}

func (n *node) String() string {
	return fmt.Sprintf("node %d (%v, %d guesses)", n.name, n.offset, n.guesses)
}

// disturb is asked before each call of the store.
func (w *world) disturb(v visit) fault {
	if a := v.call.account; a != nil && a.key == "" {
		a.key = v.key // the ledger of the address is loaded first
	}
	if v.swap && w.setup.races && w.depth == 0 && w.other != nil && len(v.call.mails) == 0 && w.dice.IntN(12) == 0 {
		w.depth++
		w.did["race"]++
		w.other()
		w.depth--
	}
	if !w.setup.faults || w.dice.IntN(40) > 0 {
		return none
	}
	f := failed
	if v.swap {
		f = []fault{failed, lost, denied}[w.dice.IntN(3)]
	}
	w.say("the store: %v%v", v, f)
	w.did["fault"]++
	return f
}

func (w *world) pick(n int) bool { return w.dice.IntN(n) == 0 }

func pickOf[T any](w *world, list []T) T { return list[w.dice.IntN(len(list))] }

// live reports whether a challenge can be passed, by the clock of n. A verifier
// that is sterner than the others keeps to its own budget.
func (c *challenge) live(n *node) bool {
	return !c.gone && c.wrong < c.guesses && n.ms() < c.deadline && !c.barred(n)
}

func (c *challenge) barred(n *node) bool {
	return n.w.setup.stern != nil && !c.strong && c.a.lanes[lane(c.known)].spent(n.ms(), n.wrong)
}

// sameCode reports whether a resend mails the same code (R5').
func (c *challenge) sameCode(n *node) bool { return 2*(c.deadline-n.ms()) >= c.deadline-c.sentAt }

// find returns the challenge with an ID, or nil.
func (a *account) find(id string) *challenge {
	for _, c := range a.codes {
		if c.id == id {
			return c
		}
	}
	return nil
}

// lane returns the challenges of a lane.
func (a *account) lane(known bool) (list []*challenge) {
	for _, c := range a.codes {
		if c.known == known {
			list = append(list, c)
		}
	}
	return list
}

// roomy reports whether the known lane has room for another challenge.
func (a *account) roomy() bool {
	size := 0
	for _, c := range a.lane(true) {
		size += 250 + len(c.vars)
	}
	return len(a.lane(true)) < 12 && size < 7000
}

// tidy forgets challenges that are long over.
func (w *world) tidy(a *account) {
	a.codes = slices.DeleteFunc(a.codes, func(c *challenge) bool {
		return w.now.UnixMilli() > c.deadline+3*time.Hour.Milliseconds()
	})
	if len(a.tokens) > 20 {
		a.tokens = slices.Delete(a.tokens, 0, 10)
	}
}

// called returns how often a call changed the ledger of a, whatever it answered.
func (w *world) called(a *account, k *call) (changed int) {
	for _, key := range k.changed {
		if key == a.key {
			changed++
		}
	}
	for i := range a.lanes {
		if changed > 0 {
			a.lanes[i].written(k.node.ms())
		}
	}
	return changed
}

// begin prepares a call about a.
func (w *world) begin(n *node, a *account, fails error) *call {
	if a.lost && w.store.live(a.key) == nil {
		a.lost = false // it has ended by itself meanwhile
	}
	return &call{node: n, account: a, fails: fails}
}

// unexpected reports an error that is none of the answers.
func (w *world) unexpected(what string, k *call, err error) {
	w.Helper()
	if !k.faulty || !errors.Is(err, errStore) {
		w.violated("%s: %v", what, err)
	}
}

// request asks for a code. held are challenges that the asker holds.
func (w *world) request(n *node, a *account, purpose string, r otp.Request, device *token, held []*challenge, fails error) *challenge {
	w.tidy(a)
	k := w.begin(n, a, fails)
	r.To = a.address
	if device != nil {
		r.Device = device.text
	}
	for _, c := range held {
		r.Held = append(r.Held, c.id)
	}
	got, err := n.v.For(purpose).Send(k.context(), r)
	w.say("%v: Send %s to %s, proven %t, device %t, held %d, sender %v: %d left, strong %t, known %t, %d mails, %v",
		n, purpose, a.address, r.Proven, device != nil, len(held), fails, got.GuessesLeft, got.Strong, got.KnownDevice, len(k.mails), err)
	w.did["send"]++
	known := r.Proven
	if device != nil && !r.Proven {
		age := n.ms() - device.at.UnixMilli()
		sure := !device.doubt && !a.lost && age < (180*24*time.Hour-2*time.Minute).Milliseconds()
		switch {
		case device.revoked && got.KnownDevice:
			w.violated("a revoked device is known")
		case sure && !device.revoked && got.ID != "" && !got.KnownDevice:
			w.violated("a device is not known")
		}
		known = sure && !device.revoked
	}
	var limit *otp.LimitError
	switch {
	case errors.As(err, &limit):
		w.did["send limited by "+limit.Scope]++
		if known && (limit.Scope == "client" || limit.Scope == "all") {
			w.violated("a known device was refused because of %q", limit.Scope)
		}
		if known && !k.faulty && w.depth == 0 && a.lanes[1].free(w.now, w.setup.sends, w.skew) && a.roomy() {
			w.violated("the known lane is starved: %v", err)
		}
		if limit.RetryAfter <= 0 {
			w.violated("a wait of %v", limit.RetryAfter)
		}
		return nil
	case got.ID != "" && a.find(got.ID) != nil:
		c := a.find(got.ID)
		if !slices.Contains(held, c) || c.purpose != purpose || c.known != got.KnownDevice || c.vars != r.Vars["v"] || !c.live(n) || !c.sameCode(n) {
			w.violated("Send returned a challenge that it must not mail again: %+v", c)
		}
		w.again(n, c, k, got, err)
		return c
	}
	for _, c := range held {
		c.resendDoubt = c.resendDoubt || k.faulty
		if err == nil && !k.faulty && c.purpose == purpose && c.known == got.KnownDevice && c.vars == r.Vars["v"] && c.live(n) && c.sameCode(n) && c.turnedAway == !a.admits && w.depth == 0 {
			w.violated("a held challenge was not mailed again: %+v", c)
		}
	}
	return w.opened(n, a, &challenge{purpose: purpose, vars: r.Vars["v"], client: r.Client, known: known}, k, got, err)
}

// opened notes a new challenge, which was asked for as c says.
func (w *world) opened(n *node, a *account, c *challenge, k *call, got otp.Challenge, err error) *challenge {
	if got.ID != "" {
		c.known = got.KnownDevice
	} else if len(k.mails) > 0 {
		c.known = k.mails[0].Known
	}
	if a.lost && w.called(a, k) > 0 {
		a.lost = false
		for i := range a.lanes {
			a.lanes[i].strong = n.ms() + (30 * 24 * time.Hour).Milliseconds() + slack
		}
	}
	c.last = w.mailed(a, c.known, k, err)
	if got.ID == "" {
		if !errors.Is(err, otp.ErrSend) {
			w.unexpected("Send", k, err)
		}
		if k.faulty && w.called(a, k) > 0 { // opened, and nobody knows
			a.unsure = latest(a.unsure, w.now.Add(kinds[c.purpose]+3*time.Minute))
		}
		return nil
	}
	if err != nil {
		w.violated("a challenge came with the error %v", err)
	}
	c.a, c.id, c.strong, c.guesses = a, got.ID, got.Strong, got.GuessesLeft
	c.sentAt, c.deadline, c.resendAt = got.SentAt.UnixMilli(), got.ExpiresAt.UnixMilli(), got.ResendAt
	c.turnedAway = !a.admits
	if !c.known && c.client != "" {
		w.started(c.client)
	}
	if len(k.mails) > 0 {
		c.text = k.mails[0].Code
	}
	var failed *otp.SendError
	c.decoy = len(k.mails) == 0 || errors.As(k.fails, &failed) && failed.RefusedRecipient()
	if c.decoy && k.faulty { // whether that was recorded is not known, and nobody has the code
		c.text = ""
	}
	if w.now.After(a.unsure) {
		strong, left := a.lanes[lane(c.known)].next(n.ms(), n.wrong, n.guesses, kinds[c.purpose], a.lane(c.known))
		if strong != c.strong || left != c.guesses {
			w.violated("a new code has %d guesses, strong %t; it must have %d, strong %t; %+v", c.guesses, c.strong, left, strong, a.lanes[lane(c.known)].forecast)
		}
	}
	a.codes = append(a.codes, c)
	if !c.strong {
		w.did["short"]++
	}
	return c
}

// started counts a challenge that was opened for a client. Its windows are never
// wider than they say, but for the clocks.
func (w *world) started(client string) {
	list := append(w.starts[client], w.now)
	list = slices.DeleteFunc(list, func(at time.Time) bool { return w.now.Sub(at) > 2*time.Hour })
	w.starts[client] = list
	for _, l := range clientStarts {
		n := 0
		for _, at := range list {
			if w.now.Sub(at) < l.Per-w.skew {
				n++
			}
		}
		if n > l.N {
			w.violated("%d starts of a client within %v, budget %d", n, l.Per, l.N)
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// mailed counts the mail of a call.
func (w *world) mailed(a *account, known bool, k *call, err error) *mail {
	if w.called(a, k) == 0 {
		return nil
	}
	m := &mail{at: w.now, sent: len(k.mails) > 0}
	if m.sent {
		w.did["mail"]++
	}
	if err := a.lanes[lane(known)].reserve(m, w.setup.sends, w.skew); err != nil {
		w.violated("%v", err)
	}
	var failed *otp.SendError
	m.refunded = errors.As(err, &failed) || errors.As(k.fails, &failed) && !failed.MaybeSent && !failed.RefusedRecipient()
	return m
}

// again notes that the code of c was mailed again.
func (w *world) again(n *node, c *challenge, k *call, got otp.Challenge, err error) {
	if err != nil && !errors.Is(err, otp.ErrSend) {
		w.violated("a challenge came with the error %v", err)
	}
	for _, m := range k.mails {
		if c.text != "" && m.Code != c.text {
			w.violated("another code was mailed for the same challenge")
		}
	}
	if got.GuessesLeft != c.guesses-c.wrong {
		w.violated("mailed again with %d guesses, of %d less %d", got.GuessesLeft, c.guesses, c.wrong)
	}
	if last := w.mailed(c.a, c.known, k, err); last != nil {
		c.last = last
	}
	c.resendAt, c.resendDoubt = got.ResendAt, k.faulty
	w.did["same code"]++
}

// resend asks for the code of a challenge again.
func (w *world) resend(n *node, c *challenge, fails error) *challenge {
	k := w.begin(n, c.a, fails)
	got, err := n.v.For(c.purpose).Resend(k.context(), c.id)
	w.say("%v: Resend %s of %s, sender %v: %d left, known %t, %d mails, %v", n, c.purpose, c.a.address, fails, got.GuessesLeft, got.KnownDevice, len(k.mails), err)
	w.did["resend"]++
	var limit *otp.LimitError
	switch {
	case errors.As(err, &limit):
		return nil
	case errors.Is(err, otp.ErrUnknown):
		if !k.faulty && c.live(n) { // others may have been dropped for room
			w.violated("Resend: a live challenge is unknown")
		}
		return nil
	case c.gone:
		if err == nil {
			w.violated("Resend of a challenge that is gone")
		}
		return nil
	case got.ID == c.id:
		if !c.live(n) || !c.sameCode(n) {
			w.violated("Resend mailed the same code of %+v", c)
		}
		w.again(n, c, k, got, err)
		return c
	case k.faulty && errors.Is(err, errStore):
		c.resendDoubt = true
	case err == nil && c.live(n) && c.sameCode(n):
		w.violated("Resend did not mail the same code of %+v", c)
	}
	return w.opened(n, c.a, &challenge{purpose: c.purpose, vars: c.vars, client: c.client, known: c.known}, k, got, err)
}

// guess types a code: the right one, or one that is surely wrong.
func (w *world) guess(n *node, c *challenge, right bool) (passed bool) {
	k := w.begin(n, c.a, nil)
	typed := c.text
	if typed == "" {
		typed, right = "000000", false
		if c.strong {
			typed = "00000000000000"
		}
	}
	if !right {
		typed = testkit.WrongCode(typed)
	}
	got, err := n.v.For(c.purpose).Check(k.context(), c.id, typed)
	w.say("%v: Check %s of %s, right %t: %d left, %v", n, c.purpose, c.a.address, right, got.GuessesLeft, err)
	w.did["check"]++
	l := &c.a.lanes[lane(c.known)]
	changed := w.called(c.a, k)
	live := c.live(n)
	switch {
	case err == nil:
		w.did["passed"]++
		if !right || !live || c.decoy {
			w.violated("accepted, right %t, live %t, decoy %t: %+v", right, live, c.decoy, c)
		}
		w.pass(c)
		c.a.tokens = append(c.a.tokens, &token{text: got.Device, at: w.now.Add(n.offset)})
		return true
	case errors.Is(err, otp.ErrCode):
		w.did["wrong"]++
		if right && !c.decoy || !live {
			w.violated("told wrong, right %t: %+v", right, c)
		}
		c.wrong += changed
		if changed == 0 || got.GuessesLeft != max(0, c.guesses-c.wrong) {
			w.violated("%d guesses left after %d wrong of %d", got.GuessesLeft, c.wrong, c.guesses)
		}
		if c.strong {
			return false
		}
		for range changed {
			l.add(n.ms())
		}
		less := time.Duration(0)
		if w.setup.stern != nil { // without reserving, windows are those of the clocks
			less = w.skew
		}
		if err := l.told(verdict{w.now, c, n}, n.wrong, less); err != nil {
			w.violated("%v", err)
		}
	case errors.Is(err, errStore) && k.faulty:
		if right && !c.decoy && changed > 0 {
			w.pass(c)
		} else if changed > 0 {
			c.wrong += changed
			for range changed {
				if !c.strong {
					l.add(n.ms())
				}
			}
		}
	case right && !c.decoy && changed > 0: // denied, overtaken, and then gone
		w.pass(c)
	case live:
		w.violated("a live code was ended (right %t): %v: %+v", right, err, c)
	}
	return false
}

// pass notes that a challenge is passed.
func (w *world) pass(c *challenge) {
	l := &c.a.lanes[lane(c.known)]
	c.passed, c.gone = true, true
	if !c.strong {
		l.pass(c)
	}
	if c.last != nil {
		c.last.passed = true
	}
}

// status looks at a challenge: nothing that others do may show.
func (w *world) status(n *node, c *challenge) {
	k := w.begin(n, c.a, nil)
	got, err := n.v.For(c.purpose).Status(k.context(), c.id)
	w.did["status"]++
	if k.faulty {
		return
	}
	now := n.ms()
	var want error
	switch {
	case c.gone:
		want = otp.ErrUnknown
	case now >= c.deadline:
		want = otp.ErrExpired
	case c.wrong >= c.guesses || c.barred(n):
		want = otp.ErrExhausted
	}
	if errors.Is(err, otp.ErrUnknown) && (errors.Is(want, otp.ErrExpired) || errors.Is(want, otp.ErrExhausted)) {
		return // dropped for room, or an hour after its end
	}
	if !errors.Is(err, want) && (err != nil || want != nil) {
		w.violated("Status of %+v: %v, want %v", c, err, want)
	}
	if err != nil {
		return
	}
	if got.GuessesLeft != c.guesses-c.wrong || !c.resendDoubt && !got.ResendAt.Equal(c.resendAt) {
		w.violated("Status of %+v: %d guesses left, resend at %v", c, got.GuessesLeft, got.ResendAt)
	}
}

// revoke revokes the devices of a.
func (w *world) revoke(n *node, a *account) {
	k := w.begin(n, a, nil)
	err := n.v.RevokeDevices(k.context(), a.address)
	w.say("%v: RevokeDevices of %s: %v", n, a.address, err)
	w.did["revoke"]++
	if err != nil {
		w.unexpected("RevokeDevices", k, err)
		if w.called(a, k) == 0 {
			return
		}
	}
	for _, t := range a.tokens {
		t.revoked = true
	}
	for _, c := range a.lane(true) {
		c.gone = true
	}
	if a.lost {
		a.lost = false
		for i := range a.lanes {
			a.lanes[i].strong = n.ms() + (30 * 24 * time.Hour).Milliseconds() + slack
		}
	}
}

// forget forgets a, with all counts.
func (w *world) forget(n *node, a *account) {
	k := w.begin(n, a, nil)
	err := n.v.Forget(k.context(), a.address)
	w.say("%v: Forget of %s: %v", n, a.address, err)
	w.did["forget"]++
	if err != nil {
		w.unexpected("Forget", k, err)
		if w.called(a, k) == 0 {
			return
		}
	}
	for _, c := range a.codes {
		c.gone = true
	}
	for i := range a.lanes {
		a.lanes[i].counter, a.lanes[i].forecast = counter{}, forecast{}
	}
	a.unsure, a.lost = time.Time{}, false
}

// crash starts a process anew.
func (w *world) crash(n *node) {
	w.say("%v starts anew", n)
	w.did["crash"]++
	n.start()
}

// rotate goes on with a rotation of the secrets, in the order that the
// documentation gives.
func (w *world) rotate() {
	switch {
	case len(w.secrets) == 1:
		w.secrets = [][]byte{w.secrets[0], w.secret()}
	case w.promoted.IsZero():
		w.secrets = [][]byte{w.secrets[1], w.secrets[0]}
		w.promoted = w.now
	case w.now.Sub(w.promoted) > 181*24*time.Hour:
		w.secrets = w.secrets[:1]
		w.promoted = time.Time{}
	}
	w.say("the secrets are rotated: %d", len(w.secrets))
	w.did["rotate"]++
	for _, n := range w.nodes {
		n.start()
	}
}

// lose loses the secrets. All that was stored about addresses is lost.
func (w *world) lose() {
	w.secrets, w.promoted = [][]byte{w.secret()}, time.Time{}
	w.say("the secrets are lost")
	w.did["key loss"]++
	for _, n := range w.nodes {
		n.start()
	}
	clear(w.starts)
	for _, a := range w.accounts {
		a.unsure = time.Time{}
		for _, c := range a.codes {
			c.gone = true
		}
		for i := range a.lanes {
			a.lanes[i].mails, a.lanes[i].forecast = nil, forecast{}
		}
		if a.lost = w.store.live(a.key) != nil; a.lost {
			for _, t := range a.tokens {
				t.doubt = true
			}
		}
	}
}
