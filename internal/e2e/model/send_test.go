package model

import "maps"

// A proof is what a request says about the person who asks.
type proof struct {
	token  token
	proven bool
}

// laneOf decides which lane a request has, after the ledger was loaded.
func (m *model) laneOf(p policy, w *opening, by proof) {
	w.lane, w.issued = strangers, 0
	readable, _ := m.load(p, w.whose)
	from := int64(0)
	if stored := m.ledgers[w.whose]; stored != nil {
		from = stored.devicesFrom
	}
	if !readable {
		from = m.revocation()
	}
	switch {
	case by.proven:
		w.lane = known
	case by.token.opens(p, w.to, m.now) && by.token.at < from:
		hit("token: revoked")
	case by.token.opens(p, w.to, m.now):
		hit("token: taken")
		w.lane, w.issued = known, by.token.at
	}
}

// ask is the first step of a Send: the ledger of the address is loaded, which decides
// the lane and finds the held challenges that the request can have again. Without any,
// it decides whether the address refuses. Only a clock repair is written.
func (m *model) ask(p policy, w *opening, by proof, held []string) (again []*challenge, a answer) {
	repaired := false
	m.dry(func() {
		_, repaired = m.load(p, w.whose)
		m.laneOf(p, w, by)
		if again = m.candidates(p, *w, held); len(again) == 0 {
			a = m.refuse(p, *w, nil)
		}
	})
	if a.verdict == limited && repaired {
		hit("a refusal that is written: send")
		m.load(p, w.whose)
		m.save(p, w.whose)
	}
	return again, a
}

// mend writes a clock repair of the ledger of an address that is opened no challenge,
// since the client or Admit refused it.
func (m *model) mend(p policy, whose string) {
	repaired := false
	m.dry(func() { _, repaired = m.load(p, whose) })
	if repaired {
		hit("a refusal that is written: somebody else's")
		m.load(p, whose)
		m.save(p, whose)
	}
}

// candidates returns the challenges among the held ones that a request can have
// again: of the same lane, address, purpose and vars, if their code would be mailed
// again. Several can have the latest deadline; any of these will do.
func (m *model) candidates(p policy, w opening, held []string) (best []*challenge) {
	if readable, _ := m.load(p, w.whose); !readable {
		return nil
	}
	seen := map[*challenge]bool{}
	for i, id := range held {
		c := m.find(p, id)
		if i >= maxHeld || c == nil || seen[c] {
			continue
		}
		seen[c] = true
		why := "taken"
		switch {
		case c.whose != w.whose:
			why = "another address"
		case c.to != w.to:
			why = "another spelling"
		case c.gone || m.now >= c.deadline+keepRenewals:
			why = "gone"
		case c.purpose != w.purpose:
			why = "another purpose"
		case c.lane != w.lane:
			why = "another lane"
		case !maps.Equal(c.vars, w.vars):
			why = "other vars"
		case c.noRenewal != w.noRenewal:
			why = "to be renewed or not"
		case !m.again(p, c):
			why = "not to be mailed again"
		}
		hit("held: " + why)
		switch {
		case why != "taken":
		case len(best) == 0 || c.deadline > best[0].deadline:
			best = []*challenge{c}
		case c.deadline == best[0].deadline:
			best = append(best, c)
		}
	}
	return best
}

// again reports whether the same code is mailed again: it is live, and no more than
// half of its life is over.
func (m *model) again(p policy, c *challenge) bool {
	return m.state(p, c) == fine && 2*(c.deadline-m.now) >= c.deadline-c.sentAt
}

// resendUntil returns the last time at which a Resend can mail something.
func (c *challenge) resendUntil() int64 {
	if c.noRenewal {
		return c.deadline - (c.deadline-c.sentAt+1)/2
	}
	return c.deadline + keepRenewals - 1
}

// opened returns the challenge that a verifier would open for a request now.
func (m *model) opened(p policy, w opening, admitted bool) *challenge {
	ttl := p.ttl[kindOf(w.purpose)].Milliseconds()
	c := &challenge{opening: w, decoy: !admitted, turnedAway: !admitted, sentAt: m.now, deadline: m.now + ttl}
	c.strong, c.guesses = m.reserve(p, w.whose, w.lane, ttl)
	switch {
	case c.strong:
		c.shape, c.length = fourteen, fourteen.n
	case p.custom:
		c.length = p.short[kindOf(w.purpose)].n
	default:
		c.shape = p.short[kindOf(w.purpose)]
		c.length = c.shape.n
	}
	return c
}

