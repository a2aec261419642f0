// Package otptest helps to test what is built around package otp.
//
// [TestStore] and [TestSender] are conformance suites: they hold an
// implementation of [otp.Store] or [otp.Sender] against every sentence of its
// contract and say which one is broken. [Inbox] is a Sender for tests of an
// application: it keeps the mails, so that a test can read the code.
//
// The suites give no false alarm on a slow machine. Run them with the race
// detector: some faults show only there.
package otptest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// caseTime is how long one case of a suite may take.
const caseTime = time.Minute

// failure keeps the first thing that went wrong in a case. The checks that
// come after it do nothing, so that a case reads as a list of steps. It is not
// safe for concurrent use.
type failure struct{ err error }

// failf records a failure, unless there is one.
func (f *failure) failf(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// bound runs a case and returns what it found, or an error once ctx is over
// and the case still does not return.
func bound(ctx context.Context, run func() error) error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(2 * time.Second)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return errors.New("a call does not return, though its context has ended")
	}
}

// report fails t with the sentence of the contract that is broken and with
// what was seen.
func report(t *testing.T, rule string, err error) {
	t.Helper()
	if err != nil {
		t.Error(explain(rule, err))
	}
}

func explain(rule string, err error) string {
	return fmt.Sprintf("\n\trule: %s\n\tseen: %v", rule, err)
}
