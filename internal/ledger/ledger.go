// Package ledger holds the rules: what is remembered about an address or a
// client, how much of it is too much, and what a guess is told. It is pure:
// it has no clock, no randomness and no I/O. Times are passed in as Unix
// milliseconds.
//
// A method that answers "no" has changed nothing that must be kept, so a
// refusal need not be written (but for the clock repair, see
// [Ledger.Repair]).
package ledger

import (
	"cmp"
	"slices"
	"time"
)

// Ms is a point in time in Unix milliseconds, or a span in milliseconds.
type Ms = int64

// ValidTime reports whether now is a time that a ledger can hold.
func ValidTime(now Ms) bool { return now > -maxTime/2 && now < maxTime/2 }

// Of converts a span.
func Of(d time.Duration) Ms { return d.Milliseconds() }

// What is remembered for how long, whatever the limits in force, so that
// verifiers with different limits do not prune each other's counts.
const (
	KeepSends  = 24 * time.Hour
	KeepWrong  = 30 * 24 * time.Hour
	KeepStarts = time.Hour

	// Afterlife is how long past its deadline a challenge can be resent.
	Afterlife = time.Hour

	// ClockSlack is how far the clocks of two verifiers may differ.
	ClockSlack = time.Minute

	// RenewBefore is the life a code must have left to be mailed again.
	RenewBefore = time.Minute

	refundWindow = time.Hour
	refundsMax   = 3
	// A refunded send still counts in windows up to this long, so that a
	// failing server is not asked in a tight loop.
	refundCounts = time.Minute

	margin = time.Minute // by which the time to live outlasts the contents
)

// Bounds, so that a ledger always fits a store's 16 KiB.
const (
	MaxEvents = 100 // of each list, and so the largest N of a limit
	maxLive   = 12
	maxLane   = 8<<10 - 64 // bytes, leaving room for header and seal
)

// Limit allows N events in any span of length Per.
type Limit struct {
	N   int
	Per time.Duration
}

// Rules are the limits in force, for each lane.
type Rules struct{ Sends, Wrong []Limit }

// Lane says whose budget is used.
type Lane uint8

// The lanes: strangers, and those who have proven the address before.
const (
	Stranger Lane = iota
	Known
	lanes
)

// Challenge is one question put to one asker.
type Challenge struct {
	Nonce     [16]byte // the random part of its ID
	Lane      Lane     // implied by where it is kept
	To        string   // delivery form
	Purpose   string
	Locale    string
	Reference string
	Code      string
	Vars      map[string]string
	Client    [16]byte // who asked; zero for nobody
	Strong    bool
	Decoy     bool // can never be passed
	SentAt    Ms   // when it was opened
	Deadline  Ms   // at this time it has expired
	Guesses   int  // allowed
	Wrong     int  // used up
}

// Left is how many guesses remain.
func (c *Challenge) Left() int { return max(0, c.Guesses-c.Wrong) }

// Ledger is all that is remembered about one throttle key.
type Ledger struct {
	// StrongUntil, where set, is when short codes may be mailed again after a
	// ledger was lost with the key it was sealed under.
	StrongUntil *Ms

	lanes [lanes]lane
}

type lane struct {
	sends      []send // oldest first
	wrong      []Ms   // wrong short guesses, oldest first
	challenges []Challenge
}

type send struct {
	at       Ms
	refunded bool
}

// Reset empties the ledger and keeps its memory.
func (l *Ledger) Reset() {
	l.StrongUntil = nil
	for i := range l.lanes {
		a := &l.lanes[i]
		clear(a.challenges[:cap(a.challenges)]) // they hold codes
		a.sends, a.wrong, a.challenges = a.sends[:0], a.wrong[:0], a.challenges[:0]
	}
}

// Lost returns the ledger that takes the place of one that cannot be opened:
// nobody knows what was spent, so short codes wait until any guess made before
// now is out of every window.
func Lost(now Ms) *Ledger {
	until := now + Of(KeepWrong)
	return &Ledger{StrongUntil: &until}
}

// Repair makes the ledger fit for decisions at now: what is out of every
// window goes, and an event later than now by more than the clocks may differ
// becomes one at now. It reports whether it found such an event: then the
// ledger must be written whatever the answer, or the event would be "now" for
// ever. One within that slack stays as it is: if the slower of two good clocks
// moved it back, short windows would open early on the other.
func (l *Ledger) Repair(now Ms) (repaired bool) {
	if l.StrongUntil != nil {
		if latest := now + Of(KeepWrong); *l.StrongUntil > latest {
			*l.StrongUntil, repaired = latest, true
		}
		if *l.StrongUntil <= now {
			l.StrongUntil = nil
		}
	}
	for i := range l.lanes {
		a := &l.lanes[i]
		for j := range a.sends {
			if a.sends[j].at > now+Of(ClockSlack) {
				a.sends[j].at, repaired = now, true
			}
		}
		if repaired { // those within the slack may now be out of order
			slices.SortStableFunc(a.sends, func(a, b send) int { return cmp.Compare(a.at, b.at) })
		}
		a.sends = prune(a.sends, func(s send) bool {
			if s.refunded {
				return now-s.at < Of(refundWindow)
			}
			return now-s.at < Of(KeepSends)
		})
		repaired = clampTo(a.wrong, now) || repaired
		a.wrong = prune(a.wrong, func(at Ms) bool { return now-at < Of(KeepWrong) })
		a.challenges = prune(a.challenges, func(c Challenge) bool { return now < c.Deadline+Of(Afterlife) })
	}
	return repaired
}

