package otpstats

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/go-mailotp/otp"
)

// late is how long the events of a challenge that is over may be under way.
const late = time.Minute

// settle counts the challenges that are over at now, and deletes them in the same
// transaction, so that none counts twice.
func (s *Stats) settle(ctx context.Context, now int64) error {
	const most = 2000
	before := now - (s.opts.Over + late).Milliseconds()
	for {
		n := 0
		err := s.update(ctx, func(tx *sql.Tx) error {
			n = 0
			rows, err := s.query(ctx, tx, "SELECT "+challengeColumns+" FROM {p}challenges WHERE opened <= ? ORDER BY opened LIMIT ?", before, most)
			if err != nil {
				return err
			}
			defer rows.Close()
			ru, last := rollup{}, int64(0)
			var ids []any
			for rows.Next() {
				c, err := scanChallenge(rows)
				if err != nil {
					return err
				}
				n, last = n+1, c.opened
				ids = append(ids, blob(c.id))
				t, was := c.tally(true), c.tally(false)
				t.add(&was, -1)
				ru.add(last, c.values, &t, 1)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil || n == 0 {
				return err
			}
			if err := s.addRollup(ctx, tx, ru); err != nil {
				return err
			}
			return s.deleteAll(ctx, tx, "{p}challenges", ids)
		})
		if err != nil || n < most {
			return err
		}
	}
}

func (s *Stats) deleteAll(ctx context.Context, on runner, table string, ids []any) error {
	for len(ids) > 0 {
		some := ids[:min(500, len(ids))]
		ids = ids[len(some):]
		text := "DELETE FROM " + table + " WHERE id IN (?"
		for range some[1:] {
			text += ", ?"
		}
		if _, err := s.exec(ctx, on, text+")", some...); err != nil {
			return err
		}
	}
	return nil
}

// Prune deletes what is older at now than Options.KeepEvents and KeepRollups say. The
// writer does so once an hour by itself. It works in batches, so that nothing waits for long.
func (s *Stats) Prune(ctx context.Context, now time.Time) error {
	events, rollups := now.Add(-s.opts.KeepEvents).UnixMilli(), now.Add(-s.opts.KeepRollups).Unix()
	mails := now.Add(-s.opts.Over - late).UnixMilli()
	for _, p := range []struct {
		what string
		args []any
	}{
		{"{p}events WHERE id IN (SELECT id FROM {p}events WHERE time < ? ORDER BY time LIMIT 2000)", []any{events}},
		{"{p}mails WHERE id IN (SELECT id FROM {p}mails WHERE time < ? ORDER BY time LIMIT 2000)", []any{mails}},
		{"{p}spreads WHERE hour < ?", []any{events / 1000}},
		{"{p}rollups WHERE grain < 20 AND time < ?", []any{rollups}},
		{"{p}rollups WHERE grain >= 20 AND time < ?", []any{rollups - 86400}},
		{"{p}anomalies WHERE until > 0 AND until < ?", []any{rollups}},
		{"{p}writers WHERE id <> '' AND time < ?", []any{events}},
	} {
		for n := int64(2000); n == 2000; {
			err := s.update(ctx, func(tx *sql.Tx) (err error) {
				n, err = s.exec(ctx, tx, "DELETE FROM "+p.what, p.args...)
				return err
			})
			if err != nil {
				return wrap("prune", err)
			}
		}
	}
	return nil
}

// Forget erases what is stored about one address, by the AddressHash of its events:
// single events, challenges and anomalies. Counts without a name stay. What other
// processes still have in their queues is not reached.
func (s *Stats) Forget(ctx context.Context, address otp.Hash) error {
	h := s.rehash('a', address)
	return s.call(ctx, func(ctx context.Context) error {
		if err := s.update(ctx, func(tx *sql.Tx) error { return s.erase(ctx, tx, h) }); err != nil {
			return wrap("forget", err)
		}
		s.watch.forget(h)
		return nil
	})
}

func (s *Stats) erase(ctx context.Context, tx *sql.Tx, h otp.Hash) error {
	if h == (otp.Hash{}) {
		return nil
	}
	for _, table := range []string{"{p}events", "{p}challenges"} {
		if _, err := s.exec(ctx, tx, "DELETE FROM "+table+" WHERE address = ?", h[:]); err != nil {
			return err
		}
	}
	for _, table := range []string{"{p}spreads", "{p}anomalies"} {
		if _, err := s.exec(ctx, tx, "DELETE FROM "+table+" WHERE subject = ?", h.String()); err != nil {
			return err
		}
	}
	return nil
}
