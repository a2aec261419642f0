package otpstats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// month is four weeks of simulated traffic with the rhythm of a day, as the watch sees it.
type month struct {
	*rand.Rand
	start  time.Time
	events []event
	n      uint64
}

var monthDomains = []struct {
	name  string
	share float64 // of the traffic
	good  float64 // share of the answered
}{
	{"mail.example", .5, .9}, {"post.example", .25, .87}, {"corp.example", .12, .93}, {"small.example", .08, .8}, {"tiny.example", .05, .85},
}

func newMonth(seed uint64) *month {
	return &month{Rand: rand.New(rand.NewPCG(seed, 7)), start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
}

func (m *month) hash() (h otp.Hash) {
	m.n++
	copy(h[:], fmt.Sprintf("%016x", m.n))
	return h
}

func (m *month) at(t time.Time, k kind, e event) {
	e.kind = k
	e.age = max(0, t.UnixMilli()-e.time)
	e.time = t.UnixMilli()
	m.events = append(m.events, e)
}

// people ask at so many a day, and lost says whose mails do not arrive.
func (m *month) people(from, to time.Time, daily float64, lost func(domain string, at time.Time) bool) {
	for at := from; at.Before(to); {
		hour := float64(at.Hour()) + float64(at.Minute())/60
		rate := daily / 86400 * (1 + .85*math.Sin((hour-8)/24*2*math.Pi)) // a second
		at = at.Add(time.Duration(m.ExpFloat64() / max(rate, 1e-6) * float64(time.Second)))
		x, d := m.Float64(), monthDomains[0]
		for _, d = range monthDomains {
			if x -= d.share; x < 0 {
				break
			}
		}
		e := event{time: at.UnixMilli(), domain: d.name, address: m.hash(), client: m.hash()}
		if m.IntN(3) == 0 { // from an office or a mobile network, with others
			e.client = otp.Hash{1, byte(m.IntN(60))}
		}
		m.at(at, kindAsked, e)
		m.at(at, kindSent, e)
		if lost != nil && lost(d.name, at) || m.Float64() > d.good {
			continue
		}
		later := at.Add(time.Duration(math.Exp(m.NormFloat64()*.7+3.3) * float64(time.Second)))
		for m.IntN(9) == 0 {
			e.wrongs++
			m.at(later, kindWrong, e)
			later = later.Add(time.Duration(5+m.IntN(20)) * time.Second)
		}
		if m.IntN(50) == 0 {
			continue
		}
		m.at(later, kindVerified, e)
	}
}

// guessers ask for strangers' addresses and guess, each from another client.
func (m *month) guessers(from, to time.Time, each time.Duration) {
	for at := from; at.Before(to); at = at.Add(each) {
		e := event{time: at.UnixMilli(), domain: "mail.example", address: m.hash(), client: m.hash()}
		m.at(at, kindAsked, e)
		m.at(at, kindSent, e)
		for i := range 5 {
			e.wrongs++
			m.at(at.Add(time.Duration(i+1)*2*time.Second), kindWrong, e)
		}
	}
}

// watched is what the rules tell of it.
func (m *month) watched(t *testing.T) (told []Anomaly) {
	rules, err := Rules{}.filled()
	require.NoError(t, err)
	w := newWatch(rules)
	w.minute = m.start.Unix() / 60
	slices.SortStableFunc(m.events, func(a, b event) int { return int(a.time - b.time) })
	for i := range m.events {
		w.advance(m.events[i].time)
		w.feed(&m.events[i])
	}
	for _, n := range w.news {
		if n.begins {
			told = append(told, n.Anomaly)
		}
	}
	return told
}

// B9: in quiet weeks nothing is told, whatever the traffic.
func TestRules_quiet(t *testing.T) {
	for seed, daily := range []float64{300, 3000, 20000} {
		m := newMonth(uint64(seed))
		m.people(m.start, m.start.AddDate(0, 0, 28), daily, nil)
		require.Empty(t, m.watched(t), "%v a day", daily)
	}
}

// Both incidents are found within minutes, each is told once, and nothing else is.
func TestRules_incidents(t *testing.T) {
	for seed := range uint64(3) {
		m := newMonth(seed + 10)
		outage := m.start.AddDate(0, 0, 12).Add(9 * time.Hour)
		attack := m.start.AddDate(0, 0, 20).Add(14 * time.Hour)
		m.people(m.start, m.start.AddDate(0, 0, 28), 8000, func(domain string, at time.Time) bool {
			return domain == "post.example" && at.After(outage) && at.Before(outage.Add(3*time.Hour)) && m.IntN(10) > 0
		})
		m.guessers(attack, attack.Add(2*time.Hour), 10*time.Second)
		told := m.watched(t)
		require.Len(t, told, 2, "%+v", told)
		require.Equal(t, DeliveryFalling, told[0].Kind)
		require.Equal(t, "post.example", told[0].Subject)
		require.WithinRange(t, told[0].Since, outage, outage.Add(20*time.Minute))
		require.Equal(t, DistributedGuessing, told[1].Kind)
		require.WithinRange(t, told[1].Since, attack, attack.Add(10*time.Minute))
		t.Logf("found after %v and %v", told[0].Since.Sub(outage), told[1].Since.Sub(attack))
	}
}

// One client with many addresses, one address with many clients, and escalations.
func TestRules_floods(t *testing.T) {
	m := newMonth(30)
	m.people(m.start, m.start.AddDate(0, 0, 4), 3000, nil)
	at := m.start.AddDate(0, 0, 2).Add(12 * time.Hour)
	client, address := m.hash(), m.hash()
	for i := range 60 {
		when := at.Add(time.Duration(i) * 20 * time.Second)
		m.at(when, kindAsked, event{time: when.UnixMilli(), domain: "mail.example", client: client, address: m.hash()})
		when = when.Add(4 * time.Hour)
		m.at(when, kindAsked, event{time: when.UnixMilli(), domain: "mail.example", client: m.hash(), address: address})
		when = when.Add(4 * time.Hour)
		m.at(when, kindEscalated, event{time: when.UnixMilli(), domain: "mail.example", address: m.hash()})
	}
	told := m.watched(t)
	require.Len(t, told, 3, "%+v", told)
	require.Equal(t, []AnomalyKind{ClientSpread, AddressSpread, EscalationSpike}, []AnomalyKind{told[0].Kind, told[1].Kind, told[2].Kind})
	require.Equal(t, client.String(), told[0].Subject)
	require.Equal(t, address.String(), told[1].Subject)
	for i, a := range told {
		begin := at.Add(time.Duration(i) * 4 * time.Hour)
		require.WithinRange(t, a.Since, begin, begin.Add(10*time.Minute))
	}
}

// A flood costs a bounded memory, and is told all the same.
func TestWatch_bounded(t *testing.T) {
	rules, err := Rules{}.filled()
	require.NoError(t, err)
	w, m := newWatch(rules), newMonth(40)
	w.minute = m.start.Unix() / 60
	client := m.hash()
	for i := range 3 * maxPeople {
		e := event{time: m.start.UnixMilli(), kind: kindAsked, domain: "mail.example", client: m.hash(), address: m.hash()}
		if i%2 == 0 {
			e.client = client
		}
		w.feed(&e)
		e.kind, e.wrongs = kindWrong, 1
		w.feed(&e)
	}
	require.LessOrEqual(t, len(w.clients), maxPeople)
	require.LessOrEqual(t, len(w.addresses), maxPeople)
	require.LessOrEqual(t, len(w.people), maxPeople)
	require.LessOrEqual(t, len(w.clients[client]), 40)
	w.advance(m.start.Add(2 * time.Minute).UnixMilli())
	require.Contains(t, w.active, subject{ClientSpread, client.String()})
	require.Contains(t, w.active, subject{DistributedGuessing, ""})
}
