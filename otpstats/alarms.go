package otpstats

import (
	"context"
	"database/sql"
	"time"
)

// look shows the watch what is new in the events, of all processes, and stores and
// tells what it finds.
func (s *Stats) look(ctx context.Context) error {
	for {
		n, err := s.read(ctx, "id > ? ORDER BY id LIMIT 5000", s.watch.last, func(e *event) {
			s.watch.advance(e.time)
			s.watch.feed(e)
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
	rows, err := s.query(ctx, s.db, `SELECT id, time, kind, resend, strong, domain, address, client, age, wrongs FROM {p}events WHERE `+where, arg)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var e event
		var resend, strong, k int64
		var address, client sql.RawBytes
		var id int64
		if err := rows.Scan(&id, &e.time, &k, &resend, &strong, &e.domain, &address, &client, &e.age, &e.wrongs); err != nil {
			return n, err
		}
		e.kind, e.resend, e.strong, e.address, e.client = kind(k), resend > 0, strong > 0, hashOf(address), hashOf(client)
		f(&e)
		s.watch.last = max(s.watch.last, id)
		n++
	}
	return n, rows.Err()
}

// report stores the beginning or the end of an anomaly. Of several processes, the one whose
// row is kept tells.
func (s *Stats) report(ctx context.Context, n news) error {
	if !n.begins {
		_, err := s.exec(ctx, s.db, "UPDATE {p}anomalies SET until = ? WHERE kind = ? AND subject = ? AND until = 0",
			n.Until.Unix(), string(n.Kind), n.Subject)
		return err
	}
	kept, err := s.exec(ctx, s.db, `INSERT INTO {p}anomalies (kind, subject, until, since, count, seen, usual)
		VALUES (?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, string(n.Kind), n.Subject, n.Since.Unix(), n.Count, n.Seen, n.Usual)
	if err == nil && kept == 1 {
		s.opts.OnAnomaly(n.Anomaly)
	}
	return err
}

// seedWatch gives the watch the last hour and what was usual before.
func (s *Stats) seedWatch(ctx context.Context, now time.Time) error {
	w, minute := s.watch, now.Unix()/60
	w.minute = minute
	open, err := s.anomalies(ctx, "until = 0")
	if err != nil {
		return err
	}
	for _, a := range open {
		w.active[subject{a.Kind, a.Subject}] = &active{fired: minute, loud: minute}
	}
	if err := s.seedPast(ctx, now); err != nil {
		return err
	}
	var last sql.NullInt64
	if err := s.db.QueryRowContext(ctx, s.sql.text("SELECT max(id) FROM {p}events")).Scan(&last); err != nil {
		return err
	}
	if _, err := s.read(ctx, "time >= ? ORDER BY id", (minute-span)*60000, w.feed); err != nil {
		return err
	}
	w.last = max(w.last, last.Int64)
	return nil
}

// seedPast takes what is usual from the roll-ups of four weeks.
func (s *Stats) seedPast(ctx context.Context, now time.Time) error {
	from := now.AddDate(0, 0, -28)
	columns := []int{sent, neverRight, answered, escalated}
	for i := range quickBuckets {
		columns = append(columns, ageColumn+i)
	}
	rows, err := s.sums(ctx, scope{from: from, to: now, long: true}, []Dimension{Domain}, columns)
	if err != nil {
		return err
	}
	for _, r := range rows {
		d := &domain{}
		d.past.sent = float64(r.tally[sent] - r.tally[neverRight])
		for _, n := range r.tally[ageColumn : ageColumn+quickBuckets] {
			d.past.quick += float64(n)
		}
		if len(s.watch.domains) < places[Domain] && r.value != Other {
			s.watch.domains[r.value] = d
		}
		s.watch.unsolved += float64(r.tally[neverRight])
		s.watch.solved += float64(r.tally[answered] - r.tally[neverRight])
		s.watch.pastEscalated += float64(r.tally[escalated])
	}
	if s.watch.pastEscalated > 0 {
		s.watch.minutes = 28 * 24 * 60
	}
	return nil
}

// Anomalies returns those that began or lasted in the range, the latest first, at
// most 200. Of the filter, only the range counts.
func (s *Stats) Anomalies(ctx context.Context, f Filter) ([]Anomaly, error) {
	sc := s.scope(f, None)
	all, err := s.anomalies(ctx, "since < ? AND (until = 0 OR until >= ?)", sc.to.Unix(), sc.from.Unix())
	return all, wrap("anomalies", err)
}

func (s *Stats) anomalies(ctx context.Context, where string, args ...any) (all []Anomaly, err error) {
	rows, err := s.query(ctx, s.db, "SELECT kind, subject, until, since, count, seen, usual FROM {p}anomalies WHERE "+where+
		" ORDER BY since DESC, kind, subject LIMIT 200", args...)
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
