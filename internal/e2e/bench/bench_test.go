// Package bench compares the library with the bare calls that it is made of
// and with other libraries. It holds benchmarks only; its README says how to
// run them and how to read them.
package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// A way is one of several ways to do the same work.
type way struct {
	name string

	// prepare makes another block of n turns possible. It is not timed. Nil
	// means that there is nothing to prepare.
	prepare func(n int) error

	// turn does the work once. Within a block, i counts from 0 to n-1. Turns
	// with different i run concurrently.
	turn func(i int) error
}

var errBroken = errors.New("this way does not do its work")

// compare benchmarks each of the other ways, with each number of workers. It
// times some blocks of turns of base before as many of theirs and reports the
// median of the ratios: times vary with the load of the machine, ratios of
// neighbors hardly do.
func compare(b *testing.B, block int, workers []int, base way, others ...way) {
	for _, w := range others {
		for _, n := range workers {
			b.Run(fmt.Sprintf("%s/workers=%d", w.name, n), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(n, runtime.NumCPU())))
				pair(b, block, n, base, w)
			})
		}
	}
}

// pair leaves the timer running, so that b.N bounds the whole time, and reports the
// time and the allocations of w alone.
func pair(b *testing.B, block, workers int, base, w way) {
	var ratios []float64
	var took time.Duration
	var before, after runtime.MemStats
	var bytes, allocs uint64
	b.ReportAllocs()
	for done := 0; done < b.N; {
		var blocks []int
		var against, d time.Duration
		for against < enough && done < b.N {
			n := min(block, b.N-done)
			done += n
			blocks = append(blocks, n)
			base.ready(b, n)
			against += base.run(b, workers, n)
		}
		for _, n := range blocks {
			w.ready(b, n)
			runtime.ReadMemStats(&before)
			d += w.run(b, workers, n)
			runtime.ReadMemStats(&after)
			bytes += after.TotalAlloc - before.TotalAlloc
			allocs += after.Mallocs - before.Mallocs
		}
		took += d
		ratios = append(ratios, float64(d)/float64(against))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x/"+base.name)
	b.ReportMetric(float64(took)/float64(b.N), "ns/op")
	b.ReportMetric(float64(bytes)/float64(b.N), "B/op")
	b.ReportMetric(float64(allocs)/float64(b.N), "allocs/op")
}

// enough is how long one side runs before the other. It has many garbage
// collections: where a block is shorter than the time between two, they may all
// fall into the blocks of one side.
const enough = 100 * time.Millisecond

func (w way) ready(b *testing.B, n int) {
	if w.prepare != nil {
		require.NoError(b, w.prepare(n), w.name)
	}
}

// run divides n turns among the workers and returns the time that they took.
func (w way) run(b *testing.B, workers, n int) time.Duration {
	errs := make([]error, workers)
	var all sync.WaitGroup
	start := time.Now()
	for k := range workers {
		all.Go(func() {
			for i := k * n / workers; i < (k+1)*n/workers && errs[k] == nil; i++ {
				errs[k] = w.turn(i)
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	require.NoError(b, errors.Join(errs...), w.name)
	return took
}

// Every way does its work: each turn of it fails otherwise.
func TestBenchmarks(t *testing.T) {
	testkit.Long(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0],
		"-test.run=^$", "-test.bench=.", "-test.benchtime=1x", "-events=300", "-pending=1000")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
}
