package otpstats

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
)

// late is how long the events of a challenge that is over may be under way.
const late = time.Minute

// settle counts the challenges that are over at now, and marks them in the same transaction, so
// that none counts twice. They stay for a day: what another process tells late still joins them.
func (s *Stats) settle(ctx context.Context, now int64) error {
	const most = 2000
	before := now - (s.opts.Over + late).Milliseconds()
	for {
		n := 0
		err := s.update(ctx, func(tx *sql.Tx) error {
			n = 0
			rows, err := s.query(ctx, tx, "SELECT "+challengeColumns+" FROM {p}challenges WHERE ended = 0 AND opened <= ? ORDER BY opened LIMIT ?", before, most)
			if err != nil {
				return err
			}
			defer rows.Close()
			ru := rollup{}
			var ids []any
			for rows.Next() {
				c, err := scanChallenge(rows)
				if err != nil {
					return err
				}
				n++
				ids = append(ids, blob(c.id))
				was := c.tally()
				c.ended = 1
				t := c.tally()
				t.add(&was, -1)
				ru.add(c.opened, c.values, &t, 1)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil || n == 0 {
				return err
			}
			if err := s.addRollup(ctx, tx, ru); err != nil {
				return err
			}
			return s.markEnded(ctx, tx, ids)
		})
		if err != nil || n < most {
			return err
		}
	}
}

// markEnded marks challenges as over.
func (s *Stats) markEnded(ctx context.Context, tx *sql.Tx, ids []any) error {
	for some := range slices.Chunk(ids, 500) {
		if _, err := s.exec(ctx, tx, "UPDATE {p}challenges SET ended = 1 WHERE id IN "+marks(len(some)), some...); err != nil {
			return err
		}
	}
	return nil
}

// Prune deletes what is older at now than Options.KeepEvents and KeepRollups say. The
// writer does so at each full hour by itself, but not when its clock has just jumped by more than an
// hour. It works in batches, so that nothing waits for long.
func (s *Stats) Prune(ctx context.Context, now time.Time) error {
	events, rollups := now.Add(-s.opts.KeepEvents).UnixMilli(), now.Add(-s.opts.KeepRollups).Unix()
	over := now.Add(-s.opts.Over - 24*time.Hour).UnixMilli()
	for _, p := range []struct {
		what string
		args []any
	}{
		{"{p}events WHERE id IN (SELECT id FROM {p}events WHERE time < ? ORDER BY time LIMIT 2000)", []any{events}},
		{"{p}mails WHERE id IN (SELECT id FROM {p}mails WHERE time < ? ORDER BY time LIMIT 2000)", []any{over}},
		{"{p}challenges WHERE id IN (SELECT id FROM {p}challenges WHERE ended = 1 AND opened < ? ORDER BY opened LIMIT 2000)", []any{over}},
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

// Forget erases what is stored about one address, by the AddressHash of its events: single
// events, spreads and anomalies, and its name in the challenges of the last day. Counts
// stay, and the domain in them. What other processes still have in their queues is not reached.
// It returns the error of ctx, [ErrClosed], or the database's.
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
	for _, text := range []string{
		"DELETE FROM {p}events WHERE address = ?",
		"UPDATE {p}challenges SET address = NULL WHERE address = ?", // what comes yet must not count as another one
	} {
		if _, err := s.exec(ctx, tx, text, h[:]); err != nil {
			return err
		}
	}
	if _, err := s.exec(ctx, tx, "DELETE FROM {p}spreads WHERE subject = ?", h.String()); err != nil {
		return err
	}
	_, err := s.exec(ctx, tx, "DELETE FROM {p}anomalies WHERE kind = ? AND subject = ?", string(AddressSpread), h.String())
	return err
}
