package otp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// storeClock is a clock for MemoryOptions.Now.
type storeClock struct{ moved atomic.Int64 }

func (c *storeClock) Now() time.Time { return time.Unix(1e9, 0).Add(time.Duration(c.moved.Load())) }

func (c *storeClock) move(d time.Duration) { c.moved.Add(int64(d)) }

// storeKey returns a key as long as those of a Verifier.
func storeKey(i int) string { return fmt.Sprintf("key-%018d", i) }

// storeValue returns a value as long as the ledger of one challenge.
func storeValue(i int) []byte {
	v := make([]byte, 135)
	binary.LittleEndian.PutUint64(v, uint64(i))
	return v
}

// fill creates n entries from key number first on.
func fill(t testing.TB, s *otp.MemoryStore, first, n int, ttl time.Duration) {
	t.Helper()
	for i := range n {
		swapped, err := s.CompareAndSwap(t.Context(), storeKey(first+i), nil, storeValue(first+i), ttl)
		require.NoError(t, err)
		require.True(t, swapped)
	}
}

func loadFrom(t testing.TB, s *otp.MemoryStore, i int) []byte {
	t.Helper()
	value, err := s.Load(t.Context(), storeKey(i))
	require.NoError(t, err)
	return value
}

func TestMemoryStore_lenAndCap(t *testing.T) {
	require.Equal(t, 1_000_000, otp.StoreLimit(otp.NewMemoryStore(nil)))
	require.Equal(t, 1_000_000, otp.StoreLimit(otp.NewMemoryStore(&otp.MemoryOptions{})))
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 10})
	require.Equal(t, 10, otp.StoreLimit(s))
	require.Zero(t, s.Len())
	fill(t, s, 0, 3, time.Hour)
	require.Equal(t, 3, s.Len())
	for i, swap := range []struct{ old, new []byte }{
		{storeValue(0), storeValue(1)}, // replaced
		{storeValue(2), storeValue(1)}, // wrong old
		{nil, storeValue(1)},           // exists
	} {
		_, err := s.CompareAndSwap(t.Context(), storeKey(0), swap.old, swap.new, time.Hour)
		require.NoError(t, err)
		require.Equal(t, 3, s.Len(), i)
	}
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(0), storeValue(1), nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
	require.Equal(t, 2, s.Len())
}

func TestMemoryStore_negativeMaxEntries(t *testing.T) {
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: -1})
	require.Zero(t, otp.StoreLimit(s))
	for _, new := range [][]byte{storeValue(0), nil} {
		old := storeValue(1)
		if new != nil {
			old = nil
		}
		swapped, err := s.CompareAndSwap(t.Context(), storeKey(0), old, new, time.Hour)
		require.ErrorContains(t, err, "MaxEntries: -1")
		require.NotErrorIs(t, err, otp.ErrStoreFull)
		require.False(t, swapped)
	}
	require.Nil(t, loadFrom(t, s, 0))
}

// additions counts what became of new entries that many goroutines add.
type additions struct{ made, full atomic.Int64 }

// add adds entry number n to a store with that many places.
func (a *additions) add(t *testing.T, s *otp.MemoryStore, places, n int, ttl time.Duration) {
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(n), nil, storeValue(n), ttl)
	switch {
	case swapped && err == nil:
		a.made.Add(1)
	case !swapped && errors.Is(err, otp.ErrStoreFull):
		a.full.Add(1)
	default:
		t.Errorf("got %v, %v", swapped, err)
	}
	if n := s.Len(); n > places {
		t.Errorf("Len is %d", n)
	}
}

