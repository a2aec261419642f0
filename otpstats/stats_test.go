package otpstats_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// ask is all the events of one challenge that was passed.
func ask(n int, at time.Time, domain string) []happening {
	e := otp.Event{Time: at, Purpose: "login", Domain: domain, AddressHash: numbered('a', n), ClientHash: numbered('c', n)}
	asked, sent, right := e, e, e
	asked.Kind, sent.Kind, right.Kind = otpevent.Asked, otpevent.Sent, otpevent.Verified
	sent.ChallengeHash, sent.Message = numbered('q', n), fmt.Sprint("message", n)
	right.ChallengeHash, right.Age = sent.ChallengeHash, 20*time.Second
	right.Time = at.Add(right.Age)
	return []happening{{Event: asked}, {Event: sent}, {Event: right}}
}

func tell(s *otpstats.Stats, all []happening) {
	for i := range all {
		all[i].tell(s)
	}
}

func total(t testing.TB, s *otpstats.Stats, f otpstats.Filter) otpstats.Counts {
	t.Helper()
	rows, err := s.Funnel(t.Context(), f, otpstats.None)
	require.NoError(t, err)
	if len(rows) == 0 {
		return otpstats.Counts{}
	}
	require.Len(t, rows, 1)
	return rows[0].Counts
}

// Observe costs a check nothing to speak of, also with a name for the app.
func TestObserve_allocatesNothing(t *testing.T) {
	s := open(t, sqltest.SQLite(t), nil, otpstats.Options{App: appOf, Queue: 100, Batch: 10_000, Interval: time.Hour}) // no batch is full
	e := ask(1, time.Now(), "a.example")[2]
	ctx := context.WithValue(t.Context(), appKey{}, "web")
	require.Zero(t, testing.AllocsPerRun(1000, func() { s.Observe(ctx, e.Event) }))
}

// A full queue drops and counts, and holds nobody up. B17
func TestObserve_fullQueue(t *testing.T) {
	d := sqltest.SQLite(t)
	s := open(t, d, nil, otpstats.Options{Queue: 10, Batch: 1, OnError: func(context.Context, error) {}})
	db := d.Open(t)
	tx, err := db.BeginTx(t.Context(), nil) // the writer must wait for the file
	require.NoError(t, err)
	_, err = tx.Exec(`DELETE FROM otp_stats_events`)
	require.NoError(t, err)
	for n := range 100 {
		ask(n, time.Now(), "a.example")[1].tell(s)
	}
	require.GreaterOrEqual(t, s.Dropped(), int64(89))
	require.NoError(t, tx.Rollback())
	flush(t, s)
	require.Equal(t, 100-s.Dropped(), total(t, s, otpstats.Filter{}).Sent)
}

// What is closed has written all, takes no more, and can be closed again.
func TestClose(t *testing.T) {
	d := sqltest.SQLite(t)
	s := open(t, d, nil, otpstats.Options{Interval: time.Hour})
	tell(s, ask(1, time.Now(), "a.example"))
	require.NoError(t, s.Close(t.Context()))
	require.NoError(t, s.Close(t.Context()))
	require.Zero(t, s.Dropped())
	require.ErrorIs(t, s.Flush(t.Context()), otpstats.ErrClosed)
	require.ErrorIs(t, s.Forget(t.Context(), otp.Hash{1}), otpstats.ErrClosed)
	tell(s, ask(2, time.Now(), "a.example"))
	require.EqualValues(t, 3, s.Dropped())
	require.EqualValues(t, 1, total(t, s, otpstats.Filter{}).Verified, "queries go on")
	_, err := s.Funnel(t.Context(), otpstats.Filter{}, 99)
	require.EqualError(t, err, "otpstats: funnel: invalid dimension 99")
}

