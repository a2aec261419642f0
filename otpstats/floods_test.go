package otpstats

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
)

// stage is a Stats whose clock a test moves by the minute.
type stage struct {
	*Stats
	t        *testing.T
	database sqltest.Database
	clock    *testkit.Clock
	found    []Anomaly
	hashes   *month
	waiting  []otp.Event
}

func newStage(t *testing.T) *stage { return newStageOn(t, sqltest.Fast(t)) }

func newStageOn(t *testing.T, d sqltest.Database) *stage {
	s := &stage{t: t, database: d, clock: newClock(), hashes: newMonth(1)}
	s.start()
	return s
}

func (s *stage) start() {
	s.Stats = openStats(s.t, s.database, s.clock, Options{OnAnomaly: func(_ context.Context, a Anomaly) { s.found = append(s.found, a) }})
}

func (s *stage) restart() {
	require.NoError(s.t, s.Close(s.t.Context()))
	s.start()
}

func (s *stage) now() time.Time { return s.clock.Now() }

// later moves the clock and writes what was observed: after a long time before
// that, too, as the writer would.
func (s *stage) later(d time.Duration) {
	if d > time.Minute {
		require.NoError(s.t, s.Flush(s.t.Context()))
	}
	s.clock.Add(d)
	require.NoError(s.t, s.Flush(s.t.Context()))
}

func (s *stage) observe(e otp.Event) { s.Observe(s.t.Context(), e) }

// mailed is somebody who asks, and answers in the next minute with answers.
func (s *stage) mailed(domain string) {
	e := otp.Event{Kind: otpevent.Sent, Time: s.now(), Domain: domain, AddressHash: s.hashes.hash(), ClientHash: s.hashes.hash(), ChallengeHash: s.hashes.hash()}
	s.observe(e)
	s.waiting = append(s.waiting, e)
}

func (s *stage) answers() {
	for _, e := range s.waiting {
		e.Kind, e.Time, e.Age = otpevent.Verified, e.Time.Add(40*time.Second), 40*time.Second
		s.observe(e)
	}
	s.waiting = nil
}

func (s *stage) guesses(n int) {
	for range n {
		s.observe(otp.Event{Kind: otpevent.Wrong, Time: s.now(), AddressHash: s.hashes.hash(), ChallengeHash: s.hashes.hash(), WrongGuesses: 1})
	}
}

// However many domains there are, a restart knows the past of the large ones, and names that are made
// up take no place from one that grows.
func TestDomains_full(t *testing.T) {
	testkit.Long(t)
	s := newStage(t)
	for day := range 2 {
		for range 300 {
			s.mailed("zebra.example")
		}
		for n := range 150 { // people with a domain of their own
			s.mailed(fmt.Sprintf("family-%d-%d.example", day, n))
		}
		s.clock.Add(time.Minute)
		s.answers()
		s.later(24 * time.Hour)
	}
	s.restart()
	for range 60 {
		for range 3 {
			s.mailed("zebra.example")
		}
		s.later(time.Minute)
	}
	require.Len(t, s.found, 1)
	require.Equal(t, "zebra.example", s.found[0].Subject)

	w := newScene(t, Rules{})
	for n := range 2 * slotsOf[Domain] {
		w.see(1001, 1, kindSent, event{domain: strconv.Itoa(n)})
	}
	for minute := range int64(24 * 60) {
		w.see(2001+minute, 1, kindSent, event{domain: "new.example"})
		w.see(2001+minute, 1, kindVerified, event{domain: "new.example", age: 20000})
	}
	for minute := range int64(40) {
		w.see(2001+24*60+minute, 3, kindSent, event{domain: "new.example"})
	}
	began, _ := w.anomalies(2001 + 24*60 + 40)
	require.Len(t, began, 1)
	require.LessOrEqual(t, len(w.domains), 2*slotsOf[Domain])
}

