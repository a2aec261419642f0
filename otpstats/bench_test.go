package otpstats_test

import (
	"testing"
	"time"

	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpstats"
)

// How many events a second are written: of a day with 100 000 of them.
func BenchmarkWrite(b *testing.B) {
	for name, database := range map[string]func(testing.TB) sqltest.Database{"SQLite": sqltest.SQLite, "PostgreSQL": sqltest.Postgres} {
		b.Run(name, func(b *testing.B) {
			c := newClock()
			all := newMaker(1).traffic(c.Now(), 24*time.Hour, 20_000)
			s := open(b, database(b), c, otpstats.Options{App: appOf, Queue: 16384})
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
