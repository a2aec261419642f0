package model

// charge counts a start against a client. The verdict fine means: go on.
func (m *model) charge(p policy, w opening) answer {
	if w.client == "" || w.lane == known {
		return answer{verdict: fine}
	}
	readable, repaired := m.load(p, w.client)
	if !readable {
		m.erase(w.client)
	}
	if at := m.roomAt(started, w.client, strangers, p.starts); at > m.now {
		if repaired {
			hit("a refusal that is written: client")
			m.save(p, w.client)
		}
		hit("limited: client")
		return answer{verdict: limited, retryAfter: at - m.now, unknownKey: !readable}
	}
	m.record(started, w.client, strangers)
	m.save(p, w.client)
	return answer{verdict: fine, unknownKey: !readable}
}

// open creates a challenge and reserves its mail, or answers why it does not.
func (m *model) open(p policy, w opening, admitted bool) (c *challenge, reserved int64, a answer) {
	readable, repaired := m.load(p, w.whose)
	if !readable {
		m.erase(w.whose)
		m.record(lost, w.whose, strangers)
	}
	c = &challenge{
		opening:  w,
		decoy:    !admitted,
		strong:   m.strongOnly(p, w.whose, w.lane),
		sentAt:   m.now,
		deadline: m.now + p.ttl[kindOf(w.purpose)].Milliseconds(),
		guesses:  p.guesses,
		length:   p.short[kindOf(w.purpose)].n,
	}
	if c.strong {
		c.length = fourteen.n
	}
	at := m.roomAt(mailed, w.whose, w.lane, p.mails)
	if at > m.now {
		hit("limited: sends")
	} else {
		at = m.makeRoom(p, c)
	}
	if at > m.now {
		if repaired {
			hit("a refusal that is written: send")
			m.save(p, w.whose)
		}
		return nil, 0, answer{verdict: limited, retryAfter: at - m.now, unknownKey: !readable}
	}
	if c.decoy {
		hit("decoy: not admitted")
	}
	if w.lane == known {
		hit("known lane")
	}
	m.challenges = append(m.challenges, c)
	e := m.record(mailed, w.whose, w.lane)
	m.save(p, w.whose)
	a = m.show(p, fine, c)
	a.unknownKey = !readable
	return c, e.at, a
}

// makeRoom returns when a lane takes another challenge. If that helps at once, it
// drops dead ones, oldest first.
func (m *model) makeRoom(p policy, c *challenge) int64 {
	// Differs: the wait is until the first live one ends, which may not make enough room,
	// and is never longer than the life of the new one.
	lane, live, soonest := m.lane(c.opening), []*challenge(nil), c.deadline
	for _, other := range lane {
		if m.state(p, other) == fine {
			live = append(live, other)
			soonest = min(soonest, other.deadline)
		}
	}
	switch {
	case len(live) >= maxLive:
		hit("limited: live")
		return soonest
	case size(live...)+size(c) > maxBytes:
		hit("limited: size")
		return soonest
	}
	for _, other := range lane {
		if size(m.lane(c.opening)...)+size(c) > maxBytes && m.state(p, other) != fine {
			other.gone = true
			hit("dropped: dead")
		}
	}
	return m.now
}

// lane returns the challenges of a lane that a load finds, oldest first.
func (m *model) lane(w opening) (all []*challenge) {
	for _, c := range m.challenges {
		if c.whose == w.whose && c.lane == w.lane && !c.gone && m.now < c.deadline+hour {
			all = append(all, c)
		}
	}
	return all
}

// reservation finds the mail that was reserved at a time. Differs: with several
// mails under way at the same moment, or after a clock repair, it can be the mail of
// another challenge, or one that was refunded already.
func (m *model) reservation(c *challenge, at int64) (pick *event) {
	for _, e := range m.events {
		if !e.gone && e.kind == mailed && e.whose == c.whose && e.lane == c.lane && e.at <= at && (pick == nil || e.at >= pick.at) {
			pick = e
		}
	}
	return pick
}

