package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
)

// Errors of [Queue.Send], within an *otp.SendError of the stage "queue".
var (
	// ErrFull says that the queue holds as many mails as it may.
	ErrFull = errors.New("relay: the queue is full")
	// ErrClosed says that the queue has been closed.
	ErrClosed = errors.New("relay: the queue is closed")
)

// QueueOptions are the choices of [NewQueue]. The zero value has every default; a
// negative number is an error.
type QueueOptions struct {
	// Size is how many mails the queue holds at most, with those being sent and
	// those waiting to be tried again. 0 means 1000.
	Size int

	// Workers is how many mails are being sent at once. 0 means 4; more than the
	// connections of an smtpsender.Sender only wait for one.
	Workers int

	// Attempt is how long one attempt may take. 0 means 30 seconds.
	Attempt time.Duration

	// Backoff is the pause before the second attempt; each later one is twice as
	// long, to a minute at the most, more or less a quarter by chance. 0 means
	// one second.
	Backoff time.Duration

	// RetryUnknown tries again where a mail may have gone out already, at the
	// price of mails that arrive twice. Default: false.
	RetryUnknown bool

	// Observe is told what becomes of each mail. It is called by many goroutines
	// at once, must be quick, and may not call the queue. A panic in it is
	// recovered: what it did not note is lost, the mail is not. Nil is nobody.
	Observe func(Report)
}

// Outcome is what became of a mail.
type Outcome string

// The outcomes. All but Delayed are final, and each mail has just one of them.
const (
	Sent    Outcome = "sent"    // the sender took it
	Refused Outcome = "refused" // for good, by the sender
	Unknown Outcome = "unknown" // it may have gone out or not
	Expired Outcome = "expired" // its code ended before a sender took it
	Dropped Outcome = "dropped" // the queue was closed before its turn
	Delayed Outcome = "delayed" // a temporary failure: it will be tried again
)

// Report tells of one mail. It holds neither code nor whole address.
type Report struct {
	// Outcome is what became of the mail.
	Outcome Outcome
	// Message is the ID of the mail, as in otp.Event.Message.
	Message string
	// Masked is the address, masked.
	Masked string
	// Attempts is how often the sender was asked.
	Attempts int
	// Age is the time since the queue took the mail.
	Age time.Duration
	// Err is the last failure, also of a mail that was dropped or expired while it
	// waited; nil for Sent, and for one that was never tried.
	Err error
}

// Queue is an otp.Sender that hands mails to another in the background. It is
// safe for concurrent use and must be made by [NewQueue]. Its goroutines end when
// there is nothing to do. Printing or logging one shows how much it holds.
type Queue struct {
	sender otp.Sender
	opts   QueueOptions
	life   context.Context // ends when Close gives up
	end    context.CancelFunc

	mu      sync.Mutex
	ready   []*item
	waiting map[*item]*time.Timer // to be tried again
	held    int                   // ready, waiting and being sent
	workers int                   // running
	closed  bool
	empty   chan struct{} // closed when closed is set and nothing is held
}

var _ otp.Sender = (*Queue)(nil)

// item is a mail on its way.
type item struct {
	ctx      context.Context
	message  otp.Message
	taken    time.Time
	deadline time.Time
	attempts int
	maybe    bool // an attempt may have sent it
	last     error
}

