package otp_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// The figures of a store that holds a thousand and a million entries. B/entry
// is all memory that an entry takes, key and value included.
func BenchmarkMemoryStore(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = storeKey(i)
		}
		before := heapInUse()
		s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: n + 1})
		fill(b, s, 0, n, time.Hour)
		size := float64(heapInUse()-before) / float64(n)
		for _, op := range []struct {
			name string
			run  func(ctx context.Context, i int) (bool, error)
		}{
			{"Load", func(ctx context.Context, i int) (bool, error) {
				value, err := s.Load(ctx, keys[i])
				return value != nil, err
			}},
			{"Replace", func(ctx context.Context, i int) (bool, error) {
				value := storeValue(i)
				return s.CompareAndSwap(ctx, keys[i], value, value, time.Hour)
			}},
			{"CreateAndDelete", func(ctx context.Context, i int) (bool, error) {
				value := storeValue(i)
				if ok, err := s.CompareAndSwap(ctx, "another", nil, value, time.Hour); !ok {
					return ok, err
				}
				return s.CompareAndSwap(ctx, "another", value, nil, 0)
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", op.name, n), func(b *testing.B) {
				b.ReportAllocs()
				ctx := b.Context()
				for i := 0; b.Loop(); i++ {
					if ok, err := op.run(ctx, i*7919%n); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
				b.ReportMetric(size, "B/entry")
			})
		}
	}
}
