package model

// A verdict is the outcome of a call.
type verdict string

const (
	fine        verdict = "fine"
	badAddress  verdict = "bad address"
	malformed   verdict = "malformed"
	wrong       verdict = "wrong"
	expired     verdict = "expired"
	exhausted   verdict = "exhausted"
	escalated   verdict = "escalated"
	unknown     verdict = "unknown"
	limited     verdict = "limited"
	tryLater    verdict = "send: temporary"
	refusedSend verdict = "send: permanent"
	maybeSent   verdict = "send: maybe"
	broken      verdict = "failure of the system"
)

// An answer is everything that a call must return.
type answer struct {
	verdict
	retryAfter int64      // with limited
	about      *challenge // nil for the zero Challenge
	passed     bool       // with To, Vars and Device
	left       int        // guesses
	resendAt   int64      // when another mail may be sent
	room       bool       // it may be sent now, so any earlier moment will do
	noResendAt bool       // the challenge was erased meanwhile, so any moment will do
	clockBack  bool       // an event reports a clock that is behind
	unknownKey bool       // an event reports a ledger under an unknown secret
}

// show returns an answer with the present state of the challenge.
func (m *model) show(p policy, v verdict, c *challenge) answer {
	a := answer{verdict: v, about: c, left: c.guesses - c.wrong}
	a.resendAt = m.roomAt(mailed, c.whose, c.lane, p.mails)
	a.room = a.resendAt == m.now
	return a
}

// judge decides from "unknown" to "escalated" in the whole order: bad ID, bad
// shape, unknown, clock, expired, exhausted, escalated, malformed, wrong.
func (m *model) judge(p policy, purpose string, c *challenge) (a answer, repaired bool) {
	readable, repaired := m.load(p, c.whose)
	if !readable {
		hit("unknown: lost")
		return answer{verdict: unknown, unknownKey: true}, false
	}
	if c.gone || c.purpose != purpose || m.now >= c.deadline+hour {
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
	case m.now < c.sentAt-minute:
		return broken
	case m.now >= c.deadline:
		return expired
	case c.wrong >= c.guesses:
		return exhausted
	case !c.strong && m.strongOnly(p, c.whose, c.lane):
		return escalated
	}
	return fine
}

// check is the model's Check.
func (m *model) check(p policy, purpose, id, input string) answer {
	c := m.find(p, id)
	if c == nil {
		return answer{verdict: unknown}
	}
	short, isShort := p.short[kindOf(purpose)].read(input)
	long, isLong := fourteen.read(input)
	if !isShort && !isLong {
		return answer{verdict: malformed}
	}
	a, repaired := m.judge(p, purpose, c)
	if a.verdict == fine {
		typed, fits := short, isShort
		if c.strong {
			typed, fits = long, isLong
		}
		switch {
		case !fits:
			hit("malformed: the other kind of code")
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
			c.gone = true
			m.save(p, c.whose)
			hit("right")
			if c.strong {
				hit("right: strong")
			}
			a = m.show(p, fine, c)
			a.passed = true
			return a
		}
	}
	if repaired {
		hit("a refusal that is written: check")
		m.save(p, c.whose)
	}
	return a
}

// status is the model's Status. It changes nothing.
func (m *model) status(p policy, purpose, id string) answer {
	c := m.find(p, id)
	if c == nil {
		return answer{verdict: unknown}
	}
	a, _ := m.peek(p, purpose, c)
	return a
}

// peek is judge without side effects.
func (m *model) peek(p policy, purpose string, c *challenge) (a answer, repaired bool) {
	var before []int64
	for _, e := range m.events {
		before = append(before, e.at)
	}
	a, repaired = m.judge(p, purpose, c)
	for i, e := range m.events {
		e.at = before[i]
	}
	return a, repaired
}

// forget is the model's Forget.
func (m *model) forget(whose string) answer {
	m.erase(whose)
	return answer{verdict: fine}
}
