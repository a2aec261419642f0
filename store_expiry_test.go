package otp_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// A full store finds the dead wherever they are, and leaves the living.
func TestMemoryStore_reclaimsWhenFull(t *testing.T) {
	const places = 1000
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: places, Now: clock.Now})
	fill(t, s, 0, places-1, time.Hour)
	fill(t, s, places-1, 1, time.Minute)
	clock.move(time.Minute)
	fill(t, s, places, 1, time.Hour) // most likely in another shard than the one that died
	_, err := s.CompareAndSwap(t.Context(), storeKey(places+1), nil, storeValue(0), time.Hour)
	require.ErrorIs(t, err, otp.ErrStoreFull)
	for i := range places - 1 {
		require.NotNil(t, loadFrom(t, s, i))
	}

	clock.move(time.Hour)
	before := s.Len()
	fill(t, s, 2*places, 1, time.Hour)
	require.Greater(t, s.Len(), before-300, "one call may only do a bounded amount of work")
	fill(t, s, 2*places+1, places-1, time.Hour)
	require.Equal(t, places, s.Len())
}

// At the bound an expired entry gives its place to a new value of its own key.
func TestMemoryStore_expiredInPlace(t *testing.T) {
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 400, Now: clock.Now})
	fill(t, s, 0, 400, time.Minute)
	clock.move(time.Minute)
	fill(t, s, 0, 400, time.Hour)
	require.Equal(t, 400, s.Len())
	for i := range 400 {
		require.Equal(t, storeValue(i), loadFrom(t, s, i))
	}
}

// Each call clears away a few dead entries, so that a store in use loses them
// without any call taking long.
func TestMemoryStore_cleansUpAsItGoes(t *testing.T) {
	const n = 10_000
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})
	fill(t, s, 0, n, time.Minute)
	fill(t, s, n, 100, time.Hour)
	clock.move(time.Minute)
	require.Equal(t, n+100, s.Len())
	before := s.Len()
	for i := range n {
		require.Nil(t, loadFrom(t, s, 2*n+i)) // somebody else's key
		require.LessOrEqual(t, before-s.Len(), 4)
		before = s.Len()
	}
	require.Equal(t, 100, s.Len())

	// Writes clear away faster than they add.
	fill(t, s, 0, n, time.Minute)
	clock.move(2 * time.Minute)
	fill(t, s, n+100, n, time.Hour)
	require.Equal(t, 100+n, s.Len())
}

// A replaced entry is cleared away by its new time to live, be it shorter or
// longer.
func TestMemoryStore_cleansUpReplaced(t *testing.T) {
	const n = 1000
	for _, ttl := range [][2]time.Duration{{time.Hour, time.Minute}, {time.Minute, time.Hour}} {
		clock := new(storeClock)
		s := otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})
		fill(t, s, 0, n, ttl[0])
		for i := 0; i < n; i += 2 {
			_, err := s.CompareAndSwap(t.Context(), storeKey(i), storeValue(i), storeValue(i), ttl[1])
			require.NoError(t, err)
		}
		clock.move(time.Minute)
		for i := range n {
			loadFrom(t, s, n+i)
		}
		require.Equal(t, n/2, s.Len())
	}
}

// What has expired and is not cleared away yet is no longer there.
func TestMemoryStore_expiredButHeld(t *testing.T) {
	for _, look := range []func(s *otp.MemoryStore, i int){
		func(s *otp.MemoryStore, i int) { require.Nil(t, loadFrom(t, s, i)) },
		func(s *otp.MemoryStore, i int) {
			swapped, err := s.CompareAndSwap(t.Context(), storeKey(i), storeValue(i), storeValue(0), time.Hour)
			require.NoError(t, err)
			require.False(t, swapped)
		},
	} {
		clock := new(storeClock)
		s := otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})
		fill(t, s, 0, 2000, time.Minute)
		clock.move(time.Minute)
		for i := range 2000 {
			look(s, i)
		}
		require.Zero(t, s.Len())
	}
}

// An entry lives exactly for its ttl, by the bubble's clock.
func TestMemoryStore_expiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := otp.NewMemoryStore(nil)
		fill(t, s, 0, 1, time.Minute)
		<-time.After(time.Minute - 1)
		require.NotNil(t, loadFrom(t, s, 0))
		<-time.After(1)
		require.Nil(t, loadFrom(t, s, 0))
		fill(t, s, 0, 1, time.Minute)
		require.NotNil(t, loadFrom(t, s, 0))
	})
}

func TestMemoryStore_longestTTL(t *testing.T) {
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})
	clock.move(time.Hour)
	fill(t, s, 0, 1, math.MaxInt64)
	clock.move(200 * 365 * 24 * time.Hour)
	require.NotNil(t, loadFrom(t, s, 0))
}

// A clock that steps back revives nothing that was seen to be dead.
func TestMemoryStore_clockStepsBack(t *testing.T) {
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{Now: clock.Now})
	const n = 5000
	for i := range n { // the last is the last to be cleared away
		fill(t, s, i, 1, time.Minute+time.Duration(i))
	}
	clock.move(2 * time.Minute)
	require.Nil(t, loadFrom(t, s, n-1))
	require.Greater(t, s.Len(), n-10, "it is still held")
	clock.move(-2 * time.Minute)
	require.Nil(t, loadFrom(t, s, n-1))
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(n-1), storeValue(n-1), storeValue(0), time.Hour)
	require.NoError(t, err)
	require.False(t, swapped)
	clock.move(-time.Hour) // also before the start
	fill(t, s, n-1, 1, time.Minute)
	require.NotNil(t, loadFrom(t, s, n-1))
}
