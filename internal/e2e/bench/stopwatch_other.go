//go:build !linux

package main

import "time"

const stopwatchName = "time on the clock"

var started = time.Now()

// stopwatch is the time since the program started.
func stopwatch() time.Duration { return time.Since(started) }
