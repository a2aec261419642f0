package ledger

import (
	"crypto/subtle"
	"maps"
	"slices"
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
	Malformed // not a code of the kind that was mailed; not counted
	Wrong     // counted
	Live      // only from Look: a guess can be made
	Right     // only from Check: the challenge has been removed
)

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
	case !c.Strong && a.spent(now, r.Wrong):
		// Where all verifiers have the same limits this never happens, since the
		// guesses were reserved. It holds each verifier to its own limits where
		// they differ.
		return Exhausted
	}
	return Live
}

// Reserve decides the next code of a lane, whose life will be ttl: strong, or
// short with how many guesses. A short challenge reserves its guesses when it is
// opened, so that nobody else can use them up and a live code keeps working
// whatever others guess. It gets half of what is free, so that the next ones get
// some too: with the defaults 5, 3, 2, and then strong codes.
func (l *Ledger) Reserve(now Ms, r Rules, n Lane, guesses int, ttl time.Duration) (strong bool, allowed int) {
	a := &l.lanes[n]
	free, least := MaxEvents, MaxEvents
	for _, lim := range r.Wrong {
		left := lim.N
		for _, at := range a.wrong {
			if now-at < Of(lim.Per+ClockSlack) {
				left--
			}
		}
		free, least = min(free, left), min(least, lim.N)
	}
	for i := range a.challenges {
		if c := &a.challenges[i]; !c.Strong && c.open(now) {
			free -= c.Left()
		}
	}
	if ttl > longLife {
		free, least = free-least/2, least-least/2
	}
	least = min(leastGuesses, guesses, least)
	if free < least || l.StrongUntil != nil && *l.StrongUntil > now {
		return true, guesses
	}
	return false, min(guesses, max(least, free-free/2))
}

// Look returns the state of a challenge and a copy of it.
func (l *Ledger) Look(now Ms, r Rules, nonce [16]byte, purpose string) (Verdict, Challenge) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Unknown, Challenge{}
	}
	return l.state(now, r, a, &a.challenges[i]), a.challenges[i]
}

