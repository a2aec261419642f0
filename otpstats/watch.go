package otpstats

import (
	"math"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
)

// span is how many minutes the watch looks back: an hour plus the time for a
// quick answer.
const span = 72

// delay is how many minutes after a mail the rules expect an answer.
const delay = 4

// watch is what the rules know: the last hour by minute, and what is usual. It
// is fed events in the order in which they are stored. Only the writer uses it.
type watch struct {
	rules  Rules
	last   int64 // the ID of the last event
	minute int64 // evaluated up to here; Unix minutes
	active map[subject]*active
	counts map[AnomalyKind]int // of active
	news   []news              // to be stored and reported

	domains   map[string]*domain
	people    map[otp.Hash]*person
	clients   spreads
	addresses spreads

	work                   [span]workMinute
	mails, strong          counter // challenges that were mailed, and those with a strong code
	lost, crowded, evicted counter
	pastMails, pastStrong  float64
	unsolved, solved       float64 // addresses in the windows of the past
}

type subject struct {
	kind AnomalyKind
	name string
}

// active is an anomaly that has not ended.
type active struct {
	fired, loud int64 // the last minute in which the rule fired, and in which it was not quiet
	judged      int64
}

// news is the beginning or the end of an anomaly.
type news struct {
	begins bool
	Anomaly
}

// counter counts the events of each minute.
type counter [span]struct{ minute, count int64 }

func (c *counter) add(minute, times int64) {
	m := &c[minute%span]
	if minute > m.minute {
		m.minute, m.count = minute, 0
	}
	if minute == m.minute {
		m.count += times
	}
}

// sum returns the number of events from one minute to another, both included.
func (c *counter) sum(from, to int64) (n int64) {
	for _, m := range c {
		if m.minute >= from && m.minute <= to {
			n += m.count
		}
	}
	return n
}

// person is an address: the minutes of its last wrong and its last correct
// code.
type person struct{ wrong, right int64 }

// How fast the past fades: half of it in a week, or in a day.
var (
	perHour   = math.Pow(0.5, 1.0/(7*24))
	perMinute = math.Pow(0.5, 1.0/(24*60))
)

func newWatch(rules Rules) *watch {
	return &watch{
		rules: rules, active: map[subject]*active{}, counts: map[AnomalyKind]int{}, domains: map[string]*domain{}, people: map[otp.Hash]*person{},
		clients: spreads{}, addresses: spreads{},
	}
}

// feed adds one event.
func (w *watch) feed(e *event) {
	minute, opened := e.time/60000, e.opened()/60000
	w.worked(e.kind, minute, e.times)
	switch e.kind {
	case kindAsked:
		w.clients.add(e.client, e.address, minute, w.rules.Clients.Limit)
		w.addresses.add(e.address, e.client, minute, w.rules.Addresses.Limit)
	case kindSent:
		if e.resend {
			break
		}
		w.mails.add(minute, 1)
		w.strong.add(minute, b2i(e.strong))
		if w.expectsAnswer(e) {
			w.mailed(e.domain, opened, func(b *mailedMinute) { b.sent++ })
		}
	case kindWrong:
		if e.wrongs == 1 && w.expectsAnswer(e) {
			w.mailed(e.domain, opened, func(b *mailedMinute) { b.guessed++ })
		}
		if p := w.person(e.address); p != nil {
			p.wrong = max(p.wrong, minute)
		}
	case kindVerified:
		w.mailed(e.domain, opened, func(b *mailedMinute) {
			b.quick += b2i(e.age < quick.Milliseconds() && !e.strong)
			b.guessed = max(0, b.guessed-b2i(e.wrongs > 0))
		})
		if p := w.person(e.address); p != nil {
			p.right = max(p.right, minute)
		}
		// People who answer are not a flood: an office shares a client.
		delete(w.clients[e.client], e.address)
		delete(w.addresses[e.address], e.client)
	case kindLost:
		w.lost.add(minute, e.times)
	case kindCrowded:
		w.crowded.add(minute, e.times)
	case kindEvicted:
		w.evicted.add(minute, e.times)
	}
}