// B17: of more keys than there are places exactly as many are taken as there are
// places, however many goroutines want them.
func TestMemoryStore_boundIsExact(t *testing.T) {
	const places, goroutines, each = 1000, 64, 50
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: places})
	var all sync.WaitGroup
	var got additions
	for g := range goroutines {
		all.Go(func() {
			for i := range each {
				got.add(t, s, places, g*each+i, time.Hour)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, places, got.made.Load())
	require.EqualValues(t, goroutines*each-places, got.full.Load())
	require.Equal(t, places, s.Len())
}

// While goroutines come and go, no place is lost and none is found.
func TestMemoryStore_boundUnderChurn(t *testing.T) {
	for places, rounds := range map[int]int{1: 30_000, 32: 200} {
		s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: places})
		var all sync.WaitGroup
		for g := range 2 * places {
			all.Go(func() {
				for range rounds {
					swapped, err := s.CompareAndSwap(t.Context(), storeKey(g), nil, storeValue(g), time.Hour)
					if err != nil && !errors.Is(err, otp.ErrStoreFull) {
						t.Error(err)
					}
					if n := s.Len(); n > places {
						t.Errorf("Len is %d of %d", n, places)
					}
					if !swapped {
						continue
					}
					if swapped, err := s.CompareAndSwap(t.Context(), storeKey(g), storeValue(g), nil, 0); !swapped || err != nil {
						t.Errorf("delete gave %v, %v", swapped, err)
					}
				}
			})
		}
		all.Wait()
		require.Zero(t, s.Len())
		fill(t, s, 0, places, time.Hour)
	}
}

// At the bound, while nothing is old, a new key is refused and all else works;
// nothing live goes.
func TestMemoryStore_full(t *testing.T) {
	const places = 500
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: places})
	fill(t, s, 0, places, time.Hour)
	for i := range places {
		swapped, err := s.CompareAndSwap(t.Context(), storeKey(places+i), nil, storeValue(0), 24*time.Hour)
		require.ErrorIs(t, err, otp.ErrStoreFull)
		require.False(t, swapped)
		require.Nil(t, loadFrom(t, s, places+i))
	}
	require.Equal(t, places, s.Len())
	for i := range places {
		require.Equal(t, storeValue(i), loadFrom(t, s, i))
		swapped, err := s.CompareAndSwap(t.Context(), storeKey(i), storeValue(i), storeValue(i+1), time.Hour)
		require.NoError(t, err)
		require.True(t, swapped)
	}
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(0), storeValue(1), nil, 0)
	require.NoError(t, err)
	require.True(t, swapped)
	fill(t, s, places, 1, time.Hour)
	_, err = s.CompareAndSwap(t.Context(), storeKey(0), nil, storeValue(0), time.Hour)
	require.ErrorIs(t, err, otp.ErrStoreFull)
}

// A replaced value is not held by anything.
func TestMemoryStore_letsGoOfOldValues(t *testing.T) {
	const n = 1000
	s := otp.NewMemoryStore(nil)
	large := bytes.Repeat([]byte("x"), 16384)
	before := heapInUse()
	for i := range n {
		_, err := s.CompareAndSwap(t.Context(), storeKey(i), nil, large, time.Hour)
		require.NoError(t, err)
	}
	require.Greater(t, heapInUse(), before+n*16384)
	for i := range n {
		swapped, err := s.CompareAndSwap(t.Context(), storeKey(i), large, []byte("y"), time.Hour)
		require.NoError(t, err)
		require.True(t, swapped)
	}
	require.Less(t, heapInUse(), before+n*1024)
	runtime.KeepAlive(s)
}

// B17: all methods at once, on few keys and with an end near: for the race detector.
func TestMemoryStore_concurrent(t *testing.T) {
	clock := new(storeClock)
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 50, Now: clock.Now})
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 500 {
				key := storeKey((g*31 + i) % 80)
				value, err := s.Load(t.Context(), key)
				if err != nil {
					t.Error(err)
				}
				new := storeValue(i)
				if i%7 == 0 && value != nil {
					new = nil
				}
				if _, err := s.CompareAndSwap(t.Context(), key, value, new, time.Minute); err != nil && !errors.Is(err, otp.ErrStoreFull) {
					t.Error(err)
				}
				clock.move(time.Second)
				_ = fmt.Sprint(s, s.Len(), otp.StoreLimit(s))
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, s.Len(), otp.StoreLimit(s))
}

