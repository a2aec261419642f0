package ledger

import (
	"sync"
	"time"
)

// Ceiling counts the starts of all strangers together, in memory. Each limit
// counts in buckets of a twenty-fourth of its length, and a start counts until
// the end of its bucket plus the length. No span of that length therefore ever
// has more than N starts. It is safe for concurrent use.
type Ceiling struct {
	mu      sync.Mutex
	windows []window
	latest  Ms // the latest time seen
	ahead   Ms // up to here the clock has been and has stepped back
	quiet   Ms // until then nobody hears that it is crowded
}

// perWindow is how many buckets make up the length of a limit.
const perWindow = 24

// crowdedEvery is how often an operator hears of a ceiling that is nearly used.
const crowdedEvery = time.Hour

// window is one limit and the starts that count for it.
type window struct {
	n          int
	per, width Ms
	buckets    []bucket // oldest first, none empty
	used       int      // in all buckets
}

type bucket struct {
	end Ms // its first millisecond afterwards
	n   int
}

// NewCeiling returns a ceiling under which nothing has started. Without limits
// it refuses nothing.
func NewCeiling(limits []Limit) *Ceiling {
	const never = -maxTime
	c := &Ceiling{latest: never, ahead: never, quiet: never}
	for _, l := range limits {
		w := window{n: l.N}
		w.setPer(l.Per)
		c.windows = append(c.windows, w)
	}
	return c
}

// Take counts one start, or returns how long to wait, in whole minutes, until
// enough of a bucket has left every full limit. The result crowded is true if
// three quarters of a limit are used, but at most once an hour.
func (c *Ceiling) Take(now Ms) (wait time.Duration, ok, crowded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := now
	now = c.tick(now)
	for i := range c.windows {
		if free := c.windows[i].freeAt(now); free > now {
			wait = max(wait, wholeMinutes(span(free-asked)))
		}
	}
	busy := false
	for i := range c.windows {
		w := &c.windows[i]
		if wait == 0 {
			w.put(now, 1)
		}
		busy = busy || 4*w.used >= 3*w.n
	}
	if busy && now >= c.quiet {
		c.quiet, crowded = now+Of(crowdedEvery), true
	}
	return wait, wait == 0, crowded
}

// GiveBack undoes a Take that was made at the time at. If it is not certain in
// which bucket that start is, it remains counted.
func (c *Ceiling) GiveBack(at Ms) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at <= c.ahead { // the start may have been moved to an earlier bucket
		return
	}
	for i := range c.windows {
		c.windows[i].giveBack(at)
	}
}

// Widen raises the length of every limit that is shorter to per. A start that
// still counts is then counted at the end of its old bucket, so that none is
// freed early. Starts that had left their limit do not come back.
func (c *Ceiling) Widen(per time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.windows {
		w := &c.windows[i]
		if w.per >= wholeMs(per) {
			continue
		}
		old := w.buckets
		w.buckets, w.used = nil, 0
		w.setPer(per)
		for _, b := range old {
			w.put(min(b.end-1, c.latest), b.n)
		}
	}
}

// tick returns the time by which now is counted: the latest one seen, because
// callers read the clock before they come here and may overtake each other. But
// if the clock has stepped back further than clocks differ, it was wrong
// before, and all starts that are still to come by it are counted as of now:
// later than they were made, but not as late as a broken clock said.
func (c *Ceiling) tick(now Ms) Ms {
	if now < c.latest-Of(ClockSlack) {
		c.ahead = max(c.ahead, c.latest)
		c.latest = now
		c.quiet = min(c.quiet, now+Of(crowdedEvery))
		for i := range c.windows {
			c.windows[i].stepBack(now)
		}
	}
	c.latest = max(c.latest, now)
	return c.latest
}

// setPer sets the length of the limit, and the width of a bucket.
func (w *window) setPer(per time.Duration) {
	w.per = wholeMs(per)
	w.width = (w.per + perWindow - 1) / perWindow
}

// endOf returns the end of the bucket that at is in.
func (w *window) endOf(at Ms) Ms { return floorTo(at, w.width) + w.width }

// freeAt forgets the starts that no longer count, and returns when the limit
// allows one more. A time at or before now means that it does so now.
func (w *window) freeAt(now Ms) Ms {
	gone := 0
	for gone < len(w.buckets) && w.buckets[gone].end+w.per <= now {
		w.used -= w.buckets[gone].n
		gone++
	}
	if gone > 0 {
		w.buckets = append(w.buckets[:0], w.buckets[gone:]...)
	}
	at, left := now, w.used
	for i := 0; left >= w.n; i++ {
		at = w.buckets[i].end + w.per
		left -= w.buckets[i].n
	}
	return at
}

// put counts n starts at the time at, which is not before any other.
func (w *window) put(at Ms, n int) {
	w.used += n
	end := w.endOf(at)
	if last := len(w.buckets) - 1; last >= 0 && w.buckets[last].end >= end {
		w.buckets[last].n += n
		return
	}
	w.buckets = append(w.buckets, bucket{end, n})
}

// giveBack takes one start out of the bucket of at. If a caller with a later
// time came first, its own start is in a later bucket, and what remains counts
// longer. It is not looked for there: it may have left, and then another one
// would be freed early.
func (w *window) giveBack(at Ms) {
	for i, b := range w.buckets {
		if b.end != w.endOf(at) {
			continue
		}
		w.used--
		if w.buckets[i].n--; w.buckets[i].n == 0 {
			w.buckets = append(w.buckets[:i], w.buckets[i+1:]...)
		}
		return
	}
}

// stepBack moves the starts that are after the bucket of now into it.
func (w *window) stepBack(now Ms) {
	later := 0
	for len(w.buckets) > 0 && w.buckets[len(w.buckets)-1].end > w.endOf(now) {
		last := len(w.buckets) - 1
		later += w.buckets[last].n
		w.buckets = w.buckets[:last]
	}
	w.used -= later
	if later > 0 {
		w.put(now, later)
	}
}

// wholeMs rounds up, so that no limit becomes shorter.
func wholeMs(d time.Duration) Ms {
	return Of(d + time.Millisecond - 1)
}

func wholeMinutes(d time.Duration) time.Duration {
	return (d + time.Minute - 1).Truncate(time.Minute)
}