// expectsAnswer reports whether a missing answer to the event's challenge
// counts against its domain. People who flood or guess do not want to answer,
// and strong codes go to addresses that were guessed at. Decoys have no mail.
func (w *watch) expectsAnswer(e *event) bool {
	return !e.strong && !e.decoy && w.active[subject{ClientSpread, e.client.String()}] == nil
}

// maxPeople bounds how much a flood makes the watch remember, for each rule.
const maxPeople = 100_000

func (w *watch) person(h otp.Hash) *person {
	p := w.people[h]
	if p == nil && len(w.people) < maxPeople && h != (otp.Hash{}) {
		p = &person{}
		w.people[h] = p
	}
	return p
}

// forget deletes addresses.
func (w *watch) forget(gone ...otp.Hash) {
	if len(gone) == 0 {
		return
	}
	forgotten, subjects := map[otp.Hash]bool{}, map[string]bool{}
	for _, h := range gone {
		forgotten[h], subjects[h.String()] = true, true
		delete(w.people, h)
		delete(w.addresses, h)
		w.end(subject{AddressSpread, h.String()})
	}
	w.news = slices.DeleteFunc(w.news, func(n news) bool { return n.Kind == AddressSpread && subjects[n.Subject] })
	for _, others := range w.clients {
		for h := range others {
			if forgotten[h] {
				delete(others, h)
			}
		}
	}
}

// advance evaluates the rules for each minute up to a time in Unix
// milliseconds.
func (w *watch) advance(ms int64) {
	minute := ms / 60000
	w.minute = max(w.minute, minute-2*span) // nothing older matters
	for w.minute < minute {
		w.minute++
		w.evaluate()
	}
}

func (w *watch) evaluate() {
	if !w.rules.Delivery.Off {
		for name, d := range w.domains {
			w.delivery(name, d)
		}
	}
	if !w.rules.Guessing.Off {
		w.guessing()
	}
	if !w.rules.Strong.Off {
		w.strongCodes()
	}
	if !w.rules.Failures.Off {
		w.failing()
	}
	w.counted(EventsLost, &w.lost, w.rules.Lost)
	w.counted(Crowded, &w.crowded, w.rules.Crowded)
	w.counted(Evicted, &w.evicted, w.rules.Evicted)
	w.spread(ClientSpread, w.clients, w.rules.Clients)
	w.spread(AddressSpread, w.addresses, w.rules.Addresses)
	for key, a := range w.active {
		if a.judged < w.minute {
			w.judge(key, quiet, Anomaly{})
		}
	}
	if w.minute%60 == 0 {
		for _, d := range w.domains {
			d.past.sent *= perHour
			d.past.quick *= perHour
		}
	}
}

// verdict is the result of a rule for a subject in one minute.
type verdict int

const (
	quiet   verdict = iota
	loud            // too little for an anomaly to begin, too much for one to end
	unknown         // too few events to judge
	fires
)

// maxActive bounds how many anomalies of a kind can last at the same time: more
// would add no information.
const maxActive = 100

// begin marks an anomaly as lasting; end removes it.
func (w *watch) begin(key subject, a *active) {
	if w.active[key] == nil {
		w.counts[key.kind]++
	}
	w.active[key] = a
}

func (w *watch) end(key subject) {
	if w.active[key] != nil {
		w.counts[key.kind]--
		delete(w.active, key)
	}
}

