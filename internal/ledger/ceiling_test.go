package ledger

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// take is Take without what only an operator hears.
func take(c *Ceiling, now Ms) (wait time.Duration, ok bool) {
	wait, ok, _ = c.Take(now)
	return wait, ok
}

// hour is a limit whose buckets have 150 seconds.
func hour(n int) *Ceiling { return NewCeiling([]Limit{{n, time.Hour}}) }

const (
	minute   = Ms(60_000)
	bucket24 = Ms(150_000) // of an hour
)

// J3: a start counts until the end of its bucket plus the length of the limit,
// wherever in its bucket it was.
func TestCeiling_boundary(t *testing.T) {
	require.Zero(t, t0%bucket24)
	for _, into := range []Ms{0, 1, bucket24 / 2, bucket24 - 1} {
		for _, base := range []Ms{t0, 0, -t0} {
			c := hour(1)
			_, ok := take(c, base+into)
			require.True(t, ok)
			free := base + bucket24 + 60*minute
			_, ok = take(c, free-1)
			require.False(t, ok)
			_, ok = take(c, free)
			require.True(t, ok)
			_, ok = take(c, free)
			require.False(t, ok)
		}
	}
}

// A limit of a fraction of a millisecond is not shortened.
func TestCeiling_fraction(t *testing.T) {
	c := NewCeiling([]Limit{{1, time.Millisecond + 1}})
	take(c, t0)
	_, ok := take(c, t0+2)
	require.False(t, ok)
	_, ok = take(c, t0+3)
	require.True(t, ok)
}

// The wait is in whole minutes, never too short, and what it waits for is the
// next bucket with a start, not the last one.
func TestCeiling_wait(t *testing.T) {
	c := hour(3)
	for _, at := range []Ms{0, 1, 30 * minute} {
		_, ok := take(c, t0+at)
		require.True(t, ok)
	}
	free := 60*minute + bucket24 // 1:02:30
	for _, tt := range []struct {
		at   Ms
		want time.Duration
	}{
		{30 * minute, 33 * time.Minute},
		{free - 2*minute - 1, 3 * time.Minute},
		{free - 2*minute, 2 * time.Minute},
		{free - 1, time.Minute},
	} {
		wait, ok := take(c, t0+tt.at)
		require.False(t, ok)
		require.Equal(t, tt.want, wait)
	}
	for range 2 {
		wait, ok := take(c, t0+free)
		require.True(t, ok)
		require.Zero(t, wait)
	}
	wait, ok := take(c, t0+free)
	require.False(t, ok)
	require.Equal(t, 30*time.Minute, wait)
}

// A refusal counts nothing in any limit, and the wait is the longest one.
func TestCeiling_severalLimits(t *testing.T) {
	c := NewCeiling([]Limit{{2, time.Hour}, {1, 24 * time.Minute}, {100, 24 * time.Hour}})
	_, ok := take(c, t0)
	require.True(t, ok)
	for range 5 {
		wait, ok := take(c, t0+1)
		require.False(t, ok)
		require.Equal(t, 25*time.Minute, wait)
	}
	_, ok = take(c, t0+25*minute)
	require.True(t, ok)
	wait, ok := take(c, t0+25*minute)
	require.False(t, ok)
	require.Equal(t, 38*time.Minute, wait) // of the hour; the other limit says 25
	_, ok = take(c, t0+62*minute+minute/2)
	require.True(t, ok)
	_, ok = take(NewCeiling(nil), t0)
	require.True(t, ok)
}

// An operator hears of it at three quarters, once an hour, and also while all
// are refused.
func TestCeiling_crowded(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 4: 3, 10: 8, 100: 75} {
		c := hour(n)
		for i := 1; i <= n+3; i++ {
			_, _, crowded := c.Take(t0)
			require.Equal(t, i == want, crowded, "%d of %d", i, n)
		}
		_, ok, crowded := c.Take(t0 + 60*minute - 1)
		require.False(t, ok)
		require.False(t, crowded)
		_, ok, crowded = c.Take(t0 + 60*minute)
		require.False(t, ok)
		require.True(t, crowded)
		_, _, crowded = c.Take(t0 + 60*minute)
		require.False(t, crowded)
	}
	c := hour(4)
	for range 3 {
		c.Take(t0)
	}
	_, _, crowded := c.Take(t0 + bucket24 + 60*minute)
	require.False(t, crowded, "the others have just left")

	c = NewCeiling([]Limit{{100, time.Hour}, {4, time.Hour}})
	for i := range 4 {
		_, _, crowded := c.Take(t0)
		require.Equal(t, i == 2, crowded)
	}
}

