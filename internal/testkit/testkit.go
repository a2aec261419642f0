// Package testkit holds what tests of several packages share. The packages
// below it start servers, script SMTP conversations and run whole suites. Only
// tests import any of them.
package testkit

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"
)

// Skip skips t and prints the reason to standard error. With
// OTP_TEST_NO_SKIP=1, which make test sets, it fails t instead: a test that
// never runs proves nothing.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("OTP_TEST_NO_SKIP") != "" {
		t.Fatalf("must not be skipped (OTP_TEST_NO_SKIP): %s", reason)
	}
	fmt.Fprintf(os.Stderr, "SKIPPED %s: %s\n", t.Name(), reason)
	t.Skip(reason)
}

// Long skips t with -short, which make quick sets: t needs a server, waits in
// real time, or takes long to compute.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped with -short: needs a server, waits in real time, or takes long")
	}
}

// Nightly reports whether OTP_TEST_NIGHTLY=1 is set, as make nightly does: tests
// then run their full number of rounds.
func Nightly() bool { return os.Getenv("OTP_TEST_NIGHTLY") != "" }

// Rounds returns how many rounds a test runs: usual, or nightly if [Nightly].
func Rounds(usual, nightly int) int {
	if Nightly() {
		return nightly
	}
	return usual
}

// WrongCode returns a code of the same shape that differs from code in its last
// character.
func WrongCode(code string) string {
	last := byte('0')
	if code[len(code)-1] == '0' {
		last = '1'
	}
	return code[:len(code)-1] + string(last)
}

// Clock is a clock that only its test moves. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows noon UTC on a day in November 2026.
func NewClock() *Clock { return NewClockAt(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) }

// NewClockAt returns a clock that shows now.
func NewClockAt(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Add moves the clock by d, which may be negative.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set makes the clock show now.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// RaceDetector reports whether the test binary was built with -race, under
// which allocations cannot be counted.
func RaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
