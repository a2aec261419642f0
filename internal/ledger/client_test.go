package ledger

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R14', J5: never more than N starts in any true window, and a start that is
// allowed again at the time that was told.
func TestClient(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		per := []time.Duration{time.Millisecond, 3 * time.Second, time.Minute, time.Minute + 1, 10 * time.Minute, time.Hour}[r.IntN(6)]
		limit := Limit{1 + r.IntN(20), per}
		c, now := &Client{}, t0+r.Int64N(Of(time.Hour))
		var started []Ms
		free := now
		for range 300 {
			now += r.Int64N(Of(per)/Ms(limit.N) + 2)
			back := new(Client)
			require.NoError(t, back.Decode(c.Append(nil)))
			c = back
			c.Repair(now)
			wait, ok := c.Start(now, []Limit{limit})
			require.Equal(t, now >= free, ok, "seed %d", seed)
			if !ok {
				require.Positive(t, wait)
				require.LessOrEqual(t, wait, per+coarseWidth)
				free = now + Of(wait)
				if r.IntN(3) == 0 {
					now = free
					c.Repair(now)
					_, ok = c.Start(now, []Limit{limit})
					require.True(t, ok, "at the time that was told")
				}
			}
			if ok {
				started, free = append(started, now), now
			}
			if n := len(started); n > limit.N {
				require.GreaterOrEqual(t, started[n-1]-started[n-1-limit.N], Of(per), "seed %d", seed)
			}
			if ok { // the next one is refused if it would be one too many
				again := new(Client)
				require.NoError(t, again.Decode(c.Append(nil)))
				if wait, ok := again.Start(now, []Limit{limit}); !ok {
					free = now + Of(wait)
				}
			}
		}
	}
}

// R14': a client that spent its hour is served again an hour and five minutes
// later at most, and a bucket counts to its end.
func TestClient_buckets(t *testing.T) {
	hour := floorTo(t0, Of(time.Hour))
	limits := []Limit{{3, time.Hour}}
	c := &Client{}
	for range 3 {
		_, ok := c.Start(hour+1, limits)
		require.True(t, ok)
	}
	wait, ok := c.Start(hour+1, limits)
	require.False(t, ok)
	require.Equal(t, 65*time.Minute-time.Millisecond, wait)
	c.Repair(hour + Of(65*time.Minute) - 1)
	_, ok = c.Start(hour+Of(65*time.Minute)-1, limits)
	require.False(t, ok)
	c.Repair(hour + Of(65*time.Minute))
	_, ok = c.Start(hour+Of(65*time.Minute), limits)
	require.True(t, ok)

	c = &Client{}
	_, ok = c.Start(hour, []Limit{{1, time.Second}})
	require.True(t, ok)
	wait, ok = c.Start(hour+4999, []Limit{{1, time.Second}})
	require.False(t, ok)
	require.Equal(t, 1001*time.Millisecond, wait)
	_, ok = c.Start(hour+6000, []Limit{{1, time.Second}})
	require.True(t, ok)
}

// Rule 8: starts of a clock far ahead count as of now, those within the slack stay.
func TestClient_clocks(t *testing.T) {
	limits := []Limit{{2, time.Hour}}
	hour := floorTo(t0, Of(time.Hour))
	c := &Client{}
	_, ok := c.Start(hour+Of(24*time.Hour), limits)
	require.True(t, ok)
	require.True(t, c.Repair(hour))
	require.False(t, c.Repair(hour))
	_, ok = c.Start(hour, limits)
	require.True(t, ok)
	wait, ok := c.Start(hour, limits)
	require.False(t, ok)
	require.Equal(t, 65*time.Minute, wait)

	c = &Client{}
	_, ok = c.Start(hour+59_000, limits) // of a clock 59 s ahead
	require.True(t, ok)
	require.False(t, c.Repair(hour))
	_, ok = c.Start(hour, limits)
	require.True(t, ok)
	require.Equal(t, []starts{{hour + 55_000, 2}}, c.fine, "the slower clock counts with it")
}

// Version 1 kept the time of each start.
func TestClient_version1(t *testing.T) {
	hour := floorTo(t0, Of(time.Hour))
	old := appendTimes([]byte{versionClient1}, []Ms{hour, hour + 1, hour + 5000, hour + Of(5*time.Minute)})
	c := new(Client)
	require.NoError(t, c.Decode(old))
	require.Equal(t, []starts{{hour, 2}, {hour + 5000, 1}, {hour + Of(5*time.Minute), 1}}, c.fine)
	require.Equal(t, []starts{{hour, 3}, {hour + Of(5*time.Minute), 1}}, c.coarse)
}
