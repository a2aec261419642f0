package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// The errors of [Queue.Send]. It returns them wrapped in an *otp.SendError
// whose stage is "queue".
var (
	// ErrFull means that the queue has no place for this mail: it already holds
	// QueueOptions.Size mails or, for a mail to a stranger, four fifths of that.
	ErrFull = errors.New("relay: the queue is full")
	// ErrClosed means that [Queue.Close] has been called.
	ErrClosed = errors.New("relay: the queue is closed")
)

// QueueOptions configures [NewQueue]. The zero value uses every default;
// NewQueue returns an error if a number is negative.
type QueueOptions struct {
	// Size is the number of mails that the queue can hold, including those that
	// are being sent and those that wait to be retried. A fifth of the places,
	// rounded down, is kept for known devices ([otp.Message.Known]), so that
	// they can sign in while strangers fill the rest. Default: 1000.
	Size int

	// Workers is the number of mails that are sent at the same time. With more
	// workers than an smtpsender.Sender has connections, the others wait for a
	// connection. Default: 4.
	Workers int

	// Attempt is the time limit for one attempt to send a mail. Default: 30
	// seconds.
	Attempt time.Duration

	// Backoff is the pause before the second attempt. Each later pause is twice
	// as long as the one before, up to one minute, and varies randomly by up to
	// 25%. If the sender says how long to wait (otp.SendError.RetryAfter, as for
	// a greylisting server), the pause is that, twice that the next time, and up
	// to 25% more. Default: one second.
	Backoff time.Duration

	// RetryUnknown also retries a mail that may already have been sent. Some
	// recipients then get the same mail twice. Default: false.
	RetryUnknown bool

	// OnReport receives the outcome of each mail, and of each attempt that will
	// be retried ([otpevent.MailDelayed]). Its context has the values of the
	// context that [Queue.Send] was called with. Several goroutines call it at
	// once; it must return quickly and must not call the queue. A panic is
	// recovered; the report is lost, the mail is not. Nil disables reporting.
	OnReport func(context.Context, Report)
}

// Report describes what happened to one mail. It contains neither the code nor
// the whole address.
type Report struct {
	// Outcome is [otpevent.MailDelayed] if the mail will be retried. Every mail
	// ends with exactly one of the others: [otpevent.MailSent],
	// [otpevent.MailRefused] for any permanent failure, [otpevent.MailUnknown],
	// [otpevent.MailExpired] or [otpevent.MailDropped].
	Outcome otpevent.Outcome
	// Message is the ID of the mail, the same as in otp.Event.Message.
	Message string
	// Masked is the masked address of the recipient.
	Masked string
	// Attempts is the number of times that the sender was called.
	Attempts int
	// Age is the time since [Queue.Send] accepted the mail.
	Age time.Duration
	// Err is the last failure. It is also set if the mail expired or was
	// dropped while it waited to be retried. It is nil for MailSent and for a
	// mail that was never attempted.
	Err error
}

// Queue is an otp.Sender that passes mails to another sender in the background.
// Create it with [NewQueue]. It is safe for concurrent use. It runs no
// goroutines while it is empty. Printing or logging a Queue shows how many
// mails it holds.
type Queue struct {
	sender otp.Sender
	opts   QueueOptions
	life   context.Context // canceled when Close stops waiting
	end    context.CancelFunc

	mu      sync.Mutex
	ready   [2][]*item            // of known devices and of strangers
	waiting map[*item]*time.Timer // mails that will be retried
	held    int                   // number of mails ready, waiting and being sent
	workers int                   // number of running workers
	closed  bool
	empty   chan struct{} // closed once closed is true and held is 0
}

var _ otp.Sender = (*Queue)(nil)

// item is one mail in the queue.
type item struct {
	ctx      context.Context
	message  otp.Message
	accepted time.Time
	deadline time.Time
	attempts int
	asked    int   // how often the sender said how long to wait
	maybe    bool  // an earlier attempt may have sent the mail
	last     error // the last failure
}

