package await

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCall(t *testing.T) {
	boom := errors.New("boom")
	got, err := Call(t.Context(), func() (int, error) { return 7, boom })
	require.Equal(t, 7, got)
	require.Equal(t, boom, err)
	got, err = Call(context.Background(), func() (int, error) { return 8, nil }) // never ends
	require.Equal(t, 8, got)
	require.NoError(t, err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Call(ended, func() (int, error) { t.Error("begun after the end"); return 0, nil })
	require.ErrorIs(t, err, context.Canceled)

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := Call(ctx, func() (int, error) { time.Sleep(time.Minute); return 0, nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		time.Sleep(time.Hour) // the call ends by itself
	})
}
