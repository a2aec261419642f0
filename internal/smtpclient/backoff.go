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

// backoff delays new connections after the server has replied 421 to one. The
// server then has too many connections or is shutting down; more attempts make
// that worse.
type backoff struct {
	first time.Duration // the first pause; 0 disables the delays

	mu    sync.Mutex
	pause time.Duration // 0 while there is no delay
	until time.Time     // when the next attempt may start
	over  chan struct{} // closed when the delays end
	round int           // changes whenever pause does
}

// next returns how long to wait before a new connection; the wait also ends
// when over is closed. If it is 0, connect now and pass the result to refused
// or taken, together with the round.
func (b *backoff) next() (wait time.Duration, over <-chan struct{}, round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return 0, nil, b.round
	}
	if wait := time.Until(b.until); wait > 0 {
		return wait, b.over, b.round
	}
	b.until = time.Now().Add(b.pause) // one tries, the others wait for its result
	return 0, nil, b.round
}

// refused records a 421. It ignores connections that were started in an earlier
// round, which already had its result.
func (b *backoff) refused(round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 || round != b.round {
		return
	}
	if b.pause == 0 {
		b.over = make(chan struct{})
	}
	b.pause = min(max(b.first, 2*b.pause), maxBackoff*b.first)
	b.until = time.Now().Add(b.pause)
	b.round++
}

// taken records that the server accepted a connection.
func (b *backoff) taken(round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 || round != b.round {
		return
	}
	b.pause = 0
	close(b.over)
	b.round++
}

// note records the result of a new connection.
func (b *backoff) note(round int, err error) {
	code, stage := 250, StageData
	if e, ok := errors.AsType[*Error](err); ok {
		code, stage = e.replyCode(), e.Stage
	}
	switch stage {
	case StageRcpt, StageData:
		if code != 0 {
			b.taken(round)
		}
	default:
		if code == 421 {
			b.refused(round)
		}
	}
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
		wait, over, round := p.backoff.next()
		if wait == 0 {
			return nil, round, nil
		}
		if reuse && handed == nil {
			if c, handed = p.line(); c != nil {
				return c, 0, nil
			}
		}
		timer := time.NewTimer(wait)
		select {
		case c = <-handed:
			if ctx.Err() != nil { // another send can still use the connection
				p.keep(c)
				c, err = nil, newError(ctx, StageConnect, ctx.Err())
			}
		case <-over:
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