// NewQueue returns a queue that sends its mails through sender. If opts is nil,
// every default is used.
func NewQueue(sender otp.Sender, opts *QueueOptions) (*Queue, error) {
	if sender == nil {
		return nil, errors.New("relay: NewQueue: the sender is nil")
	}
	o := QueueOptions{}
	if opts != nil {
		o = *opts
	}
	if err := cmp.Or(
		checkNumber("QueueOptions.Size", o.Size), checkNumber("QueueOptions.Workers", o.Workers),
		checkNumber("QueueOptions.Attempt", o.Attempt), checkNumber("QueueOptions.Backoff", o.Backoff),
	); err != nil {
		return nil, err
	}
	o.Size, o.Workers = cmp.Or(o.Size, 1000), cmp.Or(o.Workers, 4)
	o.Attempt, o.Backoff = cmp.Or(o.Attempt, 30*time.Second), cmp.Or(o.Backoff, time.Second)
	if o.OnReport == nil {
		o.OnReport = func(context.Context, Report) {}
	}
	q := &Queue{sender: sender, opts: o, waiting: map[*item]*time.Timer{}, empty: make(chan struct{})}
	q.life, q.end = context.WithCancel(context.Background())
	return q, nil
}

// lifetime is used for a message without ExpiresAt, which no Verifier sends.
const lifetime = 10 * time.Minute

// Send queues a mail and returns immediately. Its error is a temporary
// *otp.SendError with [ErrFull], [ErrClosed] or the error of ctx; the mail was
// then definitely not sent. A queued mail keeps the values of ctx but not its
// cancellation or deadline: the queue tries to send it until m.ExpiresAt.
func (q *Queue) Send(ctx context.Context, m otp.Message) error {
	if err := ctx.Err(); err != nil {
		return &otp.SendError{Temporary: true, Stage: "queue", Err: err}
	}
	now := time.Now()
	m.Vars = maps.Clone(m.Vars) // the caller may change its map after Send returns
	it := &item{ctx: context.WithoutCancel(ctx), message: m, accepted: now, deadline: m.ExpiresAt}
	if it.deadline.IsZero() {
		it.deadline = now.Add(lifetime)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return &otp.SendError{Temporary: true, Stage: "queue", Err: ErrClosed}
	case q.held >= q.places(m.Known):
		return &otp.SendError{Temporary: true, Stage: "queue", Err: ErrFull}
	}
	q.held++
	q.push(it)
	return nil
}

// places is how many mails the queue may hold when it accepts another one.
func (q *Queue) places(known bool) int {
	if known {
		return q.opts.Size
	}
	return q.opts.Size - q.opts.Size/5
}

// push makes an item ready and starts a worker if fewer than the maximum run.
// The caller holds q.mu.
func (q *Queue) push(it *item) {
	of := 1
	if it.message.Known {
		of = 0
	}
	q.ready[of] = append(q.ready[of], it)
	if q.workers < q.opts.Workers {
		q.workers++
		go q.work()
	}
}

// work sends ready mails until there are none.
func (q *Queue) work() {
	for {
		it := q.next()
		if it == nil {
			return
		}
		q.attempt(it)
	}
}

// next takes the mail that is ready and has waited longest. Mails of known
// devices go first: behind the mails of a flood, their codes could expire. If
// no mail is ready, next returns nil, and the worker must end.
func (q *Queue) next() *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, ready := range q.ready {
		if len(ready) == 0 {
			continue
		}
		it := ready[0]
		ready[0] = nil
		q.ready[i] = ready[1:]
		return it
	}
	q.workers--
	return nil
}

// attempt calls the sender once, then finishes the mail or schedules a retry.
func (q *Queue) attempt(it *item) {
	if q.life.Err() != nil {
		q.finish(it, otpevent.MailDropped, it.last)
		return
	}
	if !time.Now().Before(it.deadline) {
		q.finish(it, otpevent.MailExpired, it.last)
		return
	}
	it.attempts++
	err := q.callSender(it)
	if err == nil {
		q.finish(it, otpevent.MailSent, nil)
		return
	}
	sendError := asSendError(err)
	it.maybe = it.maybe || sendError.MaybeSent
	switch {
	case sendError.MaybeSent && !q.opts.RetryUnknown:
		q.finish(it, otpevent.MailUnknown, err)
	case permanent(err):
		q.finish(it, otpevent.MailRefused, err)
	default:
		q.retry(it, err)
	}
}