func TestCeiling_giveBack(t *testing.T) {
	c := hour(2)
	take(c, t0)
	take(c, t0+30*minute)
	c.GiveBack(t0 + 10*minute) // nothing was taken then
	_, ok := take(c, t0+30*minute)
	require.False(t, ok)
	c.GiveBack(t0 + 30*minute)
	c.GiveBack(t0 + 30*minute)
	_, ok = take(c, t0+30*minute)
	require.True(t, ok)
	wait, ok := take(c, t0+30*minute)
	require.False(t, ok, "the other start was not given back")
	require.Equal(t, 33*time.Minute, wait)
	c.GiveBack(t0 + bucket24 - 1) // the same bucket
	_, ok = take(c, t0+30*minute)
	require.True(t, ok)
}

// What has left a limit is not given back to it: it would free another start.
func TestCeiling_giveBackTooLate(t *testing.T) {
	c := NewCeiling([]Limit{{2, time.Second}, {3, time.Hour}})
	take(c, t0)
	take(c, t0+1500)
	take(c, t0+1500)
	c.GiveBack(t0)
	_, ok := take(c, t0+1500)
	require.False(t, ok, "the second has two")
	_, ok = take(c, t0+3000)
	require.True(t, ok, "the hour has got one back")
	_, ok = take(c, t0+5000)
	require.False(t, ok)
}

// Callers that overtake each other free nothing early and block nothing.
func TestCeiling_overtaken(t *testing.T) {
	c := hour(2)
	late := t0 + bucket24
	take(c, late)
	take(c, late-minute) // counted in the bucket of the first
	free := late + bucket24 + 60*minute
	wait, ok := take(c, late-minute)
	require.False(t, ok)
	require.Equal(t, 64*time.Minute, wait, "by the clock of who asks")
	_, ok = take(c, free-1)
	require.False(t, ok)
	for range 2 {
		_, ok = take(c, free)
		require.True(t, ok)
	}
}

// A clock that steps back frees nothing early, and does not keep a start longer
// than if it had been made now.
func TestCeiling_clockStepsBack(t *testing.T) {
	for _, ahead := range []Ms{minute + 1, 60 * minute, 400 * 24 * 60 * minute} {
		c := hour(3)
		take(c, t0+ahead)
		take(c, t0+ahead)
		_, ok := take(c, t0)
		require.True(t, ok)
		_, ok = take(c, t0)
		require.False(t, ok)
		free := t0 + bucket24 + 60*minute
		_, ok = take(c, free-1)
		require.False(t, ok)
		for range 3 {
			_, ok = take(c, free)
			require.True(t, ok)
		}
	}

	// Many small steps are one large one.
	c := hour(1)
	take(c, t0+bucket24)
	take(c, t0+bucket24-50_000)
	take(c, t0+bucket24-100_000)
	_, ok := take(c, t0+bucket24+60*minute-1)
	require.False(t, ok)
	_, ok = take(c, t0+bucket24+60*minute)
	require.True(t, ok)

	// What was before the step stays where it is.
	c = hour(2)
	take(c, t0)
	take(c, t0+30*minute)
	_, ok = take(c, t0+10*minute)
	require.False(t, ok)
	_, ok = take(c, t0+60*minute+bucket24-1)
	require.False(t, ok)
	_, ok = take(c, t0+60*minute+bucket24)
	require.True(t, ok)
	_, ok = take(c, t0+70*minute+bucket24-1)
	require.False(t, ok)
	_, ok = take(c, t0+70*minute+bucket24)
	require.True(t, ok)
}

// After a step back it is not known where a start is: nothing is given back.
func TestCeiling_giveBackAfterStepBack(t *testing.T) {
	c := hour(2)
	at := t0 + 50*minute
	take(c, at)
	take(c, t0)
	_, ok := take(c, t0)
	require.False(t, ok)
	c.GiveBack(at)
	c.GiveBack(t0)
	_, ok = take(c, t0)
	require.False(t, ok)

	c = hour(3)
	take(c, at)
	take(c, t0)
	take(c, at)    // at the same time as the first, but in another bucket
	c.GiveBack(at) // the first?
	_, ok = take(c, at)
	require.False(t, ok)
	later := t0 + 60*minute + bucket24
	take(c, later)
	c.GiveBack(later)
	for range 2 {
		_, ok = take(c, later)
		require.True(t, ok)
	}
}

