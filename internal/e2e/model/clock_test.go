package model

import (
	"slices"
	"time"

	"pgregory.net/rapid"
)

// steps are how far the clock moves at once.
var steps = []time.Duration{
	time.Millisecond, 999 * time.Millisecond, time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Minute + time.Millisecond,
	5 * time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour,
	-time.Millisecond, -time.Second, -30 * time.Second, -time.Minute, -time.Minute - time.Millisecond, -2 * time.Minute, -5 * time.Minute,
	-3 * time.Hour, -30 * 24 * time.Hour,
}

// ahead is how many of the steps go forward.
const ahead = 16

// drawStep draws one of the first n steps. In half of the histories no clock is ever set
// back: what the rules promise is promised for these.
func (w *world) drawStep(n int) time.Duration {
	if !w.clocksAreSet {
		n = min(n, ahead)
	}
	return rapid.SampledFrom(steps[:n]).Draw(w.T, "time")
}

// wait lets a step of time pass, and up to a millisecond.
func (w *world) wait() {
	d := w.drawStep(len(steps))
	w.pass(d + time.Duration(rapid.IntRange(0, 999).Draw(w.T, "micros"))*time.Microsecond)
}

// waitALittle lets a moment pass.
func (w *world) waitALittle() { w.pass(w.drawStep(8)) }

// waitForEdge moves the clock of one of the verifiers to a moment at which something
// changes by the rules, or to a millisecond before or after it.
func (w *world) waitForEdge() {
	side := w.drawSide()
	w.m.now = w.nowOf(side)
	defer func() { w.m.now = w.nowOf(w.side) }()
	edges := w.edges()
	// Mostly take one that is near, since many more are far.
	from, to := w.m.now-2*hour, w.m.now+200*day
	switch rapid.SampledFrom([]string{"soon", "soon", "just past", "any"}).Draw(w.T, "which") {
	case "soon":
		from, to = w.m.now, w.m.now+2*hour
	case "just past":
		from, to = w.m.now-5*minute, w.m.now
	}
	edges = slices.DeleteFunc(edges, func(at int64) bool { return at < from || at > to })
	if len(edges) == 0 {
		return
	}
	w.passTo(side, rapid.SampledFrom(edges).Draw(w.T, "edge")+int64(rapid.IntRange(-1, 1).Draw(w.T, "beside")))
}

// passTo moves the clock of a verifier forward or back, to the start or end of a
// millisecond.
func (w *world) passTo(side int, at int64) {
	micros := (at-w.skew[side])*1000 + int64(rapid.SampledFrom([]int{0, 999}).Draw(w.T, "micros"))
	if micros >= w.micros || w.clocksAreSet {
		w.pass(time.Duration(micros-w.micros) * time.Microsecond)
	}
}

// edges returns the moments at which something changes by the rules.
func (w *world) edges() (edges []int64) {
	for _, e := range w.m.events {
		if e.gone {
			continue
		}
		edges = append(edges, e.at-slack, e.ends())
		for _, s := range w.setups {
			switch e.kind {
			case mailed:
				for _, l := range s.policy.mails {
					edges = append(edges, e.leaves(l))
				}
			case guessed:
				for _, l := range s.policy.wrongs {
					edges = append(edges, e.leaves(l), e.leaves(l)+slack)
				}
			case started:
				for _, l := range s.policy.starts {
					edges = append(edges, e.leaves(l))
				}
			}
		}
	}
	for _, c := range w.m.challenges {
		if !c.gone {
			half := c.deadline - (c.deadline-c.sentAt)/2
			edges = append(edges, c.sentAt-slack, half, c.deadline-second, c.deadline, c.deadline+slack, c.deadline+keepRenewals)
			if c.issued != 0 {
				edges = append(edges, c.issued+tokenLife)
			}
		}
	}
	for _, l := range w.m.ledgers {
		edges = append(edges, w.m.now+l.dropAt-w.m.storeNow)
		for _, at := range []int64{l.strongUntil, l.devicesFrom, l.devicesFrom + keepDevices} {
			if at >= w.m.now-hour {
				edges = append(edges, at)
			}
		}
	}
	slices.Sort(edges)
	return slices.Compact(edges)
}
