// Package smtpclient sends mail through one SMTP server with a limited number
// of pooled connections. It extends go-smtp with contexts, limits on the size
// of replies, no credentials in clear text, and classified errors.
package smtpclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp/otpevent"
)

const (
	// maxRetries is the maximum number of retries within one call.
	maxRetries = 2

	// retryPause is the pause before the first retry. The pause before the
	// second is four times as long.
	retryPause = 100 * time.Millisecond
)

// Pool is a limited set of connections to one server. It is safe for concurrent
// use and has no background goroutine.
type Pool struct {
	cfg     Config
	slots   chan struct{} // one for each connection in use; the longest waiter is next
	done    chan struct{} // closed by Close
	backoff backoff
	pause   time.Duration // before the first retry; longer in some tests
	words   sameWords
	greeted atomic.Bool // a connection has been opened, so the TLS mode is right
	plain   atomic.Bool // PIPELINING and CHUNKING are offered but do not work

	mu     sync.Mutex
	idle   []*conn      // the last one is the most recently used
	turns  []chan *conn // sends that wait for a connection, in order; empty while one is idle
	closed bool
}

// NewPool returns a Pool. It does not connect.
func NewPool(cfg Config) *Pool {
	return &Pool{
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.MaxConns),
		done:    make(chan struct{}),
		backoff: backoff{first: cfg.Backoff},
		pause:   retryPause,
	}
}

// Send sends one mail. After a 4yz reply to the mail, or a connection that was
// dropped before any content was written, it retries up to twice: then no mail
// can arrive twice (RFC 5321 sections 4.2.5 and 4.5.3.2.6). The error is an
// *[Error].
func (p *Pool) Send(ctx context.Context, env Envelope, content []byte) error {
	pause := p.pause
	var before error
	fresh := false
	for attempt := 0; ; attempt++ {
		err := p.try(ctx, env, content, fresh)
		e, failed := errors.AsType[*Error](err)
		if before != nil && ctx.Err() != nil && failed && e.Stage == StageConnect {
			return before // it says more than that the context ended
		}
		before = err
		if !failed || attempt == maxRetries || !e.retryable() {
			p.words.judge(err, env.To)
			return err
		}
		fresh = e.replyCode() == 0 || e.replyCode() == 421 || e.oneByOne
		wait := pause
		if e.Class() == otpevent.ClassThrottle && !e.tooMany() {
			wait *= 5 // the server asks for less
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 4
	}
}

// Ping opens a new connection and adds it to the pool.
func (p *Pool) Ping(ctx context.Context) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	_, round, err := p.turn(ctx, false)
	if err != nil {
		return err
	}
	p.makeRoom()
	c, err := p.dial(ctx)
	p.backoff.note(round, err)
	if err != nil {
		return err
	}
	p.keep(c)
	return nil
}

// Close closes the idle connections. Sends in progress finish; their
// connections are closed afterwards. Waiting and later sends fail with
// [ErrClosed].
func (p *Pool) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	if !p.closed {
		p.closed = true
		close(p.done)
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range idle {
		c.idle.Stop()
		wg.Go(func() { p.quit(c) })
	}
	wg.Wait()
}

// dial opens a connection and counts it.
func (p *Pool) dial(ctx context.Context) (*conn, error) {
	cfg := p.cfg
	if p.greeted.Load() {
		cfg.ProbeAfter = 0
	}
	c, err := dial(ctx, &cfg)
	if err == nil {
		p.greeted.Store(true)
		if cfg.Plain || p.plain.Load() {
			c.offers.pipelining, c.offers.chunking = false, false
		}
		p.backoff.opened()
	}
	return c, err
}

// quit takes leave of the server and closes c.
func (p *Pool) quit(c *conn) {
	c.quit()
	p.backoff.closed()
}

// drop closes c.
func (p *Pool) drop(c *conn) {
	c.wire.Close()
	p.backoff.closed()
}

