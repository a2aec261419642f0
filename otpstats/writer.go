package otpstats

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// run is the writer.
func (s *Stats) run() {
	defer close(s.done)
	defer s.end()
	ticker := time.NewTicker(s.opts.Interval)
	defer ticker.Stop()
	batch := make([]event, 0, s.opts.Batch)
	for {
		select {
		case e := <-s.queue:
			if batch = append(batch, e); len(batch) >= s.opts.Batch {
				batch = s.store(batch)
				s.reportError(s.tend(s.life))
			}
		case <-ticker.C:
			batch = s.drain(batch)
			s.reportError(s.tend(s.life))
		case c := <-s.calls:
			batch = s.drain(batch)
			c.done <- c.do(c.ctx)
		case <-s.closing:
			s.drain(batch)
			s.reportError(s.tend(s.life))
			s.dropped.Add(int64(len(s.queue)) + times(s.added.take()))
			return
		}
	}
}

// reportError calls OnError, unless Close has given up.
func (s *Stats) reportError(err error) {
	if err != nil && s.life.Err() == nil {
		s.guard("", func() { s.opts.OnError(s.life, err) })
	}
}

// guard runs a callback of the application. Its panic must not end the process,
// in which people log in, so it becomes an error.
func (s *Stats) guard(name string, callback func()) {
	defer func() {
		if p := recover(); p != nil && name != "" {
			s.reportError(fmt.Errorf("otpstats: %s panicked: %v", name, p))
		}
	}()
	callback()
}

// drain writes the batch and everything in the queue. Then it advances s.clock
// to the time before: what is observed from now on is later.
func (s *Stats) drain(batch []event) []event {
	now := s.opts.Now().UnixMilli()
	for range len(s.queue) {
		if batch = append(batch, <-s.queue); len(batch) >= s.opts.Batch {
			batch = s.store(batch)
		}
	}
	for _, e := range s.overflow.take() {
		if batch = append(batch, e); len(batch) >= s.opts.Batch {
			batch = s.store(batch)
		}
	}
	batch = s.store(batch)
	if s.clock > now+skew.Milliseconds() {
		s.clock, s.setBack = now, true
	}
	s.clock = max(s.clock, now)
	return batch
}

// The pauses between two attempts to write.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// store writes a batch and what was added up since the last one, and returns an
// empty batch. Nothing in a batch is written before what was added up earlier:
// people who answer would be written before they asked.
func (s *Stats) store(batch []event) []event {
	sums := s.added.take()
	if n := s.dropped.Load(); n > s.noted {
		sums = append(sums, event{kind: kindLost, time: s.opts.Now().UnixMilli(), times: n - s.noted})
		s.noted = n
	}
	for some := range slices.Chunk(merge(batch, sums), s.opts.Batch) {
		s.storeSome(some)
	}
	clear(batch)
	return batch[:0]
}

// storeSome writes at most Options.Batch events, retrying until it succeeds.
// Meanwhile the queue fills: that is all the memory that a database which is
// down can cost.
func (s *Stats) storeSome(batch []event) {
	s.normalizeBatch(batch)
	s.batches++
	closing := s.closing
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.write(s.life, batch, s.batches)
		if err == nil {
			break
		}
		if s.life.Err() != nil {
			s.dropped.Add(times(batch))
			break
		}
		s.reportError(wrap("write", err))
		select {
		case <-time.After(pause):
		case <-s.life.Done():
		case <-closing: // retry at once, and then more often
			closing, pause = nil, firstPause/2
		}
	}
	for i := range batch {
		s.clock = max(s.clock, batch[i].time)
	}
}

// tend does the periodic work, by the clock of the events.
func (s *Stats) tend(ctx context.Context) error {
	if s.setBack {
		if err := s.reseed(ctx); err != nil {
			return wrap("clock set back", err)
		}
	}
	err := s.look(ctx)
	minute, hour := s.clock/60000, s.clock/hourMs
	if minute == s.tended {
		return err
	}
	if minute-s.tended > 60 || minute < s.tended {
		s.pruned = hour // a clock that jumped may come back, and deleted rows do not
	}
	s.tended = minute
	err = errors.Join(err, wrap("read events", s.clampLastID(ctx)), wrap("close expired challenges", s.closeExpired(ctx, s.clock)),
		wrap("spreads", s.keepSpreads(ctx, s.clock)))
	if hour != s.pruned {
		pruned := s.Prune(ctx, time.UnixMilli(s.clock))
		if pruned == nil {
			s.pruned = hour
		}
		err = errors.Join(err, pruned)
	}
	return err
}

// clampLastID handles a database that lost events, for example in a failover:
// new events then have lower IDs than those the watch has read.
func (s *Stats) clampLastID(ctx context.Context) error {
	var last sql.NullInt64
	err := s.db.QueryRowContext(ctx, s.sql.text("SELECT max(id) FROM {p}events")).Scan(&last)
	if err == nil {
		s.watch.last = min(s.watch.last, last.Int64)
	}
	return err
}

// reseed discards what was computed while the clock was ahead.
func (s *Stats) reseed(ctx context.Context) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := s.exec(ctx, tx, "DELETE FROM {p}spreads WHERE hour >= ?", s.clock/hourMs*3600)
		return err
	})
	if err != nil {
		return err
	}
	was := s.watch
	if err := s.seed(ctx); err != nil {
		s.watch = was
		return err
	}
	s.watch.news, s.setBack = was.news, false
	return nil
}
