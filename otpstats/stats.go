package otpstats

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
)

// Stats takes events and answers questions about them. It must be made by [Open] and is
// safe for concurrent use. Several processes may use the same tables in PostgreSQL;
// a file of SQLite is for one. The methods that answer return the errors of the database and
// of their context, wrapped, and go on after [Stats.Close].
type Stats struct {
	db    *sql.DB
	opts  Options
	sql   sqlText
	id    string // of this writer, new with each Open
	names map[Dimension]*names
	watch *watch

	queue    chan record
	overflow overflow
	calls    chan call
	dropped  atomic.Int64

	closing   chan struct{} // closed by the first Close
	closed    atomic.Bool
	closeOnce sync.Once
	life      context.Context // ends when Close gives up
	end       context.CancelFunc
	done      chan struct{} // closed when the writer has ended

	// Of the writer alone.
	batches int64
	clock   int64 // Unix milliseconds: all events before it are written
	tended  int64 // the minute of clock that was last tended to
	pruned  int64 // the hour
	setBack bool  // the clock was, and the watch has to begin anew
}

// call is what the writer does between two batches.
type call struct {
	ctx  context.Context
	do   func(context.Context) error
	done chan error
}

// ErrClosed is what Flush and Forget return after [Stats.Close].
var ErrClosed = errors.New("otpstats: closed")

// wrap says what failed.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("otpstats: %s: %w", what, err)
}

// Open makes the tables in db if need be, and starts the goroutine that writes, which
// [Stats.Close] ends. The db stays the caller's, who closes it after that.
// A context that ends later does not end the writer. It returns an error for options that
// make no sense, among them nil, which have no Key, and the database's.
func Open(ctx context.Context, db *sql.DB, d Dialect, opts *Options) (*Stats, error) {
	if db == nil {
		return nil, errors.New("otpstats: no database")
	}
	s := &Stats{db: db, id: rand.Text(), closing: make(chan struct{}), done: make(chan struct{}), calls: make(chan call)}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.opts.fill(); err != nil {
		return nil, err
	}
	var err error
	if s.sql, err = newText(d, s.opts.Prefix); err != nil {
		return nil, err
	}
	if !s.opts.Unmigrated {
		if err := s.migrate(ctx); err != nil {
			return nil, wrap("open", err)
		}
	}
	s.clock = s.opts.Now().UnixMilli()
	if err := s.seed(ctx); err != nil {
		if s.opts.Unmigrated {
			err = fmt.Errorf("%w (with Options.Unmigrated the tables of Schema must be there)", err)
		}
		return nil, wrap("open", err)
	}
	s.queue = make(chan record, s.opts.Queue)
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	go s.run()
	return s, nil
}

// seed gives the names and the watch what the tables know at the clock's time.
func (s *Stats) seed(ctx context.Context) error {
	now := time.UnixMilli(s.clock)
	s.names, s.watch = newNames(), newWatch(s.opts.Rules)
	if err := s.seedNames(ctx, now); err != nil {
		return err
	}
	return s.seedWatch(ctx, now)
}

// fill sets the defaults and refuses what makes no sense.
func (o *Options) fill() error {
	if len(o.Key) < 16 {
		return errors.New("otpstats: Options.Key has less than 16 bytes")
	}
	o.Key = bytes.Clone(o.Key)
	o.Queue, o.Batch = cmp.Or(o.Queue, 16384), cmp.Or(o.Batch, 1000)
	o.Interval, o.Over = cmp.Or(o.Interval, time.Second), cmp.Or(o.Over, 2*time.Hour)
	o.KeepEvents = cmp.Or(o.KeepEvents, 30*24*time.Hour)
	o.KeepRollups = cmp.Or(o.KeepRollups, max(o.KeepEvents, 400*24*time.Hour))
	switch {
	case o.Queue < 0, o.Batch < 0, o.Interval < 0, o.Over < 0:
		return errors.New("otpstats: Options.Queue, Batch, Interval or Over is negative")
	case o.KeepEvents < 24*time.Hour:
		return errors.New("otpstats: Options.KeepEvents is less than a day")
	case o.KeepRollups < o.KeepEvents:
		return errors.New("otpstats: Options.KeepRollups is less than KeepEvents")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	if o.OnAnomaly == nil {
		o.OnAnomaly = func(Anomaly) {}
	}
	if o.OnCalm == nil {
		o.OnCalm = func(Anomaly) {}
	}
	var err error
	o.Rules, err = o.Rules.filled()
	return err
}

// Observe takes an event and never waits. It is for [otp.Options].Observer.
// An [otpevent.Forgotten] does what [Stats.Forget] does.
func (s *Stats) Observe(ctx context.Context, e otp.Event) {
	k := kindOf(e.Kind)
	if k == kindNone {
		return
	}
	if e.Err != nil {
		k = failureOf(k, e.Err)
	}
	r := record{
		kind: k, resend: e.Resend, strong: e.Strong, decoy: e.Decoy, time: e.Time.UnixMilli(), age: e.Age, wrongs: int64(e.WrongGuesses),
		address: e.AddressHash, client: e.ClientHash, challenge: e.ChallengeHash,
		purpose: bounded(e.Purpose), locale: bounded(e.Locale), domain: e.Domain, mid: e.Message,
	}
	if s.opts.App != nil {
		r.app = bounded(s.opts.App(ctx))
	}
	s.put(&r)
}

// Mail says what became of a mail, by the ID in otp.Event.Message: for the functions that
// relay.Failover and relay.Queue report to. It may come before or after the event of
// the send, and never waits. Provider may be empty; outcome is one from [MailSent] to
// [MailFailed], and of others OnError is told.
func (s *Stats) Mail(message, provider, outcome string) {
	s.put(&record{kind: kindMail, time: s.opts.Now().UnixMilli(), mid: message, provider: bounded(provider), outcome: bounded(outcome)})
}

func (s *Stats) put(r *record) {
	if s.closed.Load() {
		s.dropped.Add(1)
		return
	}
	select {
	case s.queue <- *r:
	default:
		if r.kind != kindForgotten || !s.overflow.put(r) {
			s.dropped.Add(1)
		}
	}
}

// overflow takes what must not be lost when the queue is full: who is to be forgotten. It
// comes after the queue, in which events of theirs may wait.
type overflow struct {
	mu   sync.Mutex
	list []record
}

func (o *overflow) put(r *record) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) == 10_000 {
		return false
	}
	o.list = append(o.list, *r)
	return true
}

func (o *overflow) take() (list []record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list, o.list = o.list, nil
	return list
}

// Dropped is how many events were lost since Open: the queue was full, or Close had no
// time for them.
func (s *Stats) Dropped() int64 { return s.dropped.Load() }

// Flush waits until all that was observed before the call is written and the rules have
// seen it, so while the database is down until ctx ends. It returns the error of ctx,
// [ErrClosed], or what failed beside the writing.
func (s *Stats) Flush(ctx context.Context) error {
	return s.call(ctx, func(ctx context.Context) error { return s.tend(ctx) })
}

// call has the writer do something when all that is in the queue is written.
func (s *Stats) call(ctx context.Context, do func(context.Context) error) error {
	c := call{ctx, do, make(chan error, 1)}
	select {
	case s.calls <- c:
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what waits and ends the writer. When ctx ends first, the rest is
// dropped and the error of ctx returned. Further events are dropped; questions are still
// answered. It may be called more than once.
func (s *Stats) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		close(s.closing)
	})
	select {
	case <-s.done:
		return nil
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.end()
		return ctx.Err()
	}
}