// An operator hears of a ceiling that is used also after the clock was wrong.
func TestCeiling_crowdedAfterStepBack(t *testing.T) {
	c := hour(1)
	_, _, crowded := c.Take(t0 + 1000*24*60*minute)
	require.True(t, crowded)
	_, _, crowded = c.Take(t0)
	require.False(t, crowded)
	_, _, crowded = c.Take(t0 + 60*minute)
	require.True(t, crowded)
}

// J3: in a longer limit, starts count from the end of their old buckets, or
// from the latest time seen if that is earlier.
func TestCeiling_widen(t *testing.T) {
	day := 24 * time.Hour // buckets of an hour
	c := hour(2)
	take(c, t0+58*minute)
	take(c, t0+59*minute+minute/2) // the bucket ends at 1:00
	c.Widen(day)
	c.Widen(time.Hour) // never shorter
	for _, tt := range []struct {
		at Ms
		ok int
	}{{24*60*minute + 60*minute - 1, 0}, {24*60*minute + 60*minute, 2}} {
		for i := range 3 {
			_, ok := take(c, t0+tt.at)
			require.Equal(t, i < tt.ok, ok)
		}
	}

	// The bucket of 57:30 to 1:00:00 becomes that of 59:00 to 1:01:57.
	c = hour(1)
	take(c, 58*minute)
	take(c, 62*minute) // refused, but the time is known
	c.Widen(24 * 177 * time.Second)
	free := 61*minute + 57_000 + 24*177_000
	_, ok := take(c, free-1)
	require.False(t, ok)
	_, ok = take(c, free)
	require.True(t, ok)

	// The bucket of 1:00 to 2:00 has not ended: it becomes that of 0:00 to
	// 1:30, not of 1:30 to 3:00.
	c = NewCeiling([]Limit{{1, 24 * time.Hour}})
	take(c, 61*minute)
	c.Widen(36 * time.Hour)
	free = (36*60 + 90) * minute
	_, ok = take(c, free-1)
	require.False(t, ok)
	_, ok = take(c, free)
	require.True(t, ok)
}

// No span of the length has more than N, whatever the clock does but leap
// ahead. Starts that were given back do not count.
func TestCeiling_randomHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for h := range 400 {
		limits := []Limit{{1 + random.IntN(5), time.Duration(1+random.IntN(5000)) * time.Millisecond}, {1 + random.IntN(20), time.Minute}}
		c := NewCeiling(limits)
		if h%2 == 0 { // the others have no short limit then
			limits[0].Per = 0
		}
		var starts []Ms // in true time
		now, off := t0+Ms(random.IntN(1000)), Ms(0)
		for range 300 {
			now += Ms(random.IntN(1 + random.IntN(3000)))
			at := now - Ms(random.IntN(100)) // the clock was read, then somebody was faster
			switch random.IntN(100) {
			case 0:
				off -= Ms(random.IntN(int(3 * minute)))
			case 1:
				if limits[0].Per == 0 {
					c.Widen(time.Duration(random.IntN(60_000)) * time.Millisecond)
				}
			}
			wait, ok := take(c, at+off)
			if !ok {
				require.Positive(t, wait)
				require.Zero(t, wait%time.Minute)
			} else if random.IntN(4) == 0 {
				c.GiveBack(at + off)
			} else {
				starts = append(starts, at)
			}
		}
		slices.Sort(starts)
		for _, l := range limits {
			for i := l.N; i < len(starts); i++ {
				require.GreaterOrEqual(t, starts[i]-starts[i-l.N], Of(l.Per))
			}
		}
	}
}

// Ten million starts are counted as fast as one.
func TestCeiling_large(t *testing.T) {
	const n = 10_000_000
	c := hour(n)
	c.windows[0].put(t0, n-1)
	_, ok := take(c, t0)
	require.True(t, ok)
	_, ok = take(c, t0)
	require.False(t, ok)
}

// For the race detector, and for the exact number.
func TestCeiling_concurrent(t *testing.T) {
	c := hour(100)
	var all sync.WaitGroup
	var taken atomic.Int64
	for range 16 {
		all.Go(func() {
			for i := range 50 {
				if _, ok := take(c, t0); ok {
					taken.Add(1)
				}
				c.Widen(time.Hour + time.Duration(i)*time.Second)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 100, taken.Load())
}
