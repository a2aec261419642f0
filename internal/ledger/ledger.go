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

// The longest spans that a limit can have.
const (
	LongestSends  = 24 * time.Hour
	LongestWrong  = 30 * 24 * time.Hour
	LongestStarts = time.Hour
)

// How long events are remembered, whatever the limits of a verifier are, so
// that verifiers with different limits do not prune each other's counts.
const (
	// ClockSlack is how far the clocks of two verifiers may differ.
	ClockSlack = time.Minute

	keepSends   = LongestSends + LongestSends/sendSteps
	keepWrong   = LongestWrong + ClockSlack
	keepDevices = DeviceLife + ClockSlack

	// devicesAhead is how far DevicesFrom may be ahead of the clock: two clocks
	// may differ, and each further revocation adds a second.
	devicesAhead = time.Hour

	// DeviceLife is how long a device token is valid.
	DeviceLife = 180 * 24 * time.Hour

	// Afterlife is how long after its deadline a challenge can be resent.
	Afterlife = time.Hour

	// longLife is the life of a code beyond which it may reserve only half of a
	// lane's guesses: a code that is valid for a day would otherwise keep
	// sign-ins at strong codes for a day.
	longLife = time.Hour

	// leastGuesses is how many guesses a short code has at least, where Options
	// and limits allow as many: with one, a single typo would end it.
	leastGuesses = 2

	// A send leaves a window longer than a minute only at multiples of a twelfth
	// of it, so that the time at which service begins again tells nobody when
	// somebody else asked.
	sendSteps = 12
	// roomStep is sendSteps for a lane that is full of challenges.
	roomStep = 5 * time.Minute

	refundWindow = time.Hour
	refundsMax   = 3
	// A window of up to a minute is short: a refunded send counts in it, so that
	// a failing server is not called in a tight loop, and a passed one does not,
	// since whoever passed has answered its mail.
	shortWindow = time.Minute

	margin = time.Minute // added to the life of the contents
)

