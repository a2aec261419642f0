package otpstats

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
)

// kinds returns how many rows of each kind there are, and how many events they
// stand for.
func kindRows(t *testing.T, db *sql.DB) (rows, times map[kind]int) {
	rows, times = map[kind]int{}, map[kind]int{}
	all, err := db.QueryContext(t.Context(), "SELECT kind, count(*), sum(times) FROM otp_stats_events GROUP BY kind")
	require.NoError(t, err)
	defer all.Close()
	for all.Next() {
		var k kind
		var n, events int
		require.NoError(t, all.Scan(&k, &n, &events))
		rows[k], times[k] = n, events
	}
	require.NoError(t, all.Err())
	return rows, times
}

// Junk costs no row each, and never takes the place of what matters in the
// queue. J16
func TestObserve_junk(t *testing.T) {
	c := newClock()
	s := openStats(t, sqltest.SQLite(t), c, Options{Queue: 900})
	m := newMonth(1)
	flooder, victim, open := m.hash(), m.hash(), m.hash()
	const junk = 60_000
	for n := range junk {
		made := m.hash()
		for _, e := range []otp.Event{
			{Kind: otpevent.Unknown, ChallengeHash: made, AddressHash: made},
			{Kind: otpevent.Malformed, ChallengeHash: open, AddressHash: victim},
			{Kind: otpevent.Exhausted, ChallengeHash: open, AddressHash: victim, Domain: "mail.example"},
			{Kind: otpevent.Asked, AddressHash: made, Domain: "mail.example"},
			{Kind: otpevent.Limited, AddressHash: made, Domain: "mail.example", Scope: "client"},
			{Kind: otpevent.Failed, AddressHash: made, Domain: fmt.Sprint(n % 3)}, // one row for all three
		} {
			e.Time, e.Purpose, e.ClientHash = c.Now(), "login", flooder
			s.observeAt(e)
		}
		if n%75 == 0 {
			s.observeAt(otp.Event{Kind: otpevent.Wrong, Time: c.Now(), Purpose: "login", AddressHash: made, ChallengeHash: made, WrongGuesses: 1})
		}
	}
	require.NoError(t, s.Flush(t.Context()))
	require.Zero(t, s.Dropped())
	rows, times := kindRows(t, s.db)
	require.Equal(t, map[kind]int{kindWrong: 800, kindAsked: 40, kindFailed: 1}, rows)
	require.Equal(t, junk, times[kindFailed])
	for table, most := range map[string]int{"challenges": 801, "rollups": 100} {
		var n int
		require.NoError(t, s.db.QueryRow("SELECT count(*) FROM otp_stats_"+table).Scan(&n))
		require.LessOrEqual(t, n, most, table)
	}
	funnel, err := s.Funnel(t.Context(), Filter{}, None)
	require.NoError(t, err)
	require.Equal(t, Counts{
		Asked: junk, Limited: junk, LimitedClient: junk, Failures: junk, Wrong: 800, Malformed: junk, Exhausted: junk, Unknown: junk,
	}, funnel[0].Counts)
	c.Add(time.Minute)
	require.NoError(t, s.Flush(t.Context()))
	require.Contains(t, s.watch.active, subject{DistributedGuessing, ""})
	require.Contains(t, s.watch.active, subject{ClientSpread, s.ClientSubject(flooder)}, "the flood does not hide itself")
}

func (s *Stats) observeAt(e otp.Event) { s.Observe(context.Background(), e) }

