package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// A model states the rules a second time, to be read rather than to be fast. It
// keeps all events in one slice and all challenges in another, and goes through
// all of them for each answer. It has no encoding, no sorted lists and no
// arithmetic that saves work. All times are Unix milliseconds.
//
// It was written from the design and the documentation before the code was read.
// "Differs" marks small points in which it follows the code instead.
//
// It takes one step of the flow at a time (charge, open, settle and so on), so
// that time can pass, or something else can happen, between two steps.
type model struct {
	now        int64 // the verifiers' clock
	storeNow   int64 // the store's
	events     []*event
	challenges []*challenge
	ledgers    map[string]*ledger // as the store sees them
	swaps      []int64            // the time to live of every write, in order
	setBack    bool               // whether the verifiers' clock was ever set back
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
	lost    kind = "lost"    // a ledger could not be read
)

// An event is something that is counted in a ledger.
type event struct {
	kind  kind
	whose string // the ledger: an address in all its spellings, or a client
	lane  lane
	at    int64
	back  bool // a refunded mail: counts only in windows of up to a minute
	gone  bool // erased, pruned or lost
}

// A challenge is one code for one visitor.
type challenge struct {
	opening
	id, reference    string
	code             string
	decoy, strong    bool
	sentAt, deadline int64
	guesses, wrong   int
	length           int  // of the code
	gone             bool // passed, erased, pruned, removed or lost
}

// An opening is what a challenge is opened with.
type opening struct {
	to      otp.Address
	whose   string
	lane    lane
	client  string // the ledger of the client, empty for none
	purpose string
	locale  string
	vars    map[string]string
}

// A ledger is what the store sees of a ledger: when it expires and which secret
// it is sealed under.
type ledger struct {
	dropAt int64 // by the store's clock
	secret string
}

// A policy is what the model knows of a verifier's Options.
type policy struct {
	name                  string
	namespace             string
	secrets               []string // the first seals
	ttl                   map[string]time.Duration
	short                 map[string]shape
	guesses               int
	mails, wrongs, starts []otp.Limit
	asksAdmit             bool
}

// String returns the name.
func (p policy) String() string { return p.name }

const (
	minute = int64(60_000)
	hour   = 60 * minute
	day    = 24 * hour

	maxEvents  = 100  // of each list
	maxLive    = 12   // challenges of a lane
	maxBytes   = 6767 // of them and the dead: 8 KiB less what full lists of events may take
	maxRefunds = 3    // in an hour
)

