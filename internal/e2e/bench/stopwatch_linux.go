package main

import (
	"syscall"
	"time"
)

const stopwatchName = "processor time"

// stopwatch is the processor time of this thread, which does not go on while
// other programs have the processor.
func stopwatch() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
