package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
)

// A counter is what one lane of an address was told and mailed, in true time.
// It knows nothing of ledgers: it is the naive count that the promises are
// about.
type counter struct {
	wrong []verdict // wrong verdicts at short codes
	mails []*mail
}

type verdict struct {
	at   time.Time
	at1  *challenge
	node *node
}

// A mail is one that was reserved. Decoys, and calls that failed in between, have
// reserved one that was not sent.
type mail struct {
	at       time.Time
	sent     bool
	refunded bool
	passed   bool
}

// longest is how long a counter remembers: the longest window, and a day.
const longest = 31 * 24 * time.Hour

// told counts a wrong verdict and returns which budget it exceeds, if any.
// Whoever passed a challenge was its owner: its wrong guesses were typos. less is
// how much shorter the windows are.
func (c *counter) told(v verdict, limits []otp.Limit, less time.Duration) error {
	c.wrong = slices.DeleteFunc(append(c.wrong, v), func(old verdict) bool { return v.at.Sub(old.at) > longest || old.at1.passed })
	for _, l := range limits {
		n := 0
		for _, old := range c.wrong {
			if v.at.Sub(old.at) < l.Per-less {
				n++
			}
		}
		if n > l.N {
			return fmt.Errorf("%d wrong verdicts within %v, budget %d", n, l.Per, l.N)
		}
	}
	return nil
}

// counts reports whether a mail counts in windows of the length per: a passed
// one does not count in short windows, a refunded one not in long ones.
func (m *mail) counts(per time.Duration) bool {
	if per <= time.Minute {
		return !m.passed
	}
	return !m.refunded
}

// reserve counts a mail that was reserved, and returns which budget it exceeds,
// if any. The clocks of the verifiers differ by skew: a window is that much
// shorter in true time.
func (c *counter) reserve(m *mail, limits []otp.Limit, skew time.Duration) error {
	c.mails = slices.DeleteFunc(append(c.mails, m), func(old *mail) bool { return m.at.Sub(old.at) > 27*time.Hour })
	for _, l := range limits {
		n := 0
		for _, old := range c.mails {
			if old.sent && old.counts(l.Per) && m.at.Sub(old.at) < l.Per-skew {
				n++
			}
		}
		if n > l.N {
			return fmt.Errorf("%d mails within %v, budget %d: %s", n, l.Per, l.N, c.listMails())
		}
	}
	return nil
}

// listMails lists the mails, newest last.
func (c *counter) listMails() (list string) {
	for _, m := range c.mails {
		list += fmt.Sprintf(" %+v", *m)
	}
	return list
}

// free reports whether a mail is surely within the budget: a window ends at the
// next multiple of a twelfth of it, and what was given back may count.
func (c *counter) free(now time.Time, limits []otp.Limit, skew time.Duration) bool {
	for _, l := range limits {
		window := l.Per + skew
		if l.Per > time.Minute {
			window += l.Per / 12
		}
		n := 0
		for _, m := range c.mails {
			if now.Sub(m.at) < window && (!m.passed || l.Per > time.Minute) {
				n++
			}
		}
		if n >= l.N {
			return false
		}
	}
	return true
}

// A forecast is the rule of reserved guesses (R3', R22), written down again: by
// the clocks of the verifiers, which the simulator knows. It says exactly what
// each new code must be.
type forecast struct {
	wrong  []int64 // of counted wrong short guesses, as recorded
	strong int64   // until when only strong codes are mailed
}

const slack = int64(time.Minute / time.Millisecond)

// add records a wrong guess at a short code by a clock that shows now.
func (f *forecast) add(now int64) {
	if n := len(f.wrong); n > 0 {
		now = max(now, f.wrong[n-1])
	}
	f.wrong = append(f.wrong, now)
}

// written notes that a clock that shows now has written the ledger: it drops
// what it no longer counts, also if a slower clock would still count it.
func (f *forecast) written(now int64) {
	f.wrong = slices.DeleteFunc(f.wrong, func(at int64) bool { return now-at >= (30*24*time.Hour).Milliseconds()+slack })
	if f.strong <= now {
		f.strong = 0
	}
}

// pass forgives the typos of a challenge that was passed.
func (f *forecast) pass(c *challenge) {
	n := c.wrong
	f.wrong = slices.DeleteFunc(f.wrong, func(at int64) bool {
		drop := n > 0 && at >= c.sentAt-slack
		if drop {
			n--
		}
		return drop
	})
}

// spent reports whether as many wrong guesses are recorded as the limits allow.
func (f *forecast) spent(now int64, limits []otp.Limit) bool {
	for _, l := range limits {
		n := 0
		for _, at := range f.wrong {
			if now-at < l.Per.Milliseconds() {
				n++
			}
		}
		if n >= l.N {
			return true
		}
	}
	return false
}

// next returns what a code must be that is opened at now, by a verifier with
// these options, beside the challenges of the same lane.
func (f *forecast) next(now int64, limits []otp.Limit, guesses int, ttl time.Duration, lane []*challenge) (strong bool, left int) {
	free, n := 1000, 1000
	for _, l := range limits {
		used := 0
		for _, at := range f.wrong {
			if now-at < l.Per.Milliseconds()+slack {
				used++
			}
		}
		free, n = min(free, l.N-used), min(n, l.N)
	}
	for _, c := range lane {
		if !c.strong && !c.gone && now < c.deadline+slack {
			free -= c.guesses - c.wrong
		}
	}
	if ttl > time.Hour {
		free -= n / 2
		n -= n / 2
	}
	least := min(2, guesses, n)
	if free < least || f.strong > now {
		return true, guesses
	}
	return false, min(guesses, max(least, (free+1)/2))
}
