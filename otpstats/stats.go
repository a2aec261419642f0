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
	"github.com/go-mailotp/otp/otpevent"
)

// Stats stores events and answers questions about them. Create it with [Open].
// It is safe for concurrent use. Several processes can share tables in
// PostgreSQL; only one may use a SQLite file.
//
// The methods that answer questions return errors of the database and of their
// context, wrapped. They keep working after [Stats.Close].
type Stats struct {
	db    *sql.DB
	opts  Options
	sql   sqlText
	id    string // of this writer, new with each Open
	names map[Dimension]*names
	watch *watch

	queue    chan event
	added    *sums
	overflow overflow
	calls    chan call
	dropped  atomic.Int64

	closing   chan struct{} // closed by the first Close
	closed    atomic.Bool
	closeOnce sync.Once
	life      context.Context // ends when Close gives up
	end       context.CancelFunc
	done      chan struct{} // closed when the writer has ended

	// Only the writer uses these.
	batches int64
	clock   int64 // Unix milliseconds: all events before it are written
	tended  int64 // the minute of clock in which tend last did its full work
	pruned  int64 // the hour of the last Prune
	setBack bool  // the clock was set back, and the watch must be seeded again
	noted   int64 // how many of dropped are in the table of events
}

// call is work for the writer between two batches.
type call struct {
	ctx  context.Context
	do   func(context.Context) error
	done chan error
}

// ErrClosed is returned by Flush and Forget after [Stats.Close].
var ErrClosed = errors.New("otpstats: closed")

// wrap names the action that failed.
func wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("otpstats: %s: %w", action, err)
}

// Open creates missing tables in db and starts the goroutine that writes. Call
// [Stats.Close] to stop that goroutine, and close db after that: the caller
// keeps ownership of it. The writer keeps running when ctx ends later.
//
// It returns an error if an option is invalid, if opts is nil (since Key is
// required), or if the database fails.
func Open(ctx context.Context, db *sql.DB, d Dialect, opts *Options) (*Stats, error) {
	if db == nil {
		return nil, errors.New("otpstats: Open: db is nil")
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
			err = fmt.Errorf("%w (with Options.Unmigrated, create the tables of Schema first)", err)
		}
		return nil, wrap("open", err)
	}
	s.queue, s.added = make(chan event, s.opts.Queue), newSums(&s.opts)
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	go s.run()
	return s, nil
}

// seed initializes the names and the watch from the tables, as of s.clock.
func (s *Stats) seed(ctx context.Context) error {
	now := time.UnixMilli(s.clock)
	s.names, s.watch = newNames(), newWatch(s.opts.Rules)
	if err := s.seedNames(ctx, now); err != nil {
		return err
	}
	return s.seedWatch(ctx, now)
}