// A database that does not answer does not keep Close beyond its context.
func TestClose_givesUp(t *testing.T) {
	d := sqltest.SQLite(t)
	s := open(t, d, nil, otpstats.Options{OnError: func(context.Context, error) {}})
	tx, err := d.Open(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.Exec(`DELETE FROM otp_stats_events`)
	require.NoError(t, err)
	tell(s, ask(1, time.Now(), "a.example"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Close(ctx), context.DeadlineExceeded)
	require.Eventually(t, func() bool { return s.Dropped() == 3 }, 30*time.Second, 10*time.Millisecond)
}

// Retention: single events go after KeepEvents, counts after KeepRollups, by the writer itself.
func TestPrune(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s := open(t, d, c, otpstats.Options{KeepEvents: 48 * time.Hour, KeepRollups: 240 * time.Hour})
		db, start := d.Open(t), c.Now()
		rows := func(table string) (n int) {
			require.NoError(t, db.QueryRow(`SELECT count(*) FROM otp_stats_`+table).Scan(&n))
			return n
		}
		people := 2500 // Prune deletes 2000 rows of a table at a time
		if d.Driver == "sqlite" {
			people = testkit.Rounds(700, 2500) // at three events each
		}
		for n := range people {
			tell(s, ask(n, c.Now(), "a.example"))
			if n%500 == 0 {
				flush(t, s)
			}
		}
		flush(t, s)
		require.Equal(t, 3*people, rows("events"))
		c.Set(start.Add(46 * time.Hour))
		flush(t, s)
		c.Add(time.Hour)
		flush(t, s)
		require.Equal(t, 3*people, rows("events"))
		require.Zero(t, rows("challenges"), "all have been over for a day")
		require.Zero(t, rows("mails"))
		c.Set(start.Add(50 * time.Hour))
		flush(t, s)
		require.Equal(t, 3*people, rows("events"), "the clock has jumped, and may come back")
		for _, old := range []string{
			"writers (id, batch, time) VALUES ('old', 1, 1)", "spreads (hour, kind, subject, count, asked) VALUES (3600, 1, 'old', 5, 5)",
			"anomalies (kind, subject, until, since, count, seen, usual, teller) VALUES ('old', 'old', 7200, 3600, 1, 1, 1, '')",
		} {
			_, err := db.Exec("INSERT INTO otp_stats_" + old)
			require.NoError(t, err)
		}
		c.Add(time.Hour)
		flush(t, s)
		require.Zero(t, rows("events"))
		require.Zero(t, rows("writers WHERE id = 'old'"))
		require.Equal(t, 1, rows("writers WHERE id = ''"), "the one that is locked stays")
		require.Zero(t, rows("spreads WHERE subject = 'old'"))
		require.Zero(t, rows("anomalies"))
		require.EqualValues(t, people, total(t, s, otpstats.Filter{From: start}).Over)
		require.NoError(t, s.Prune(t.Context(), start.Add(242*time.Hour)))
		require.Zero(t, total(t, s, otpstats.Filter{From: start}))
		require.NotZero(t, rows("rollups"), "the days go a day later")
		require.NoError(t, s.Prune(t.Context(), start.Add(300*time.Hour)))
		require.Zero(t, rows("rollups"))
	})
}

// A challenge counts as given up after Options.Over and a minute, and counts once, whatever comes later.
func TestCloseExpired(t *testing.T) {
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		c := newClock()
		s, start := open(t, d, c, otpstats.Options{Over: 2 * time.Hour}), c.Now()
		all := ask(1, start, "a.example")
		tell(s, all[:2])
		c.Set(start.Add(2*time.Hour + 30*time.Second))
		flush(t, s)
		require.Zero(t, total(t, s, otpstats.Filter{}).Over, "its events may be under way")
		c.Set(start.Add(3 * time.Hour))
		flush(t, s)
		all[2].Time, all[2].Age = c.Now(), 3*time.Hour
		tell(s, all[2:])
		flush(t, s)
		counts := total(t, s, otpstats.Filter{})
		require.Equal(t, []int64{1, 1, 0, 1}, []int64{counts.Sent, counts.Over, counts.NoAnswer, counts.Verified})
	})
}

// Erasure leaves no row of the address, by call or by event.
func TestForget(t *testing.T) {
	for how, forget := range map[string]func(t *testing.T, s *otpstats.Stats){
		"call": func(t *testing.T, s *otpstats.Stats) { require.NoError(t, s.Forget(t.Context(), numbered('a', 7))) },
		"event": func(t *testing.T, s *otpstats.Stats) {
			s.Observe(t.Context(), otp.Event{Kind: otpevent.Forgotten, Time: midnight.Add(4 * time.Hour), AddressHash: numbered('a', 7)})
			flush(t, s)
		},
	} {
		t.Run(how, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, d sqltest.Database) {
				c := newClock()
				s := open(t, d, c, otpstats.Options{})
				for i := range 30 { // an address that many clients ask for, for hours
					for hour := range 3 {
						h := ask(7, c.Now().Add(time.Duration(i)*time.Minute+time.Duration(hour)*time.Hour), "a.example")[0]
						h.ClientHash = numbered('c', i)
						h.tell(s)
					}
				}
				c.Add(4 * time.Hour)
				tell(s, ask(7, c.Now(), "a.example"))
				tell(s, ask(8, c.Now(), "a.example"))
				flush(t, s)
				db := d.Open(t)
				rows := func() (n [4]int) {
					for i, table := range []string{"events", "challenges WHERE address IS NOT NULL", "spreads WHERE kind = 2", "anomalies"} {
						require.NoError(t, db.QueryRow(`SELECT count(*) FROM otp_stats_`+table).Scan(&n[i]))
					}
					return n
				}
				require.Equal(t, [4]int{96, 2, 3, 1}, rows())
				tell(s, ask(7, c.Now(), "a.example")[:1]) // and one in the queue
				forget(t, s)
				require.Equal(t, [4]int{3, 1, 0, 0}, rows())
				require.EqualValues(t, 2, total(t, s, otpstats.Filter{}).Verified, "counts stay")
				require.NoError(t, s.Forget(t.Context(), otp.Hash{}), "nobody")
				require.Equal(t, [4]int{3, 1, 0, 0}, rows())
			})
		})
	}
}

