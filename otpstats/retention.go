package otpstats

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
)

// late is how long the last events of an expired challenge may take to arrive.
const late = time.Minute

// closeExpired counts the challenges that have expired by now and marks them in
// the same transaction, so that none counts twice. They stay for a day, so that
// late events of other processes can be added to them.
func (s *Stats) closeExpired(ctx context.Context, now int64) error {
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

// markEnded marks challenges as expired.
func (s *Stats) markEnded(ctx context.Context, tx *sql.Tx, ids []any) error {
	for some := range slices.Chunk(ids, 500) {
		if _, err := s.exec(ctx, tx, "UPDATE {p}challenges SET ended = 1 WHERE id IN "+placeholders(len(some)), some...); err != nil {
			return err
		}
	}
	return nil
}

// Prune deletes everything that is older than Options.KeepEvents and
// KeepRollups at the given time, in batches that block other writers only
// briefly. The writer calls it every full hour, except right after its clock
// jumped by more than an hour.
func (s *Stats) Prune(ctx context.Context, now time.Time) error {
	events, rollups := now.Add(-s.opts.KeepEvents).UnixMilli(), now.Add(-s.opts.KeepRollups).Unix()
	over := now.Add(-s.opts.Over - 24*time.Hour).UnixMilli()
	for _, p := range []struct {
		from string
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
				n, err = s.exec(ctx, tx, "DELETE FROM "+p.from, p.args...)
				return err
			})
			if err != nil {
				return wrap("prune", err)
			}
		}
	}
	return nil
}

// Forget erases an address, given the hash that [otp.Verifier.AddressHash]
// returns and its events have: its single events, spreads and anomalies, and
// its hash in the challenges of the last day. Counts stay, including the domain
// in them. Events in the queues of other processes are not erased. It returns
// the error of ctx, [ErrClosed], or the error of the database.
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
		"UPDATE {p}challenges SET address = NULL WHERE address = ?", // later events must not count as a new challenge
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
