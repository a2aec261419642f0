// Package await ends calls with their context where a driver does not.
package await

import "context"

// Call runs call and returns when ctx ends, though a driver may notice the end
// late or, if it is no deadline, not at all. The call then goes on alone until
// the driver's own timeouts, on its connection, so it must own what it works on.
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
