package otpstats

import (
	"context"
	"slices"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
)

var publicKinds = map[kind]otpevent.Kind{
	kindAsked: otpevent.Asked, kindSent: otpevent.Sent, kindWrong: otpevent.Wrong, kindVerified: otpevent.Verified,
}

// public is the event that an application's Observer would receive.
func (e *event) public() otp.Event {
	p := otp.Event{
		Kind: publicKinds[e.kind], Time: time.UnixMilli(e.time), Domain: e.domain, AddressHash: e.address, ClientHash: e.client,
		Age: time.Duration(e.age) * time.Millisecond, WrongGuesses: int(e.wrongs),
	}
	if e.kind != kindAsked {
		p.ChallengeHash = e.address
	}
	return p
}

// An outage and an attack, from the events to the results of queries and
// OnAnomaly, with a restart while both last: each is reported once and ends. B9
func TestIncidents(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	quiet := testkit.Rounds(1, 3) // days before
	m := newMonth(77)
	outage := m.start.AddDate(0, 0, quiet).Add(9 * time.Hour)
	attack := outage.Add(2 * time.Hour)
	m.people(m.start.Add(12*time.Hour), outage.Add(11*time.Hour), 4000, func(domain string, at time.Time) bool {
		return domain == "post.example" && at.After(outage) && at.Before(outage.Add(4*time.Hour))
	})
	m.guessers(attack, attack.Add(2*time.Hour), 10*time.Second)
	flooder := m.hash()
	for i := range 60 {
		at := attack.Add(6*time.Hour + time.Duration(i)*20*time.Second)
		m.at(at, kindAsked, event{time: at.UnixMilli(), domain: "mail.example", client: flooder, address: m.hash()})
	}
	m.sort()

	var found []Anomaly
	d, c := sqltest.Fast(t), testkit.NewClockAt(m.start)
	opts := Options{Queue: 10_000, OnAnomaly: func(_ context.Context, a Anomaly) { found = append(found, a) }}
	s, restart := openStats(t, d, c, opts), attack.Add(time.Hour)
	for i := range m.events {
		e := m.events[i].public()
		if e.Time.After(restart) {
			require.NoError(t, s.Close(t.Context()))
			require.Len(t, found, 2, "so far")
			s, restart = openStats(t, d, c, opts), e.Time.AddDate(1, 0, 0)
		}
		c.Set(e.Time)
		s.Observe(t.Context(), e)
		if i%2000 == 0 {
			require.NoError(t, s.Flush(t.Context()))
		}
	}
	require.NoError(t, s.Flush(t.Context()))
	require.Zero(t, s.Dropped())
	require.Len(t, found, 3, "%+v", found)
	require.Equal(t, []AnomalyKind{DeliveryFalling, DistributedGuessing, ClientSpread}, []AnomalyKind{found[0].Kind, found[1].Kind, found[2].Kind})
	require.Equal(t, "post.example", found[0].Subject)
	require.WithinRange(t, found[0].Since, outage, outage.Add(20*time.Minute))
	require.WithinRange(t, found[1].Since, attack, attack.Add(10*time.Minute))
	require.Less(t, found[0].Seen, found[0].Usual)

	stored, err := s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, stored, 3)
	slices.Reverse(stored)
	for i, a := range stored {
		require.Equal(t, found[i].Since, a.Since)
		require.NotZero(t, a.Until, "ended")
	}
	require.WithinRange(t, stored[0].Until, outage.Add(4*time.Hour), outage.Add(6*time.Hour))

	abuse, err := s.Abuse(t.Context(), Filter{From: m.start})
	require.NoError(t, err)
	for _, h := range abuse.Hours {
		require.Equal(t, !h.Hour.Before(attack) && h.Hour.Before(attack.Add(2*time.Hour)), h.High, "%+v", h)
	}
	require.NotEmpty(t, abuse.Clients)
	require.EqualValues(t, 60, abuse.Clients[0].Count)
	require.Equal(t, s.rehash('c', flooder).String(), abuse.Clients[0].Subject)
	require.Equal(t, found[2].Subject, abuse.Clients[0].Subject)
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