// The file holds nothing that names a person. D1
func TestPrivacy_file(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stats.db")
	d := sqltest.SQLiteFile(path)
	var ids []string
	s := open(t, d, nil, otpstats.Options{App: func(context.Context) string { return "the-app" }})
	seen := otp.ObserverFunc(func(ctx context.Context, e otp.Event) {
		ids = append(ids, e.Masked, e.Message)
		for _, h := range []otp.Hash{e.AddressHash, e.ClientHash, e.ChallengeHash} {
			ids = append(ids, h.String(), string(h[:]))
		}
	})
	var mailed []string
	sender := otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		mailed = append(mailed, m.Code, m.ID)
		s.Mail(m.ID, "provider-one", otpevent.MailSent)
		return nil
	})
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{Observer: otp.MultiObserver(seen, s)})
	require.NoError(t, err)
	c, err := v.Send(t.Context(), otp.Request{To: "Josephine.Bloggs@person.example", Client: "198.51.100.77", Locale: "de-AT"})
	require.NoError(t, err)
	_, err = v.Check(t.Context(), c.ID, "000000")
	require.Error(t, err)
	_, err = v.Check(t.Context(), c.ID, mailed[0])
	require.NoError(t, err)
	flush(t, s)
	got := total(t, s, otpstats.Filter{Domain: "person.example", Language: "de", App: "the-app", Provider: "provider-one", Purpose: "login"})
	require.EqualValues(t, 1, got.Verified)
	require.NoError(t, s.Close(t.Context()))

	var all strings.Builder
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(b)
	}
	require.Contains(t, all.String(), "person.example")
	secrets := append(append(ids, mailed...), c.ID, "osephine", "loggs", "198.51.100.77", "\xc6\x33\x64\x4d", string(key), "AT")
	for _, secret := range secrets[:len(secrets)-1] {
		if secret != "" && secret != string(make([]byte, 16)) {
			require.NotContains(t, all.String(), secret)
		}
	}
}

// Strangers who invent names take no slots from those who are verified.
func TestNames_bounded(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	d, c := sqltest.Fast(t), newClock()
	s := open(t, d, c, otpstats.Options{Interval: time.Hour})
	tell(s, ask(1, c.Now(), "known.example"))
	var flood []happening
	for n := range testkit.Rounds(1000, 5000) {
		h := ask(n, c.Now(), fmt.Sprintf("made-up-%d.example", n))[:2]
		h[0].Locale = fmt.Sprintf("%c%c", 'a'+n%26, 'a'+n/26%26)
		h[0].Purpose = strings.Repeat("\xff\x00p", n%20)
		flood = append(flood, h...)
	}
	tell(s, flood)
	flush(t, s)
	require.NoError(t, s.Close(t.Context()))
	s = open(t, d, c, otpstats.Options{}) // a restart gives no new slots
	tell(s, flood)
	tell(s, ask(6000, c.Now(), "known.example"))
	flush(t, s)
	rows, err := s.Funnel(t.Context(), otpstats.Filter{}, otpstats.Domain)
	require.NoError(t, err)
	require.Len(t, rows, 252)
	require.Equal(t, otpstats.Other, rows[0].Value)
	require.EqualValues(t, 2, total(t, s, otpstats.Filter{Domain: "known.example"}).Verified)
	names, err := s.Dimensions(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Len(t, names.Domains, 200)
	require.LessOrEqual(t, len(names.Languages), 41)
	require.LessOrEqual(t, len(names.Purposes), 31)
	require.Zero(t, s.Dropped())
}
