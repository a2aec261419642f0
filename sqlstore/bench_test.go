package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkSwap compares a swap with a bare prepared UPDATE of the same row, in turn
// on the same connection. The result is the ratio.
func BenchmarkSwap(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			p := e.make(b)
			p.dsn = strings.NewReplacer("commit=off", "commit=on", "(OFF)", "(FULL)").Replace(p.dsn)
			db := openAt(b, p)
			db.SetMaxOpenConns(1)
			s := storeIn(b, p, db, nil)
			ctx, cancel := context.WithCancel(context.Background()) // like the context of a request
			defer cancel()
			text := "UPDATE otp_ledgers SET value = ?, expires = ? WHERE id = ?"
			if p.driver == "pgx" {
				text = "UPDATE otp_ledgers SET value = $1, expires = $2 WHERE id = $3"
			}
			bare, err := db.Prepare(text)
			require.NoError(b, err)
			value := func(i int) []byte { return fmt.Appendf(nil, "%0300d", i) }
			_, err = s.CompareAndSwap(ctx, "swapped", nil, value(0), time.Hour)
			require.NoError(b, err)
			_, err = s.CompareAndSwap(ctx, "bare", nil, value(0), time.Hour)
			require.NoError(b, err)
			far := time.Now().Add(time.Hour).UnixMilli()
			var swaps, bares time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				swapped, err := s.CompareAndSwap(ctx, "swapped", value(i), value(i+1), time.Hour)
				swaps += time.Since(began)
				if !swapped || err != nil {
					b.Fatal(swapped, err)
				}
				began = time.Now()
				_, err = bare.ExecContext(ctx, value(i+1), far+int64(i), []byte("bare"))
				bares += time.Since(began)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(swaps.Microseconds())/float64(b.N), "µs/swap")
			b.ReportMetric(float64(swaps)/float64(bares), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