// Whatever strangers make up, the memory for sums is bounded, and all is counted.
func TestSums_bounded(t *testing.T) {
	rules, err := Rules{}.filled()
	require.NoError(t, err)
	m := newMonth(1)
	client, address := m.hash(), m.hash()
	s := newSums(&Options{Queue: 1000, Rules: rules})
	const each = 5000
	for n := range each {
		made := fmt.Sprint(n)
		for k, e := range map[kind]event{
			kindUnknown: {purpose: made}, kindLimited: {language: made, domain: made}, kindMalformed: {challenge: m.hash(), app: made},
			kindAsked: {address: m.hash(), client: m.hash()},
		} {
			e.kind, e.times, e.time = k, 1, 1000*60_000
			s.add(e)
		}
	}
	require.LessOrEqual(t, len(s.pairs), 1000)
	list := s.take()
	require.LessOrEqual(t, len(list), 1000+4)
	counts := map[kind]int64{}
	for _, e := range list {
		counts[e.kind] += e.times
	}
	require.Equal(t, map[kind]int64{kindUnknown: each, kindLimited: each, kindMalformed: each, kindAsked: each}, counts)
	require.Empty(t, s.take())

	// A client and an address have their own limits, in each minute.
	s = newSums(&Options{Queue: 100_000, Rules: rules})
	for minute := range int64(2) {
		for range each {
			s.add(event{kind: kindAsked, times: 1, time: minute * 60_000, client: client, address: m.hash()})
			s.add(event{kind: kindAsked, times: 1, time: minute * 60_000, client: m.hash(), address: address})
			s.add(event{kind: kindAsked, times: 1, time: minute * 60_000, client: m.hash(), address: otp.Hash{}})
		}
	}
	pairs := map[otp.Hash]int{}
	for _, e := range s.take() {
		if e.each() {
			require.Zero(t, e.times, "it is counted without the hashes")
			pairs[e.client]++
			pairs[e.address]++
		}
	}
	require.Equal(t, 2*40, pairs[client])
	require.Equal(t, 2*16, pairs[address])
}

// People who answer have asked before, also if the database could not be
// written in between: they are no flood.
func TestSums_order(t *testing.T) {
	at := func(k kind, time int64) event { return event{kind: k, time: time, times: 1} }
	batch := []event{at(kindSent, 10), at(kindVerified, 30), at(kindSent, 20), at(kindForgotten, 5), at(kindWrong, 70)}
	sums := []event{at(kindAsked, 40), at(kindAsked, 9), at(kindLimited, 20), at(kindAsked, 50)}
	var got []kind
	for _, e := range merge(batch, sums) {
		got = append(got, e.kind)
	}
	require.Equal(t, []kind{
		kindAsked, kindSent, kindLimited, kindVerified, kindSent,
		kindAsked, kindAsked, kindForgotten, // also what is later by another clock
		kindWrong,
	}, got)

	s := newStage(t)
	for range 50 { // an office behind one address
		e := otp.Event{Kind: otpevent.Asked, Time: s.now(), Domain: "office.example", AddressHash: s.hashes.hash(), ClientHash: otp.Hash{1}}
		s.observe(e)
		e.ChallengeHash = s.hashes.hash()
		for kind, age := range map[otpevent.Kind]time.Duration{otpevent.Sent: 0, otpevent.Verified: 20 * time.Second} {
			e.Kind, e.Age = kind, age
			s.observe(e)
		}
		s.clock.Add(time.Second)
	}
	s.later(5 * time.Minute)
	require.Empty(t, s.found)
	require.Empty(t, s.watch.clients[s.rehash('c', otp.Hash{1})])
}

