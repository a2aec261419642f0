package otpstats

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"time"
)

// look shows the watch what is new in the events, of all processes, and stores and
// tells what it finds.
func (s *Stats) look(ctx context.Context) error {
	for {
		n, err := s.read(ctx, "id > ? ORDER BY id LIMIT 5000", s.watch.last, func(e *event) {
			s.watch.advance(e.time)
			s.watch.feed(e)
			if e.kind == kindVerified {
				s.learn(e) // also what another process verifies has a place here
			}
		})
		if err != nil {
			return wrap("read events", err)
		}
		if n < 5000 {
			break
		}
	}
	s.watch.advance(s.clock)
	for len(s.watch.news) > 0 {
		if err := s.report(ctx, s.watch.news[0]); err != nil {
			return wrap("anomaly", err)
		}
		s.watch.news = s.watch.news[1:]
	}
	return nil
}

// read shows events to f.
func (s *Stats) read(ctx context.Context, where string, arg any, f func(*event)) (n int, err error) {
	latest := max(s.clock, s.opts.Now().UnixMilli()) + skew.Milliseconds()
	rows, err := s.query(ctx, s.db, `SELECT id, time, kind, resend, strong, decoy, purpose, language, domain, app, address, client, age, wrongs FROM {p}events WHERE `+where, arg)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var e event
		var resend, strong, decoy, k int64
		var address, client sql.RawBytes
		var id int64
		if err := rows.Scan(&id, &e.time, &k, &resend, &strong, &decoy, &e.purpose, &e.language, &e.domain, &e.app, &address, &client, &e.age, &e.wrongs); err != nil {
			return n, err
		}
		e.kind, e.resend, e.strong, e.decoy, e.address, e.client = kind(k), resend > 0, strong > 0, decoy > 0, hashOf(address), hashOf(client)
		if e.time <= latest { // else it was written when a clock was wrong
			f(&e)
		}
		s.watch.last = max(s.watch.last, id)
		n++
	}
	return n, rows.Err()
}

// report stores the beginning or the end of an anomaly. Of several processes, the one whose
// row is kept tells; the row says so, in case the answer to the insert is lost.
func (s *Stats) report(ctx context.Context, n news) error {
	if !n.begins {
		return s.finish(ctx, n.Anomaly)
	}
	// Nothing of an address that another process has forgotten since.
	known := "1 = 1"
	args := []any{string(n.Kind), n.Subject, n.Since.Unix(), n.Count, n.Seen, n.Usual, s.id}
	if n.Kind == AddressSpread {
		address, err := base64.RawURLEncoding.DecodeString(n.Subject)
		if err != nil {
			return err
		}
		known, args = "EXISTS (SELECT 1 FROM {p}events WHERE address = ?)", append(args, address)
	}
	if _, err := s.exec(ctx, s.db, `INSERT INTO {p}anomalies (kind, subject, until, since, count, seen, usual, teller)
		SELECT ?, ?, 0, ?, ?, ?, ?, ? WHERE `+known+` ON CONFLICT DO NOTHING`, args...); err != nil {
		return err
	}
	var teller string
	err := s.db.QueryRowContext(ctx, s.sql.text("SELECT teller FROM {p}anomalies WHERE kind = ? AND subject = ? AND since = ? AND until = 0"),
		string(n.Kind), n.Subject, n.Since.Unix()).Scan(&teller)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if teller == s.id {
		s.guard("OnAnomaly", func() { s.opts.OnAnomaly(n.Anomaly) })
	}
	return nil
}

// finish stores and tells the end of an anomaly, with what was stored when it began.
func (s *Stats) finish(ctx context.Context, a Anomaly) error {
	var since int64
	err := s.db.QueryRowContext(ctx, s.sql.text("UPDATE {p}anomalies SET until = ? WHERE kind = ? AND subject = ? AND until = 0 AND since < ? RETURNING since, count, seen, usual"),
		a.Until.Unix(), string(a.Kind), a.Subject, a.Until.Unix()).Scan(&since, &a.Count, &a.Seen, &a.Usual)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // another process has told
	}
	if err == nil {
		a.Since = time.Unix(since, 0).UTC()
		s.guard("OnCalm", func() { s.opts.OnCalm(a) })
	}
	return err
}