// NewQueue returns a queue before sender; opts may be nil.
func NewQueue(sender otp.Sender, opts *QueueOptions) (*Queue, error) {
	if sender == nil {
		return nil, errors.New("relay: no sender")
	}
	o := QueueOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Size < 0 || o.Workers < 0 || o.Attempt < 0 || o.Backoff < 0 {
		return nil, errors.New("relay: a negative number in QueueOptions")
	}
	for _, d := range []struct {
		field    *int
		standard int
	}{{&o.Size, 1000}, {&o.Workers, 4}} {
		if *d.field == 0 {
			*d.field = d.standard
		}
	}
	if o.Attempt == 0 {
		o.Attempt = 30 * time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.Observe == nil {
		o.Observe = func(Report) {}
	}
	q := &Queue{sender: sender, opts: o, waiting: map[*item]*time.Timer{}, empty: make(chan struct{})}
	q.life, q.end = context.WithCancel(context.Background())
	return q, nil
}

// lifetime is that of a message that names no end, so of no Verifier.
const lifetime = 10 * time.Minute

// Send takes a mail and returns at once: nil, or an *otp.SendError with [ErrFull]
// or [ErrClosed], temporary and surely not sent. The values of ctx go with the
// mail, its end does not: the mail's own deadline is its ExpiresAt.
func (q *Queue) Send(ctx context.Context, m otp.Message) error {
	if err := ctx.Err(); err != nil {
		return &otp.SendError{Temporary: true, Stage: "queue", Err: err}
	}
	now := time.Now()
	m.Vars = maps.Clone(m.Vars) // the caller's again once Send has returned
	it := &item{ctx: context.WithoutCancel(ctx), message: m, taken: now, deadline: m.ExpiresAt}
	if it.deadline.IsZero() {
		it.deadline = now.Add(lifetime)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return &otp.SendError{Temporary: true, Stage: "queue", Err: ErrClosed}
	case q.held >= q.opts.Size:
		return &otp.SendError{Temporary: true, Stage: "queue", Err: ErrFull}
	}
	q.held++
	q.push(it)
	return nil
}

// push makes an item ready and sees that somebody takes it. q.mu is held.
func (q *Queue) push(it *item) {
	q.ready = append(q.ready, it)
	if q.workers < q.opts.Workers {
		q.workers++
		go q.work()
	}
}

// work sends what is ready and ends when nothing is.
func (q *Queue) work() {
	for {
		q.mu.Lock()
		if len(q.ready) == 0 {
			q.workers--
			q.mu.Unlock()
			return
		}
		it := q.ready[0]
		q.ready[0] = nil
		q.ready = q.ready[1:]
		q.mu.Unlock()
		q.attempt(it)
	}
}

// attempt asks the sender once and settles what follows.
func (q *Queue) attempt(it *item) {
	if q.life.Err() != nil {
		q.settle(it, Dropped, it.last)
		return
	}
	if !time.Now().Before(it.deadline) {
		q.settle(it, Expired, it.last)
		return
	}
	it.attempts++
	err := q.ask(it)
	if err == nil {
		q.settle(it, Sent, nil)
		return
	}
	sendError := asSendError(err)
	it.maybe = it.maybe || sendError.MaybeSent
	switch {
	case sendError.MaybeSent && !q.opts.RetryUnknown:
		q.settle(it, Unknown, err)
	case refused(err):
		q.settle(it, Refused, err)
	default:
		q.again(it, err)
	}
}

// ask calls the sender, within the attempt, the mail's deadline and the queue's life.
func (q *Queue) ask(it *item) (err error) {
	ctx, cancel := context.WithTimeout(it.ctx, min(q.opts.Attempt, time.Until(it.deadline)))
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	defer func() {
		// Nobody is above to catch it, and the process has other work. Its text
		// may hold the code.
		if p := recover(); p != nil {
			err = fmt.Errorf("relay: the sender panicked with a %T", p)
		}
	}()
	return heard(q.sender.Send(ctx, it.message))
}

// again lets a mail wait for another attempt, unless its code ends before that.
func (q *Queue) again(it *item, err error) {
	it.last = err
	pause := min(min(q.opts.Backoff, time.Minute)<<min(it.attempts-1, 16), time.Minute)
	var chance [1]byte
	rand.Read(chance[:])
	pause += pause / 512 * time.Duration(int(chance[0])-128)
	if !time.Now().Add(pause).Before(it.deadline) {
		q.settle(it, Expired, err)
		return
	}
	if q.life.Err() == nil {
		q.report(it, Delayed, err) // first: once it waits it is another worker's
	}
	q.mu.Lock()
	if q.life.Err() != nil {
		q.mu.Unlock()
		q.settle(it, Dropped, err)
		return
	}
	q.waiting[it] = time.AfterFunc(pause, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if _, ok := q.waiting[it]; ok {
			delete(q.waiting, it)
			q.push(it)
		}
	})
	q.mu.Unlock()
}

// settle ends a mail.
func (q *Queue) settle(it *item, outcome Outcome, err error) {
	if it.maybe && outcome != Sent {
		outcome = Unknown // a later failure does not take it back
	}
	q.report(it, outcome, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held--
	if q.closed && q.held == 0 {
		close(q.empty)
	}
}

func (q *Queue) report(it *item, outcome Outcome, err error) {
	defer func() { _ = recover() }() // nobody is above a worker to catch it
	q.opts.Observe(Report{
		Outcome: outcome, Message: it.message.ID, Masked: it.message.To.Masked(),
		Attempts: it.attempts, Age: time.Since(it.taken), Err: masked(err, it.message),
	})
}

// Close takes no more mails and waits until all that it holds are settled. When
// ctx ends first, attempts are cut off, the rest is dropped and told to Observe,
// and the error of ctx is returned, five seconds later at most where a sender does
// not obey its context. It may be called more than once.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		if q.held == 0 {
			close(q.empty)
		}
	}
	q.mu.Unlock()
	select {
	case <-q.empty:
		q.end()
		return nil
	default:
	}
	select {
	case <-q.empty:
		q.end()
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	q.end()
	rest := q.ready
	q.ready = nil
	for it, timer := range q.waiting {
		timer.Stop()
		delete(q.waiting, it)
		rest = append(rest, it)
	}
	q.mu.Unlock()
	for _, it := range rest { // here, since a sender may hold all workers
		q.settle(it, Dropped, it.last)
	}
	select {
	case <-q.empty:
	case <-time.After(grace): // a sender does not obey its context
	}
	return ctx.Err()
}

// grace is how long Close waits for attempts that it has cut off.
const grace = 5 * time.Second

// Len returns how many mails the queue holds, with those being sent.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}

// Full reports whether less than a tenth of Size is left, so for a Size under ten
// whether nothing is. Ask it before a mail is wanted, and refuse everybody while it
// is true: [ErrFull] comes only for mails that would go out, and so tells which
// addresses those are. The tenth is for those who asked just before.
func (q *Queue) Full() bool { return q.Len() >= q.opts.Size-q.opts.Size/10 }

// String tells how much the queue holds.
func (q *Queue) String() string { return fmt.Sprintf("Queue{Len: %d, Size: %d}", q.Len(), q.opts.Size) }

// Format prints what String returns, whatever the verb: the mails hold codes.
func (q *Queue) Format(f fmt.State, _ rune) { io.WriteString(f, q.String()) }

// LogValue logs what String returns.
func (q *Queue) LogValue() slog.Value { return slog.StringValue(q.String()) }