// clampTo moves events to now that are later by more than the slack.
func clampTo(events []Ms, now Ms) (moved bool) {
	for i := range events {
		if events[i] > now+Of(ClockSlack) {
			events[i], moved = now, true
		}
	}
	if moved { // those within the slack may now be out of order
		slices.Sort(events)
	}
	return moved
}

func prune[T any](list []T, keep func(T) bool) []T {
	kept := list[:0]
	for _, e := range list {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	clear(list[len(kept):])
	return kept
}

// TTL is how long a store must keep the ledger as written at now.
func (l *Ledger) TTL(now Ms) time.Duration {
	end := now
	if l.StrongUntil != nil {
		end = max(end, *l.StrongUntil)
	}
	for i := range l.lanes {
		a := &l.lanes[i]
		for _, s := range a.sends {
			if s.refunded {
				end = max(end, s.at+Of(refundWindow))
			} else {
				end = max(end, s.at+Of(KeepSends))
			}
		}
		if n := len(a.wrong); n > 0 {
			end = max(end, a.wrong[n-1]+Of(KeepWrong))
		}
		for _, c := range a.challenges {
			end = max(end, c.Deadline+Of(Afterlife))
		}
	}
	// A challenge opened by a clock that runs ahead must not keep it longer.
	return time.Duration(min(end-now, Of(KeepWrong)))*time.Millisecond + margin
}

// freeAt is when the next event fits into every limit; at or before now means
// that it fits now. Events are oldest first.
func freeAt(events []Ms, limits []Limit) (at Ms, limited bool) {
	for _, lim := range limits {
		if n := len(events); n >= lim.N {
			if t := events[n-lim.N] + Of(lim.Per); !limited || t > at {
				at, limited = t, true
			}
		}
	}
	return at, limited
}

// sendFreeAt is freeAt for sends: those given back count in short windows only.
func (a *lane) sendFreeAt(limits []Limit) (at Ms, limited bool) {
	for _, lim := range limits {
		n := lim.N
		for i := len(a.sends) - 1; i >= 0 && n > 0; i-- {
			s := a.sends[i]
			if s.refunded && lim.Per > refundCounts {
				continue
			}
			if n--; n > 0 {
				continue
			}
			if t := s.at + Of(lim.Per); !limited || t > at {
				at, limited = t, true
			}
		}
	}
	return at, limited
}

// spent reports whether the budget of wrong short guesses is used up.
func (a *lane) spent(now Ms, limits []Limit) bool {
	at, limited := freeAt(a.wrong, limits)
	return limited && at > now
}

// addSend records a send, keeps the newest, and returns the time under which
// it stands: that of the one before if a faster clock has written that.
func (a *lane) addSend(now Ms) (at Ms) {
	if n := len(a.sends); n > 0 {
		now = max(now, a.sends[n-1].at)
	}
	kept := 0
	for _, s := range a.sends {
		if !s.refunded {
			kept++
		}
	}
	if kept >= MaxEvents {
		for i, s := range a.sends {
			if !s.refunded {
				a.sends = append(a.sends[:i], a.sends[i+1:]...)
				break
			}
		}
	}
	a.sends = append(a.sends, send{at: now})
	return now
}

// appendEvent is addSend for other events.
func appendEvent(events []Ms, now Ms) []Ms {
	if n := len(events); n > 0 {
		now = max(now, events[n-1])
	}
	events = append(events, now)
	return events[max(0, len(events)-MaxEvents):]
}

// Client is all that is remembered about who asks: when they started.
type Client struct{ starts []Ms }

// Repair is [Ledger.Repair] for a client.
func (c *Client) Repair(now Ms) (repaired bool) {
	repaired = clampTo(c.starts, now)
	c.starts = prune(c.starts, func(at Ms) bool { return now-at < Of(KeepStarts) })
	return repaired
}

// Start counts a start, or returns how long to wait for one.
func (c *Client) Start(now Ms, limits []Limit) (wait time.Duration, ok bool) {
	if at, limited := freeAt(c.starts, limits); limited && at > now {
		return span(at - now), false
	}
	c.starts = appendEvent(c.starts, now)
	return 0, true
}

// TTL is how long a store must keep the client as written at now.
func (c *Client) TTL(Ms) time.Duration { return KeepStarts + margin }

func span(ms Ms) time.Duration { return time.Duration(ms) * time.Millisecond }
