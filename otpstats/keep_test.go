package otpstats_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// Prune deletes from each table what is older than its limit, and nothing else.
func TestPrune_tables(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		const events, rollups, over = 48 * time.Hour, 240 * time.Hour, time.Hour
		c := newClock()
		s := open(t, d, c, otpstats.Options{KeepEvents: events, KeepRollups: rollups, Over: over, Interval: time.Hour})
		db := tables{t, d.Open(t)}
		tell(s, ask(1, c.Now(), "a.example"))
		flush(t, s)

		// The hourly counts go first, and the daily ones once the whole day is too old.
		days := []string{"20", "23", "24", "25", "26", "27", "30", "31", "32"}
		hours := []string{"0", "10", "13", "14", "15", "16", "17"}
		prune := func(after time.Duration) {
			require.NoError(t, s.Prune(t.Context(), midnight.Add(after)))
		}
		grains := func() []string { return db.texts("SELECT grain FROM otp_stats_rollups GROUP BY grain ORDER BY grain") }
		prune(rollups)
		require.Equal(t, append(hours, days...), grains())
		prune(rollups + time.Second)
		require.Equal(t, days, grains())
		prune(rollups + 24*time.Hour)
		require.Equal(t, days, grains())
		prune(rollups + 24*time.Hour + time.Second)
		require.Empty(t, grains())

		for _, table := range []string{"events", "challenges", "mails"} {
			db.exec("DELETE FROM otp_stats_" + table)
		}
		now := midnight.AddDate(0, 0, 100)
		for name, older := range map[string]time.Duration{"old": time.Millisecond, "new": 0} {
			at := now.Add(-events - older)
			db.event(name, at)
			db.writer(name, at)
			db.spread(name, at)
			at = now.Add(-over - 24*time.Hour - older)
			db.mail(name, at)
			db.challenge(name+", open", at, false)
			db.challenge(name+", ended", at, true)
		}
		db.anomaly("old", now.Add(-rollups-time.Second).Unix())
		db.anomaly("new", now.Add(-rollups).Unix())
		db.anomaly("lasts", 0)
		require.NoError(t, s.Prune(t.Context(), now))
		require.Equal(t, []string{"new"}, db.texts("SELECT purpose FROM otp_stats_events"))
		require.Equal(t, []string{"new"}, db.texts("SELECT provider FROM otp_stats_mails"))
		require.ElementsMatch(t, []string{"new, ended", "new, open", "old, open"}, db.texts("SELECT purpose FROM otp_stats_challenges"))
		require.Equal(t, []string{"new"}, db.texts("SELECT subject FROM otp_stats_spreads"))
		require.Equal(t, []string{"", "new"}, db.texts("SELECT id FROM otp_stats_writers ORDER BY id"))
		require.Equal(t, []string{"lasts", "new"}, db.texts("SELECT subject FROM otp_stats_anomalies ORDER BY subject"))
	})
}

// tables inserts rows of which only the name and the time matter.
type tables struct {
	t  *testing.T
	db *sql.DB
}

// exec executes a statement with $1, $2 ... for args, as both databases accept.
func (d tables) exec(text string, args ...any) {
	d.t.Helper()
	_, err := d.db.Exec(text, args...)
	require.NoError(d.t, err)
}

// texts returns the only column of a query.
func (d tables) texts(query string) (all []string) {
	d.t.Helper()
	rows, err := d.db.Query(query)
	require.NoError(d.t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		require.NoError(d.t, rows.Scan(&text))
		all = append(all, text)
	}
	require.NoError(d.t, rows.Err())
	return all
}

func (d tables) event(name string, at time.Time) {
	d.exec(`INSERT INTO otp_stats_events (time, purpose, kind, resend, strong, decoy, language, domain, app, age, wrongs, times)
		VALUES ($1, $2, 1, 0, 0, 0, '', '', '', 0, 0, 1)`, at.UnixMilli(), name)
}

func (d tables) writer(name string, at time.Time) {
	d.exec("INSERT INTO otp_stats_writers (time, id, batch) VALUES ($1, $2, 1)", at.UnixMilli(), name)
}

func (d tables) spread(name string, at time.Time) {
	d.exec("INSERT INTO otp_stats_spreads (hour, subject, kind, count, asked) VALUES ($1, $2, 1, 1, 1)", at.Unix(), name)
}

func (d tables) mail(name string, at time.Time) {
	d.exec("INSERT INTO otp_stats_mails (time, provider, id, lost) VALUES ($1, $2, $3, 0)", at.UnixMilli(), name, []byte(name))
}