// A real domain that is quiet at night keeps its past, however many names are made up meanwhile.
func TestDomains_quiet(t *testing.T) {
	testkit.Long(t)
	s := newStage(t)
	for range 120 {
		for range 5 {
			s.mailed("real.example")
		}
		s.later(time.Minute)
		s.answers()
	}
	s.later(time.Date(2026, 3, 2, 23, 56, 0, 0, time.UTC).Sub(s.now()))
	for day := range 3 { // on either side of midnight
		s.later(2 * time.Minute)
		for n := range slotsOf[Domain] {
			s.observe(otp.Event{Kind: otpevent.Sent, Time: s.now(), Domain: fmt.Sprintf("made-up-%d-%d.example", day, n), AddressHash: s.hashes.hash(), ChallengeHash: s.hashes.hash()})
		}
	}
	s.later(8 * time.Hour)
	s.found = nil
	for range 60 {
		for range 3 {
			s.mailed("real.example")
		}
		s.later(time.Minute)
	}
	require.Len(t, s.found, 1)
	require.Equal(t, "real.example", s.found[0].Subject)
}

// As many clients as are remembered, with a request each, do not hide one with many.
func TestSpreads_full(t *testing.T) {
	s := newScene(t, Rules{})
	for range maxPeople {
		s.see(1001, 1, kindAsked, event{})
	}
	s.see(1010, 500, kindAsked, event{client: otp.Hash{9}})
	began, _ := s.anomalies(1015)
	require.Len(t, began, 1)
	require.Len(t, s.clients, maxPeople)
}

// A flood makes a bounded number of anomalies, all of which end, also after a restart, and hides none of another kind.
func TestAnomalies_flood(t *testing.T) {
	s := newStage(t)
	s.guesses(60)
	s.later(2 * time.Minute)
	require.Len(t, s.found, 1)
	for n := range 3 * maxActive {
		if n%30 == 29 { // a client's addresses of one minute are limited
			s.later(time.Minute)
		}
		address := s.hashes.hash()
		for client := range 8 {
			s.observe(otp.Event{Kind: otpevent.Asked, Time: s.now(), AddressHash: address, ClientHash: otp.Hash{1, byte(client)}})
		}
	}
	s.later(2 * time.Minute)
	require.Len(t, s.found, 1+8+maxActive)
	all, err := s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	kinds := map[AnomalyKind]int{}
	for _, a := range all {
		kinds[a.Kind]++
	}
	require.Equal(t, map[AnomalyKind]int{DistributedGuessing: 1, ClientSpread: 8, AddressSpread: maxActive}, kinds)
	s.restart()
	for range 10 {
		s.later(time.Hour)
	}
	all, err = s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	for _, a := range all {
		require.NotZero(t, a.Until, "%v", a)
	}
	require.Zero(t, s.watch.counts[AddressSpread])
	s.found = nil
	s.guesses(60)
	s.later(2 * time.Minute)
	require.Len(t, s.found, 1, "another attack is told")
}

// A day with an attack does not make the next attack usual after a restart.
func TestRestart_usual(t *testing.T) {
	testkit.Long(t)
	s := newStage(t)
	day := func(attack int) {
		for range 10 {
			for range 10 {
				s.mailed("a.example")
			}
			for range attack {
				e := otp.Event{Kind: otpevent.Sent, Time: s.now(), AddressHash: s.hashes.hash(), ChallengeHash: s.hashes.hash()}
				s.observe(e)
				e.Kind, e.Age, e.WrongGuesses = otpevent.Wrong, time.Second, 1
				s.observe(e)
			}
			s.later(time.Minute)
			s.answers()
		}
	}
	for _, attack := range []int{0, 0, 60, 0} {
		day(attack)
		s.later(24 * time.Hour)
	}
	require.Len(t, s.found, 1)
	s.later(4 * time.Hour)
	s.restart()
	day(30)
	s.later(time.Minute)
	require.Len(t, s.found, 2)
}

// While everything stands still nobody can answer: that is no fault of the mail.
func TestRestart_excuses(t *testing.T) {
	testkit.Long(t)
	s := newStage(t)
	minute := func() {
		s.answers()
		for range 10 {
			s.mailed("mail.example")
		}
		s.later(time.Minute)
	}
	for range 60 {
		minute()
	}
	s.waiting = nil // ten wait for their mail
	require.NoError(t, s.Flush(t.Context()))
	s.clock.Add(20 * time.Minute)
	s.restart()
	for range 15 {
		minute()
	}
	require.Empty(t, s.found)

	// Nor is it when they had mistyped it, and type it right at last.
	d := &domain{}
	w := newScene(t, Rules{})
	w.domains["a.example"] = d
	e := event{domain: "a.example", wrongs: 1}
	w.see(1001, 3, kindSent, e)
	w.see(1001, 3, kindWrong, e)
	w.excuse(1001)
	e.age = 2 * quick.Milliseconds()
	w.seeOpened(1001, kindVerified, e)
	require.Zero(t, d.minutes[1001%span].tested())
}

