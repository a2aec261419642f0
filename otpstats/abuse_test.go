package otpstats_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// crowd gives each of a test's clients and addresses its own number.
type crowd struct{ last int }

func (c *crowd) next() int { c.last++; return c.last }

// several returns n new clients or addresses.
func (c *crowd) several(n int) (all []int) {
	for range n {
		all = append(all, c.next())
	}
	return all
}

// nobody is the client or address of an event that has none.
const nobody = 0

// abuse tells s what clients and addresses, by their numbers, do.
type abuse struct{ *otpstats.Stats }

func (s abuse) observe(kind otpevent.Kind, at time.Time, client, address int) {
	e := otp.Event{Kind: kind, Time: at, Purpose: "login", ChallengeHash: numbered('q', address)}
	if client != nobody {
		e.ClientHash = numbered('c', client)
	}
	if address != nobody {
		e.AddressHash = numbered('a', address)
	}
	s.Observe(context.Background(), e)
}

// asks has a client ask for each address.
func (s abuse) asks(at time.Time, client int, addresses ...int) {
	for _, address := range addresses {
		s.observe(otpevent.Asked, at, client, address)
	}
}

// guessed has somebody guess wrong at each address.
func (s abuse) guessed(at time.Time, addresses ...int) {
	for _, address := range addresses {
		s.observe(otpevent.Wrong, at, nobody, address)
	}
}

// Abuse returns the same for an hour while it lasts and once it is stored, at
// the limits of what is many, of the hour, and of what counts.
func TestAbuse(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		c.Add(12 * time.Hour)
		hour := c.Now()
		before := hour.Add(-time.Millisecond)
		s, people := abuse{open(t, d, c, otpstats.Options{Interval: time.Hour})}, &crowd{}

		wide := people.next() // asks twice for the first of five addresses, each time for another
		five := people.several(5)
		s.asks(hour, wide, five...)
		for n := range 10 { // of one minute, they count once
			s.asks(hour.Add(time.Duration(1+n/2)*time.Minute), wide, five[0])
		}
		narrow := people.next() // asks for four; a mail is no request
		s.asks(hour, narrow, people.several(4)...)
		s.observe(otpevent.Sent, hour, narrow, people.next())
		s.asks(hour, nobody, people.several(5)...)
		s.asks(before, people.next(), people.several(5)...)
		for _, client := range people.several(5) {
			s.asks(hour, client, nobody)
		}
		popular := people.next() // three clients ask for it, and two for the next
		clients := people.several(3)
		for _, client := range clients {
			s.asks(hour.Add(30*time.Minute), client, popular)
		}
		less := people.next()
		for _, client := range []int{clients[0], clients[0], clients[1]} {
			s.asks(hour.Add(30*time.Minute), client, less)
		}
		victims := people.several(25) // five get it right in the end
		s.guessed(hour.Add(40*time.Minute), victims...)
		s.guessed(hour.Add(40*time.Minute), victims...)
		for _, address := range victims[:5] {
			s.observe(otpevent.Verified, hour.Add(41*time.Minute), nobody, address)
		}
		s.guessed(hour.Add(40*time.Minute), nobody)
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Sent, Time: hour.Add(-time.Hour), Purpose: "login", Strong: true, ChallengeHash: numbered('s', 1)})
		s.guessed(hour.Add(-2*time.Hour), people.several(19)...)
		c.Add(59 * time.Minute)
		flush(t, s.Stats)

		stored := func() (hours int) {
			require.NoError(t, d.Open(t).QueryRow("SELECT count(*) FROM otp_stats_spreads WHERE kind = 0").Scan(&hours))
			return hours
		}
		check := func(unsolved int64) {
			t.Helper()
			a, err := s.Abuse(t.Context(), otpstats.Filter{From: hour.Add(-2 * time.Hour), To: hour.Add(time.Hour)})
			require.NoError(t, err)
			require.Len(t, a.Clients, 2)
			require.Equal(t, [2]int64{5, 10}, [2]int64{a.Clients[0].Count, a.Clients[0].Asked})
			require.Equal(t, hour, a.Clients[0].Hour, "the latest first")
			require.Equal(t, hour.Add(-time.Hour), a.Clients[1].Hour)
			require.Len(t, a.Addresses, 1)
			require.Equal(t, [2]int64{3, 3}, [2]int64{a.Addresses[0].Count, a.Addresses[0].Asked})
			require.Equal(t, []otpstats.AbuseHour{
				{Hour: hour.Add(-2 * time.Hour), Wrong: 19, Usual: 19, Unsolved: 19},
				{Hour: hour.Add(-time.Hour), Usual: 19, Strong: 1},
				{Hour: hour, Wrong: 31 + unsolved, Usual: 19, Unsolved: unsolved},
			}, a.Hours)
		}
		check(20)
		require.Equal(t, 2, stored(), "the hours that ended")
		c.Add(5*time.Minute + 59*time.Second)
		s.guessed(hour.Add(time.Hour-time.Millisecond), people.next()) // late
		flush(t, s.Stats)
		require.Equal(t, 2, stored(), "not yet")
		check(21)
		c.Add(time.Minute)
		flush(t, s.Stats)
		require.Equal(t, 3, stored())
		check(21)
		_, err := d.Open(t).Exec("DELETE FROM otp_stats_events")
		require.NoError(t, err)
		check(21)
		empty, err := s.Abuse(t.Context(), otpstats.Filter{From: hour.Add(-9 * time.Hour), To: hour.Add(-2 * time.Hour)})
		require.NoError(t, err)
		require.Zero(t, empty)
	})
}