// size returns how many bytes of their lane challenges take.
func size(all ...*challenge) (n int) {
	for _, c := range all {
		n += 63 + len(c.to.String()) + len(c.purpose) + len(c.locale) + 4 + c.length
		for name, value := range c.vars {
			n += 4 + len(name) + len(value)
		}
	}
	return n
}

// resend decides what a Resend does: mail the same code, which is reserved at that
// time; open a new challenge, by renew; or neither, with an answer.
func (m *model) resend(p policy, purpose, id string) (c *challenge, reserved int64, renew *opening, a answer) {
	c = m.find(p, id)
	if c == nil {
		return nil, 0, nil, answer{verdict: unknown}
	}
	a, repaired := m.judge(p, purpose, c)
	switch {
	case a.verdict == unknown, a.verdict == broken:
	case m.roomAt(mailed, c.whose, c.lane, p.mails) > m.now:
		// This comes first, so that a refused Resend charges no client and asks no Admit.
		hit("limited: resend")
		a = answer{verdict: limited, retryAfter: a.resendAt - m.now}
	case a.verdict != fine, c.deadline-m.now < minute:
		if repaired {
			m.save(p, c.whose)
		}
		hit("renewed: " + string(a.verdict))
		return c, 0, &c.opening, a
	default:
		hit("mailed again")
		e := m.record(mailed, c.whose, c.lane)
		m.save(p, c.whose)
		return c, e.at, nil, m.show(p, fine, c)
	}
	if repaired {
		hit("a refusal that is written: resend")
		m.save(p, c.whose)
	}
	return nil, 0, nil, a
}

// reopen finds a challenge that was opened already by a swap whose answer was
// lost. It is not opened twice.
func (m *model) reopen(p policy, c *challenge, a *answer) bool {
	if m.load(p, c.whose); c.gone {
		return false
	}
	hit("opened already")
	m.save(p, c.whose)
	*a = m.show(p, fine, c)
	return true
}

// resendSwaps reports whether the first step of a Resend writes.
func (m *model) resendSwaps(p policy, purpose, id string) bool {
	c := m.find(p, id)
	if c == nil {
		return false
	}
	a, repaired := m.peek(p, purpose, c)
	return repaired || a.verdict == fine && a.room && c.deadline-m.now >= minute
}

// mayReplace reports whether a challenge is still there when its successor is
// opened. If not, the answer says why.
func (m *model) mayReplace(p policy, c *challenge, a *answer) bool {
	if now, _ := m.peek(p, c.purpose, c); now.verdict != unknown && now.verdict != broken {
		return true
	}
	hit("renewed: no longer there")
	now, repaired := m.judge(p, c.purpose, c)
	if repaired {
		m.save(p, c.whose)
	}
	*a = now
	return false
}

// settle updates a challenge and the reservation of its mail after the sender has
// failed. opened says whether the call created the challenge.
func (m *model) settle(p policy, c *challenge, reservedAt int64, a answer, sent verdict, opened bool) answer {
	a.verdict = sent
	switch {
	case sent == tryLater:
		if readable, _ := m.load(p, c.whose); readable && m.ledgers[c.whose] != nil {
			m.prune(c.whose)
			if opened {
				c.gone = true
			}
			refunds := 0
			for _, other := range m.events {
				if !other.gone && other.back && other.whose == c.whose && other.lane == c.lane && m.now-other.at < hour {
					refunds++
				}
			}
			if pick := m.reservation(c, reservedAt); refunds >= maxRefunds {
				hit("refund refused")
			} else if pick != nil {
				hit("refund")
				pick.back = true
			}
			m.write(p, c.whose)
			a.resendAt = m.roomAt(mailed, c.whose, c.lane, p.mails)
			a.room = a.resendAt == m.now
		} else {
			a.noResendAt = true
		}
		if opened {
			return answer{verdict: tryLater, unknownKey: a.unknownKey}
		}
	case sent == refusedSend && opened:
		if readable, _ := m.load(p, c.whose); readable && m.ledgers[c.whose] != nil {
			c.decoy = true
			hit("decoy: refused for good")
			m.save(p, c.whose)
		}
	}
	return a
}