// Neither the store nor its errors show a key or a value.
func TestMemoryStore_showsNoContents(t *testing.T) {
	s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 1})
	const key, value = "SECRETKEY", "SECRETVALUE"
	_, err := s.CompareAndSwap(t.Context(), key, nil, []byte(value), time.Hour)
	require.NoError(t, err)

	const want = "MemoryStore{Len: 1, Cap: 1}"
	require.Equal(t, want, s.String())
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p", "%T"} {
		if verb != "%p" && verb != "%T" {
			require.Equal(t, want, fmt.Sprintf(verb, s), verb)
		}
		fmt.Fprintf(&shown, verb+"\n", s)
		fmt.Fprintf(&shown, verb+"\n", struct{ s *otp.MemoryStore }{s})
		fmt.Fprintf(&shown, verb+"\n", struct{ S otp.Store }{s})
	}
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "store", s)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "store", s)
	require.Contains(t, shown.String(), "store.len=1 store.cap=1")
	require.Contains(t, shown.String(), `"store":{"len":1,"cap":1}`)
	require.NoError(t, json.NewEncoder(&shown).Encode(struct{ S otp.Store }{s}))

	_, err = s.Load(t.Context(), key+"!")
	fmt.Fprintln(&shown, err)
	_, err = s.CompareAndSwap(t.Context(), key+"2", nil, []byte(value), time.Hour)
	fmt.Fprintln(&shown, err)
	_, err = s.CompareAndSwap(t.Context(), key, []byte(value), bytes.Repeat([]byte(value), 2000), time.Hour)
	fmt.Fprintln(&shown, err)
	_, err = s.CompareAndSwap(t.Context(), key, nil, []byte(value), -1)
	fmt.Fprintln(&shown, err)
	require.NotContains(t, shown.String(), "SECRET")
	require.NotContains(t, shown.String(), fmt.Sprintf("%x", "SECRET"))
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

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

// create makes one entry.
func create(t testing.TB, s *otp.MemoryStore, i int, ttl time.Duration) error {
	t.Helper()
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(i), nil, storeValue(i), ttl)
	require.Equal(t, err == nil, swapped)
	return err
}

// keysIn returns n keys of a shard.
func keysIn(s *otp.MemoryStore, shard, n int) (keys []int) {
	for i := 0; len(keys) < n; i++ {
		if otp.StoreShard(s, storeKey(i)) == shard {
			keys = append(keys, i)
		}
	}
	return keys
}

// gone returns the keys whose entries are no longer there.
func gone(t testing.TB, s *otp.MemoryStore, keys ...int) (missing []int) {
	t.Helper()
	for _, i := range keys {
		if loadFrom(t, s, i) == nil {
			missing = append(missing, i)
		}
	}
	return missing
}

const (
	cold = 47 * time.Hour // TTLs of the class that is dropped first, and of the other
	warm = 48 * time.Hour
)

// newSmallStore returns a store with few places, and its clock.
func newSmallStore(places int) (*otp.MemoryStore, *storeClock) {
	clock := new(storeClock)
	return otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: places, Now: clock.Now}), clock
}

// J3, J4: in a full store the entry that was written longest ago goes, not the
// one that was made or read longest ago.
func TestMemoryStore_dropsTheOldestWritten(t *testing.T) {
	s, clock := newSmallStore(4)
	k := keysIn(s, 7, 8)
	for _, i := range k[:4] {
		require.NoError(t, create(t, s, i, cold))
		clock.move(1)
	}
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(k[0]), storeValue(k[0]), storeValue(0), cold)
	require.NoError(t, err)
	require.True(t, swapped)
	clock.move(3 * time.Hour)
	loadFrom(t, s, k[1])
	for n, want := range []int{k[1], k[2], k[3], k[0]} {
		require.NoError(t, create(t, s, k[4+n], cold))
		require.Equal(t, []int{want}, gone(t, s, want))
		require.Equal(t, 4, s.Len())
	}
	require.ErrorIs(t, create(t, s, k[0], cold), otp.ErrStoreFull)
	require.Empty(t, gone(t, s, k[4:8]...))
}