// An hour is marked if many addresses were guessed at, and far more often than
// usual. Of the clients, those with the most addresses are returned.
func TestAbuse_high(t *testing.T) {
	t.Parallel()
	c := newClock()
	start := c.Now()
	c.Add(36 * time.Hour)
	// All is one batch, so that no hour is stored before it is complete.
	s := open(t, sqltest.Fast(t), c, otpstats.Options{Interval: time.Hour, Batch: 4096})
	people := &crowd{}
	day := func(n, hour int) time.Time { return start.Add(time.Duration(24*n+hour) * time.Hour) }
	guesses := abuse{s}
	for hour, addresses := range []int{4, 5, 4, 4, 19, 20, 4, 4, 1} {
		victims := people.several(addresses)
		guesses.guessed(day(0, hour), victims...)
		for range map[int]int{4: 1, 8: 23}[hour] { // more guesses, at no more addresses
			guesses.guessed(day(0, hour), victims[0])
		}
		guesses.guessed(day(1, hour), people.several(20)...) // the next day all hours are alike
	}
	for range 30 {
		client, addresses := people.next(), people.several(5)
		guesses.asks(day(1, 0), client, addresses...)
		guesses.asks(day(1, 1), client, addresses...)
	}
	flush(t, s)
	a, err := s.Abuse(t.Context(), otpstats.Filter{From: start, To: start.Add(24 * time.Hour)})
	require.NoError(t, err)
	require.Len(t, a.Hours, 9)
	for i, h := range a.Hours {
		require.Equal(t, i == 5, h.High, "%+v", h)
	}
	a, err = s.Abuse(t.Context(), otpstats.Filter{From: start, To: start.Add(2 * time.Hour)})
	require.NoError(t, err)
	require.Equal(t, 4.5, a.Hours[0].Usual)
	a, err = s.Abuse(t.Context(), otpstats.Filter{From: start.Add(24 * time.Hour), To: start.Add(48 * time.Hour)})
	require.NoError(t, err)
	require.Len(t, a.Hours, 9)
	for _, h := range a.Hours {
		require.False(t, h.High, "%+v", h)
	}
	require.Len(t, a.Clients, 50)
}

// A filter can select the values with the most traffic, and none that is empty.
func TestDimensions_order(t *testing.T) {
	c := newClock()
	s := open(t, sqltest.SQLite(t), c, otpstats.Options{Interval: time.Hour})
	for n, domain := range []string{"b.example", "a.example", "c.example", "c.example", "", "", ""} {
		tell(s, ask(n, c.Now(), domain)[:1])
	}
	s.Mail("message", "down", otpevent.MailFailed)
	s.Mail("message", "resting", "") // was not asked
	flush(t, s)
	names, err := s.Dimensions(t.Context(), otpstats.Filter{Domain: "a.example"})
	require.NoError(t, err)
	require.Equal(t, otpstats.Names{Purposes: []string{"login"}, Domains: []string{"c.example", "a.example", "b.example"}, Providers: []string{"down"}}, names)
	rows, err := s.Funnel(t.Context(), otpstats.Filter{}, otpstats.Domain)
	require.NoError(t, err)
	var order []string
	for _, r := range rows {
		order = append(order, fmt.Sprint(r.Value, r.Asked))
	}
	require.Equal(t, []string{"3", "c.example2", "a.example1", "b.example1"}, order)
}

// The last elements of Guesses count everything beyond, and steps are never negative.
func TestGuesses_last(t *testing.T) {
	c := newClock()
	s := open(t, sqltest.SQLite(t), c, otpstats.Options{Interval: time.Hour})
	for n, count := range []int{0, 4, 5, 6, 7, 8, 20} {
		all := ask(n, c.Now(), "a.example")
		all[1].tell(s)
		for range count {
			wrong, again := all[2], all[1]
			wrong.Kind, again.Resend, again.Message = otpevent.Wrong, true, ""
			tell(s, []happening{wrong, again})
		}
		all[2].tell(s)
	}
	flush(t, s)
	g, err := s.Guesses(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Equal(t, otpstats.Guesses{Verified: 7, Wrong: [8]int64{1, 0, 0, 0, 1, 1, 1, 3}, Resends: [6]int64{1, 0, 0, 0, 1, 5}}, g)
	steps, err := s.GaveUp(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Zero(t, steps.NotMailed, "nothing was asked that is known of")
}

// Tables can be created while others write and while others open.
func TestPostgreSQL_migrates(t *testing.T) {
	d := postgres(t)
	errs := make(chan error, 8)
	opened := func() {
		s, err := otpstats.Open(t.Context(), d.Open(t), otpstats.PostgreSQL, &otpstats.Options{Key: key})
		if err == nil {
			err = s.Close(t.Context())
		}
		errs <- err
	}
	dbs := cap(errs)
	for range dbs {
		go opened()
	}
	for range dbs {
		require.NoError(t, <-errs)
	}

	// A writer that comes to the events last, as one that erases does.
	db := d.Open(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	for _, text := range []string{
		"UPDATE otp_stats_writers SET batch = batch + 1 WHERE id = ''",
		"INSERT INTO otp_stats_mails (id, time, provider, lost) VALUES ('x', 1, '', 0)",
	} {
		_, err := tx.Exec(text)
		require.NoError(t, err)
	}
	go opened()
	require.Eventually(t, func() bool {
		var waits sql.NullBool
		err := db.QueryRow(`SELECT bool_or(NOT granted) FROM pg_locks WHERE relation IN ('otp_stats_writers'::regclass, 'otp_stats_mails'::regclass)`).Scan(&waits)
		return err == nil && waits.Bool
	}, time.Minute, 10*time.Millisecond)
	_, err = tx.Exec("DELETE FROM otp_stats_events")
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-errs)
}