// Check decides on a guess: the code that was typed, or "" if the input is no
// code of the challenge's kind. Wrong and Right change the ledger, and the caller
// must store the change before it returns them to anybody, because of parallel
// guesses (RFC 4226 7.3). The returned challenge is a copy of its state after
// the guess.
func (l *Ledger) Check(now Ms, r Rules, nonce [16]byte, purpose, typed string) (Verdict, Challenge) {
	a, i, ok := l.find(now, nonce, purpose)
	if !ok {
		return Unknown, Challenge{}
	}
	c := &a.challenges[i]
	if v := l.state(now, r, a, c); v != Live {
		return v, *c
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
	a.markPassed(used.MailedAt)
	if !used.Strong {
		a.forgive(&used)
	}
	return Right, used
}

// markPassed marks the mail that was answered.
func (a *lane) markPassed(mailedAt Ms) {
	for i := len(a.sends) - 1; i >= 0; i-- {
		if s := &a.sends[i]; s.at == mailedAt && !s.passed {
			s.passed = true
			return
		}
	}
}

// forgive drops the wrong guesses of a challenge that was passed: whoever passed
// it was its owner, so they were typos (NIST SP 800-63B 3.2.2). It drops the
// oldest that can be these, by any clock, so that a guess of somebody else in
// between is counted for longer, never shorter.
func (a *lane) forgive(c *Challenge) {
	from := len(a.wrong)
	for from > 0 && a.wrong[from-1] >= c.SentAt-Of(ClockSlack) {
		from--
	}
	a.wrong = slices.Delete(a.wrong, from, min(from+c.Wrong, len(a.wrong)))
}

// MailsAgain reports whether a resend of c at now mails the same code: it is
// live, and at least half of its life is left.
func (l *Ledger) MailsAgain(now Ms, r Rules, c *Challenge) bool {
	return l.state(now, r, &l.lanes[c.Lane], c) == Live && now <= c.half()
}

// half is the last time at which at least half of the life is left.
func (c *Challenge) half() Ms { return c.SentAt + (c.Deadline-c.SentAt)/2 }

// ResendUntil returns the last time at which a resend can mail something.
func (c *Challenge) ResendUntil() Ms {
	if c.NoRenewal {
		return c.half()
	}
	return c.Deadline + Of(Afterlife) - 1
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
	c := &a.challenges[i]
	re.Verdict = l.state(now, r, a, c)
	re.Challenge = *c
	if re.Verdict == ClockBack {
		return re
	}
	if re.Renew = !l.MailsAgain(now, r, c); re.Renew {
		return re
	}
	if re.Wait = a.sendWait(now, r.Sends, c); re.Wait > 0 {
		return re
	}
	c.MailedAt = a.addSend(now)
	re.Challenge = *c
	return re
}

// Resent is what [Ledger.Resend] decided.
type Resent struct {
	Verdict   Verdict
	Challenge Challenge     // a copy; MailedAt is the time of the reserved send, for Refund
	Renew     bool          // a new challenge must be opened in its place
	Wait      time.Duration // if positive: how long to wait
}

// Held returns the challenge of want's lane that a visitor who asks for want, and
// holds the challenges with these nonces, can go on with: the one with the latest
// deadline of those that were opened for the same and would be mailed again.
func (l *Ledger) Held(now Ms, r Rules, want *Challenge, nonces [][16]byte) (held Challenge, ok bool) {
	a := &l.lanes[want.Lane]
	for _, nonce := range nonces {
		i := a.index(nonce)
		if i < 0 {
			continue
		}
		c := &a.challenges[i]
		if l.MailsAgain(now, r, c) && c.To == want.To && c.Purpose == want.Purpose && c.NoRenewal == want.NoRenewal &&
			maps.Equal(c.Vars, want.Vars) && (!ok || c.Deadline > held.Deadline) {
			held, ok = *c, true
		}
	}
	return held, ok
}

// SetLocale changes the language of a challenge.
func (l *Ledger) SetLocale(c *Challenge, locale string) {
	a := &l.lanes[c.Lane]
	if i := a.index(c.Nonce); i >= 0 {
		a.challenges[i].Locale, c.Locale = locale, locale
	}
}

// Open adds a challenge to its lane and reserves a send, whose time becomes
// c.MailedAt, or returns how long to wait. If the challenge is already there,
// because an earlier swap was made but its reply was lost, Open copies it to c
// and adds nothing: two challenges with the same ID could be passed twice. own is
// the challenge that c replaces, or nil.
func (l *Ledger) Open(now Ms, r Rules, c, own *Challenge) (wait time.Duration) {
	a := &l.lanes[c.Lane]
	if i := a.index(c.Nonce); i >= 0 {
		*c = a.challenges[i]
		return 0
	}
	if wait := a.sendWait(now, r.Sends, own); wait > 0 {
		return wait
	}
	if wait := a.makeRoom(now, c); wait > 0 {
		return wait
	}
	c.MailedAt = a.addSend(now)
	a.challenges = append(a.challenges, *c)
	return 0
}

// makeRoom drops challenges at which nobody can guess any more, oldest first,
// until c fits. It never drops an open one. If c does not fit, it returns how
// long to wait and drops nothing, because the ledger is written after a clock
// repair even if the request is rejected.
func (a *lane) makeRoom(now Ms, c *Challenge) (wait time.Duration) {
	open, size := 0, a.size()+c.size()
	least, next := size, c.Deadline
	for i := range a.challenges {
		if have := &a.challenges[i]; have.open(now) {
			if open++; open == 1 || have.Deadline < next {
				next = have.Deadline
			}
		} else {
			least -= have.size()
		}
	}
	if open >= maxLive || least > maxLane {
		return span(ceilTo(next+Of(ClockSlack), Of(roomStep)) - now)
	}
	a.challenges = prune(a.challenges, func(have Challenge) bool {
		if size <= maxLane || have.open(now) {
			return true
		}
		size -= have.size()
		return false
	})
	return 0
}

// ResendAt returns when the challenge's own newest mail allows another one,
// which may be in the past. It does not depend on what others did.
func (c *Challenge) ResendAt(r Rules) Ms {
	at := c.MailedAt
	for _, lim := range r.Sends {
		if lim.N == 1 {
			at = max(at, release(c.MailedAt, lim.Per))
		}
	}
	return at
}

// Refund refunds the newest send of the challenge, unless three sends were
// refunded in the last hour. If opened is true, it also removes the challenge,
// because its mail was certainly not sent.
func (l *Ledger) Refund(now Ms, c *Challenge, opened bool) {
	a := &l.lanes[c.Lane]
	refunds, pick := 0, -1
	for i, s := range a.sends {
		if s.refunded && now-s.at < Of(refundWindow) {
			refunds++
		}
		if s.at <= c.MailedAt { // the newest one: a clock repair may have moved it back
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
