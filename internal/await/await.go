// Package await returns from a call when its context ends, for drivers that do
// not.
package await

import "context"

// Call runs call and returns when ctx ends, even if the driver notices that
// late or, for a cancellation, never. The call then continues in the background
// until the driver's own timeout, so it must own the memory that it works on.
func Call[T any](ctx context.Context, call func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		return call()
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := call()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}