func (d tables) challenge(name string, at time.Time, ended bool) {
	d.exec(`INSERT INTO otp_stats_challenges (opened, purpose, id, ended, language, domain, provider, app,
		mails, lost, again, decoys, failed, wrong, malformed, expired, exhausted, strong, age)
		VALUES ($1, $2, $3, $4, '', '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1)`,
		at.UnixMilli(), name, []byte(name), map[bool]int{true: 1}[ended])
}

func (d tables) anomaly(name string, until int64) {
	d.exec(`INSERT INTO otp_stats_anomalies (until, subject, kind, since, count, seen, usual, teller)
		VALUES ($1, $2, '', 1, 1, 1, 1, '')`, until, name)
}

// All expired challenges are closed at once, however many there are.
func TestCloseExpired_many(t *testing.T) {
	t.Parallel()
	d, c := sqltest.Fast(t), newClock()
	s := open(t, d, c, otpstats.Options{Interval: time.Hour, Over: time.Hour})
	for n := range 2100 {
		e := ask(n, c.Now(), "a.example")[1]
		e.Message = ""
		e.tell(s)
	}
	flush(t, s)
	c.Add(time.Hour + time.Minute - time.Millisecond)
	flush(t, s)
	require.Zero(t, total(t, s, otpstats.Filter{}).Over, "the last minute is for events that are late")
	c.Add(time.Minute)
	flush(t, s)
	require.EqualValues(t, 2100, total(t, s, otpstats.Filter{}).Over)
}

// What is stored of a person depends on the key, and on what it stands for.
func TestPrivacy_key(t *testing.T) {
	seen := map[string]string{}
	for _, k := range []string{"0123456789abcdef", "0123456789abcdeg"} {
		d, given := sqltest.SQLite(t), []byte(k)
		s := open(t, d, nil, otpstats.Options{Key: given, Interval: time.Hour})
		clear(given) // it is copied
		e := ask(1, time.Now(), "a.example")[1]
		e.ClientHash, e.ChallengeHash = e.AddressHash, e.AddressHash
		e.tell(s)
		flush(t, s)
		var address, client, challenge []byte
		require.NoError(t, d.Open(t).QueryRow("SELECT address, client, challenge FROM otp_stats_events").Scan(&address, &client, &challenge))
		for what, h := range map[string][]byte{"address": address, "client": client, "challenge": challenge} {
			require.Empty(t, seen[string(h)], "%s under %s", what, k)
			seen[string(h)] = what + " under " + k
		}
	}
}

// The kinds are stored under numbers that never change. Those that strangers
// can cause without limit have no row, or one for all of a minute.
func TestObserve_kinds(t *testing.T) {
	d, c := sqltest.SQLite(t), newClock()
	s := open(t, d, c, otpstats.Options{Interval: time.Hour})
	observe := func(address int, kinds ...otpevent.Kind) {
		for _, k := range kinds {
			for range 2 {
				s.Observe(t.Context(), otp.Event{Kind: k, Time: c.Now(), AddressHash: numbered('a', address), ClientHash: numbered('c', 1)})
			}
		}
		flush(t, s)
	}
	all := []otpevent.Kind{
		otpevent.Asked, otpevent.Limited, otpevent.Sent, otpevent.SendFailed, otpevent.Decoy, otpevent.Verified, otpevent.Wrong,
		otpevent.Malformed, otpevent.Expired, otpevent.Exhausted, otpevent.Unknown, otpevent.ClockBack, otpevent.UnknownKey,
		otpevent.Failed, otpevent.Crowded, otpevent.Evicted, otpevent.Revoked, "of a later version",
	}
	rows := func(where string) (kinds string) {
		require.NoError(t, d.Open(t).QueryRow("SELECT coalesce(group_concat(row, ' '), '') FROM (SELECT kind || 'x' || times AS row FROM otp_stats_events WHERE "+where+" ORDER BY kind)").Scan(&kinds))
		return kinds
	}
	observe(1, all...)
	require.Equal(t, "1x1 3x1 3x1 4x1 4x1 5x1 5x1 6x1 6x1 7x1 7x1", rows("address IS NOT NULL"))
	require.Equal(t, "13x2 14x2 15x2 21x2 22x2", rows("address IS NULL"))
	observe(1, append(all, otpevent.Forgotten)...)
	s.Mail("message", "one", otpevent.MailSent)
	observe(2, otpevent.Forgotten)
	require.Empty(t, rows("address IS NOT NULL"), "they were of the address that was erased")
	require.Equal(t, "13x2 13x2 14x2 14x2 15x2 15x2 21x2 21x2 22x2 22x2", rows("address IS NULL"))
	counts := total(t, s, otpstats.Filter{})
	require.Equal(t, []int64{4, 4, 4, 4}, []int64{counts.Asked, counts.Limited, counts.Unknown, counts.Revoked})
	require.Equal(t, []int64{4, 4, 4, 12}, []int64{counts.Malformed, counts.Expired, counts.Exhausted, counts.Failures})
}