// try sends once, over an idle connection or a new one.
func (p *Pool) try(ctx context.Context, env Envelope, content []byte, fresh bool) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	var c *conn
	if !fresh {
		c = p.popIdle()
	}
	reuse := true
	for {
		if c != nil && !c.ready(ctx) {
			p.drop(c)
			c = nil
		}
		if c != nil {
			carried := c.carried
			err := p.use(ctx, c, env, content)
			if !gone(err) && !(carried && stale(err)) {
				return err
			}
			// The server had closed the idle connection, or is out of step with
			// it. That does not concern this mail.
			reuse = !stale(err)
		}
		kept, round, err := p.turn(ctx, reuse)
		if err != nil {
			return err
		}
		if c = kept; c != nil {
			continue
		}
		p.makeRoom()
		c, err = p.dial(ctx)
		if err == nil {
			err = p.use(ctx, c, env, content)
		}
		p.backoff.note(round, err)
		return err
	}
}

// gone reports whether a kept connection turned out to be closed.
func gone(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Stage == StageMail && (e.dropped() || e.replyCode() == 421)
}

// stale reports whether an answer on a connection that has carried a mail before
// says nothing of this mail: a rejected sender, whom the server accepted then, or
// a reply that is out of step.
func stale(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !e.contentSent && (e.rejectedSender() || errors.Is(e.Err, errReplyForm))
}

// use sends over c, then keeps c or closes it. Only 421 and broken replies end a
// connection, and a new one that is one too many; other refusals concern the mail.
func (p *Pool) use(ctx context.Context, c *conn, env Envelope, content []byte) error {
	carried := c.carried
	err := c.send(ctx, env, content)
	if e, _ := errors.AsType[*Error](err); !carried && c.offers.pipelining && e.misunderstood() {
		e.oneByOne = true // a program in between cannot do what is offered
		p.plain.Store(true)
		p.drop(c)
		return err
	}
	switch e, _ := errors.AsType[*Error](err); {
	case c.lost, c.broken:
		p.drop(c)
	case err == nil:
		p.keep(c)
	case e.replyCode() == 421, carried && e.rejectedSender(), !carried && e.tooMany():
		p.quit(c)
	case e.replyCode() != 0, e.Permanent:
		p.keep(c)
	default:
		p.drop(c)
	}
	return err
}

// acquire waits for the right to have one connection in use.
func (p *Pool) acquire(ctx context.Context) error {
	select {
	case <-p.done:
		return &Error{Stage: StageConnect, Err: ErrClosed}
	default:
	}
	select {
	case <-ctx.Done():
		return newError(ctx, StageConnect, ctx.Err())
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil // nobody is waiting
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-p.done:
		return &Error{Stage: StageConnect, Err: ErrClosed}
	case <-ctx.Done():
		return newError(ctx, StageConnect, ctx.Err())
	}
}

func (p *Pool) release() { <-p.slots }

// popIdle returns the most recently used idle connection, or nil.
func (p *Pool) popIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pop()
}

// pop is popIdle with p.mu held.
func (p *Pool) pop() *conn {
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	c := p.idle[n]
	p.idle = p.idle[:n]
	c.idle.Stop()
	return c
}

// makeRoom closes the oldest idle connection if a new one would exceed the
// maximum. The caller holds a slot, which counts for the new connection.
func (p *Pool) makeRoom() {
	p.mu.Lock()
	var c *conn
	if len(p.idle) > 0 && len(p.idle)+len(p.slots) > cap(p.slots) {
		c = p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
	}
	p.mu.Unlock()
	if c != nil {
		c.idle.Stop()
		p.quit(c)
	}
}

// keep passes c to the send that has waited longest, or else adds it to the
// idle connections. It closes c if c has sent MaxPerConn mails.
func (p *Pool) keep(c *conn) {
	if c.sent >= p.cfg.MaxPerConn {
		p.quit(c)
		return
	}
	c.used = time.Now()
	p.mu.Lock()
	closed := p.closed
	switch {
	case closed:
	case len(p.turns) > 0:
		p.turns[0] <- c
		p.turns = p.turns[1:]
	default:
		if c.idle == nil {
			c.idle = time.AfterFunc(p.cfg.IdleTimeout, func() { p.expire(c) })
		} else {
			c.idle.Reset(p.cfg.IdleTimeout)
		}
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if closed {
		p.quit(c)
	}
}

// expire closes c if it is still idle.
func (p *Pool) expire(c *conn) {
	p.mu.Lock()
	found := false
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			found = true
			break
		}
	}
	p.mu.Unlock()
	if found {
		p.quit(c)
	}
}
