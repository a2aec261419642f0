// Package otptest contains helpers for tests of code that uses package otp.
//
// [TestStore] and [TestSender] are conformance suites: they check an
// implementation of [otp.Store] or [otp.Sender] against every sentence of its
// contract and report the sentences that it breaks. [Inbox] is a Sender for
// tests of an application: it keeps the mails, so that a test can read the
// code. It serves them over HTTP, too, for browser tests in another process.
//
// The suites do not fail because a machine is slow. Run them with the race
// detector, because it alone finds some faults.
package otptest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// caseTime is the time limit of one case of a suite.
const caseTime = time.Minute

// failure keeps the first error of a case. Later checks do nothing, so that a
// case reads as a list of steps. It is not safe for concurrent use.
type failure struct{ err error }

// failf records an error, unless there is one already.
func (f *failure) failf(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// bound runs a case and returns its result, or an error if the case does not
// return although ctx has ended.
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

// report fails t if err is not nil. The message contains the broken sentence of
// the contract and the observation.
func report(t *testing.T, rule string, err error) {
	t.Helper()
	if err != nil {
		t.Error(explain(rule, err))
	}
}

func explain(rule string, err error) string {
	return fmt.Sprintf("\n\trule: %s\n\tseen: %v", rule, err)
}
