package otpstats_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// Abuse says the same of an hour while it lasts and when it is kept: with the borders of what is
// wide, of the hour, and of who counts.
func TestAbuse(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p, c := e.make(t), newClock()
			c.Add(12 * time.Hour)
			hour := c.Now()
			s := open(t, p, c, otpstats.Options{Interval: time.Hour})
			tellOne := func(kind otpevent.Kind, at time.Time, client, address int) {
				h := happening{Event: otp.Event{Kind: kind, Time: at, Purpose: "login", ChallengeHash: numbered('q', address)}}
				if client > 0 {
					h.ClientHash = numbered('c', client)
				}
				if address > 0 {
					h.AddressHash = numbered('a', address)
				}
				h.tell(s)
			}
			for n := range 5 { // the first client has five addresses, the second four and a mail
				tellOne(otpevent.Asked, hour, 1, 100+n)
				tellOne(otpevent.Asked, hour.Add(time.Minute), 1, 100)
				kind := otpevent.Asked
				if n == 4 {
					kind = otpevent.Sent
				}
				tellOne(kind, hour, 2, 200+n)
				tellOne(otpevent.Asked, hour, 0, 250+n)
				tellOne(otpevent.Asked, hour.Add(-time.Millisecond), 3, 300+n) // in the hour before
				tellOne(otpevent.Asked, hour, 400+n, 0)
			}
			for n := range 3 { // the first address has three clients, the second two
				tellOne(otpevent.Asked, hour.Add(30*time.Minute), 600+n, 1)
				tellOne(otpevent.Asked, hour.Add(30*time.Minute), 600+n/2, 2)
			}
			for n := range 25 { // addresses guessed at; five got it right
				tellOne(otpevent.Wrong, hour.Add(40*time.Minute), 0, 700+n)
				tellOne(otpevent.Wrong, hour.Add(40*time.Minute), 0, 700+n)
				if n < 5 {
					tellOne(otpevent.Verified, hour.Add(41*time.Minute), 0, 700+n)
				}
			}
			tellOne(otpevent.Wrong, hour.Add(40*time.Minute), 0, 0)
			tellOne(otpevent.Escalated, hour.Add(-time.Hour), 0, 800)
			for n := range 19 {
				tellOne(otpevent.Wrong, hour.Add(-2*time.Hour), 0, 900+n)
			}
			c.Add(59 * time.Minute)
			flush(t, s)

			kept := func() (hours int) {
				require.NoError(t, openAt(t, p).QueryRow("SELECT count(*) FROM otp_stats_spreads WHERE kind = 0").Scan(&hours))
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
					{Hour: hour.Add(-time.Hour), Usual: 19, Escalated: 1},
					{Hour: hour, Wrong: 31 + unsolved, Usual: 19, Unsolved: unsolved},
				}, a.Hours)
			}
			check(20)
			require.Equal(t, 2, kept(), "those that are over")
			c.Add(5*time.Minute + 59*time.Second)
			tellOne(otpevent.Wrong, hour.Add(time.Hour-time.Millisecond), 0, 801) // late
			flush(t, s)
			require.Equal(t, 2, kept(), "not yet")
			check(21)
			c.Add(time.Minute)
			flush(t, s)
			require.Equal(t, 3, kept())
			check(21)
			_, err := openAt(t, p).Exec("DELETE FROM otp_stats_events")
			require.NoError(t, err)
			check(21)
			empty, err := s.Abuse(t.Context(), otpstats.Filter{From: hour.Add(-9 * time.Hour), To: hour.Add(-2 * time.Hour)})
			require.NoError(t, err)
			require.Zero(t, empty)
		})
	}
}

// An hour is marked where many addresses were guessed at, and far more often than usual. Of clients the widest are told.
func TestAbuse_high(t *testing.T) {
	c := newClock()
	start := c.Now()
	c.Add(36 * time.Hour)
	s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour, Batch: 4096}) // one batch: no hour is over before it is told
	for hour, guessed := range []int{4, 5, 4, 4, 19, 20, 4, 4, 1} {
		guess(s, 100*hour, guessed, start.Add(time.Duration(hour)*time.Hour))
		guess(s, 2000+100*hour, 20, start.Add(time.Duration(24+hour)*time.Hour)) // on another day all are alike
	}
	for _, hour := range []int{4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8} { // more guesses, at no more addresses
		h := ask(100*hour, start.Add(time.Duration(hour)*time.Hour), "a.example")[2]
		h.Kind = otpevent.Wrong
		h.tell(s)
	}
	for n := range 30 * 5 {
		for hour := range 2 {
			h := ask(5000+n, start.Add(time.Duration(24+hour)*time.Hour), "a.example")[0]
			h.ClientHash = numbered('x', n/5)
			h.tell(s)
		}
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

// What a filter can choose are the values with the most traffic, and none that is empty.
func TestDimensions_order(t *testing.T) {
	c := newClock()
	s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour})
	for n, domain := range []string{"b.example", "a.example", "c.example", "c.example", "", "", ""} {
		tell(s, ask(n, c.Now(), domain)[:1])
	}
	s.Mail("message", "down", otpstats.MailFailed)
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

// The last places of Guesses count all beyond, and steps are never below nothing.
func TestGuesses_last(t *testing.T) {
	c := newClock()
	s := open(t, engines[0].make(t), c, otpstats.Options{Interval: time.Hour})
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

// While others write, and while others open, the tables can be made.
func TestPostgreSQL_migrates(t *testing.T) {
	p := engines[1].make(t)
	errs := make(chan error, 8)
	opened := func() {
		s, err := otpstats.Open(t.Context(), openAt(t, p), otpstats.PostgreSQL, &otpstats.Options{Key: key})
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
	db := openAt(t, p)
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
