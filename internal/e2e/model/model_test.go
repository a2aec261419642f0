package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// A model states the rules a second time, to be read rather than to be fast. It
// keeps all events in one slice and all challenges in another, and goes through
// all of them for each answer. It has no encoding, no sorted lists and no
// arithmetic that saves work. All times are Unix milliseconds.
//
// It was written from the rules and the documentation before the code was read.
// "Differs" marks small points in which it follows the code instead.
//
// It takes one step of the flow at a time (look, charge, open, settle and so on),
// so that time can pass, or something else can happen, between two steps.
type model struct {
	now        int64 // the clock of the verifier that is called
	storeNow   int64 // the store's
	events     []*event
	challenges []*challenge
	ledgers    map[string]*ledger // as the store sees them
	forgot     map[string]bool    // ledgers that were lost at some time
	versions   map[string]int     // how often each was written or erased
	swaps      []int64            // the time to live of every write, in order
	setBack    bool               // whether the verifiers' clocks were ever set back
	oneBudget  bool               // whether both verifiers have the same WrongGuesses
	fault      string             // something that must never happen
}

// A lane says which of the two budgets of an address counts: known devices have
// their own.
type lane int

const (
	strangers lane = iota
	known
)

// A kind says what happened in an event.
type kind string

const (
	mailed  kind = "mailed"  // a mail was reserved
	guessed kind = "guessed" // a wrong guess at a short code
	started kind = "started" // a client opened a challenge
)

// An event is something that is counted in a ledger.
type event struct {
	kind   kind
	whose  string // the ledger: an address in all its spellings, or a client
	lane   lane
	at     int64
	bucket int64 // of a start, which is counted twice, in a short and in a long bucket; at is when it begins
	back   bool  // a refunded mail: counts only in windows of up to a minute
	passed bool  // a mail whose code was passed: counts only in longer windows
	gone   bool  // erased, pruned, forgiven or lost
}

// A challenge is one code for one visitor.
type challenge struct {
	opening
	id, reference    string
	code             string
	decoy, strong    bool
	turnedAway       bool // by Admit
	sentAt, deadline int64
	mailedAt         int64 // when its last mail was reserved
	guesses, wrong   int
	shape            shape // of the code; the zero shape is that of a custom generator
	length           int   // of the code
	done             bool  // passed
	gone             bool  // passed, erased, pruned, removed or lost
}

// An opening is what a challenge is opened with.
type opening struct {
	to      otp.Address
	whose   string
	lane    lane
	issued  int64  // when the token of the device was issued, 0 without
	client  string // the ledger of the client, empty for none
	purpose string
	locale  string
	vars    map[string]string

	noRenewal bool // no other code without another Send
}

// A ledger is what is stored of a ledger besides its events and challenges.
type ledger struct {
	dropAt      int64 // by the store's clock
	secret      string
	strongUntil int64 // only strong codes are mailed before
	devicesFrom int64 // tokens of devices that were issued before are revoked
}

// A policy is what the model knows of a verifier's Options.
type policy struct {
	name                  string
	side                  int
	namespace             string
	secrets               []string // the first seals
	ttl                   map[string]time.Duration
	short                 map[string]shape
	custom                bool // the generator of the short codes is a custom one
	guesses               int
	mails, wrongs, starts []otp.Limit
	asksAdmit             bool
}

// String returns the name.
func (p policy) String() string { return fmt.Sprintf("%d %s", p.side, p.name) }

