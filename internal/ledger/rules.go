package ledger

import (
	"crypto/subtle"
	"time"
)

// Verdict is the result of Check or Look. The zero Verdict means nothing and
// must never be taken for success.
type Verdict uint8

// The verdicts, in the order in which they are decided.
const (
	_         Verdict = iota
	Unknown           // no such challenge, already used, or another purpose
	ClockBack         // the clock is before SentAt: not verified
	Expired
	Exhausted
	Escalated
	Malformed // looks like the other kind of code; not counted
	Wrong     // counted
	Live      // only from Look: a guess can be made
	Right     // only from Check: the challenge has been removed
)

// Guess is what was typed, as normalized by the two generators. A field is
// empty if the input cannot be a code of that generator.
type Guess struct{ Short, Strong string }

// find returns the lane and the index of the challenge with this nonce and
// purpose.
func (l *Ledger) find(now Ms, nonce [16]byte, purpose string) (a *lane, i int, ok bool) {
	for n := range l.lanes {
		a = &l.lanes[n]
		for i = range a.challenges {
			c := &a.challenges[i]
			if subtle.ConstantTimeCompare(c.Nonce[:], nonce[:]) == 1 {
				return a, i, c.Purpose == purpose && now < c.Deadline+Of(Afterlife)
			}
		}
	}
	return nil, 0, false
}

// state returns the verdict on a challenge without a guess at it.
func (l *Ledger) state(now Ms, r Rules, a *lane, c *Challenge) Verdict {
	switch {
	case c.SentAt > now+Of(ClockSlack):
		return ClockBack
	case now >= c.Deadline:
		return Expired
	case c.Wrong >= c.Guesses:
		return Exhausted
	case !c.Strong && l.strongOnly(now, r, a):
		return Escalated
	}
	return Live
}

func (l *Ledger) strongOnly(now Ms, r Rules, a *lane) bool {
	return l.StrongUntil != nil && *l.StrongUntil > now || a.spent(now, r.Wrong)
}

// Look returns the state of a challenge and a copy of it.
func (l *Ledger) Look(now Ms, r Rules, nonce [16]byte, purpose string) (Verdict, Challenge) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Unknown, Challenge{}
	}
	return l.state(now, r, a, &a.challenges[i]), a.challenges[i]
}

// Check decides on a guess. Wrong and Right change the ledger, and the caller
// must store the change before it returns them to anybody, because of parallel
// guesses (RFC 4226 7.3). The returned challenge is a copy of its state after
// the guess.
func (l *Ledger) Check(now Ms, r Rules, nonce [16]byte, purpose string, g Guess) (Verdict, Challenge) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Unknown, Challenge{}
	}
	c := &a.challenges[i]
	if v := l.state(now, r, a, c); v != Live {
		return v, *c
	}
	typed := g.Short
	if c.Strong {
		typed = g.Strong
	}
	if typed == "" {
		return Malformed, *c
	}
	equal := subtle.ConstantTimeCompare([]byte(typed), []byte(c.Code))
	if c.Decoy {
		equal = 0
	}
	if equal != 1 {
		c.Wrong++
		if !c.Strong {
			a.wrong = appendEvent(a.wrong, now)
		}
		return Wrong, *c
	}
	used := *c
	a.challenges = append(a.challenges[:i], a.challenges[i+1:]...)
	return Right, used
}

// Resend decides whether the code of a challenge can be mailed again. If Renew
// is set, a new challenge must be opened in place of the old one; otherwise, if
// the verdict is Live, the same code must be mailed, and the send is reserved.
// A positive Wait means that the sends of the lane are spent; then nothing is
// reserved.
func (l *Ledger) Resend(now Ms, r Rules, nonce [16]byte, purpose string) (re Resent) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Resent{Verdict: Unknown}
	}
	re.Challenge = a.challenges[i]
	re.Verdict = l.state(now, r, a, &re.Challenge)
	if re.Verdict == ClockBack {
		return re
	}
	if at, limited := a.sendFreeAt(r.Sends); limited && at > now {
		re.Wait = span(at - now)
		return re
	}
	re.Renew = re.Verdict != Live || re.Challenge.Deadline-now < Of(RenewBefore)
	if !re.Renew {
		re.Reserved = a.addSend(now)
	}
	return re
}