// refuse decides whether the address's budgets refuse to open a challenge: that of its
// mails, or that of its live codes. It answers fine if they do not. own is the
// challenge that is replaced, or nil.
func (m *model) refuse(p policy, w opening, own *challenge) answer {
	if readable, _ := m.load(p, w.whose); !readable {
		return answer{verdict: fine, unknownKey: true}
	}
	if a := m.refuseMail(p, w.whose, w.lane, own); a.verdict != fine {
		return a
	}
	if at := m.roomFor(m.opened(p, w, true)); at > m.now {
		return answer{verdict: limited, scope: "address", retryAfter: at - m.now}
	}
	return answer{verdict: fine}
}

// refuseMail decides whether the budget of mails refuses one. The wait is told in whole
// minutes, since it depends on the mails of others, unless only the mail of the
// asker's own challenge is in the way.
func (m *model) refuseMail(p policy, whose string, l lane, own *challenge) answer {
	at := m.roomAt(mailed, whose, l, p.mails)
	if at == m.now {
		return answer{verdict: fine}
	}
	exact := own != nil && own.lane == l
	for _, limit := range p.mails {
		list := m.in(limit, mailed, whose, l, m.now)
		if len(list) < limit.N {
			continue
		}
		last := list[0]
		for _, e := range list {
			if e.at >= last.at {
				last = e
			}
		}
		exact = exact && limit.N == 1 && last.at == own.mailedAt
	}
	wait := at - m.now
	if exact {
		hit("limited: exact")
	} else {
		wait = up(wait, minute)
		hit("limited: in minutes")
	}
	return answer{verdict: limited, scope: "address", retryAfter: wait}
}

// roomFor returns when a lane takes another challenge.
func (m *model) roomFor(c *challenge) int64 {
	var stay []*challenge
	for _, other := range m.lane(c.whose, c.lane) {
		if m.holds(other) {
			stay = append(stay, other)
		}
	}
	if len(stay) < maxLive && size(stay...)+size(c) <= maxBytes {
		return m.now
	}
	if len(stay) >= maxLive {
		hit("limited: live")
	} else {
		hit("limited: size")
	}
	soonest := stay[0].deadline
	for _, other := range stay {
		soonest = min(soonest, other.deadline)
	}
	return up(soonest+slack, roomCell)
}

// makeRoom drops challenges that hold nothing, oldest first, until the new one fits.
func (m *model) makeRoom(c *challenge) {
	for _, other := range m.lane(c.whose, c.lane) {
		if size(m.lane(c.whose, c.lane)...)+size(c) > maxBytes && !m.holds(other) {
			other.gone = true
			hit("dropped: dead")
		}
	}
}

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
		return answer{verdict: limited, scope: "client", retryAfter: at - m.now, unknownKey: !readable}
	}
	m.start(w.client)
	m.save(p, w.client)
	return answer{verdict: fine, unknownKey: !readable}
}

// open creates a challenge and reserves its mail, or answers why it does not.
func (m *model) open(p policy, w opening, own *challenge, admitted bool) (*challenge, answer) {
	readable, repaired := m.load(p, w.whose)
	if !readable {
		m.startOver(p, w.whose)
	}
	if a := m.refuse(p, w, own); a.verdict != fine {
		if repaired {
			hit("a refusal that is written: open")
			m.save(p, w.whose)
		}
		return nil, a
	}
	c := m.opened(p, w, admitted)
	m.makeRoom(c)
	if c.decoy {
		hit("decoy: not admitted")
	}
	if w.lane == known {
		hit("known lane")
	}
	c.mailedAt = m.record(mailed, w.whose, w.lane).at
	m.challenges = append(m.challenges, c)
	m.save(p, w.whose)
	a := m.show(p, fine, c)
	a.unknownKey = !readable
	return c, a
}

// remail reserves another mail of the same code, or answers why it does not.
func (m *model) remail(p policy, c *challenge) answer {
	_, repaired := m.load(p, c.whose)
	if a := m.refuseMail(p, c.whose, c.lane, c); a.verdict != fine {
		if repaired {
			hit("a refusal that is written: mail again")
			m.save(p, c.whose)
		}
		shown := m.show(p, limited, c)
		shown.scope, shown.retryAfter = a.scope, a.retryAfter
		return shown
	}
	hit("mailed again")
	c.mailedAt = m.record(mailed, c.whose, c.lane).at
	m.save(p, c.whose)
	return m.show(p, fine, c)
}

