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
	"github.com/go-mailotp/otp/internal/testkit"
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
	e.time, e.times = t.UnixMilli(), 1
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

func (m *month) sort() {
	slices.SortStableFunc(m.events, func(a, b event) int { return int(a.time - b.time) })
}

// watched returns what the rules find in it.
func (m *month) watched(t *testing.T) (found []Anomaly) {
	rules, err := Rules{}.filled()
	require.NoError(t, err)
	w := newWatch(rules)
	w.minute = m.start.Unix() / 60
	m.sort()
	for i := range m.events {
		w.advance(m.events[i].time)
		w.feed(&m.events[i])
	}
	for _, n := range w.news {
		if n.begins {
			found = append(found, n.Anomaly)
		}
	}
	return found
}

// In quiet weeks the rules find nothing, whatever the traffic. B9
func TestRules_quiet(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for seed, test := range []struct {
		daily float64
		days  int
	}{
		{300, 28}, {3000, testkit.Rounds(7, 28)}, {20000, testkit.Rounds(2, 28)},
	} {
		m := newMonth(uint64(seed))
		m.people(m.start, m.start.AddDate(0, 0, test.days), test.daily, nil)
		require.Empty(t, m.watched(t), "%v a day", test.daily)
	}
}

// Both incidents are found within minutes, each is reported once, and nothing else is.
func TestRules_incidents(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for seed := range testkit.Rounds(1, 3) {
		m := newMonth(uint64(seed) + 10)
		outage := m.start.AddDate(0, 0, testkit.Rounds(2, 12)).Add(9 * time.Hour)
		attack := m.start.AddDate(0, 0, testkit.Rounds(3, 20)).Add(14 * time.Hour)
		m.people(m.start, m.start.AddDate(0, 0, testkit.Rounds(5, 28)), 8000, func(domain string, at time.Time) bool {
			return domain == "post.example" && at.After(outage) && at.Before(outage.Add(3*time.Hour)) && m.IntN(10) > 0
		})
		m.guessers(attack, attack.Add(2*time.Hour), 10*time.Second)
		found := m.watched(t)
		require.Len(t, found, 2, "%+v", found)
		require.Equal(t, DeliveryFalling, found[0].Kind)
		require.Equal(t, "post.example", found[0].Subject)
		require.WithinRange(t, found[0].Since, outage, outage.Add(20*time.Minute))
		require.Equal(t, DistributedGuessing, found[1].Kind)
		require.WithinRange(t, found[1].Since, attack, attack.Add(10*time.Minute))
		t.Logf("found after %v and %v", found[0].Since.Sub(outage), found[1].Since.Sub(attack))
	}
}

// One client with many addresses, one address with many clients, and strong codes.
func TestRules_floods(t *testing.T) {
	t.Parallel()
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
		m.at(when, kindSent, event{time: when.UnixMilli(), domain: "mail.example", address: m.hash(), strong: true})
	}
	found := m.watched(t)
	require.Len(t, found, 3, "%+v", found)
	require.Equal(t, []AnomalyKind{ClientSpread, AddressSpread, StrongCodes}, []AnomalyKind{found[0].Kind, found[1].Kind, found[2].Kind})
	require.Equal(t, client.String(), found[0].Subject)
	require.Equal(t, address.String(), found[1].Subject)
	for i, a := range found {
		begin := at.Add(time.Duration(i) * 4 * time.Hour)
		require.WithinRange(t, a.Since, begin, begin.Add(10*time.Minute))
	}
}

// A flood costs bounded memory and is found nevertheless.
func TestWatch_bounded(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	rules, err := Rules{}.filled()
	require.NoError(t, err)
	w, m := newWatch(rules), newMonth(40)
	w.minute = m.start.Unix() / 60
	client := m.hash()
	for i := range 2*maxPeople + 1000 {
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
