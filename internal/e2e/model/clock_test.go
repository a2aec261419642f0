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

// wait lets a step of time pass, and up to a millisecond.
func (w *world) wait() {
	d := rapid.SampledFrom(steps).Draw(w.T, "time")
	w.pass(d + time.Duration(rapid.IntRange(0, 999).Draw(w.T, "micros"))*time.Microsecond)
}

// waitALittle lets a moment pass.
func (w *world) waitALittle() { w.pass(rapid.SampledFrom(steps[:8]).Draw(w.T, "time")) }

// waitForEdge moves the clock to a moment at which something changes by the rules,
// or to a millisecond before or after it.
func (w *world) waitForEdge() {
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
	w.passTo(rapid.SampledFrom(edges).Draw(w.T, "edge") + int64(rapid.IntRange(-1, 1).Draw(w.T, "beside")))
}

// passTo moves the clock forward or back, to the start or end of a millisecond.
func (w *world) passTo(at int64) {
	micros := at*1000 + int64(rapid.SampledFrom([]int{0, 999}).Draw(w.T, "micros"))
	w.pass(time.Duration(micros-w.micros) * time.Microsecond)
}

// edges returns the moments at which something changes by the rules.
func (w *world) edges() (edges []int64) {
	for _, e := range w.m.events {
		if e.gone {
			continue
		}
		edges = append(edges, e.at-minute, e.at+e.keep())
		for _, s := range w.setups {
			for _, l := range slices.Concat(s.policy.mails, s.policy.wrongs, s.policy.starts) {
				edges = append(edges, e.at+l.Per.Milliseconds())
			}
		}
	}
	for _, c := range w.m.challenges {
		if !c.gone {
			edges = append(edges, c.sentAt-minute, c.deadline-minute, c.deadline, c.deadline+hour)
		}
	}
	for _, l := range w.m.ledgers {
		edges = append(edges, w.m.now+l.dropAt-w.m.storeNow)
	}
	slices.Sort(edges)
	return slices.Compact(edges)
}