// No text that an event can hold stops the writer, and none is stored that a database refuses.
func TestObserve_texts(t *testing.T) {
	long := strings.Repeat("p", 128)
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s := open(t, d, c, otpstats.Options{Interval: time.Hour})
		for text, want := range map[string]string{"\x00lo\x7fgin\n": "login", "p\xff\xfey": "py", long: long, long + "p": otpstats.Other, "zahlen-für": "zahlen-für"} {
			h := ask(1, c.Now(), text)[0]
			h.Purpose = text
			h.tell(s)
			flush(t, s)
			require.EqualValues(t, 1, total(t, s, otpstats.Filter{Purpose: want, Domain: want}).Asked, "%q", text)
		}
		for locale, want := range map[string]string{"EN-us": "en", "nds": "nds", "fr.UTF-8": "fr", "sr@latin": "sr", "it_IT": "it", "e": "", "engl": "", "e1": "", "-x": ""} {
			h := ask(1, c.Now(), locale)[0]
			h.Locale = locale
			h.tell(s)
			flush(t, s)
			f := otpstats.Filter{Domain: locale, Language: want}
			if want == "" {
				f.Language = otpstats.Other
			}
			require.EqualValues(t, 1, total(t, s, f).Asked, locale)
		}
	})
}

// A database that is down is tried again, in the end each half minute, and by Close at once.
func TestClose_triesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.db")
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{dsn: sqltest.SQLiteFile(path).DSN, driver: sqltest.SQLiteFile(path).Open(t).Driver()}
		db := sql.OpenDB(f)
		defer db.Close()
		var errs []error
		s, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: key, OnError: func(_ context.Context, err error) { errs = append(errs, err) }})
		require.NoError(t, err)
		f.refuse.Store(true)
		tell(s, ask(1, time.Now(), "a.example"))
		wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		wait(time.Hour)
		require.InDelta(t, 3600/30+8, len(errs), 2)
		require.EqualError(t, errs[0], "otpstats: write: "+errDown.Error())

		closed := make(chan error, 1)
		begin := time.Now()
		go func() { closed <- s.Close(context.Background()) }()
		wait(time.Second)
		f.refuse.Store(false)
		require.NoError(t, <-closed)
		require.Less(t, time.Since(begin), 3*time.Second)
		require.Zero(t, s.Dropped())
		require.EqualValues(t, 1, total(t, s, otpstats.Filter{}).Verified)
	})
}

// When Close gives up, all that waited is counted as dropped, and OnError hears no more.
func TestClose_drops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.db")
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{dsn: sqltest.SQLiteFile(path).DSN, driver: sqltest.SQLiteFile(path).Open(t).Driver()}
		db := sql.OpenDB(f)
		defer db.Close()
		told := 0
		s, err := otpstats.Open(t.Context(), db, otpstats.SQLite, &otpstats.Options{Key: key, Batch: 2, OnError: func(context.Context, error) { told++ }})
		require.NoError(t, err)
		f.refuse.Store(true)
		for n := range 3 {
			tell(s, ask(n, time.Now(), "a.example"))
		}
		<-time.After(time.Minute)
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		told = 0
		require.ErrorIs(t, s.Close(ended), context.Canceled)
		synctest.Wait()
		require.NoError(t, s.Close(ended), "it has ended now")
		require.EqualValues(t, 9, s.Dropped())
		require.LessOrEqual(t, told, 1)
	})
}

// What Close writes the rules see, too; a context of Open that ends does not end the writer.
func TestClose_looks(t *testing.T) {
	var told []otpstats.Anomaly
	c := newClock()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := otpstats.Open(ctx, sqltest.SQLite(t).Open(t), otpstats.SQLite, &otpstats.Options{
		Key: key, Now: c.Now, Interval: time.Hour, OnAnomaly: func(_ context.Context, a otpstats.Anomaly) { told = append(told, a) },
		OnError: func(_ context.Context, err error) { t.Error(err) },
	})
	require.NoError(t, err)
	cancel()
	guess(s, 1, 30, c.Now())
	c.Add(time.Minute)
	require.NoError(t, s.Close(t.Context()))
	require.Len(t, told, 1)
}