// Resent is what [Ledger.Resend] decided.
type Resent struct {
	Verdict   Verdict
	Challenge Challenge     // a copy
	Renew     bool          // a new challenge must be opened in its place
	Wait      time.Duration // if positive: how long to wait
	Reserved  Ms            // the time of the reserved send, for Refund
}

// StrongNext reports whether the next code of the lane must be a strong one.
func (l *Ledger) StrongNext(now Ms, r Rules, n Lane) bool {
	return l.strongOnly(now, r, &l.lanes[n])
}

// Open adds a challenge to its lane and reserves a send at the time at, or
// returns how long to wait. If the challenge is already there, because an
// earlier swap was made but its reply was lost, Open copies it to c and adds
// nothing: two challenges with the same ID could be passed twice.
func (l *Ledger) Open(now Ms, r Rules, c *Challenge) (at Ms, wait time.Duration) {
	a := &l.lanes[c.Lane]
	if i := a.index(c.Nonce); i >= 0 {
		*c = a.challenges[i]
		return c.SentAt, 0
	}
	if at, limited := a.sendFreeAt(r.Sends); limited && at > now {
		return 0, span(at - now)
	}
	if wait := l.makeRoom(now, r, a, c); wait > 0 {
		return 0, wait
	}
	a.challenges = append(a.challenges, *c)
	return a.addSend(now), 0
}

// makeRoom drops challenges that can no longer be passed, oldest first, until c
// fits. It never drops a live one. If c does not fit, it returns how long to
// wait and drops nothing, because the ledger is written after a clock repair
// even if the request is rejected.
func (l *Ledger) makeRoom(now Ms, r Rules, a *lane, c *Challenge) (wait time.Duration) {
	alive, size := 0, a.size()+c.size()
	least, next := size, c.Deadline
	for i := range a.challenges {
		if have := &a.challenges[i]; l.state(now, r, a, have) == Live {
			alive++
			next = min(next, have.Deadline)
		} else {
			least -= have.size()
		}
	}
	if alive >= maxLive || least > maxLane {
		return span(next - now)
	}
	a.challenges = prune(a.challenges, func(have Challenge) bool {
		if size <= maxLane || l.state(now, r, a, &have) == Live {
			return true
		}
		size -= have.size()
		return false
	})
	return 0
}

// ResendAt returns when the limits allow another send in the lane, which may be
// in the past.
func (l *Ledger) ResendAt(r Rules, c *Challenge) Ms {
	at, limited := l.lanes[c.Lane].sendFreeAt(r.Sends)
	if !limited {
		return c.SentAt
	}
	return at
}

// Refund refunds the send that was reserved at the time at, unless three sends
// were refunded in the last hour. If opened is true, it also removes the
// challenge, because its mail was certainly not sent.
func (l *Ledger) Refund(now, at Ms, c *Challenge, opened bool) {
	a := &l.lanes[c.Lane]
	refunds, pick := 0, -1
	for i, s := range a.sends {
		if s.refunded && now-s.at < Of(refundWindow) {
			refunds++
		}
		if s.at <= at { // the newest one: a clock repair may have moved it back
			pick = i
		}
	}
	if pick >= 0 && refunds < refundsMax {
		a.sends[pick].refunded = true // even if it already is: refund no other
	}
	if i := a.index(c.Nonce); opened && i >= 0 {
		a.challenges = append(a.challenges[:i], a.challenges[i+1:]...)
	}
}

// MakeDecoy turns a challenge into a decoy, which looks real but can never be
// passed.
func (l *Ledger) MakeDecoy(c *Challenge) {
	a := &l.lanes[c.Lane]
	if i := a.index(c.Nonce); i >= 0 {
		a.challenges[i].Decoy = true
	}
}

func (a *lane) index(nonce [16]byte) int {
	for i := range a.challenges {
		if subtle.ConstantTimeCompare(a.challenges[i].Nonce[:], nonce[:]) == 1 {
			return i
		}
	}
	return -1
}