// keep returns how long an event is remembered, whatever the Options.
func (e *event) keep() int64 {
	switch {
	case e.kind == mailed && e.back:
		return hour
	case e.kind == mailed:
		return day
	case e.kind == guessed, e.kind == lost:
		return 30 * day
	default:
		return hour
	}
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

// count returns how many events of a kind are in the window of a limit.
func (m *model) count(k kind, whose string, l lane, limit otp.Limit, at int64) int {
	n := 0
	for _, e := range m.events {
		if e.gone || e.kind != k || e.whose != whose || e.lane != l {
			continue
		}
		if e.back && limit.Per > time.Minute {
			continue
		}
		if at-e.at < limit.Per.Milliseconds() {
			n++
		}
	}
	return n
}

// room reports whether every limit allows one more event.
func (m *model) room(k kind, whose string, l lane, limits []otp.Limit, at int64) bool {
	for _, limit := range limits {
		if m.count(k, whose, l, limit, at) >= limit.N {
			if limit.N == maxEvents {
				hit("a budget of a hundred: " + string(k))
			}
			return false
		}
	}
	return true
}

// roomAt returns the first moment from now on at which there is room. Only events
// that leave a window make room, so it checks only those moments.
func (m *model) roomAt(k kind, whose string, l lane, limits []otp.Limit) int64 {
	if m.room(k, whose, l, limits, m.now) {
		return m.now
	}
	var first int64
	for _, e := range m.events {
		for _, limit := range limits {
			at := e.at + limit.Per.Milliseconds()
			if at > m.now && (first == 0 || at < first) && m.room(k, whose, l, limits, at) {
				first = at
			}
		}
	}
	return first
}

// strongOnly reports whether no more short codes are accepted: the budget of wrong
// guesses is spent, or a ledger was lost that may have said so.
func (m *model) strongOnly(p policy, whose string, l lane) bool {
	if !m.room(guessed, whose, l, p.wrongs, m.now) {
		return true
	}
	for _, e := range m.events {
		if !e.gone && e.kind == lost && e.whose == whose && m.now-e.at < e.keep() {
			return true
		}
	}
	return false
}

// load is what happens whenever a ledger is read: an expired ledger is gone, and
// events more than a minute ahead move to now.
func (m *model) load(p policy, whose string) (readable, repaired bool) {
	stored := m.ledgers[whose]
	if stored != nil && m.storeNow >= stored.dropAt {
		m.dropped(whose)
		stored = nil
	}
	if stored != nil && !contains(p.secrets, stored.secret) {
		return false, false
	}
	for _, e := range m.events {
		slack := minute
		if e.kind == lost {
			slack = 0 // Differs: one that lies less than a minute ahead moves, too.
		}
		if !e.gone && e.whose == whose && e.at > m.now+slack {
			e.at = m.now
			repaired = true
			hit("clock repair")
		}
	}
	return true, repaired
}

// dropped erases a ledger that the store dropped. Unless the clock was set back,
// it held nothing that counts.
func (m *model) dropped(whose string) {
	for _, e := range m.events {
		if !e.gone && e.whose == whose && m.now-e.at < e.keep() && !m.setBack {
			m.fault = "the store dropped an event that counts"
		}
	}
	for _, c := range m.challenges {
		if !c.gone && c.whose == whose && m.now < c.deadline+hour && !m.setBack {
			m.fault = "the store dropped a challenge"
		}
	}
	m.erase(whose)
	hit("dropped by the store")
}

// save is what happens whenever a ledger is written.
func (m *model) save(p policy, whose string) {
	m.prune(whose)
	m.write(p, whose)
}

// prune removes what can be in no window any more.
func (m *model) prune(whose string) {
	for _, e := range m.events {
		e.gone = e.gone || e.whose == whose && m.now-e.at >= e.keep()
	}
	for _, c := range m.challenges {
		c.gone = c.gone || c.whose == whose && m.now >= c.deadline+hour
	}
}

// write stores a ledger for as long as something in it counts, and a minute more.
func (m *model) write(p policy, whose string) {
	end := m.now
	for _, e := range m.events {
		if !e.gone && e.whose == whose {
			end = max(end, e.at+e.keep())
		}
	}
	for _, c := range m.challenges {
		if !c.gone && c.whose == whose {
			end = max(end, c.deadline+hour)
		}
	}
	// An event from a clock that was far ahead does not keep it longer. Differs: an
	// event less than a minute ahead uses up the extra minute.
	ttl := min(end-m.now, 30*day) + minute
	if strings.Contains(whose, "/client/") {
		ttl = hour + minute
	}
	m.ledgers[whose] = &ledger{dropAt: m.storeNow + ttl, secret: p.secrets[0]}
	m.swaps = append(m.swaps, ttl)
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
}

// record adds an event, now or at the time of the newest one in its list. It keeps
// the newest hundred that count.
func (m *model) record(k kind, whose string, l lane) *event {
	at, n, oldest := m.now, 0, (*event)(nil)
	for _, e := range m.events {
		if e.gone || e.kind != k || e.whose != whose || e.lane != l {
			continue
		}
		at = max(at, e.at)
		if !e.back && m.now-e.at < e.keep() {
			n++
			if oldest == nil || e.at < oldest.at {
				oldest = e
			}
		}
	}
	if n >= maxEvents {
		oldest.gone = true
		hit("a hundred events")
	}
	e := &event{kind: k, whose: whose, lane: l, at: at}
	m.events = append(m.events, e)
	return e
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// String lists everything that counts, for the report of a failure.
func (m *model) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the model at %s, the store at %s:\n", clock(m.now), clock(m.storeNow))
	for _, e := range m.events {
		if !e.gone {
			fmt.Fprintf(&b, "%s %s lane %d %s, refunded: %t\n", clock(e.at), e.whose, e.lane, e.kind, e.back)
		}
	}
	for _, c := range m.challenges {
		if !c.gone {
			fmt.Fprintf(&b, "%s to %s %s lane %d %.30s strong %t decoy %t wrong %d/%d\n", clock(c.sentAt), clock(c.deadline), c.whose, c.lane, c.id, c.strong, c.decoy, c.wrong, c.guesses)
		}
	}
	return b.String()
}

func clock(at int64) string { return time.UnixMilli(at).UTC().Format("02 Jan 2006 15:04:05.000") }