// resend decides what a Resend does: mail the same code; open a new challenge, by
// renew; or neither, with an answer.
func (m *model) resend(p policy, purpose, id string) (c *challenge, renew *opening, a answer) {
	c = m.find(p, id)
	if c == nil {
		return nil, nil, answer{verdict: unknown}
	}
	a, repaired := m.judge(p, purpose, c)
	if a.verdict == unknown || a.verdict == broken {
		if repaired {
			hit("a refusal that is written: resend")
			m.save(p, c.whose)
		}
		return nil, nil, a
	}
	if m.again(p, c) {
		if a = m.remail(p, c); a.verdict != fine {
			if repaired {
				hit("a refusal that is written: resend")
				m.save(p, c.whose)
			}
			return nil, nil, a
		}
		return c, nil, a
	}
	if c.noRenewal {
		hit("not renewed: " + string(a.verdict))
		if repaired {
			m.save(p, c.whose)
		}
		if a.verdict == fine { // it is only too late
			a.verdict = expired
		}
		return nil, nil, a
	}
	w := c.opening
	w.lane, w.issued = m.renewal(c)
	// This comes first, so that a refused Resend charges no client and asks no Admit.
	if refused := m.refuse(p, w, c); refused.verdict != fine {
		if repaired {
			hit("a refusal that is written: resend")
			m.save(p, c.whose)
		}
		return nil, nil, refused
	}
	hit("renewed: " + string(a.verdict))
	return c, &w, a
}

// renewal returns the lane of the challenge that follows one: the same, unless the
// token of the device would open it no longer.
func (m *model) renewal(c *challenge) (l lane, issued int64) {
	if c.lane == known && c.issued != 0 && m.now >= c.issued+tokenLife {
		hit("renewed: in the other lane")
		return strangers, 0
	}
	return c.lane, c.issued
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

// mayReplace reports whether a challenge is still there when its successor is
// opened. If not, the answer says why.
func (m *model) mayReplace(p policy, c *challenge, a *answer) bool {
	var now answer
	m.dry(func() { now, _ = m.judge(p, c.purpose, c) })
	if now.verdict != unknown && now.verdict != broken {
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

// An outcome is what a sender says about a mail.
type outcome string

const (
	taken     outcome = "taken"
	maybe     outcome = "maybe"
	recipient outcome = "recipient"
	failure   outcome = "failure"
)

// settle updates a challenge and the reservation of its mail after the sender has
// failed. opened says whether the call created the challenge.
func (m *model) settle(p policy, c *challenge, reservedAt int64, a answer, said outcome, opened bool) answer {
	hit(map[bool]string{false: "again: ", true: "opened: "}[opened] + string(said))
	there := func() bool {
		readable, _ := m.load(p, c.whose)
		return readable && m.ledgers[c.whose] != nil
	}
	switch {
	case said == recipient && opened && there():
		c.decoy = true
		m.save(p, c.whose)
	case said == failure:
		if there() {
			m.refund(p, c, reservedAt, opened)
		}
		if opened {
			return answer{verdict: notSent, unknownKey: a.unknownKey}
		}
		a.verdict = notSent
	}
	return a
}

// refund gives a mail back that was surely not sent, three times an hour, and removes
// the challenge if it was opened for it.
func (m *model) refund(p policy, c *challenge, reservedAt int64, opened bool) {
	m.prune(c.whose)
	if opened {
		c.gone = true
	}
	refunds := 0
	for _, e := range m.list(mailed, c.whose, c.lane) {
		if e.back && m.now-e.at < hour {
			refunds++
		}
	}
	if pick := m.reservation(c, reservedAt); refunds >= maxRefunds {
		hit("refund refused")
	} else if pick != nil {
		hit("refund")
		if pick.passed {
			hit("refund: of a passed mail")
		}
		pick.back = true
	}
	m.write(p, c.whose)
}

// reservation finds the mail that was reserved at a time. Differs: with several
// mails under way at the same moment, or after a clock repair, it can be the mail of
// another challenge, or one that was refunded already.
func (m *model) reservation(c *challenge, at int64) (pick *event) {
	for _, e := range m.list(mailed, c.whose, c.lane) {
		if e.at <= at && (pick == nil || e.at >= pick.at) {
			pick = e
		}
	}
	return pick
}