// Bounds that make sure that a ledger always fits into the 16 KiB of a store's
// value.
const (
	MaxEvents = 100 // of each list, and therefore the largest N of a limit
	maxLive   = 12
	maxLane   = 8<<10 - 64 // bytes, leaving room for header and seal
	maxLocale = 35         // bytes
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

// Shape is the kind of generator that made a code.
type Shape uint8

// The shapes. Codes of Digits and Letters are read back without the generator
// that made them, so that verifiers with different options read each other's.
const (
	Custom Shape = iota
	Digits
	Letters
	shapes
)

// Challenge is one code mailed for one visitor.
type Challenge struct {
	Nonce      [16]byte // the random part of its ID
	Lane       Lane     // implied by where it is kept
	To         string   // delivery form
	Purpose    string
	Locale     string
	Reference  string
	Code       string
	Vars       map[string]string
	Client     [16]byte // who asked; zero if the request names no client
	Device     int64    // Unix seconds when the device token of the request was issued; 0 for none
	Shape      Shape
	Strong     bool
	Decoy      bool // can never be passed
	TurnedAway bool // a decoy because Admit said so
	NoRenewal  bool // no challenge may be opened in its place
	SentAt     Ms   // when it was opened
	MailedAt   Ms   // when its newest mail was reserved
	Deadline   Ms   // at this time it has expired
	Guesses    int  // allowed
	Wrong      int  // used up
}

// Left returns how many guesses remain.
func (c *Challenge) Left() int { return max(0, c.Guesses-c.Wrong) }

// open reports whether some verifier, whose clock may differ, still accepts
// guesses at c. Such a challenge holds its guesses and is never dropped. One
// that was sent by a clock far ahead is not open.
func (c *Challenge) open(now Ms) bool {
	return c.Left() > 0 && now < c.Deadline+Of(ClockSlack) && c.SentAt <= now+Of(ClockSlack)
}

// DeviceKnown reports whether a device token that was issued at the given time,
// in Unix seconds, is accepted at now.
func (l *Ledger) DeviceKnown(now Ms, issued int64) bool {
	return now < issued*1000+Of(DeviceLife) && (l.DevicesFrom == 0 || issued*1000 >= l.DevicesFrom)
}

// DeviceIssued returns when a token that is issued at now is said to be issued.
func (l *Ledger) DeviceIssued(now Ms) Ms {
	if l.DevicesFrom == 0 {
		return now
	}
	return max(now, l.DevicesFrom)
}

// RevokeDevices makes all device tokens invalid that were issued until now, by
// any clock, and ends the challenges that they opened. Tokens that were issued
// just after an earlier call say that they are of its time, so that is passed.
func (l *Ledger) RevokeDevices(now Ms) {
	from := devicesFrom(now)
	if l.DevicesFrom != 0 {
		from = max(from, l.DevicesFrom+1000)
	}
	l.DevicesFrom = from
	a := &l.lanes[Known]
	clear(a.challenges)
	a.challenges = a.challenges[:0]
}

// devicesFrom returns the whole second, in which tokens count, after everything
// that a clock may say now.
func devicesFrom(now Ms) Ms { return floorTo(now+Of(ClockSlack), 1000) + 1000 }

// Forget erases everything but the revocation of device tokens, and reports
// whether there is one.
func (l *Ledger) Forget() (devicesRevoked bool) {
	from := l.DevicesFrom
	l.Reset()
	l.DevicesFrom = from
	return from != 0
}

// floorTo returns the latest multiple of step that is not after t.
func floorTo(t, step Ms) Ms {
	rest := t % step
	if rest < 0 {
		rest += step
	}
	return t - rest
}

// ceilTo returns the earliest multiple of step that is not before t.
func ceilTo(t, step Ms) Ms { return floorTo(t+step-1, step) }

// Ledger is everything that is remembered about one throttle key, which is the
// folded form of an address.
type Ledger struct {
	// StrongUntil, if set, is when short codes may be mailed again. It is set
	// after a ledger was lost together with the secret under which it was
	// sealed.
	StrongUntil *Ms

	// DevicesFrom, if not zero, is the time from which on device tokens are
	// accepted: older ones were revoked.
	DevicesFrom Ms

	lanes [lanes]lane
}

type lane struct {
	sends      []send // oldest first
	wrong      []Ms   // wrong short guesses, oldest first
	challenges []Challenge
}

// send is one reserved mail. A refunded one surely did not go out; a passed one
// was answered. One that is both counts nowhere.
type send struct {
	at               Ms
	refunded, passed bool
}

// counts reports whether s counts in windows of this length.
func (s send) counts(per time.Duration) bool {
	return (!s.refunded || per <= shortWindow) && (!s.passed || per > shortWindow)
}

// Reset empties the ledger but keeps its memory for reuse.
func (l *Ledger) Reset() {
	l.StrongUntil, l.DevicesFrom = nil, 0
	for i := range l.lanes {
		a := &l.lanes[i]
		clear(a.challenges[:cap(a.challenges)]) // they hold codes
		a.sends, a.wrong, a.challenges = a.sends[:0], a.wrong[:0], a.challenges[:0]
	}
}

// Lost returns the ledger that replaces one that cannot be opened. Nobody knows
// how many guesses were made, so short codes are not mailed until any guess
// made before now is out of every window; and nobody knows whether devices were
// revoked, so all are.
func Lost(now Ms) *Ledger {
	until := now + Of(keepWrong)
	return &Ledger{StrongUntil: &until, DevicesFrom: devicesFrom(now)}
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
		if latest := now + Of(keepWrong+ClockSlack); *l.StrongUntil > latest {
			*l.StrongUntil, repaired = latest, true
		}
		if *l.StrongUntil <= now {
			l.StrongUntil = nil
		}
	}
	if from := devicesFrom(now); l.DevicesFrom > from+Of(devicesAhead) {
		l.DevicesFrom, repaired = from, true
	}
	if now >= l.DevicesFrom+Of(keepDevices) {
		l.DevicesFrom = 0
	}
	for i := range l.lanes {
		a := &l.lanes[i]
		if len(a.sends)+len(a.wrong)+len(a.challenges) == 0 {
			continue
		}
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
			return now-s.at < Of(keepSends)
		})
		repaired = clampTo(a.wrong, now) || repaired
		a.wrong = prune(a.wrong, func(at Ms) bool { return now-at < Of(keepWrong) })
		a.challenges = prune(a.challenges, func(c Challenge) bool { return now < c.Deadline+Of(Afterlife) })
		for j := range a.challenges {
			if c := &a.challenges[j]; c.MailedAt > now+Of(ClockSlack) {
				c.MailedAt, repaired = now, true
			}
		}
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
				end = max(end, s.at+Of(keepSends))
			}
		}
		if n := len(a.wrong); n > 0 {
			end = max(end, a.wrong[n-1]+Of(keepWrong))
		}
		for i := range a.challenges {
			end = max(end, a.challenges[i].Deadline+Of(Afterlife))
		}
	}
	// A challenge opened by a clock that runs ahead must not keep the ledger
	// longer.
	end = min(end, now+Of(keepWrong+ClockSlack))
	if l.DevicesFrom != 0 {
		end = max(end, l.DevicesFrom+Of(keepDevices))
	}
	return span(end-now) + margin
}

// release returns when a send leaves a window.
func release(at Ms, per time.Duration) Ms {
	if per <= shortWindow {
		return at + Of(per)
	}
	return ceilTo(at+Of(per), Of(per)/sendSteps)
}

// sendWait returns how long the limits forbid another send, 0 for not at all. It
// is told in whole minutes, since the mails of others are in the way, unless the
// newest mail of own, if that is not nil, is all that is.
func (a *lane) sendWait(now Ms, limits []Limit, own *Challenge) time.Duration {
	end, others := now, false
	for _, lim := range limits {
		n := lim.N
		for i := len(a.sends) - 1; i >= 0; i-- {
			s := a.sends[i]
			if !s.counts(lim.Per) {
				continue
			}
			if n--; n > 0 {
				continue
			}
			if at := release(s.at, lim.Per); at > now {
				end = max(end, at)
				others = others || own == nil || lim.N > 1 || s.at != own.MailedAt
			}
			break
		}
	}
	if others {
		return wholeMinutes(span(end - now))
	}
	return span(end - now)
}

// spent reports whether as many wrong guesses at short codes were made as the
// limits allow.
func (a *lane) spent(now Ms, limits []Limit) bool {
	for _, lim := range limits {
		if n := len(a.wrong); n >= lim.N && now-a.wrong[n-lim.N] < Of(lim.Per) {
			return true
		}
	}
	return false
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

// appendEvent is addSend for wrong guesses.
func appendEvent(events []Ms, now Ms) []Ms {
	if n := len(events); n > 0 {
		now = max(now, events[n-1])
	}
	events = append(events, now)
	return events[max(0, len(events)-MaxEvents):]
}

func span(ms Ms) time.Duration { return time.Duration(ms) * time.Millisecond }
