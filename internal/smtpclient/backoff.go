package smtpclient

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxBackoff is how many times the first pause the longest is.
const maxBackoff = 30

// backoff holds new connections back from a server that has said 421 to one: it has
// too many, or is going down, and to ask it again at once makes that worse.
type backoff struct {
	first time.Duration // pause; 0 holds nothing back

	mu    sync.Mutex
	pause time.Duration // 0 while nothing is held back
	until time.Time     // when the next one may be tried
	over  chan struct{} // closed when nothing is held back any more
	round int           // changes whenever pause does
}

// next returns how long to wait before a new connection, less if over is closed. 0
// is now; the result of it goes to refused or taken, with the round.
func (b *backoff) next() (wait time.Duration, over <-chan struct{}, round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return 0, nil, b.round
	}
	if wait := time.Until(b.until); wait > 0 {
		return wait, b.over, b.round
	}
	b.until = time.Now().Add(b.pause) // one tries, the others wait for what comes of it
	return 0, nil, b.round
}

// refused notes a 421. Connections that were begun in an earlier round do not count:
// it has been answered already.
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

// taken notes that the server has taken a connection.
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

// note sorts what came of a new connection.
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

// turn waits until a new connection may be opened, or until one is unused if reuse
// is set, and returns that. Who waits longest gets it: nobody who comes later does.
func (p *Pool) turn(ctx context.Context, reuse bool) (c *conn, round int, err error) {
	var handed chan *conn // nil until it waits
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
			if ctx.Err() != nil { // it would only be lost with it
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

// line returns an unused connection or, if there is none, where the next that is
// not for somebody else will come.
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

// leave ends waiting and returns what came too late to be seen.
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