// seedWatch gives the watch the last hour and what was usual before.
func (s *Stats) seedWatch(ctx context.Context, now time.Time) error {
	w, minute := s.watch, now.Unix()/60
	w.minute = minute
	// What began while a clock was ahead would last until that time, and keep the next from being told.
	if _, err := s.exec(ctx, s.db, "UPDATE {p}anomalies SET until = since WHERE until = 0 AND since > ?", now.Add(skew).Unix()); err != nil {
		return err
	}
	open, err := s.anomalies(ctx, math.MaxInt32, "until = 0")
	if err != nil {
		return err
	}
	for _, a := range open {
		w.begin(subject{a.Kind, a.Subject}, &active{fired: minute, loud: minute})
	}
	if err := s.seedPast(ctx, now); err != nil {
		return err
	}
	var last sql.NullInt64
	if err := s.db.QueryRowContext(ctx, s.sql.text("SELECT max(id) FROM {p}events")).Scan(&last); err != nil {
		return err
	}
	var latest int64
	if _, err := s.read(ctx, "time >= ? ORDER BY id", (minute-span)*60000, func(e *event) {
		w.feed(e)
		latest = max(latest, e.time/60000)
	}); err != nil {
		return err
	}
	if minute-latest > delay {
		w.excuse(latest - delay) // nobody could answer what was mailed before everything stopped
	}
	w.last = max(w.last, last.Int64)
	return nil
}

// seedPast takes what is usual from the roll-ups of four weeks.
func (s *Stats) seedPast(ctx context.Context, now time.Time) error {
	from := now.AddDate(0, 0, -28)
	columns := []int{sent, neverRight}
	for i := range quickBuckets {
		columns = append(columns, ageColumn+i)
	}
	rows, err := s.sums(ctx, scope{from: from, to: now, long: true}, []Dimension{Domain}, columns)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b sum) int { return cmp.Compare(b.tally[sent], a.tally[sent]) })
	for _, r := range rows {
		if r.value == Other || r.tally[sent] == 0 {
			continue
		}
		if len(s.watch.domains) == places[Domain] {
			break
		}
		d := &domain{}
		d.past.sent = float64(r.tally[sent] - r.tally[neverRight])
		for _, n := range r.tally[ageColumn : ageColumn+quickBuckets] {
			d.past.quick += float64(n)
		}
		s.watch.domains[r.value] = d
	}
	return s.seedUsual(ctx, scope{from: from, to: now, long: true})
}

// seedUsual takes the guesses and escalations of a usual day: the median of the days, since a day with
// an attack is not usual.
func (s *Stats) seedUsual(ctx context.Context, sc scope) error {
	days, err := s.sums(ctx, sc, []Dimension{Day}, []int{neverRight, answered, escalated})
	if err != nil {
		return err
	}
	var shares, escalations []float64
	w := s.watch
	for _, day := range days {
		if day.tally[answered] > 0 {
			shares = append(shares, float64(day.tally[neverRight])/float64(day.tally[answered]))
			escalations = append(escalations, float64(day.tally[escalated]))
			w.solved += float64(day.tally[answered])
		}
	}
	share := median(shares)
	w.unsolved, w.solved = w.solved*share, w.solved*(1-share)
	w.pastEscalated, w.minutes = median(escalations)*float64(len(escalations)), float64(24*60*len(escalations))
	return nil
}

// Anomalies returns those that began or lasted in the range: those that last first, then the latest
// first, at most 200 of each kind. Of the filter, only the range counts.
func (s *Stats) Anomalies(ctx context.Context, f Filter) ([]Anomaly, error) {
	sc := s.scope(f, None)
	all, err := s.anomalies(ctx, 200, "since < ? AND (until = 0 OR until >= ?)", sc.to.Unix(), sc.from.Unix())
	return all, wrap("anomalies", err)
}

func (s *Stats) anomalies(ctx context.Context, most int, where string, args ...any) (all []Anomaly, err error) {
	rows, err := s.query(ctx, s.db, `SELECT kind, subject, until, since, count, seen, usual FROM (
			SELECT a.*, row_number() OVER (PARTITION BY kind ORDER BY (until = 0) DESC, since DESC, subject) AS place FROM {p}anomalies AS a WHERE `+where+`
		) AS ranked WHERE place <= ? ORDER BY (until = 0) DESC, since DESC, kind, subject`, append(args, most)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a Anomaly
		var until, since int64
		if err := rows.Scan(&a.Kind, &a.Subject, &until, &since, &a.Count, &a.Seen, &a.Usual); err != nil {
			return nil, err
		}
		a.Since = time.Unix(since, 0).UTC()
		if until > 0 {
			a.Until = time.Unix(until, 0).UTC()
		}
		all = append(all, a)
	}
	return all, rows.Err()
}
