package otpstats

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

var publicKinds = map[kind]otpevent.Kind{
	kindAsked: otpevent.Asked, kindSent: otpevent.Sent, kindWrong: otpevent.Wrong, kindVerified: otpevent.Verified,
}

// An outage and an attack, from the events to what queries and OnAnomaly say, with a
// restart while both last: each is told once, and over in the end. B9
func TestIncidents(t *testing.T) {
	m := newMonth(77)
	outage := m.start.AddDate(0, 0, 3).Add(9 * time.Hour)
	attack := outage.Add(2 * time.Hour)
	m.people(m.start, m.start.AddDate(0, 0, 4), 4000, func(domain string, at time.Time) bool {
		return domain == "post.example" && at.After(outage) && at.Before(outage.Add(4*time.Hour))
	})
	m.guessers(attack, attack.Add(2*time.Hour), 10*time.Second)
	flooder := m.hash()
	for i := range 60 {
		at := attack.Add(6*time.Hour + time.Duration(i)*20*time.Second)
		m.at(at, kindAsked, event{time: at.UnixMilli(), domain: "mail.example", client: flooder, address: m.hash()})
	}
	slices.SortStableFunc(m.events, func(a, b event) int { return int(a.time - b.time) })

	var (
		mu   sync.Mutex
		now  = m.start
		told []Anomaly
	)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "stats.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	defer db.Close()
	reopen := func() *Stats {
		s, err := Open(t.Context(), db, SQLite, &Options{
			Key: make([]byte, 16), Queue: 10_000, Batch: 500, Interval: time.Hour,
			OnError: func(err error) { t.Error(err) },
			OnAnomaly: func(a Anomaly) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, a)
			},
			Now: func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return now
			},
		})
		require.NoError(t, err)
		return s
	}
	s, restart := reopen(), attack.Add(time.Hour)
	for i, e := range m.events {
		at := time.UnixMilli(e.time)
		if at.After(restart) {
			require.NoError(t, s.Close(t.Context()))
			require.Len(t, told, 2, "so far")
			s, restart = reopen(), at.AddDate(1, 0, 0)
		}
		mu.Lock()
		now = at
		mu.Unlock()
		x := otp.Event{Kind: publicKinds[e.kind], Time: at, Domain: e.domain, AddressHash: e.address, ClientHash: e.client, Age: time.Duration(e.age) * time.Millisecond, WrongGuesses: int(e.wrongs)}
		if e.kind != kindAsked {
			x.ChallengeHash = e.address
		}
		s.Observe(t.Context(), x)
		if i%2000 == 0 {
			require.NoError(t, s.Flush(t.Context()))
		}
	}
	require.NoError(t, s.Flush(t.Context()))
	require.Len(t, told, 3, "%+v", told)
	require.Equal(t, []AnomalyKind{DeliveryFalling, DistributedGuessing, ClientSpread}, []AnomalyKind{told[0].Kind, told[1].Kind, told[2].Kind})
	require.Equal(t, "post.example", told[0].Subject)
	require.WithinRange(t, told[0].Since, outage, outage.Add(20*time.Minute))
	require.WithinRange(t, told[1].Since, attack, attack.Add(10*time.Minute))
	require.Less(t, told[0].Seen, told[0].Usual)

	stored, err := s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, stored, 3)
	slices.Reverse(stored)
	for i, a := range stored {
		require.Equal(t, told[i].Since, a.Since)
		require.NotZero(t, a.Until, "over")
	}
	require.WithinRange(t, stored[0].Until, outage.Add(4*time.Hour), outage.Add(6*time.Hour))

	fallen, err := s.FallenDomains(t.Context(), Filter{From: m.start})
	require.NoError(t, err)
	require.Len(t, fallen, 1, "%+v", fallen)
	require.Equal(t, "post.example", fallen[0].Domain)
	require.WithinRange(t, fallen[0].From, outage.Add(-3*time.Hour), outage.Add(4*time.Hour))
	require.WithinRange(t, fallen[0].To, outage, outage.Add(7*time.Hour))
	require.Less(t, fallen[0].Share, 0.5)
	require.Greater(t, fallen[0].PastShare, 0.75)
	require.Greater(t, fallen[0].Z, 6.0)

	abuse, err := s.Abuse(t.Context(), Filter{From: m.start})
	require.NoError(t, err)
	for _, h := range abuse.Hours {
		require.Equal(t, !h.Hour.Before(attack) && h.Hour.Before(attack.Add(2*time.Hour)), h.High, "%+v", h)
	}
	require.NotEmpty(t, abuse.Clients)
	require.EqualValues(t, 60, abuse.Clients[0].Count)
	require.Equal(t, s.rehash('c', flooder).String(), abuse.Clients[0].Subject)
	require.Equal(t, told[2].Subject, abuse.Clients[0].Subject)
	require.NoError(t, s.Close(context.Background()))
}

// A quantile is within its bucket whatever the ages are.
func TestQuantile(t *testing.T) {
	m := newMonth(3)
	for range 200 {
		var buckets [ageBuckets]int64
		var ages []time.Duration
		for range 1 + m.IntN(2000) {
			age := min(bounds[len(bounds)-1]-1, time.Duration(float64(time.Second)*(1+m.ExpFloat64()*float64(1+m.IntN(100)))))
			ages = append(ages, age)
			buckets[ageBucket(age)]++
		}
		slices.Sort(ages)
		for _, q := range []float64{.5, .9, .99, 1} {
			exact := ages[int(float64(len(ages))*q+.999999)-1]
			require.Equal(t, ageBucket(exact), ageBucket(quantile(buckets[:], q)), "%v of %v", q, len(ages))
			require.InEpsilon(t, float64(exact), float64(quantile(buckets[:], q)), 0.26)
		}
	}
	require.Zero(t, quantile(make([]int64, ageBuckets), .5))
}