// fill sets the defaults and rejects invalid values.
func (o *Options) fill() error {
	if len(o.Key) < 16 {
		return fmt.Errorf("otpstats: Options.Key: %d bytes, want at least 16", len(o.Key))
	}
	o.Key = bytes.Clone(o.Key)
	o.Queue, o.Batch = cmp.Or(o.Queue, 16384), cmp.Or(o.Batch, 1000)
	o.Interval, o.Over = cmp.Or(o.Interval, time.Second), cmp.Or(o.Over, 2*time.Hour)
	o.KeepEvents = cmp.Or(o.KeepEvents, 30*24*time.Hour)
	o.KeepRollups = cmp.Or(o.KeepRollups, max(o.KeepEvents, 400*24*time.Hour))
	switch {
	case o.Queue < 0:
		return fmt.Errorf("otpstats: Options.Queue: %d is negative", o.Queue)
	case o.Batch < 0:
		return fmt.Errorf("otpstats: Options.Batch: %d is negative", o.Batch)
	case o.Interval < 0:
		return fmt.Errorf("otpstats: Options.Interval: %v is negative", o.Interval)
	case o.Over < 0:
		return fmt.Errorf("otpstats: Options.Over: %v is negative", o.Over)
	case o.KeepEvents < 24*time.Hour:
		return fmt.Errorf("otpstats: Options.KeepEvents: %v, want at least 24h", o.KeepEvents)
	case o.KeepRollups < o.KeepEvents:
		return fmt.Errorf("otpstats: Options.KeepRollups: %v, want at least KeepEvents (%v)", o.KeepRollups, o.KeepEvents)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnError == nil {
		o.OnError = func(context.Context, error) {}
	}
	if o.OnAnomaly == nil {
		o.OnAnomaly = func(context.Context, Anomaly) {}
	}
	if o.OnCalm == nil {
		o.OnCalm = func(context.Context, Anomaly) {}
	}
	var err error
	o.Rules, err = o.Rules.filled()
	return err
}

// Observe queues an event, or adds it to a sum, and never blocks. Set the Stats as
// [otp.Options].Observer. An [otpevent.Forgotten] has the effect of
// [Stats.Forget].
func (s *Stats) Observe(ctx context.Context, e otp.Event) {
	k := kindOf(e.Kind)
	if k == kindNone {
		return
	}
	if e.Err != nil {
		k = failureOf(k, e.Err)
	}
	queued := event{
		kind: k, resend: e.Resend, strong: e.Strong, decoy: e.Decoy, time: e.Time.UnixMilli(), age: e.Age.Milliseconds(), wrongs: int64(e.WrongGuesses),
		times: 1, scope: scopeOfText(e.Scope),
		address: e.AddressHash, client: e.ClientHash, challenge: e.ChallengeHash,
		purpose: bounded(e.Purpose), language: bounded(e.Locale), domain: e.Domain, mailID: e.Message,
	}
	if s.opts.App != nil {
		queued.app = bounded(s.opts.App(ctx))
	}
	s.enqueue(&queued)
}

// Mail records what became of a mail. Call it from the callbacks of
// relay.Failover and relay.Queue. The message is the ID in otp.Event.Message.
// The provider may be empty. Mail may come before or after the event of the
// send, and it never blocks.
//
// An empty outcome, as in a relay.Attempt that passed over a resting provider,
// is ignored. Any other value that is not a constant of package otpevent is
// reported to OnError.
func (s *Stats) Mail(message, provider string, outcome otpevent.Outcome) {
	if outcome == "" {
		return
	}
	s.enqueue(&event{
		kind: kindMail, time: s.opts.Now().UnixMilli(), times: 1, mailID: message,
		provider: bounded(provider), outcome: otpevent.Outcome(bounded(string(outcome))),
	})
}

func (s *Stats) enqueue(e *event) {
	if s.closed.Load() {
		s.dropped.Add(1)
		return
	}
	if e.kind.addedUp() {
		s.added.add(*e)
		return
	}
	select {
	case s.queue <- *e:
	default:
		if e.kind != kindForgotten || !s.overflow.put(e) {
			s.dropped.Add(1)
		}
	}
}

// overflow holds requests to forget an address that found the queue full: they
// must not be lost. They are handled after the queue, which may hold events of
// that address.
type overflow struct {
	mu   sync.Mutex
	list []event
}

func (o *overflow) put(e *event) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) == 10_000 {
		return false
	}
	o.list = append(o.list, *e)
	return true
}

func (o *overflow) take() (list []event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list, o.list = o.list, nil
	return list
}

// Dropped returns how many events were lost since Open because the queue was
// full or Close ran out of time. Events of the first kind are an anomaly, too:
// [EventsLost].
func (s *Stats) Dropped() int64 { return s.dropped.Load() }

// Flush waits until everything observed before the call is written and the
// rules have seen it. If the database is down, it waits until ctx ends. It
// returns the error of ctx, [ErrClosed], or the error of the work that follows
// the write, such as evaluating the rules.
func (s *Stats) Flush(ctx context.Context) error {
	return s.call(ctx, func(ctx context.Context) error { return s.tend(ctx) })
}

// call makes the writer run do once everything in the queue is written.
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

// Close writes all queued events and stops the writer. If ctx ends first, the
// rest is dropped and Close returns the error of ctx. Later events are dropped;
// questions are still answered. Close may be called more than once.
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