const (
	second = int64(1_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	slack = minute // how far the clocks of verifiers may be apart

	keepMails    = 26 * hour
	keepRefunds  = hour
	keepWrongs   = 30*day + slack
	keepFine     = 2 * minute
	keepCoarse   = 70 * minute
	keepRenewals = hour // after the deadline of a challenge
	tokenLife    = 180 * day
	keepDevices  = tokenLife + slack // after devicesFrom
	margin       = minute            // the store keeps everything for longer

	fineBucket   = 5 * second
	coarseBucket = 5 * minute
	roomCell     = 5 * minute // full lanes are served from the next multiple of it on
	longLife     = hour       // codes that live longer leave half of the budget

	maxEvents  = 100 // of each list
	maxLive    = 12  // challenges of a lane
	maxRefunds = 3   // in an hour
	maxHeld    = 8
	maxInput   = 64 // bytes
)

// These belong to the encoding and not to the rules: how many bytes the challenges
// of a lane may take, and how many one of them takes besides its texts.
const (
	maxBytes       = 6767
	bytesChallenge = 83
	bytesLocale    = 35 // whatever the locale is, since it can change later
	bytesVar       = 4  // the lengths of a name and its value
)

// size returns how many bytes of their lane challenges take.
func size(all ...*challenge) (n int) {
	for _, c := range all {
		n += bytesChallenge + bytesLocale + len(c.to.String()) + len(c.purpose) + c.length
		for name, value := range c.vars {
			n += bytesVar + len(name) + len(value)
		}
	}
	return n
}

// up rounds a time up to a multiple of a unit of Unix time.
func up(at, unit int64) int64 { return -down(-at, unit) }

// down rounds a time down to a multiple of a unit of Unix time.
func down(at, unit int64) int64 {
	n := at / unit
	if at < n*unit {
		n--
	}
	return n * unit
}

// ends returns when an event is remembered no longer, whatever the Options.
func (e *event) ends() int64 {
	switch {
	case e.kind == mailed && e.back:
		return e.at + keepRefunds
	case e.kind == mailed:
		return e.at + keepMails
	case e.kind == guessed:
		return e.at + keepWrongs
	case e.bucket == fineBucket:
		return e.at + keepFine
	default:
		return e.at + keepCoarse
	}
}

// leaves returns when an event leaves the window of a limit. Mails leave long
// windows only at certain times of the clock, so that nobody can tell from the
// moment of service when a mail was sent. Starts are counted in buckets.
func (e *event) leaves(limit otp.Limit) int64 {
	per := limit.Per.Milliseconds()
	switch long := limit.Per > time.Minute; {
	case e.kind == mailed && long:
		return up(e.at+per, per/12)
	case e.kind == started:
		return e.at + e.bucket + per
	default:
		return e.at + per
	}
}

// counts reports whether an event counts in windows of such a length at all.
func (e *event) counts(limit otp.Limit) bool {
	if e.kind == started {
		return (e.bucket == fineBucket) == (limit.Per <= time.Minute)
	}
	if limit.Per > time.Minute {
		return !e.back
	}
	return !e.passed
}

// in returns the events of a kind that are in the window of a limit at a time.
func (m *model) in(limit otp.Limit, k kind, whose string, l lane, at int64) (list []*event) {
	for _, e := range m.list(k, whose, l) {
		if e.counts(limit) && at < e.leaves(limit) {
			list = append(list, e)
		}
	}
	return list
}

// list returns the events of a kind, oldest first.
func (m *model) list(k kind, whose string, l lane) (list []*event) {
	for _, e := range m.events {
		if !e.gone && e.kind == k && e.whose == whose && e.lane == l {
			list = append(list, e)
		}
	}
	// One that a clock repair has moved back is older than some that came before.
	slices.SortStableFunc(list, func(a, b *event) int { return cmp.Compare(a.at, b.at) })
	return list
}

// roomAt returns the first moment from now on at which every limit allows one more
// event. Events only leave, so it goes from one leaving to the next.
func (m *model) roomAt(k kind, whose string, l lane, limits []otp.Limit) int64 {
	at := m.now
	for _, limit := range limits {
		for {
			list := m.in(limit, k, whose, l, at)
			if len(list) < limit.N {
				break
			}
			if limit.N == maxEvents {
				hit("a budget of a hundred: " + string(k))
			}
			next := list[0].leaves(limit)
			for _, e := range list {
				next = min(next, e.leaves(limit))
			}
			at = next
		}
	}
	return at
}

// free returns how many guesses at short codes nobody has reserved: those that the
// budgets allow, less the wrong ones, less the ones that are left of every code that
// holds some. A minute more counts on each side, for the clocks of other verifiers.
func (m *model) free(p policy, whose string, l lane) int {
	held := 0
	for _, c := range m.lane(whose, l) {
		if !c.strong && m.holds(c) {
			held += c.guesses - c.wrong
		}
	}
	free := p.wrongs[0].N
	for _, limit := range p.wrongs {
		n := limit.N - held
		for _, e := range m.list(guessed, whose, l) {
			if m.now-e.at < limit.Per.Milliseconds()+slack {
				n--
			}
		}
		free = min(free, n)
	}
	return free
}

// holds reports whether a challenge holds the guesses that it has left, or a place.
func (m *model) holds(c *challenge) bool {
	return c.wrong < c.guesses && m.now < c.deadline+slack && c.sentAt <= m.now+slack
}

// reserve decides whether a code that lives for ttl is strong, and how many guesses
// it gets.
func (m *model) reserve(p policy, whose string, l lane, ttl int64) (strong bool, guesses int) {
	free, n := m.free(p, whose, l), p.wrongs[0].N
	for _, limit := range p.wrongs {
		n = min(n, limit.N)
	}
	if ttl > longLife {
		free -= n / 2
		n -= n / 2
	}
	least := min(2, p.guesses, n)
	if stored := m.ledgers[whose]; stored != nil && stored.strongUntil > m.now {
		hit("strong: lost")
		return true, p.guesses
	}
	if free < least {
		hit("strong: no guesses are free")
		return true, p.guesses
	}
	half := free / 2
	if free%2 == 1 {
		half++
	}
	switch guesses = min(p.guesses, max(least, half)); {
	case ttl > longLife:
		hit("short: long life")
	case guesses < p.guesses:
		hit("short: fewer guesses")
	}
	return false, guesses
}

// net reports whether so many wrong guesses were made that this verifier answers no
// more of them, whoever reserved them.
func (m *model) net(p policy, c *challenge) bool {
	for _, limit := range p.wrongs {
		n := 0
		for _, e := range m.list(guessed, c.whose, c.lane) {
			if m.now-e.at < limit.Per.Milliseconds() {
				n++
			}
		}
		if n >= limit.N {
			if m.oneBudget && !m.setBack {
				m.fault = "a live code was ended by others"
			}
			hit("net")
			return true
		}
	}
	return false
}

// lane returns the challenges of a lane that a load finds, oldest first.
func (m *model) lane(whose string, l lane) (all []*challenge) {
	for _, c := range m.challenges {
		if c.whose == whose && c.lane == l && !c.gone && m.now < c.deadline+keepRenewals {
			all = append(all, c)
		}
	}
	return all
}

// find returns the challenge with an ID in a namespace.
func (m *model) find(p policy, id string) *challenge {
	for _, c := range m.challenges {
		if c.id != "" && c.id == id && strings.HasPrefix(c.whose, p.namespace+"/") {
			return c
		}
	}
	return nil
}

// load is what happens whenever a ledger is read: an expired ledger is gone, and
// what is more than a minute ahead moves to now.
func (m *model) load(p policy, whose string) (readable, repaired bool) {
	stored := m.ledgers[whose]
	if stored != nil && m.storeNow >= stored.dropAt {
		m.dropped(whose)
		stored = nil
	}
	if stored == nil {
		return true, false
	}
	if !slices.Contains(p.secrets, stored.secret) {
		return false, false
	}
	for _, e := range m.events {
		if e.gone || e.whose != whose {
			continue
		}
		if e.at > m.now+slack {
			if e.at, repaired = m.now, true; e.kind == started {
				e.at = down(m.now, e.bucket)
			}
		}
	}
	for _, c := range m.challenges {
		if !c.gone && c.whose == whose && c.mailedAt > m.now+slack {
			c.mailedAt, repaired = m.now, true
		}
	}
	if stored.strongUntil > m.now+keepWrongs+slack {
		stored.strongUntil, repaired = m.now+keepWrongs+slack, true
	}
	if stored.devicesFrom > m.revocation()+3600*second {
		stored.devicesFrom, repaired = m.revocation(), true
		hit("clock repair: revoked devices")
	}
	if repaired {
		hit("clock repair")
	}
	return true, repaired
}

// dropped erases a ledger that the store dropped. Unless the clock was set back,
// it held nothing that counts.
func (m *model) dropped(whose string) {
	stored := m.ledgers[whose]
	if stored.strongUntil > m.now || stored.devicesFrom != 0 && m.now < stored.devicesFrom+tokenLife {
		m.lost("a mark of the ledger")
	}
	for _, e := range m.events {
		if !e.gone && e.whose == whose && m.now < e.ends() {
			m.lost("an event that counts")
		}
	}
	for _, c := range m.challenges {
		if !c.gone && c.whose == whose && m.now < c.deadline+keepRenewals {
			m.lost("a challenge")
		}
	}
	m.erase(whose)
	hit("dropped by the store")
}

func (m *model) lost(what string) {
	if !m.setBack {
		m.fault = "the store dropped " + what
	}
}

// save is what happens whenever a ledger is written.
func (m *model) save(p policy, whose string) {
	m.prune(whose)
	m.write(p, whose)
}

// prune removes what can be in no window any more.
func (m *model) prune(whose string) {
	for _, e := range m.events {
		e.gone = e.gone || e.whose == whose && m.now >= e.ends()
	}
	for _, c := range m.challenges {
		c.gone = c.gone || c.whose == whose && m.now >= c.deadline+keepRenewals
	}
	stored := m.ledgers[whose]
	if stored == nil {
		return
	}
	if m.now >= stored.strongUntil {
		stored.strongUntil = 0
	}
	if m.now >= stored.devicesFrom+keepDevices {
		stored.devicesFrom = 0
	}
}

// write stores a ledger for as long as something in it counts, and a minute more.
func (m *model) write(p policy, whose string) {
	stored := m.ledgers[whose]
	if stored == nil {
		stored = &ledger{}
		m.ledgers[whose] = stored
	}
	end := max(m.now, stored.strongUntil)
	for _, e := range m.events {
		if !e.gone && e.whose == whose {
			end = max(end, e.ends())
		}
	}
	for _, c := range m.challenges {
		if !c.gone && c.whose == whose {
			end = max(end, c.deadline+keepRenewals)
		}
	}
	// What a clock wrote that was far ahead does not keep it longer.
	ttl := min(end-m.now, keepWrongs+slack)
	if stored.devicesFrom != 0 {
		ttl = max(ttl, stored.devicesFrom+keepDevices-m.now)
	}
	if strings.Contains(whose, "/client/") {
		ttl = keepCoarse
	}
	ttl += margin
	stored.dropAt, stored.secret = m.storeNow+ttl, p.secrets[0]
	m.swaps = append(m.swaps, ttl)
	m.versions[whose]++
}

// erase deletes a ledger.
func (m *model) erase(whose string) {
	for _, e := range m.events {
		e.gone = e.gone || e.whose == whose
	}
	for _, c := range m.challenges {
		c.gone = c.gone || c.whose == whose
	}
	delete(m.ledgers, whose)
	m.versions[whose]++
}

// startOver replaces a ledger that cannot be read. Nobody knows what was spent and
// revoked, so codes are strong for as long as wrong guesses are counted, and no token
// of a device is known.
func (m *model) startOver(p policy, whose string) {
	m.erase(whose)
	m.forgot[whose] = true
	m.ledgers[whose] = &ledger{dropAt: m.storeNow + 1, secret: p.secrets[0], strongUntil: m.now + keepWrongs, devicesFrom: m.revocation()}
}

// revocation returns the time before which tokens are issued that are revoked now: by
// any clock, and they tell only the second.
func (m *model) revocation() int64 { return down(m.now+slack, second) + second }

// record adds an event, now or at the time of the newest one in its list. It keeps
// the newest hundred, and a few refunded mails besides.
func (m *model) record(k kind, whose string, l lane) *event {
	e := &event{kind: k, whose: whose, lane: l, at: m.now}
	list := m.list(k, whose, l)
	for _, other := range list {
		e.at = max(e.at, other.at)
	}
	list = slices.DeleteFunc(list, func(e *event) bool { return e.back })
	if len(list) >= maxEvents {
		list[0].gone = true
		hit("a hundred events")
	}
	m.events = append(m.events, e)
	return e
}

// start records a start of a client, now or in the newest bucket.
func (m *model) start(client string) {
	for _, bucket := range []int64{fineBucket, coarseBucket} {
		e := &event{kind: started, whose: client, bucket: bucket, at: down(m.now, bucket)}
		for _, other := range m.list(started, client, strangers) {
			if other.bucket == bucket {
				e.at = max(e.at, other.at)
			}
		}
		m.events = append(m.events, e)
	}
}

// keep returns a function that makes everything as it is now, but for the clocks.
func (m *model) keep() (restore func()) {
	var events []event
	for _, e := range m.events {
		events = append(events, *e)
	}
	var challenges []challenge
	for _, c := range m.challenges {
		challenges = append(challenges, *c)
	}
	ledgers := map[string]ledger{}
	for whose, l := range m.ledgers {
		ledgers[whose] = *l
	}
	versions := maps.Clone(m.versions)
	before := *m
	return func() {
		// Clipped, so that what is added does not overwrite what a later state has.
		m.events, m.challenges, m.swaps = slices.Clip(before.events), slices.Clip(before.challenges), slices.Clip(before.swaps)
		for i, e := range events {
			*m.events[i] = e
		}
		for i, c := range challenges {
			*m.challenges[i] = c
		}
		m.ledgers, m.versions = map[string]*ledger{}, maps.Clone(versions)
		for whose, l := range ledgers {
			m.ledgers[whose] = &l
		}
	}
}

// dry lets something happen to the model and undoes it.
func (m *model) dry(do func()) {
	restore := m.keep()
	do()
	restore()
}

// String lists everything that counts, for the report of a failure.
func (m *model) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the model at %s, the store at %s:\n", clock(m.now), clock(m.storeNow))
	for _, e := range m.events {
		if !e.gone {
			fmt.Fprintf(&b, "%s %s lane %d %s, refunded: %t, passed: %t\n", clock(e.at), e.whose, e.lane, e.kind, e.back, e.passed)
		}
	}
	for _, c := range m.challenges {
		if !c.gone {
			fmt.Fprintf(&b, "%s to %s, mailed %s, %s lane %d %.30s strong %t decoy %t turned away %t wrong %d/%d\n", clock(c.sentAt), clock(c.deadline), clock(c.mailedAt), c.whose, c.lane, c.id, c.strong, c.decoy, c.turnedAway, c.wrong, c.guesses)
		}
	}
	for whose, l := range m.ledgers {
		if l.strongUntil != 0 || l.devicesFrom != 0 {
			fmt.Fprintf(&b, "%s strong until %s, devices from %s\n", whose, clock(l.strongUntil), clock(l.devicesFrom))
		}
	}
	return b.String()
}

func clock(at int64) string { return time.UnixMilli(at).UTC().Format("02 Jan 2006 15:04:05.000") }