// An entry written with a TTL of two days or more, which may hold wrong guesses
// or revoked devices, goes only if there is no other old one in any shard.
func TestMemoryStore_dropsByClass(t *testing.T) {
	for _, shards := range [][2]int{{3, 50}, {50, 3}} {
		s, clock := newSmallStore(3)
		here, there := keysIn(s, shards[0], 4), keysIn(s, shards[1], 2)
		require.NoError(t, create(t, s, here[0], warm))
		clock.move(1)
		require.NoError(t, create(t, s, there[0], cold))
		clock.move(1)
		require.NoError(t, create(t, s, here[1], cold))
		clock.move(3 * time.Hour)
		require.NoError(t, create(t, s, here[2], cold)) // its own shard before an older one elsewhere
		require.Equal(t, []int{here[1]}, gone(t, s, here[0], there[0], here[1]))
		require.NoError(t, create(t, s, here[1], cold)) // the class before the shard
		require.Equal(t, []int{there[0]}, gone(t, s, here[0], here[1], here[2], there[0]))
		require.NoError(t, create(t, s, here[3], cold)) // none of the first class is old
		require.Equal(t, []int{here[0]}, gone(t, s, here...))
		require.ErrorIs(t, create(t, s, there[1], cold), otp.ErrStoreFull)
	}
}

// The class is the one of the last write.
func TestMemoryStore_classOfTheLastWrite(t *testing.T) {
	for _, ttl := range [][2]time.Duration{{warm, cold}, {cold, warm}} {
		s, clock := newSmallStore(2)
		k := keysIn(s, 0, 3)
		require.NoError(t, create(t, s, k[0], ttl[0]))
		require.NoError(t, create(t, s, k[1], ttl[1]))
		clock.move(time.Second)
		_, err := s.CompareAndSwap(t.Context(), storeKey(k[0]), storeValue(k[0]), storeValue(k[0]), ttl[1])
		require.NoError(t, err)
		_, err = s.CompareAndSwap(t.Context(), storeKey(k[1]), storeValue(k[1]), storeValue(k[1]), ttl[0])
		require.NoError(t, err)
		clock.move(3 * time.Hour)
		require.NoError(t, create(t, s, k[2], cold))
		want := k[0] // now cold
		if ttl[0] == cold {
			want = k[1]
		}
		require.Equal(t, []int{want}, gone(t, s, k...))
	}
}

// Where the key's own shard has nothing old, the oldest of all others goes.
func TestMemoryStore_dropsFromOtherShards(t *testing.T) {
	for _, ttl := range []time.Duration{cold, warm} {
		s, clock := newSmallStore(4)
		var k []int
		for _, shard := range []int{40, 9, 63} {
			k = append(k, keysIn(s, shard, 1)...)
			require.NoError(t, create(t, s, k[len(k)-1], ttl))
			clock.move(time.Minute)
		}
		own := keysIn(s, 20, 5)
		clock.move(3 * time.Hour)
		require.NoError(t, create(t, s, own[0], ttl)) // young
		for n, want := range k {
			require.NoError(t, create(t, s, own[1+n], ttl))
			require.Equal(t, k[:n+1], gone(t, s, k...), want)
		}
		require.ErrorIs(t, create(t, s, own[4], ttl), otp.ErrStoreFull)
	}
}

// J1: an entry is safe for two hours, or for an hour and three minutes after
// the longest code has expired.
func TestMemoryStore_keeps(t *testing.T) {
	for _, tt := range []struct{ ttl, keeps time.Duration }{
		{0, 2 * time.Hour},
		{10 * time.Minute, 2 * time.Hour},
		{57 * time.Minute, 2 * time.Hour},
		{57*time.Minute + 1, 2*time.Hour + 1},
		{24 * time.Hour, 25*time.Hour + 3*time.Minute},
	} {
		for _, class := range []time.Duration{cold, warm} {
			s, clock := newSmallStore(1)
			require.NoError(t, create(t, s, 0, class))
			otp.KeepAtLeast(s, tt.ttl) // also for what is already there
			otp.KeepAtLeast(s, time.Minute)
			n, per := otp.StrangerLimit(s)
			require.Equal(t, 1, n)
			require.Equal(t, tt.keeps, per)
			clock.move(tt.keeps)
			require.ErrorIs(t, create(t, s, 1, class), otp.ErrStoreFull)
			require.NotNil(t, loadFrom(t, s, 0))
			clock.move(1)
			require.NoError(t, create(t, s, 1, class))
			require.Nil(t, loadFrom(t, s, 0))
		}
	}
}