// Lost events, a crowd of strangers and evicted values are anomalies.
func TestLost(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	var found []Anomaly
	s := openStats(t, d, c, Options{Queue: 2, Batch: 1, OnAnomaly: func(_ context.Context, a Anomaly) { found = append(found, a) }})
	tx, err := d.Open(t).BeginTx(t.Context(), nil) // the writer must wait for the file
	require.NoError(t, err)
	_, err = tx.Exec("DELETE FROM otp_stats_events")
	require.NoError(t, err)
	for range 100 {
		s.observeAt(otp.Event{Kind: otpevent.Sent, Time: c.Now()})
		s.observeAt(otp.Event{Kind: otpevent.Limited, Time: c.Now()})
	}
	require.NoError(t, tx.Rollback())
	lost := s.Dropped()
	require.GreaterOrEqual(t, lost, int64(97), "all but one that is written and two that wait")
	require.NoError(t, s.Flush(t.Context()))
	for _, k := range []otpevent.Kind{otpevent.Evicted, otpevent.Evicted, otpevent.Crowded} {
		s.observeAt(otp.Event{Kind: k, Time: c.Now()})
	}
	c.Add(time.Minute)
	require.NoError(t, s.Flush(t.Context()))
	require.NoError(t, s.Flush(t.Context()))
	require.Len(t, found, 3)
	counts := map[AnomalyKind]int64{}
	for _, a := range found {
		counts[a.Kind] = a.Count
	}
	require.Equal(t, map[AnomalyKind]int64{EventsLost: lost, Evicted: 2, Crowded: 1}, counts)
	funnel, err := s.Funnel(t.Context(), Filter{}, None)
	require.NoError(t, err)
	require.Equal(t, Counts{Limited: 100}, funnel[0].Counts, "junk is not lost")
}

// Any number of goroutines may observe while the writer takes the sums.
func TestSums_concurrent(t *testing.T) {
	s := newStage(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 500 {
				s.Observe(t.Context(), otp.Event{Kind: otpevent.Unknown, Time: s.now(), Purpose: fmt.Sprint(n % 5)})
			}
		})
	}
	for range 5 {
		require.NoError(t, s.Flush(t.Context()))
	}
	wg.Wait()
	require.NoError(t, s.Flush(t.Context()))
	funnel, err := s.Funnel(t.Context(), Filter{}, None)
	require.NoError(t, err)
	require.EqualValues(t, 8*500, funnel[0].Unknown)
}

// A flood of more events than 32 bits can count does not stop the writer.
func TestSums_large(t *testing.T) {
	for name, database := range map[string]func(testing.TB) sqltest.Database{"SQLite": sqltest.SQLite, "PostgreSQL": sqltest.Postgres} {
		t.Run(name, func(t *testing.T) {
			if name == "PostgreSQL" {
				testkit.Long(t)
			}
			c := newClock()
			s := openStats(t, database(t), c, Options{})
			const flood = 3_000_000_000
			for range 2 {
				for _, k := range []kind{kindAsked, kindLimited, kindUnknown, kindMalformed, kindExpired, kindExhausted, kindRevoked, kindFailed} {
					s.added.list = append(s.added.list, event{kind: k, time: c.Now().UnixMilli(), times: flood, scope: ofAll, domain: "a.example", challenge: otp.Hash{1}})
				}
				s.added.list = append(s.added.list, event{kind: kindAsked, time: c.Now().UnixMilli(), times: flood, resend: true}, event{kind: kindLimited, time: c.Now().UnixMilli(), times: flood, scope: ofClient})
				require.NoError(t, s.Flush(t.Context()))
			}
			funnel, err := s.Funnel(t.Context(), Filter{}, None)
			require.NoError(t, err)
			const all = 2 * flood
			require.Equal(t, Counts{
				Asked: all, ResendAsked: all, Limited: 2 * all, LimitedClient: all, LimitedAll: all, Failures: all,
				Malformed: all, Expired: all, Exhausted: all, Unknown: all, Revoked: all,
			}, funnel[0].Counts)
		})
	}
}

// What is only added up costs the caller no allocation.
func TestSums_allocations(t *testing.T) {
	s := newStage(t)
	for _, kind := range []otpevent.Kind{otpevent.Unknown, otpevent.Malformed, otpevent.Asked, otpevent.Limited, otpevent.Failed} {
		e := otp.Event{Kind: kind, Time: s.now(), Purpose: "login", Domain: "mail.example", AddressHash: otp.Hash{1}, ClientHash: otp.Hash{2}, ChallengeHash: otp.Hash{3}}
		s.observe(e)
		require.Zero(t, testing.AllocsPerRun(1000, func() { s.observe(e) }), kind)
	}
}
