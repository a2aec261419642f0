package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// variant is one way to do a thing. Each has a state of its own.
type variant struct {
	name string
	size int // turns of one worker in a block

	// prepare makes everything ready for another block; it is not timed.
	// Nil means that there is nothing to do.
	prepare func() error

	// run is one turn. i is below size.
	run func(worker, i int) error
}

// maxWorkers is how many workers a variant must be made for.
const maxWorkers = 2

// cores are the numbers of workers of most comparisons.
var cores = []int{1, maxWorkers}

// block runs size turns on each worker and returns the time of a turn.
func (v *variant) block(workers int) (time.Duration, error) {
	if v.prepare != nil {
		if err := v.prepare(); err != nil {
			return 0, fmt.Errorf("%s: prepare: %w", v.name, err)
		}
	}
	errs := make([]error, workers)
	var wait sync.WaitGroup
	start := time.Now()
	for w := range workers {
		wait.Go(func() {
			for i := range v.size {
				if err := v.run(w, i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wait.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return took / time.Duration(v.size*workers), nil
}

// paired is what came out for one variant: the ratio of its time to that of
// the first variant in the same block, since absolute times change twofold
// with what else the machine does.
type paired struct {
	ratio, low, high float64 // median, least and most
	turn             time.Duration
	allocs, bytes    float64 // of a turn
}

// compare runs the variants turn by turn, block after block, and returns the
// median ratios to the first.
func compare(variants []*variant, workers, blocks int) ([]paired, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(workers, runtime.NumCPU())))
	times := make([][]float64, len(variants))
	ratios := make([][]float64, len(variants))
	for b := -1; b < blocks; b++ { // the first one warms up
		var first time.Duration
		for i, v := range variants {
			took, err := v.block(workers)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				first = took
			}
			if b >= 0 {
				times[i] = append(times[i], float64(took))
				ratios[i] = append(ratios[i], float64(took)/float64(first))
			}
		}
	}
	out := make([]paired, len(variants))
	for i, v := range variants {
		slices.Sort(ratios[i])
		slices.Sort(times[i])
		out[i] = paired{
			ratio: ratios[i][blocks/2], low: ratios[i][0], high: ratios[i][blocks-1],
			turn: time.Duration(times[i][blocks/2]),
		}
		if err := out[i].count(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// count fills in the allocations of a turn.
func (p *paired) count(v *variant) error {
	if v.prepare != nil {
		if err := v.prepare(); err != nil {
			return err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range v.size {
		if err := v.run(0, i); err != nil {
			return err
		}
	}
	runtime.ReadMemStats(&after)
	p.allocs = float64(after.Mallocs-before.Mallocs) / float64(v.size)
	p.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(v.size)
	return nil
}

// table compares the variants for each number of workers, on as many cores, and
// prints it.
func table(w io.Writer, title string, blocks int, workers []int, variants ...*variant) error {
	var results [][]paired
	fmt.Fprintf(w, "\n| %s |", title)
	for _, n := range workers {
		result, err := compare(variants, n, blocks)
		if err != nil {
			return err
		}
		results = append(results, result)
		fmt.Fprintf(w, " %d at once |", n)
	}
	fmt.Fprintf(w, " us | B | allocs |\n| --- |%s --- | --- | --- |\n", strings.Repeat(" --- |", len(workers)))
	for i, v := range variants {
		fmt.Fprintf(w, "| %s |", v.name)
		for _, result := range results {
			fmt.Fprintf(w, " %s |", result[i])
		}
		one := results[0][i]
		fmt.Fprintf(w, " %.2f | %.0f | %.1f |\n", float64(one.turn)/1000, one.bytes, one.allocs)
	}
	return nil
}

func (p paired) String() string { return fmt.Sprintf("%.2f [%.2f..%.2f]", p.ratio, p.low, p.high) }
