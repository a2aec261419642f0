package otpstats_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/otpstats"
)

// Two processes write to one database, each some of the events of each challenge, and
// settle at once: the counts are as if it was one.
func TestPostgreSQL_twoWriters(t *testing.T) {
	p, c := engines[1].make(t), newClock()
	var told atomic.Int64
	opts := otpstats.Options{
		App: appOf, Batch: 50, Queue: 100_000, Interval: 5 * time.Millisecond, Over: 3 * time.Hour, // the queues are not in step
		OnAnomaly: func(otpstats.Anomaly) { told.Add(1) },
		Rules:     otpstats.Rules{Addresses: otpstats.SpreadRule{Limit: 5}},
	}
	both := []*otpstats.Stats{open(t, p, c, opts), open(t, p, c, opts)}
	m := newMaker(5)
	all := m.traffic(c.Now(), 20*time.Hour, 600)
	tale := ask(1, c.Now(), "a.example")[:1]
	for n := range 20 {
		h := tale[0]
		h.ClientHash, h.Time = numbered('x', n), c.Now().Add(time.Duration(n)*time.Second)
		all = append([]happening{h}, all...)
	}
	for i, h := range all {
		h.tell(both[m.IntN(2)])
		c.Set(h.Time)
		if i%50 == 0 {
			flush(t, both[0])
			flush(t, both[1])
		}
	}
	flush(t, both[0]) // a clock ahead of the other's queue would end challenges whose events are still to come
	flush(t, both[1])
	c.Add(10 * time.Hour)
	var wg sync.WaitGroup
	for range 3 {
		for _, s := range both {
			wg.Go(func() {
				c.Add(time.Minute)
				flush(t, s)
			})
		}
		wg.Wait()
	}
	compareAll(t, both[0], naive(all), newClock().Now())
	anomalies, err := both[1].Anomalies(t.Context(), otpstats.Filter{})
	require.NoError(t, err)
	require.Len(t, anomalies, 1)
	require.NotZero(t, anomalies[0].Until, "over")
	require.EqualValues(t, 1, told.Load(), "told by one of the two")
}