// One process whose clock is ahead neither hides an attack nor makes an alarm.
func TestClock_ahead(t *testing.T) {
	testkit.Long(t)
	for _, ahead := range []time.Duration{30 * time.Second, 55 * time.Minute} {
		s := newStage(t)
		minute := func(guesses int) {
			s.answers()
			s.observe(otp.Event{Kind: otpevent.Asked, Time: s.now().Add(ahead), AddressHash: s.hashes.hash()})
			for range 10 {
				s.mailed("mail.example")
			}
			s.guesses(guesses)
			s.later(time.Minute)
		}
		for range 60 {
			minute(0)
		}
		require.Empty(t, s.found)
		for range 10 {
			minute(20)
		}
		require.Len(t, s.found, 1)
		require.Equal(t, DistributedGuessing, s.found[0].Kind)
	}
}

// What was found while a clock was ahead does not keep the next from being told.
func TestAnomalies_clockAhead(t *testing.T) {
	for _, restart := range []bool{false, true} {
		s := newStage(t)
		right := s.now().Add(5 * time.Minute)
		s.later(30 * 24 * time.Hour)
		s.guesses(60)
		s.later(2 * time.Minute)
		require.Len(t, s.found, 1)
		if restart {
			require.NoError(t, s.Close(t.Context()))
			s.clock.Set(right)
			s.start()
		} else {
			s.clock.Set(right)
		}
		for range 10 {
			s.later(time.Hour)
		}
		s.found = nil
		s.guesses(60)
		s.later(2 * time.Minute)
		require.Len(t, s.found, 1)
	}
}

// A clock that is behind deletes no anomaly.
func TestAnomalies_clockBehind(t *testing.T) {
	s := newStage(t)
	s.guesses(60)
	s.later(2 * time.Minute)
	require.Len(t, s.found, 1)
	for _, year := range []int{-1, 1} {
		require.NoError(t, s.Close(t.Context()))
		s.clock.Set(s.now().AddDate(year, 0, 0))
		s.start()
	}
	all, err := s.Anomalies(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, s.found[0].Since, all[0].Since)
}

// A run with a clock that was a year ahead takes nothing from Abuse.
func TestAbuse_clockAhead(t *testing.T) {
	s := newStage(t)
	right := s.now()
	s.later(365 * 24 * time.Hour)
	s.observe(otp.Event{Kind: otpevent.Asked, Time: s.now(), AddressHash: s.hashes.hash(), ClientHash: s.hashes.hash()})
	s.later(2 * time.Hour)
	require.NoError(t, s.Close(t.Context()))
	s.clock.Set(right)
	s.start()
	for range 30 {
		s.observe(otp.Event{Kind: otpevent.Asked, Time: s.now(), AddressHash: s.hashes.hash(), ClientHash: otp.Hash{1}})
	}
	s.guesses(30)
	s.later(5 * time.Hour)
	a, err := s.Abuse(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, a.Clients, 1)
	require.EqualValues(t, 30, a.Hours[0].Unsolved)
}

// What cannot be stored of an anomaly keeps nothing from being deleted, and events that a failover has
// lost none of those to come from the rules.
func TestTend_goesOn(t *testing.T) {
	s := newStageOn(t, sqltest.SQLite(t))
	s.opts.KeepEvents, s.opts.OnError = 24*time.Hour, func(context.Context, error) {}
	s.guesses(60)
	require.NoError(t, s.Flush(t.Context()))
	_, err := s.db.Exec("CREATE TRIGGER no BEFORE INSERT ON otp_stats_anomalies BEGIN SELECT raise(FAIL, 'no'); END")
	require.NoError(t, err)
	for range 30 {
		s.clock.Add(time.Hour)
		require.Error(t, s.Flush(t.Context()))
	}
	var n int
	require.NoError(t, s.db.QueryRow("SELECT count(*) FROM otp_stats_events").Scan(&n))
	require.Zero(t, n)
	_, err = s.db.Exec("DROP TRIGGER no; UPDATE sqlite_sequence SET seq = 0")
	require.NoError(t, err)
	s.later(2 * time.Hour)
	s.found = nil
	s.guesses(60)
	s.later(2 * time.Minute)
	require.Len(t, s.found, 1)
}
