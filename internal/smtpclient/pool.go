// Package smtpclient sends mail through one SMTP server over a bounded pool of
// connections. It adds to go-smtp what that leaves open: contexts, limits on
// every byte, no credentials in clear text, a sorting of errors.
package smtpclient

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// maxRetries is how often a send is tried again within one call.
	maxRetries = 2

	// retryPause is the first pause before a retry; the second is 4 times
	// as long.
	retryPause = 100 * time.Millisecond
)

// Pool is a bounded set of connections to one server. It is safe for
// concurrent use and has no goroutine of its own.
type Pool struct {
	cfg     Config
	slots   chan struct{} // one for each connection in use; who waits longest is next
	done    chan struct{} // closed by Close
	backoff backoff
	pause   time.Duration // before the first retry; tests make it long

	mu     sync.Mutex
	idle   []*conn      // the last one was used last
	turns  []chan *conn // of those who are held back, in order; none while one is idle
	closed bool
}

// NewPool returns a Pool that has not connected yet.
func NewPool(cfg Config) *Pool {
	return &Pool{
		cfg:     cfg,
		slots:   make(chan struct{}, cfg.MaxConns),
		done:    make(chan struct{}),
		backoff: backoff{first: cfg.Backoff},
		pause:   retryPause,
	}
}

// Send hands one mail to the server. It tries again, twice at most, after a
// 4yz reply or a dropped connection while no content was written, since then
// nothing can arrive twice (RFC 5321 section 4.5.3.2.6). The error is an
// *[Error].
func (p *Pool) Send(ctx context.Context, env Envelope, content []byte) error {
	pause := p.pause
	var before error
	for attempt := 0; ; attempt++ {
		err := p.try(ctx, env, content, attempt > 0)
		e, failed := errors.AsType[*Error](err)
		if before != nil && ctx.Err() != nil && failed && e.Stage == StageConnect {
			return before // which tells more than that time is up
		}
		before = err
		if !failed || attempt == maxRetries || !e.retryable() {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 4
	}
}

// Ping opens a new connection and keeps it in the pool.
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
	c, err := dial(ctx, &p.cfg)
	p.backoff.note(round, err)
	if err != nil {
		return err
	}
	p.keep(c)
	return nil
}

// Close closes the unused connections and lets sends in progress finish, whose
// connections are then closed too. Waiting and later sends fail with
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
		wg.Go(c.quit)
	}
	wg.Wait()
}

// try sends once, over an unused connection or a new one.
func (p *Pool) try(ctx context.Context, env Envelope, content []byte, fresh bool) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	var c *conn
	if !fresh {
		c = p.popIdle()
	}
	for {
		if c != nil && !c.ready(ctx) {
			c.wire.Close()
			c = nil
		}
		if c != nil {
			err := p.use(ctx, c, env, content)
			if !gone(err) {
				return err
			}
			// The server closed it while nobody looked: that says nothing
			// about this mail, of which no recipient was named yet.
		}
		kept, round, err := p.turn(ctx, true)
		if err != nil {
			return err
		}
		if c = kept; c != nil {
			continue
		}
		p.makeRoom()
		c, err = dial(ctx, &p.cfg)
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

// use sends over c and then keeps or closes it.
func (p *Pool) use(ctx context.Context, c *conn, env Envelope, content []byte) error {
	err := c.send(ctx, env, content)
	switch e, _ := errors.AsType[*Error](err); {
	case c.lost, c.broken:
		c.wire.Close()
	case err == nil || e.Permanent:
		p.keep(c) // a refusal for good is the mail's fault, not the connection's
	case e.replyCode() != 0:
		c.quit()
	default:
		c.wire.Close()
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
		return nil // nobody waits then
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

// popIdle returns the unused connection that was used last, nil if there is none.
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

// makeRoom closes the oldest unused connection if a new one would be one too
// many. The caller holds a slot, which counts for the new one.
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
		c.quit()
	}
}

// keep hands c to who is held back longest or else puts it back for the next send,
// unless it has done its share.
func (p *Pool) keep(c *conn) {
	if c.sent >= p.cfg.MaxPerConn {
		c.quit()
		return
	}
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
		c.quit()
	}
}

// expire closes c if it is still unused.
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
		c.quit()
	}
}
