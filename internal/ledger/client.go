package ledger

import "time"

// Client is everything that is remembered about a client: how many challenges it
// opened, counted in buckets of 5 seconds and of 5 minutes, so that a thousand
// starts take no more room than one.
type Client struct{ fine, coarse []starts }

// starts is one bucket: how many starts there were in the span that begins at
// begin. Lists of them are oldest first, and none of them is empty.
type starts struct {
	begin Ms
	n     int
}

const (
	fineWidth, keepFine     = 5 * time.Second, 2 * time.Minute
	coarseWidth, keepCoarse = 5 * time.Minute, 70 * time.Minute
)

// Repair is [Ledger.Repair] for a client.
func (c *Client) Repair(now Ms) (repaired bool) {
	var fine, coarse bool
	c.fine, fine = repairBuckets(c.fine, now, fineWidth, keepFine)
	c.coarse, coarse = repairBuckets(c.coarse, now, coarseWidth, keepCoarse)
	return fine || coarse
}

func repairBuckets(list []starts, now Ms, width, keep time.Duration) (_ []starts, repaired bool) {
	early := 0
	list = prune(list, func(b starts) bool {
		if b.begin > now+Of(ClockSlack) {
			early += b.n
			return false
		}
		return now-b.begin < Of(keep)
	})
	if early == 0 {
		return list, false
	}
	return addBucket(list, starts{floorTo(now, Of(width)), early}), true
}

// addBucket adds starts in their place.
func addBucket(list []starts, add starts) []starts {
	i := len(list)
	for i > 0 && list[i-1].begin > add.begin {
		i--
	}
	if i > 0 && list[i-1].begin == add.begin {
		list[i-1].n += add.n
		return list
	}
	list = append(list, starts{})
	copy(list[i+1:], list[i:])
	list[i] = add
	return list
}

// Start counts the opening of a challenge, or returns how long to wait until
// one is allowed. A start counts until its bucket has left the window, so there
// are never more than N in any span of length Per.
func (c *Client) Start(now Ms, limits []Limit) (wait time.Duration, ok bool) {
	free := now
	for _, lim := range limits {
		list, width := c.coarse, Of(coarseWidth)
		if lim.Per <= shortWindow {
			list, width = c.fine, Of(fineWidth)
		}
		sum := 0
		for i := len(list) - 1; i >= 0; i-- {
			leaves := list[i].begin + width + Of(lim.Per)
			if leaves <= now {
				break
			}
			if sum += list[i].n; sum >= lim.N {
				free = max(free, leaves)
				break
			}
		}
	}
	if free > now {
		return span(free - now), false
	}
	c.fine = count(c.fine, now, fineWidth)
	c.coarse = count(c.coarse, now, coarseWidth)
	return 0, true
}

// count counts one start, in the newest bucket if a faster clock has begun it.
func count(list []starts, now Ms, width time.Duration) []starts {
	begin := floorTo(now, Of(width))
	if n := len(list); n > 0 {
		begin = max(begin, list[n-1].begin)
	}
	return addBucket(list, starts{begin, 1})
}

// TTL returns how long a store must keep the client after it was written.
func (c *Client) TTL(Ms) time.Duration { return keepCoarse + margin }
