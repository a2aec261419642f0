package otpstats_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpstats"
)

// Two processes write to one database, each some of the events of each challenge, and
// settle at once: the counts are as if it was one.
func TestPostgreSQL_twoWriters(t *testing.T) {
	d, c := postgres(t), newClock()
	var told atomic.Int64
	opts := otpstats.Options{
		App: appOf, Batch: 50, Queue: 100_000, Interval: 5 * time.Millisecond, Over: 3 * time.Hour, // the queues are not in step
		OnAnomaly: func(context.Context, otpstats.Anomaly) { told.Add(1) },
		Rules:     otpstats.Rules{Addresses: otpstats.SpreadRule{Limit: 5}},
	}
	both := []*otpstats.Stats{open(t, d, c, opts), open(t, d, c, opts)}
	m := newMaker(5)
	all := m.traffic(c.Now(), 20*time.Hour, testkit.Rounds(250, 600))
	tale := ask(1, c.Now(), "a.example")[:1]
	for n := range 20 {
		h := tale[0]
		h.ClientHash, h.Time = numbered('x', n), c.Now().Add(time.Duration(n)*time.Second)
		all = append([]happening{h}, all...)
	}
	for i, h := range all {
		h.tell(both[m.IntN(2)])
		c.Set(h.Time)
		if i%50 == 0 {
			flush(t, both[0])
			flush(t, both[1])
		}
	}
	flush(t, both[0]) // a clock ahead of the other's queue would end challenges whose events are still to come
	flush(t, both[1])
	c.Add(10 * time.Hour)
	var wg sync.WaitGroup
	for range 3 {
		for _, s := range both {
			wg.Go(func() {
				c.Add(time.Minute)
				flush(t, s)
			})
		}
		wg.Wait()
	}
	compareAll(t, both[0], naive(all), newClock().Now())
	anomalies, err := both[1].Anomalies(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Len(t, anomalies, 1)
	require.NotZero(t, anomalies[0].Until, "over")
	require.EqualValues(t, 1, told.Load(), "told by one of the two")
}

// Challenges that one process has counted as over are not counted again when another comes with what is late.
func TestPostgreSQL_lateWriter(t *testing.T) {
	d, c := postgres(t), newClock()
	a, b := open(t, d, c, otpstats.Options{Interval: time.Hour}), open(t, d, c, otpstats.Options{Interval: time.Hour})
	for n := range 10 { // asked at one, answered at the other
		all := ask(n, c.Now(), "a.example")
		tell(a, all[:2])
		tell(b, all[2:])
	}
	c.Add(3 * time.Hour) // the database was away
	flush(t, a)
	require.Equal(t, otpstats.Counts{Asked: 10, Sent: 10, Over: 10, NoAnswer: 10}, total(t, a, otpstats.Filter{}))
	flush(t, b)
	require.Equal(t, otpstats.Counts{Asked: 10, Sent: 10, Over: 10, Answered: 10, Verified: 10}, total(t, a, otpstats.Filter{}))
}

// A process that comes late to the end of an anomaly neither ends a newer one nor stumbles.
func TestPostgreSQL_lateEnd(t *testing.T) {
	d, c := postgres(t), newClock()
	var began atomic.Int64
	opts := otpstats.Options{Interval: time.Hour, OnAnomaly: func(context.Context, otpstats.Anomaly) { began.Add(1) }}
	a, b := open(t, d, c, opts), open(t, d, c, opts)
	look := func(minutes int, all ...*otpstats.Stats) {
		for range minutes {
			c.Add(time.Minute)
			for _, s := range all {
				flush(t, s)
			}
		}
	}
	guess(a, 1, 60, c.Now())
	look(3, a, b) // both know of it
	look(43, a)   // the machine of the other is paused
	guess(a, 1000, 60, c.Now())
	look(3, a)
	require.EqualValues(t, 2, began.Load())
	look(5, b)
	all, err := a.Anomalies(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Zero(t, all[0].Until, "the newer one lasts")
	require.NotZero(t, all[1].Until)
}

// What one process verifies has its place at the others, too: strangers who make up domains do not take it.
func TestPostgreSQL_names(t *testing.T) {
	d, c := postgres(t), newClock()
	a, b := open(t, d, c, otpstats.Options{Interval: time.Hour}), open(t, d, c, otpstats.Options{Interval: time.Hour})
	both := func(n int) {
		all := ask(n, c.Now(), "real.example")
		tell(a, all[:2]) // sent here, checked there
		flush(t, a)
		tell(b, all[2:])
		flush(t, b)
		flush(t, a)
	}
	both(1)
	c.Add(24 * time.Hour)
	for n := range 300 {
		ask(1000+n, c.Now(), fmt.Sprint("made-up-", n, ".example"))[0].tell(a)
	}
	both(2)
	require.EqualValues(t, 2, total(t, a, otpstats.Filter{Domain: "real.example"}).Sent)
}

// Nothing is stored or told of an address that another process has forgotten.
func TestPostgreSQL_forget(t *testing.T) {
	d, c := postgres(t), newClock()
	opts := otpstats.Options{Interval: time.Hour, OnAnomaly: func(_ context.Context, a otpstats.Anomaly) { t.Errorf("told of %v", a) }}
	a, b := open(t, d, c, opts), open(t, d, c, opts)
	for i := range 30 {
		h := ask(7, c.Now(), "a.example")[0]
		h.ClientHash = numbered('c', i)
		h.tell(a)
	}
	flush(t, a)
	flush(t, b) // both have read it
	require.NoError(t, a.Forget(t.Context(), numbered('a', 7)))
	c.Add(2 * time.Minute)
	flush(t, b)
	flush(t, a)
	all, err := a.Anomalies(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Empty(t, all)
}

// A transaction that hangs, of a machine that is frozen say, is told of.
func TestPostgreSQL_frozen(t *testing.T) {
	d := postgres(t)
	heard := make(chan error, 1)
	s := open(t, d, nil, otpstats.Options{Interval: time.Hour, OnError: func(_ context.Context, err error) {
		select {
		case heard <- err:
		default:
		}
	}})
	tx, err := d.Open(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("UPDATE otp_stats_writers SET batch = batch + 1 WHERE id = ''")
	require.NoError(t, err)
	tell(s, ask(1, time.Now(), "a.example"))
	flushed := make(chan error, 1)
	go func() { flushed <- s.Flush(t.Context()) }()
	require.ErrorContains(t, <-heard, "lock timeout")
	require.NoError(t, tx.Rollback())
	require.NoError(t, <-flushed)
	require.EqualValues(t, 1, total(t, s, otpstats.Filter{}).Verified)
}

// What others wrote while one process could not write is not taken for the events of a wrong clock.
func TestPostgreSQL_blocked(t *testing.T) {
	d, c := postgres(t), newClock()
	var told atomic.Int64
	heard := make(chan struct{}, 1000)
	a := open(t, d, c, otpstats.Options{
		Interval: time.Hour, OnAnomaly: func(context.Context, otpstats.Anomaly) { told.Add(1) },
		OnError: func(context.Context, error) {
			select {
			case heard <- struct{}{}:
			default:
			}
		},
	})
	tell(a, ask(1, c.Now(), "a.example"))
	flush(t, a)
	db := d.Open(t)
	_, err := db.Exec(`CREATE FUNCTION no() RETURNS trigger AS $$ BEGIN RAISE 'no'; END $$ LANGUAGE plpgsql;
		CREATE TRIGGER no BEFORE UPDATE ON otp_stats_writers FOR EACH ROW WHEN (NEW.id <> '') EXECUTE FUNCTION no()`)
	require.NoError(t, err)
	c.Add(time.Minute)
	tell(a, ask(2, c.Now(), "a.example"))
	flushed := make(chan error, 1)
	go func() { flushed <- a.Flush(t.Context()) }()
	<-heard // its clock is read, and it cannot write
	c.Add(5 * time.Minute)
	b := open(t, d, c, otpstats.Options{Interval: time.Hour, Rules: otpstats.Rules{Guessing: otpstats.GuessingRule{Off: true}}})
	guess(b, 1, 60, c.Now()) // its first batch is an insert
	flush(t, b)
	_, err = db.Exec("DROP TRIGGER no ON otp_stats_writers")
	require.NoError(t, err)
	require.NoError(t, <-flushed)
	for range 3 {
		c.Add(time.Minute)
		flush(t, a)
	}
	require.EqualValues(t, 1, told.Load())
}