// An entry that is written again is young again.
func TestMemoryStore_keepsWhatIsRewritten(t *testing.T) {
	s, clock := newSmallStore(1)
	clock.move(time.Second)
	require.NoError(t, create(t, s, 0, cold))
	clock.move(time.Hour)
	swapped, err := s.CompareAndSwap(t.Context(), storeKey(0), storeValue(0), storeValue(1), cold)
	require.NoError(t, err)
	require.True(t, swapped)
	clock.move(2 * time.Hour)
	require.ErrorIs(t, create(t, s, 1, cold), otp.ErrStoreFull)
	clock.move(1)
	require.NoError(t, create(t, s, 1, cold))
}

// What has expired goes before anything alive.
func TestMemoryStore_dropsExpiredFirst(t *testing.T) {
	s, clock := newSmallStore(3)
	require.NoError(t, create(t, s, keysIn(s, 1, 1)[0], cold))
	require.NoError(t, create(t, s, keysIn(s, 2, 1)[0], cold))
	clock.move(time.Hour)
	require.NoError(t, create(t, s, keysIn(s, 3, 1)[0], 2*time.Hour))
	clock.move(2 * time.Hour)
	require.NoError(t, create(t, s, keysIn(s, 1, 2)[1], cold))
	require.Empty(t, gone(t, s, keysIn(s, 1, 2)...))
	require.Empty(t, gone(t, s, keysIn(s, 2, 1)...))
	require.Zero(t, otp.TakeEvicted(s))
}

// An operator hears of values that were dropped within a day, each once.
func TestMemoryStore_evicted(t *testing.T) {
	s, clock := newSmallStore(2)
	require.NoError(t, create(t, s, 0, cold))
	require.NoError(t, create(t, s, 1, warm))
	clock.move(24*time.Hour - 1)
	require.NoError(t, create(t, s, 2, cold))
	require.Equal(t, 1, otp.TakeEvicted(s))
	require.Zero(t, otp.TakeEvicted(s))
	clock.move(1)
	require.NoError(t, create(t, s, 3, cold))
	require.Zero(t, otp.TakeEvicted(s), "it was written a day before")
	clock.move(3 * time.Hour)
	require.NoError(t, create(t, s, 4, cold))
	require.NoError(t, create(t, s, 5, cold))
	require.Equal(t, 2, otp.TakeEvicted(s))
}

// A full store serves all who come slowly enough, for as long as it runs, and
// neither loses a place nor finds one.
func TestMemoryStore_dropsForever(t *testing.T) {
	const places = 500
	s, clock := newSmallStore(places)
	for i := range 20 * places {
		ttl := cold
		if i%3 == 0 {
			ttl = 30 * 24 * time.Hour
		}
		require.NoError(t, create(t, s, i, ttl))
		clock.move(3 * time.Hour / places)
		require.LessOrEqual(t, s.Len(), places)
	}
	require.Equal(t, places, s.Len())
	clock.move(31 * 24 * time.Hour)
	for i := range places {
		require.NoError(t, create(t, s, i, time.Hour))
	}
	require.Equal(t, places, s.Len())
}