// By itself the writer writes after Options.Interval, and full batches before.
func TestWrite_when(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.db")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sqltest.SQLiteFile(path), nil, otpstats.Options{Interval: time.Minute, Batch: 4})
		tell(s, ask(1, time.Now(), "a.example"))
		synctest.Wait()
		require.Zero(t, total(t, s, otpstats.Filter{}))
		<-time.After(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 1, total(t, s, otpstats.Filter{}).Verified)
		for n := range 5 {
			tell(s, ask(2+n, time.Now(), "a.example"))
		}
		synctest.Wait()
		require.EqualValues(t, 5, total(t, s, otpstats.Filter{}).Verified, "two batches of four, since asking is added up")
		require.NoError(t, s.Close(t.Context()))
	})
}

var errDown = errors.New("the database is down")

// Who is forgotten while the queue is full is forgotten all the same, also before the last of their events come.
func TestForget_fullQueue(t *testing.T) {
	d := sqltest.SQLite(t)
	s := open(t, d, nil, otpstats.Options{Queue: 100, Batch: 1000, Interval: time.Hour})
	tell(s, ask(7, time.Now(), "a.example"))
	flush(t, s)
	db := d.Open(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec("UPDATE otp_stats_writers SET batch = batch")
	require.NoError(t, err)
	for n := range 2000 {
		ask(1000+n, time.Now(), "a.example")[1].tell(s)
	}
	dropped := s.Dropped()
	require.Positive(t, dropped)
	s.Observe(t.Context(), otp.Event{Kind: otpevent.Forgotten, Time: time.Now(), AddressHash: numbered('a', 7)})
	require.Equal(t, dropped, s.Dropped())
	require.NoError(t, tx.Rollback())
	flush(t, s)
	address, err := base64.RawURLEncoding.DecodeString(s.AddressSubject(numbered('a', 7)))
	require.NoError(t, err)
	for _, table := range []string{"events", "challenges"} {
		var n int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM otp_stats_"+table+" WHERE address = $1", address).Scan(&n))
		require.Zero(t, n, table)
	}
}

// A challenge whose address was forgotten in the middle of it is one challenge.
func TestForget_once(t *testing.T) {
	s := open(t, sqltest.SQLite(t), newClock(), otpstats.Options{Interval: time.Hour})
	all := ask(7, newClock().Now(), "a.example")
	tell(s, all[:2])
	require.NoError(t, s.Forget(t.Context(), numbered('a', 7)))
	tell(s, all[2:])
	flush(t, s)
	require.Equal(t, otpstats.Counts{Asked: 1, Sent: 1, Answered: 1, Verified: 1}, total(t, s, otpstats.Filter{}))
}

// Long texts of the application do not wait in the queue, and filters of any text are answered.
func TestTexts_bounded(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s := open(t, d, c, otpstats.Options{Interval: time.Hour, App: appOf})
		h := ask(1, c.Now(), "a.example")[0]
		h.app, h.Locale = strings.Repeat("x", 1000), "pt,en-US;q=0.5"
		h.tell(s)
		flush(t, s)
		require.EqualValues(t, 1, total(t, s, otpstats.Filter{App: otpstats.Other, Language: "pt"}).Asked)
		for _, text := range []string{"\x00", "\xff", strings.Repeat("x", 1000)} {
			_, err := s.Funnel(t.Context(), otpstats.Filter{Domain: text}, otpstats.None)
			require.NoError(t, err)
		}
	})
}

// Many people who are forgotten at once, on a busy site, block nobody.
func TestForget_many(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		people, batch := testkit.Rounds(1000, 10_000), testkit.Rounds(100, 1000)
		s := open(t, d, nil, otpstats.Options{Queue: 100, Batch: batch, Interval: time.Hour})
		db := d.Open(t)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		for hour := range testkit.Rounds(24, 30*24) {
			values := make([]string, 100)
			for n := range values {
				values[n] = fmt.Sprintf("(%d, 1, 'client%d-%d', 5, 5)", 1770000000+3600*hour, hour, n)
			}
			_, err := tx.Exec("INSERT INTO otp_stats_spreads (hour, kind, subject, count, asked) VALUES " + strings.Join(values, ", "))
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		for n := range people {
			s.Observe(t.Context(), otp.Event{Kind: otpevent.Forgotten, Time: time.Now(), AddressHash: numbered('a', n)})
		}
		require.Zero(t, s.Dropped())
		flush(t, s)
		var batches, part int
		require.NoError(t, db.QueryRow("SELECT batch FROM otp_stats_writers WHERE id <> ''").Scan(&batches))
		require.GreaterOrEqual(t, batches, people/batch, "one transaction for all of them would take too long")
		if d.Driver == "sqlite" {
			var plan string
			require.NoError(t, db.QueryRow("EXPLAIN QUERY PLAN DELETE FROM otp_stats_spreads WHERE subject = ''").Scan(&part, &part, &part, &plan))
			require.Contains(t, plan, "otp_stats_spreads_subject")
		}
	})
}
