package ledger

import (
	"crypto/subtle"
	"time"
)

// Verdict is the answer to a guess or a look. The zero Verdict is none: it
// must never be taken for success.
type Verdict uint8

// The verdicts, in the order in which they are decided.
const (
	_         Verdict = iota
	Unknown           // no such challenge, used already, other purpose
	ClockBack         // the clock is earlier than the challenge: not verified
	Expired
	Exhausted
	Escalated
	Malformed // the shape of the other kind of code; not counted
	Wrong     // counted
	Live      // Look only: may be answered
	Right     // Check only: consumed
)

// Guess is what was typed, as the two generators read it. An empty field says
// that it does not have that generator's shape.
type Guess struct{ Short, Strong string }

// find returns the challenge with this nonce and purpose, its place and lane.
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

// state is the verdict on a challenge before any guess at it.
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

// Look says how a challenge stands and returns a copy of it.
func (l *Ledger) Look(now Ms, r Rules, nonce [16]byte, purpose string) (Verdict, Challenge) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Unknown, Challenge{}
	}
	return l.state(now, r, a, &a.challenges[i]), a.challenges[i]
}

// Check decides on a guess. Wrong and Right change the ledger: the caller
// tells them only after the change is kept (RFC 4226, 7.3: parallel guesses).
// The challenge returned is a copy as it stands afterwards.
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

// Resend decides on mailing a challenge again. With Live the same code is to
// be mailed and the send is reserved; with Renew a new challenge is to be
// opened in its place. A positive Wait says that the lane's sends are spent;
// then nothing is reserved.
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
	Renew     bool          // open a new one in its place
	Wait      time.Duration // positive: not before
	Reserved  Ms            // the send, for Refund
}

// StrongNext reports whether the next code of the lane must be a strong one.
func (l *Ledger) StrongNext(now Ms, r Rules, n Lane) bool {
	return l.strongOnly(now, r, &l.lanes[n])
}

// Open adds a challenge to its lane and reserves the send at the time at, or
// returns how long to wait. If the challenge is there already, because an earlier swap
// took effect though its answer was lost, Open fills c from it and adds
// nothing: two of one ID could be passed twice.
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

// makeRoom drops challenges that cannot be passed any more, oldest first,
// until c fits; a live one is never dropped: then it returns how long to wait
// and has dropped none, since a refusal is written after a clock repair.
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

// ResendAt is when the lane's sends have room again, which may be in the past.
func (l *Ledger) ResendAt(r Rules, c *Challenge) Ms {
	at, limited := l.lanes[c.Lane].sendFreeAt(r.Sends)
	if !limited {
		return c.SentAt
	}
	return at
}

// Refund gives back the send reserved at the time at, unless three were given
// back in the last hour; with opened it also removes the challenge, whose
// mail surely did not go out.
func (l *Ledger) Refund(now, at Ms, c *Challenge, opened bool) {
	a := &l.lanes[c.Lane]
	refunds, pick := 0, -1
	for i, s := range a.sends {
		if s.refunded && now-s.at < Of(refundWindow) {
			refunds++
		}
		if s.at <= at { // the newest: a clock repair may have moved it back
			pick = i
		}
	}
	if pick >= 0 && refunds < refundsMax {
		a.sends[pick].refunded = true // again if it is already: no other pays for it
	}
	if i := a.index(c.Nonce); opened && i >= 0 {
		a.challenges = append(a.challenges[:i], a.challenges[i+1:]...)
	}
}

// MakeDecoy makes a challenge one that can never be passed.
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
