package model

import (
	"slices"
)

// A verdict is the outcome of a call.
type verdict string

const (
	fine       verdict = "fine"
	badAddress verdict = "bad address"
	malformed  verdict = "malformed"
	wrong      verdict = "wrong"
	expired    verdict = "expired"
	exhausted  verdict = "exhausted"
	unknown    verdict = "unknown"
	limited    verdict = "limited"
	notSent    verdict = "not sent"
	broken     verdict = "failure of the system"
)

// An answer is everything that a call must return.
type answer struct {
	verdict
	retryAfter int64      // with limited
	scope      string     // with limited
	about      *challenge // nil for the zero Challenge
	passed     bool       // with To, Vars and Device
	left       int        // guesses
	resendAt   int64      // when the next mail may be sent as far as its own mails matter
	issued     int64      // when the token of the device is issued
	clockBack  bool       // an event reports a clock that is behind
	unknownKey bool       // an event reports a ledger under an unknown secret
}

// show returns an answer with the present state of the challenge.
func (m *model) show(p policy, v verdict, c *challenge) answer {
	a := answer{verdict: v, about: c, left: c.guesses - c.wrong, resendAt: c.mailedAt}
	if v == exhausted {
		a.left = 0
	}
	// Whatever others do, only the last mail of this challenge moves it.
	for _, limit := range p.mails {
		if mail := (&event{kind: mailed, at: c.mailedAt}); limit.N == 1 {
			a.resendAt = max(a.resendAt, mail.leaves(limit))
		}
	}
	return a
}

// judge decides everything that comes before the guess itself: unknown, clock,
// expired, exhausted.
func (m *model) judge(p policy, purpose string, c *challenge) (a answer, repaired bool) {
	readable, repaired := m.load(p, c.whose)
	if !readable {
		hit("unknown: lost")
		return answer{verdict: unknown, unknownKey: true}, false
	}
	if c.gone || c.purpose != purpose || m.now >= c.deadline+keepRenewals {
		switch {
		case c.gone:
			hit("unknown: gone")
		case c.purpose != purpose:
			hit("unknown: another purpose")
		default:
			hit("unknown: an hour over")
		}
		return answer{verdict: unknown}, repaired
	}
	v := m.state(p, c)
	if v == broken {
		hit("clock back")
		return answer{verdict: broken, clockBack: true}, repaired
	}
	return m.show(p, v, c), repaired
}

// state returns the state of a challenge that is in its ledger.
func (m *model) state(p policy, c *challenge) verdict {
	switch {
	case m.now < c.sentAt-slack:
		return broken
	case m.now >= c.deadline:
		return expired
	case c.wrong >= c.guesses:
		return exhausted
	case !c.strong && m.net(p, c):
		return exhausted
	}
	return fine
}

// check is the model's Check.
func (m *model) check(p policy, purpose, id, input string) answer {
	c := m.find(p, id)
	if c == nil {
		return answer{verdict: unknown}
	}
	if len(input) > maxInput {
		hit("malformed: long")
		return answer{verdict: malformed}
	}
	a, repaired := m.judge(p, purpose, c)
	if a.verdict == fine {
		typed, fits := c.reader(p).read(input)
		if c.reader(p) != p.short[kindOf(purpose)] && !c.strong {
			hit("a code of another verifier's shape")
		}
		switch {
		case !fits:
			hit("malformed: another shape")
			a = m.show(p, malformed, c)
		case c.decoy || typed != c.code:
			if c.decoy && typed == c.code {
				hit("wrong: the right code of a decoy")
			}
			c.wrong++
			if !c.strong {
				m.record(guessed, c.whose, c.lane)
			}
			m.save(p, c.whose)
			return m.show(p, wrong, c)
		default:
			return m.right(p, c)
		}
	}
	if repaired {
		hit("a refusal that is written: check")
		m.save(p, c.whose)
	}
	return a
}

// right is what happens after a right guess: the challenge is used up, its mail no
// longer counts in windows of up to a minute, and its wrong guesses were typos of
// its owner.
func (m *model) right(p policy, c *challenge) answer {
	c.gone, c.done = true, true
	hit("right")
	if c.strong {
		hit("right: strong")
	}
	if c.lane == known {
		hit("right: known lane")
	}
	mails := m.list(mailed, c.whose, c.lane)
	for _, e := range slices.Backward(mails) {
		if e.at == c.mailedAt && !e.passed {
			e.passed = true
			hit("passed: mail")
			if e.back {
				hit("passed: a refunded mail")
			}
			break
		}
	}
	if !c.strong {
		wrongs := m.list(guessed, c.whose, c.lane)
		wrongs = slices.DeleteFunc(wrongs, func(e *event) bool { return e.at < c.sentAt-slack })
		for _, e := range wrongs[:min(c.wrong, len(wrongs))] {
			e.gone = true
			hit("typo forgiven")
		}
	}
	m.save(p, c.whose)
	a := m.show(p, fine, c)
	a.passed = true
	a.issued = down(max(m.now, m.ledgers[c.whose].devicesFrom), second)
	return a
}

// status is the model's Status. It changes nothing.
func (m *model) status(p policy, purpose, id string) (a answer) {
	c := m.find(p, id)
	if c == nil {
		return answer{verdict: unknown}
	}
	m.dry(func() { a, _ = m.judge(p, purpose, c) })
	return a
}

// forget is the model's Forget. It keeps only what revokes tokens of devices.
func (m *model) forget(p policy, whose string) answer {
	readable, _ := m.load(p, whose)
	stored := m.ledgers[whose]
	if stored == nil {
		return answer{verdict: fine}
	}
	from := stored.devicesFrom
	if !readable {
		from = m.revocation()
		hit("forgotten: lost")
	}
	m.erase(whose)
	if from != 0 && m.now < from+keepDevices {
		hit("forgotten: but for revoked devices")
		m.ledgers[whose] = &ledger{devicesFrom: from}
		m.write(p, whose)
	}
	return answer{verdict: fine}
}

// revoke is the model's RevokeDevices.
func (m *model) revoke(p policy, whose string) answer {
	readable, _ := m.load(p, whose)
	switch {
	case !readable:
		m.startOver(p, whose)
		hit("revoked: lost")
	case m.ledgers[whose] == nil:
		m.ledgers[whose] = &ledger{}
	}
	stored := m.ledgers[whose]
	if stored.devicesFrom != 0 { // the newest tokens are stamped with it
		stored.devicesFrom += second
	}
	stored.devicesFrom = max(stored.devicesFrom, m.revocation())
	for _, c := range m.lane(whose, known) {
		c.gone = true
		hit("revoked: a challenge")
	}
	m.save(p, whose)
	return answer{verdict: fine, unknownKey: !readable}
}