// B17: a full store drops exactly one entry for each new one, from whatever
// goroutine, while keepAtLeast is called. For the race detector too.
func TestMemoryStore_dropsConcurrently(t *testing.T) {
	const places, goroutines, each = 256, 16, 100
	s, clock := newSmallStore(places)
	fill(t, s, 0, places, cold)
	clock.move(3 * time.Hour)
	var all sync.WaitGroup
	var got additions
	var evicted atomic.Int64
	for g := range goroutines {
		all.Go(func() {
			for i := range each {
				got.add(t, s, places, places+g*each+i, cold)
				evicted.Add(int64(otp.TakeEvicted(s)))
				otp.KeepAtLeast(s, time.Duration(i)*time.Minute/2)
				if _, ok, _, giveBack := otp.TakeStranger(s); ok {
					giveBack()
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, places, got.made.Load())
	require.EqualValues(t, places, evicted.Load()+int64(otp.TakeEvicted(s)))
	require.EqualValues(t, goroutines*each-places, got.full.Load())
	require.Equal(t, places, s.Len())
}

// J3: strangers start at most a quarter of the places in the time for which
// entries are safe, so that what they write does not fill the store.
func TestMemoryStore_strangers(t *testing.T) {
	for places, want := range map[int]int{-1: 1, 1: 1, 7: 1, 8: 2, 1000: 250, 0: 250_000} {
		s, _ := newSmallStore(places)
		n, per := otp.StrangerLimit(s)
		require.Equal(t, want, n, places)
		require.Equal(t, 2*time.Hour, per)
	}

	s, clock := newSmallStore(16)
	for i := range 4 {
		wait, ok, crowded, giveBack := otp.TakeStranger(s)
		require.True(t, ok)
		require.Zero(t, wait)
		require.Equal(t, i == 2, crowded)
		require.NotNil(t, giveBack)
	}
	clock.move(time.Minute)
	wait, ok, _, giveBack := otp.TakeStranger(s)
	require.False(t, ok)
	require.Nil(t, giveBack)
	require.Equal(t, 2*time.Hour+4*time.Minute, wait)
	clock.move(wait - 1)
	_, ok, _, _ = otp.TakeStranger(s)
	require.False(t, ok)
	clock.move(1)
	_, ok, _, giveBack = otp.TakeStranger(s)
	require.True(t, ok)
	giveBack()
	for range 4 {
		_, ok, _, _ = otp.TakeStranger(s)
		require.True(t, ok)
	}
	_, ok, _, _ = otp.TakeStranger(s)
	require.False(t, ok)

	// The starts of the last two hours count for the whole of a longer time.
	otp.KeepAtLeast(s, 24*time.Hour)
	clock.move(25*time.Hour + 3*time.Minute)
	_, ok, _, _ = otp.TakeStranger(s)
	require.False(t, ok)
	clock.move((25*time.Hour + 3*time.Minute) / 24)
	_, ok, _, _ = otp.TakeStranger(s)
	require.True(t, ok)
}

// The figures of a store that holds a thousand and a million entries. B/entry
// is all memory that an entry takes, key and value included.
func BenchmarkMemoryStore(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = storeKey(i)
		}
		before := heapInUse()
		s := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: n + 1})
		fill(b, s, 0, n, time.Hour)
		size := float64(heapInUse()-before) / float64(n)
		for _, op := range []struct {
			name string
			run  func(ctx context.Context, i int) (bool, error)
		}{
			{"Load", func(ctx context.Context, i int) (bool, error) {
				value, err := s.Load(ctx, keys[i])
				return value != nil, err
			}},
			{"Replace", func(ctx context.Context, i int) (bool, error) {
				value := storeValue(i)
				return s.CompareAndSwap(ctx, keys[i], value, value, time.Hour)
			}},
			{"CreateAndDelete", func(ctx context.Context, i int) (bool, error) {
				value := storeValue(i)
				if ok, err := s.CompareAndSwap(ctx, "another", nil, value, time.Hour); !ok {
					return ok, err
				}
				return s.CompareAndSwap(ctx, "another", value, nil, 0)
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", op.name, n), func(b *testing.B) {
				b.ReportAllocs()
				ctx := b.Context()
				for i := 0; b.Loop(); i++ {
					if ok, err := op.run(ctx, i*7919%n); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
				b.ReportMetric(size, "B/entry")
			})
		}
	}
}