// judge begins or ends an anomaly, by the verdict of its rule in this minute.
func (w *watch) judge(key subject, v verdict, a Anomaly) {
	lasting := w.active[key]
	a.Kind, a.Subject = key.kind, key.name
	if v == fires && lasting == nil && w.counts[key.kind] < maxActive {
		lasting = &active{}
		w.begin(key, lasting)
		a.Since = time.Unix(w.minute*60, 0).UTC()
		w.news = append(w.news, news{true, a})
	}
	if lasting == nil {
		return
	}
	lasting.judged = w.minute
	if v == fires {
		lasting.fired = w.minute
	}
	// After a day without mail there is nothing to wait for.
	if v == fires || v == loud || v == unknown && w.minute-lasting.fired < 24*60 {
		lasting.loud = w.minute
	}
	if w.minute-lasting.loud >= int64(w.rules.Calm/time.Minute) {
		w.end(key)
		a.Until = time.Unix(w.minute*60, 0).UTC()
		w.news = append(w.news, news{false, a})
	}
}

func minutesOf(d time.Duration) int64 { return int64(d / time.Minute) }

// guessing is the rule for wrong guesses at many addresses. What is usual
// follows from the number of people who are verified in the end, so that an
// attack does not hide itself.
func (w *watch) guessing() {
	from := w.minute - minutesOf(w.rules.Guessing.Window)
	var unsolved, solved float64
	for h, p := range w.people {
		switch {
		case p.right >= from:
			solved++
		case p.wrong >= from:
			unsolved++
		default:
			delete(w.people, h)
		}
	}
	// Start as if ten of a hundred people had failed before.
	usual := solved * (w.unsolved + 10) / (w.solved + 90)
	verdict := quiet
	r := w.rules.Guessing
	switch {
	case unsolved >= float64(r.MinAddresses) && unsolved >= r.Factor*usual && unsolved-usual >= 6*math.Sqrt(usual):
		verdict = fires
	case unsolved >= float64(r.MinAddresses)/2 && unsolved >= r.Factor/2*usual:
		verdict = loud
	}
	key := subject{DistributedGuessing, ""}
	if w.active[key] == nil && verdict != fires {
		w.unsolved, w.solved = w.unsolved*perMinute+unsolved, w.solved*perMinute+solved
	}
	w.judge(key, verdict, Anomaly{Count: int64(unsolved), Seen: unsolved, Usual: usual})
}

// strongCodes is the rule for strong codes, which are mailed to addresses that
// were guessed at.
func (w *watch) strongCodes() {
	r := w.rules.Strong
	from := w.minute - minutesOf(r.Window)
	strong, mails := float64(w.strong.sum(from, w.minute)), float64(w.mails.sum(from, w.minute))
	// Start as if one of a hundred mails had had a strong code.
	usual := (w.pastStrong + 1) / (w.pastMails + 100)
	share, expected := strong/max(1, mails), usual*mails
	verdict := quiet
	switch {
	case strong >= float64(r.Min) && share >= r.Factor*usual && strong-expected >= 6*math.Sqrt(expected):
		verdict = fires
	case strong >= float64(r.Min)/2 && share >= r.Factor/2*usual:
		verdict = loud
	}
	key := subject{StrongCodes, ""}
	if w.active[key] == nil && verdict != fires {
		last := w.minute - 1 // complete
		w.pastStrong = w.pastStrong*perMinute + float64(w.strong.sum(last, last))
		w.pastMails = w.pastMails*perMinute + float64(w.mails.sum(last, last))
	}
	w.judge(key, verdict, Anomaly{Count: int64(strong), Seen: share, Usual: usual})
}

// counted is the rule for events that should not happen at all.
func (w *watch) counted(kind AnomalyKind, c *counter, r CountRule) {
	if r.Off {
		return
	}
	n := c.sum(w.minute-minutesOf(r.Window), w.minute)
	verdict := quiet
	switch {
	case n >= r.Min:
		verdict = fires
	case n >= (r.Min+1)/2:
		verdict = loud
	}
	w.judge(subject{kind, ""}, verdict, Anomaly{Count: n, Seen: float64(n), Usual: float64(r.Min)})
}
