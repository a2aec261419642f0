// Package ledger has the rules: what is remembered about an address or a
// client, which limits apply to it, and which verdict a guess gets. It is pure:
// it has no clock, no randomness and no I/O. Times are passed in as Unix
// milliseconds.
//
// A method that rejects something has changed nothing that must be stored, so
// the caller need not write the ledger after a rejection, unless
// [Ledger.Repair] has changed it.
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

// Of converts a duration to milliseconds.
func Of(d time.Duration) Ms { return d.Milliseconds() }

// How long events are remembered, whatever the limits of a verifier are, so
// that verifiers with different limits do not prune each other's counts.
const (
	KeepSends  = 24 * time.Hour
	KeepWrong  = 30 * 24 * time.Hour
	KeepStarts = time.Hour

	// Afterlife is how long after its deadline a challenge can be resent.
	Afterlife = time.Hour

	// ClockSlack is how far the clocks of two verifiers may differ.
	ClockSlack = time.Minute

	// RenewBefore is how long a code must still be valid to be mailed again.
	RenewBefore = time.Minute

	refundWindow = time.Hour
	refundsMax   = 3
	// A refunded send still counts in windows that are at most this long, so
	// that a failing server is not called in a tight loop.
	refundCounts = time.Minute

	margin = time.Minute // added to the life of the contents
)

// Bounds that make sure that a ledger always fits into the 16 KiB of a store's
// value.
const (
	MaxEvents = 100 // of each list, and therefore the largest N of a limit
	maxLive   = 12
	maxLane   = 8<<10 - 64 // bytes, leaving room for header and seal
)

// Limit allows N events in any span of length Per.
type Limit struct {
	N   int
	Per time.Duration
}

// Rules are the limits in force. They apply to each lane separately.
type Rules struct{ Sends, Wrong []Limit }

// Lane is one of the two sets of budgets of an address. They are separate, so
// that strangers cannot spend the budget of known devices.
type Lane uint8

// The lanes: strangers, and known devices, which have proven the address
// before.
const (
	Stranger Lane = iota
	Known
	lanes
)

// Challenge is one code mailed for one visitor.
type Challenge struct {
	Nonce     [16]byte // the random part of its ID
	Lane      Lane     // implied by where it is kept
	To        string   // delivery form
	Purpose   string
	Locale    string
	Reference string
	Code      string
	Vars      map[string]string
	Client    [16]byte // who asked; zero if the request names no client
	Strong    bool
	Decoy     bool // can never be passed
	SentAt    Ms   // when it was opened
	Deadline  Ms   // at this time it has expired
	Guesses   int  // allowed
	Wrong     int  // used up
}

// Left returns how many guesses remain.
func (c *Challenge) Left() int { return max(0, c.Guesses-c.Wrong) }

// Ledger is everything that is remembered about one throttle key, which is the
// folded form of an address.
type Ledger struct {
	// StrongUntil, if set, is when short codes may be mailed again. It is set
	// after a ledger was lost together with the secret under which it was
	// sealed.
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

// Reset empties the ledger but keeps its memory for reuse.
func (l *Ledger) Reset() {
	l.StrongUntil = nil
	for i := range l.lanes {
		a := &l.lanes[i]
		clear(a.challenges[:cap(a.challenges)]) // they hold codes
		a.sends, a.wrong, a.challenges = a.sends[:0], a.wrong[:0], a.challenges[:0]
	}
}

// Lost returns the ledger that replaces one that cannot be opened. Nobody knows
// how many guesses were made, so short codes are not mailed until any guess
// made before now is out of every window.
func Lost(now Ms) *Ledger {
	until := now + Of(KeepWrong)
	return &Ledger{StrongUntil: &until}
}

// Repair prepares the ledger for decisions at now. It removes what is out of
// every window, and moves an event that is later than now by more than the
// clocks may differ to now. It reports whether it found such an event: then the
// ledger must be written whatever the decision is, or the event would be moved
// to "now" again each time. An event within that slack stays as it is: if the
// slower of two good clocks moved it back, short windows would end early for
// the other.
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
		if repaired { // events within the slack may now be out of order
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

// clampTo moves events that are later than now by more than the slack to now.
func clampTo(events []Ms, now Ms) (moved bool) {
	for i := range events {
		if events[i] > now+Of(ClockSlack) {
			events[i], moved = now, true
		}
	}
	if moved { // events within the slack may now be out of order
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

// TTL returns how long a store must keep the ledger if it is written at now.
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
	// A challenge opened by a clock that runs ahead must not keep the ledger
	// longer.
	return time.Duration(min(end-now, Of(KeepWrong)))*time.Millisecond + margin
}

// freeAt returns when every limit allows the next event; a time at or before
// now means that it is allowed now. Events are oldest first.
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

// sendFreeAt is freeAt for sends. Refunded sends count in short windows only.
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

// addSend records a send, keeps only the newest ones, and returns the time that
// it recorded: that of the previous send if that is later, since a faster clock
// has written it.
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

// Client is everything that is remembered about a client: the times when it
// opened challenges.
type Client struct{ starts []Ms }

// Repair is [Ledger.Repair] for a client.
func (c *Client) Repair(now Ms) (repaired bool) {
	repaired = clampTo(c.starts, now)
	c.starts = prune(c.starts, func(at Ms) bool { return now-at < Of(KeepStarts) })
	return repaired
}

// Start counts the opening of a challenge, or returns how long to wait until
// one is allowed.
func (c *Client) Start(now Ms, limits []Limit) (wait time.Duration, ok bool) {
	if at, limited := freeAt(c.starts, limits); limited && at > now {
		return span(at - now), false
	}
	c.starts = appendEvent(c.starts, now)
	return 0, true
}

// TTL returns how long a store must keep the client after it was written.
func (c *Client) TTL(Ms) time.Duration { return KeepStarts + margin }

func span(ms Ms) time.Duration { return time.Duration(ms) * time.Millisecond }
