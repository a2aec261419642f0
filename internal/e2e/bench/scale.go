package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
)

const scaleTitle = "Send and Check at scale"

// atScale prints what many pending challenges cost: memory, the garbage
// collector's time, the longest stop, and how much slower Send and Check are
// than with a thousand.
func atScale(w io.Writer, blocks, many int) error {
	fewFlow, err := newFlow(otp.NewMemoryStore(nil), hand, nil)
	if err != nil {
		return err
	}
	few := fewFlow.variant("1,000 pending")
	if _, err := fill(fewFlow, "somebody", 1000); err != nil {
		return err
	}

	before := heap()
	var ahead atomic.Int64
	store := otp.NewMemoryStore(&otp.MemoryOptions{
		MaxEntries: many + maxWorkers*turns,
		Now:        func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	f, err := newFlow(store, hand, nil)
	if err != nil {
		return err
	}
	longest, err := fill(f, "somebody", many)
	if err != nil {
		return err
	}
	size := float64(heap()-before) / float64(many)
	full, stop := collect()

	if err := table(w, scaleTitle, blocks, cores, few, f.variant(fmt.Sprintf("%d pending", many))); err != nil {
		return err
	}
	ahead.Store(int64(40 * 24 * time.Hour)) // all expire at once
	buried := many / 2
	dying, err := fill(f, "later", buried)
	if err != nil {
		return err
	}

	fmt.Fprintf(w, "\n| %d pending | |\n| --- | --- |\n", many)
	fmt.Fprintf(w, "| heap for a challenge | %.0f B |\n", size)
	fmt.Fprintf(w, "| full garbage collection, median of %d | %.1f ms |\n", collections, ms(full))
	fmt.Fprintf(w, "| the world stopped in one, both stops together, most | %.3f ms |\n", ms(stop))
	fmt.Fprintf(w, "| longest Send while they are made (%s) | %.3f ms |\n", stopwatchName, ms(longest))
	fmt.Fprintf(w, "| longest Send of %d after all have expired at once; %d of the dead are left then | %.3f ms |\n",
		buried, store.Len()-buried, ms(dying))
	fmt.Fprintf(w, "| longest turn of as many that only hash: the machine's own stops | %.3f ms |\n", ms(idle(many)))
	runtime.KeepAlive(f)
	runtime.KeepAlive(few)
	return nil
}

// fill sends n codes to n addresses and returns the longest that one took.
func fill(f *flow, name string, n int) (longest time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	last := stopwatch()
	for i := range n {
		if _, err := f.Send(context.Background(), otp.Request{To: fmt.Sprintf("%s%07d@example.org", name, i)}); err != nil {
			return 0, err
		}
		now := stopwatch()
		longest, last = max(longest, now-last), now
	}
	return longest, nil
}

// idle is fill with a fixed piece of work in place of Send, which by itself
// cannot stop: what it shows is the machine's.
func idle(n int) (longest time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block [8192]byte // some microseconds
	last := stopwatch()
	for range n {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
		now := stopwatch()
		longest, last = max(longest, now-last), now
	}
	return longest
}

// heap is what is in use after everything dead is gone.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const collections = 9

// collect collects garbage and returns how long a whole collection takes and
// the most time for which one stopped every goroutine.
func collect() (full, stop time.Duration) {
	var times []time.Duration
	for range collections {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		runtime.GC()
		times = append(times, time.Since(start))
		runtime.ReadMemStats(&after)
		// Two stops in each collection.
		stop = max(stop, time.Duration(after.PauseTotalNs-before.PauseTotalNs))
	}
	slices.Sort(times)
	return times[len(times)/2], stop
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
