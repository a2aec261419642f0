package smtpclient

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxBackoff is the longest pause, as a multiple of the first.
const maxBackoff = 30

// backoff delays new connections after the server has refused one: it then has
// too many, is shutting down or rejects the login, and more attempts make that
// worse. As long as no connection is open, only one is opened, and the others wait
// for its result, so that a wrong password costs one login and not one for each
// visitor.
type backoff struct {
	first time.Duration // the first pause; 0 disables all delays

	mu      sync.Mutex
	pause   time.Duration // 0 while there is no delay
	until   time.Time     // when the next attempt may start
	refusal error         // why, if waiting does not help: a rejected login
	trying  int           // connections that are being opened
	open    int           // connections that are open
	tried   bool          // one was tried since there was an open one
	changed chan struct{} // closed when any of this changes for those who wait
	round   int           // changes whenever pause does
}

// next returns how long to wait before a new connection; the wait also ends
// when changed is closed. If it is 0, connect now and pass the result to note,
// together with the round. refusal is why there is no use in waiting.
func (b *backoff) next() (wait time.Duration, changed <-chan struct{}, round int, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	if b.pause > 0 {
		if wait := time.Until(b.until); wait > 0 {
			if b.open == 0 {
				refusal = b.refusal
			}
			return wait, b.changed, b.round, refusal
		}
		b.until = time.Now().Add(b.pause) // one tries, the others wait for its result
	} else if b.first > 0 && b.open == 0 && b.trying > 0 && !b.tried {
		return time.Hour, b.changed, b.round, nil
	}
	b.trying++
	return 0, nil, b.round, nil
}

// wake lets those who wait look again. The caller holds b.mu.
func (b *backoff) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// refused records a refusal. It ignores connections that were started in an
// earlier round, which already had its result.
func (b *backoff) refused(round int, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 || round != b.round {
		return
	}
	b.pause = min(max(b.first, 2*b.pause), maxBackoff*b.first)
	b.until = time.Now().Add(b.pause)
	b.refusal = refusal
	b.round++
	b.wake()
}

// taken records that the server accepted a connection.
func (b *backoff) taken(round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 || round != b.round {
		return
	}
	b.pause = 0
	b.round++
	b.wake()
}

// opened counts an open connection, and closed one that is no longer open.
func (b *backoff) opened() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	b.wake()
}

func (b *backoff) closed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.tried = b.tried && b.open > 0
}

// note records the result of a new connection.
func (b *backoff) note(round int, err error) {
	b.mu.Lock()
	b.trying--
	b.tried = true
	b.mu.Unlock()
	e, failed := errors.AsType[*Error](err)
	code := 0
	if failed {
		code = e.replyCode()
	}
	switch {
	case !failed:
		b.taken(round)
	case code == 421 && (e.Stage == StageRcpt || e.Stage == StageData):
		b.taken(round)
	case e.tooMany():
		b.refused(round, nil)
	case e.Stage == StageAuth && (code != 0 || e.setup()):
		b.refused(round, err)
	case (e.Stage == StageHello || e.Stage == StageTLS) && code/100 == 4:
		b.refused(round, nil)
	case (e.Stage == StageHello || e.Stage == StageTLS) && code/100 == 5:
		b.refused(round, err)
	case (e.Stage == StageMail || e.Stage == StageRcpt || e.Stage == StageData) && code != 0:
		b.taken(round)
	}
	b.mu.Lock()
	b.wake()
	b.mu.Unlock()
}

// turn waits until a new connection may be opened; c is then nil. If reuse is
// true, it may return an idle connection instead. The longest waiter is first.
func (p *Pool) turn(ctx context.Context, reuse bool) (c *conn, round int, err error) {
	var handed chan *conn // nil until this send waits
	defer func() {
		if late := p.leave(handed); late != nil {
			p.keep(late)
		}
	}()
	for {
		wait, changed, round, refusal := p.backoff.next()
		if wait == 0 {
			return nil, round, nil
		}
		if reuse && handed == nil {
			if c, handed = p.line(); c != nil {
				return c, 0, nil
			}
		}
		if refusal != nil {
			return nil, 0, refusal
		}
		timer := time.NewTimer(wait)
		select {
		case c = <-handed:
			if ctx.Err() != nil { // another send can still use the connection
				p.keep(c)
				c, err = nil, newError(ctx, StageConnect, ctx.Err())
			}
		case <-changed:
		case <-timer.C:
		case <-p.done:
			err = &Error{Stage: StageConnect, Err: ErrClosed}
		case <-ctx.Done():
			err = newError(ctx, StageConnect, ctx.Err())
		}
		timer.Stop()
		if c != nil || err != nil {
			return c, 0, err
		}
	}
}

// line returns an idle connection or, if there is none, a channel that receives
// one when it is this caller's turn.
func (p *Pool) line() (*conn, chan *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.pop(); c != nil {
		return c, nil
	}
	handed := make(chan *conn, 1)
	p.turns = append(p.turns, handed)
	return nil, handed
}

// leave ends the wait. It returns a connection that arrived too late to be
// received.
func (p *Pool) leave(handed chan *conn) *conn {
	if handed == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.turns, handed); i >= 0 {
		p.turns = slices.Delete(p.turns, i, i+1)
	}
	select {
	case c := <-handed:
		return c
	default:
		return nil
	}
}
