package otpstats_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

// What an event costs the caller of Check.
func BenchmarkObserve(b *testing.B) {
	p := engines[0].make(b)
	for _, parallel := range []bool{false, true} {
		name := "one"
		if parallel {
			name = "many"
		}
		b.Run(name, func(b *testing.B) {
			s := open(b, p, nil, otpstats.Options{App: appOf, Batch: 100, OnError: func(error) {}})
			e := ask(1, time.Now(), "a.example")[2].Event
			ctx := context.WithValue(b.Context(), appKey{}, "web")
			b.ReportAllocs()
			if parallel {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						s.Observe(ctx, e)
					}
				})
				return
			}
			for i := range b.N {
				if i%16000 == 15999 { // before the queue is full, which would be quicker
					b.StopTimer()
					flush(b, s)
					b.StartTimer()
				}
				s.Observe(ctx, e)
			}
		})
	}
}

// How many events a second are written: of a day with 100 000 of them.
func BenchmarkWrite(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			c := newClock()
			all := newMaker(1).traffic(c.Now(), 24*time.Hour, 20_000)
			s := open(b, e.make(b), c, otpstats.Options{App: appOf, Queue: 16384})
			b.ResetTimer()
			n := 0
			for b.Loop() {
				for i := range all {
					all[i].Time = all[i].Time.Add(24 * time.Hour)
					all[i].ChallengeHash[3]++
					all[i].tell(s)
					if i%5000 == 0 {
						c.Set(all[i].Time)
						flush(b, s)
					}
				}
				flush(b, s)
				n += len(all)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
