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

// look feeds new events of all processes to the watch, then stores and reports
// what it finds.
func (s *Stats) look(ctx context.Context) error {
	for {
		n, err := s.read(ctx, "id > ? ORDER BY id LIMIT 5000", s.watch.last, func(e *event) {
			s.watch.advance(e.time)
			s.watch.feed(e)
			if e.kind == kindVerified {
				s.learn(e) // it may have been another process that verified it
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

// read calls f with each event.
func (s *Stats) read(ctx context.Context, where string, arg any, f func(*event)) (n int, err error) {
	latest := max(s.clock, s.opts.Now().UnixMilli()) + skew.Milliseconds()
	rows, err := s.query(ctx, s.db, "SELECT id, "+eventColumns+" FROM {p}events WHERE "+where, arg)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		e, id, err := scanEvent(rows)
		if err != nil {
			return n, err
		}
		if e.time <= latest { // else it was written while a clock was wrong
			f(&e)
		}
		s.watch.last = max(s.watch.last, id)
		n++
	}
	return n, rows.Err()
}

// report stores the beginning or the end of an anomaly. Of several processes,
// the one whose row was kept calls OnAnomaly. It reads the row back to find
// out, since the reply to the insert may have been lost.
func (s *Stats) report(ctx context.Context, n news) error {
	if !n.begins {
		return s.finish(ctx, n.Anomaly)
	}
	// Store nothing about an address that another process has erased since.
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
		s.guard("OnAnomaly", func() { s.opts.OnAnomaly(s.life, n.Anomaly) })
	}
	return nil
}

// finish stores and reports the end of an anomaly, with the numbers stored when
// it began.
func (s *Stats) finish(ctx context.Context, a Anomaly) error {
	var since int64
	err := s.db.QueryRowContext(ctx, s.sql.text("UPDATE {p}anomalies SET until = ? WHERE kind = ? AND subject = ? AND until = 0 AND since < ? RETURNING since, count, seen, usual"),
		a.Until.Unix(), string(a.Kind), a.Subject, a.Until.Unix()).Scan(&since, &a.Count, &a.Seen, &a.Usual)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // another process has reported it
	}
	if err == nil {
		a.Since = time.Unix(since, 0).UTC()
		s.guard("OnCalm", func() { s.opts.OnCalm(s.life, a) })
	}
	return err
}

// seedWatch feeds the watch the last hour and what was usual before.
func (s *Stats) seedWatch(ctx context.Context, now time.Time) error {
	w, minute := s.watch, now.Unix()/60
	w.minute = minute
	// An anomaly that began while a clock was ahead would last until that time
	// and hide the next one.
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
		w.excuse(latest - delay) // while everything stood still, nobody could answer
	}
	w.last = max(w.last, last.Int64)
	return nil
}

// seedPast computes what is usual from the roll-ups of four weeks.
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
		if len(s.watch.domains) == slotsOf[Domain] {
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

// seedUsual computes the shares of guesses and of strong codes on a usual day:
// the median of the days, since a day with an attack is not usual.
func (s *Stats) seedUsual(ctx context.Context, sc scope) error {
	days, err := s.sums(ctx, sc, []Dimension{Day}, []int{neverRight, answered, sent, strong})
	if err != nil {
		return err
	}
	var shares, strongShares []float64
	w := s.watch
	for _, day := range days {
		if day.tally[answered] > 0 {
			shares = append(shares, float64(day.tally[neverRight])/float64(day.tally[answered]))
			w.solved += float64(day.tally[answered])
		}
		if day.tally[sent] > 0 {
			strongShares = append(strongShares, float64(day.tally[strong])/float64(day.tally[sent]))
			w.pastMails += float64(day.tally[sent])
		}
	}
	share := median(shares)
	w.unsolved, w.solved = w.solved*share, w.solved*(1-share)
	w.pastStrong = w.pastMails * median(strongShares)
	return nil
}

// Anomalies returns the anomalies that began or lasted in the range of the
// filter: first those that have not ended, then the others, the latest first.
// It returns at most 200 of each kind, and ignores the rest of the filter.
func (s *Stats) Anomalies(ctx context.Context, f Filter) ([]Anomaly, error) {
	sc := s.scope(f, None)
	all, err := s.anomalies(ctx, 200, "since < ? AND (until = 0 OR until >= ?)", sc.to.Unix(), sc.from.Unix())
	return all, wrap("anomalies", err)
}

func (s *Stats) anomalies(ctx context.Context, most int, where string, args ...any) (all []Anomaly, err error) {
	rows, err := s.query(ctx, s.db, `SELECT kind, subject, until, since, count, seen, usual FROM (
			SELECT a.*, row_number() OVER (PARTITION BY kind ORDER BY (until = 0) DESC, since DESC, subject) AS position FROM {p}anomalies AS a WHERE `+where+`
		) AS ranked WHERE position <= ? ORDER BY (until = 0) DESC, since DESC, kind, subject`, append(args, most)...)
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