// callSender calls the sender. The call is canceled after QueueOptions.Attempt,
// at the deadline of the mail, or when Close stops waiting.
func (q *Queue) callSender(it *item) (err error) {
	ctx, cancel := context.WithTimeout(it.ctx, min(q.opts.Attempt, time.Until(it.deadline)))
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	defer func() {
		// Nothing above a worker recovers a panic, and one mail must not end
		// the process. The value of the panic may contain the code: leave it
		// out.
		if p := recover(); p != nil {
			err = fmt.Errorf("relay: the sender panicked with a %T", p)
		}
	}()
	return readable(q.sender.Send(ctx, it.message))
}

// retry schedules another attempt, unless the code expires before it.
func (q *Queue) retry(it *item, err error) {
	it.last = err
	var jitter [1]byte
	rand.Read(jitter[:])
	pause := min(min(q.opts.Backoff, time.Minute)<<min(it.attempts-1, 16), time.Minute)
	pause += pause / 512 * time.Duration(int(jitter[0])-128)
	if e, ok := errors.AsType[*otp.SendError](err); ok && e.RetryAfter > 0 {
		pause = min(e.RetryAfter, 24*time.Hour) << min(it.asked, 8)
		pause += pause / 1024 * time.Duration(jitter[0]) // and not earlier
		it.asked++
	}
	if !time.Now().Add(pause).Before(it.deadline) {
		q.finish(it, otpevent.MailExpired, err)
		return
	}
	if q.life.Err() == nil {
		// Report before the mail waits: afterwards another worker may own it.
		q.report(it, otpevent.MailDelayed, err)
	}
	q.mu.Lock()
	if q.life.Err() != nil {
		q.mu.Unlock()
		q.finish(it, otpevent.MailDropped, err)
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

// finish reports the final outcome of a mail and removes it from the queue.
func (q *Queue) finish(it *item, outcome otpevent.Outcome, err error) {
	if it.maybe && outcome != otpevent.MailSent {
		outcome = otpevent.MailUnknown // even if a later attempt definitely failed
	}
	q.report(it, outcome, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held--
	if q.closed && q.held == 0 {
		close(q.empty)
	}
}

func (q *Queue) report(it *item, outcome otpevent.Outcome, err error) {
	defer func() { _ = recover() }() // a panic in a worker would end the process
	q.opts.OnReport(it.ctx, Report{
		Outcome: outcome, Message: it.message.ID, Masked: it.message.To.Masked(),
		Attempts: it.attempts, Age: time.Since(it.accepted), Err: masked(err, it.message),
	})
}

// Close stops accepting mails and waits until every queued mail has its final
// outcome. If ctx ends first, Close cancels the running attempts, drops the
// other mails, reports each of them to OnReport and returns the error of ctx.
// If a sender ignores its context, Close returns five seconds after ctx ended.
// It may be called more than once.
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
	rest := slices.Concat(q.ready[:]...)
	q.ready = [2][]*item{}
	for it, timer := range q.waiting {
		timer.Stop()
		delete(q.waiting, it)
		rest = append(rest, it)
	}
	q.mu.Unlock()
	for _, it := range rest { // not in the workers: a sender may block them all
		q.finish(it, otpevent.MailDropped, it.last)
	}
	select {
	case <-q.empty:
	case <-time.After(grace): // a sender ignores its context
	}
	return ctx.Err()
}

// grace is how long Close waits for the attempts that it canceled.
const grace = 5 * time.Second

// Len returns the number of mails in the queue, including those being sent.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}

// Full reports whether requests for a code must be rejected now. It returns
// true when less than a tenth of Size is left of the places for known devices
// (if known is true) or for strangers; that tenth is for the requests that are
// already being processed. With a Size below ten nothing is kept for them.
//
// Call Full before you process a request, and reject every such request while
// it returns true. Do not rely on [ErrFull] for that: it occurs only for
// addresses that would get mail, so it reveals which addresses have an account.
// A request counts as known if otp.Request.Proven is set or if
// otp.Verifier.KnownDevice recognizes its device token.
func (q *Queue) Full(known bool) bool { return q.Len() >= q.places(known)-q.opts.Size/10 }

// String returns the number of mails in the queue and its size.
func (q *Queue) String() string { return fmt.Sprintf("Queue{Len: %d, Size: %d}", q.Len(), q.opts.Size) }

// Format prints the result of String for every verb, since the mails contain
// codes.
func (q *Queue) Format(f fmt.State, _ rune) { io.WriteString(f, q.String()) }

// LogValue returns the result of String.
func (q *Queue) LogValue() slog.Value { return slog.StringValue(q.String()) }
