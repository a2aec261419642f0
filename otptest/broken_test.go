package otptest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
)

// brokenStores are the stores that the suite must tell from good ones, each
// with the cases that must fail it.
var brokenStores = []struct {
	name     string
	make     func() otp.Store
	caughtBy []string
}{
	{
		"not atomic", func() otp.Store { return notAtomic(false) },
		[]string{"one replaces", "one creates", "one deletes", "no count is lost"},
	},
	{
		"delete not atomic", func() otp.Store { return notAtomic(true) },
		[]string{"one deletes", "delete or replace"},
	},
	{
		"keys share one snapshot", copiesAll,
		[]string{"keys do not meet"},
	},
	{
		"cached reads", stale,
		[]string{"replace", "Load sees the last swap"},
	},
	{
		"ignores old", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool { return (live == nil) == (old == nil) }
		}),
		[]string{"replace with wrong old", "delete with wrong old", "compare to the last byte", "compare the length", "one replaces"},
	},
	{
		"creates over a live value", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool { return old == nil || bytes.Equal(live, old) }
		}),
		[]string{"create on live", "one creates"},
	},
	{
		"replaces an absent value", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool { return live == nil || bytes.Equal(live, old) }
		}),
		[]string{"replace absent", "delete absent", "replace after delete", "expired is no old"},
	},
	{
		"delete ignores old", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if live, _ := s.Load(ctx, key); new == nil && live != nil && checkArguments(ctx, key, old, new, ttl) == nil {
				old = live
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"delete with wrong old"},
	},
	{
		"delete leaves the value", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if new == nil && checkArguments(ctx, key, old, new, ttl) == nil {
				return s.CompareAndSwap(ctx, key, old, old, time.Hour)
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"delete"},
	},
	{
		"finds nothing", loading(func(s *mapStore, ctx context.Context, key string) ([]byte, error) {
			return nil, s.check(ctx, key, one, nil, 0)
		}),
		[]string{"create", "replace", "arguments not kept"},
	},
	{
		"forgets expiry", with(func(s *mapStore) { s.end = func(_, _, _ time.Duration) time.Duration { return 1 << 62 } }),
		[]string{"ends after its ttl", "tiny ttl", "ttl of 31 days", "expired is no old", "create after expiry"},
	},
	{
		"keeps the old expiry", with(func(s *mapStore) {
			s.end = func(now, before, ttl time.Duration) time.Duration {
				if before > 0 {
					return before
				}
				return now + ttl
			}
		}),
		[]string{"replace for longer", "replace for shorter"},
	},
	{
		"only ever lengthens the expiry", with(func(s *mapStore) {
			s.end = func(now, before, ttl time.Duration) time.Duration { return max(before, now+ttl) }
		}),
		[]string{"replace for shorter"},
	},
	{
		"delete keeps the expiry", func() otp.Store {
			var mu sync.Mutex
			ends := map[string]time.Duration{}
			return swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if old == nil && ttl > 0 {
					if ends[key] == 0 {
						ends[key] = s.now() + ttl
					}
					ttl = max(1, min(ttl, ends[key]-s.now()))
				}
				return s.CompareAndSwap(ctx, key, old, new, ttl)
			})()
		},
		[]string{"create after delete"},
	},
	{
		"rounds the ttl down", with(func(s *mapStore) {
			s.end = func(now, _, ttl time.Duration) time.Duration { return now + max(1, ttl.Truncate(time.Second)) }
		}),
		[]string{"ttl not rounded down"},
	},
	{
		"rounds the ttl to the nearest second", with(func(s *mapStore) {
			s.end = func(now, _, ttl time.Duration) time.Duration { return now + max(1, ttl.Round(time.Second)) }
		}),
		[]string{"ttl not rounded down"},
	},
	{
		"ends too early", with(func(s *mapStore) {
			s.end = func(now, _, ttl time.Duration) time.Duration { return now + ttl/2 }
		}),
		[]string{"lives for its ttl"},
	},
	{
		"caps the ttl", with(func(s *mapStore) {
			s.end = func(now, _, ttl time.Duration) time.Duration { return now + min(ttl, 24*time.Hour) }
		}),
		[]string{"ttl of 31 days"},
	},
	{
		"rounds up too far", with(func(s *mapStore) {
			s.end = func(now, _, ttl time.Duration) time.Duration { return now + ttl + time.Minute }
		}),
		[]string{"ends after its ttl"},
	},
	{
		"refuses a tiny ttl", with(func(s *mapStore) {
			s.check = func(ctx context.Context, key string, old, new []byte, ttl time.Duration) error {
				return checkArguments(ctx, key, old, new, ttl.Truncate(time.Millisecond))
			}
		}),
		[]string{"tiny ttl"},
	},
	{
		"expired still counts", with(func(s *mapStore) {
			s.live = func(item mapItem, _ time.Duration) bool { return item.value != nil }
		}),
		[]string{"expired is no old", "create after expiry"},
	},
	{
		"a key that expired stays closed", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			s.mu.Lock()
			_, taken := s.items[key]
			s.mu.Unlock()
			if err := s.check(ctx, key, old, new, ttl); err != nil || old == nil && taken {
				return false, err
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"create after expiry"},
	},
	{
		"reading prolongs", loading(func(s *mapStore, ctx context.Context, key string) ([]byte, error) {
			value, err := s.Load(ctx, key)
			s.mu.Lock()
			defer s.mu.Unlock()
			if item := s.items[key]; value != nil {
				s.items[key] = mapItem{item.value, max(item.end, s.clock+10*time.Second)}
			}
			return value, err
		}),
		[]string{"ends after its ttl"},
	},
	{
		"failed swap prolongs", with(func(s *mapStore) { s.miss = func(item *mapItem, end time.Duration) { item.end = max(item.end, end) } }),
		[]string{"failed swap keeps the ttl"},
	},
	{
		"failed swap shortens", with(func(s *mapStore) { s.miss = func(item *mapItem, end time.Duration) { item.end = min(item.end, end) } }),
		[]string{"failed swap keeps the ttl"},
	},
	{
		"returns shared slices", with(func(s *mapStore) { s.out = func(v []byte) []byte { return v } }),
		[]string{"Load copies"},
	},
	{
		"keeps argument slices", with(func(s *mapStore) { s.in = func(v []byte) []byte { return v } }),
		[]string{"arguments not kept"},
	},
	{
		"writes behind its arguments", with(func(s *mapStore) { s.in = func(v []byte) []byte { return bytes.Clone(append(v, 0)[:len(v)]) } }),
		[]string{"arguments not changed"},
	},
	{
		"returns empty for absent", loading(func(s *mapStore, ctx context.Context, key string) ([]byte, error) {
			value, err := s.Load(ctx, key)
			if value == nil {
				value = []byte{}
			}
			return value, err
		}),
		[]string{"absent", "delete"},
	},
	{
		"folds key case", with(func(s *mapStore) { s.key = strings.ToLower }),
		[]string{"key letters", "key characters"},
	},
	{
		"folds key characters", with(func(s *mapStore) { s.key = func(k string) string { return strings.ReplaceAll(k, "-", "_") } }),
		[]string{"key characters", "shortest key"},
	},
	{
		"cuts keys", with(func(s *mapStore) { s.key = func(k string) string { return k[:min(63, len(k))] } }),
		[]string{"longest key"},
	},
	{
		"trims keys", with(func(s *mapStore) { s.key = func(k string) string { return strings.TrimRight(k, "0") } }),
		[]string{"key prefixes"},
	},
	{
		"cuts values at NUL", with(func(s *mapStore) {
			s.in = func(v []byte) []byte { before, _, _ := bytes.Cut(v, []byte{0}); return append([]byte{}, before...) }
		}),
		[]string{"zero bytes", "arbitrary bytes", "largest value"},
	},
	{
		"trims trailing zeros", with(func(s *mapStore) {
			s.in = func(v []byte) []byte { return bytes.Clone(bytes.TrimRight(v, "\x00")) }
		}),
		[]string{"zero bytes"},
	},
	{
		"trims trailing spaces", with(func(s *mapStore) {
			s.in = func(v []byte) []byte { return append([]byte{}, bytes.TrimRight(v, " ")...) }
		}),
		[]string{"trailing spaces"},
	},
	{
		"makes values UTF-8", with(func(s *mapStore) { s.in = func(v []byte) []byte { return bytes.ToValidUTF8(v, []byte("\ufffd")) } }),
		[]string{"arbitrary bytes", "smallest value"},
	},
	{
		"cuts large values", with(func(s *mapStore) { s.in = func(v []byte) []byte { return bytes.Clone(v[:min(8192, len(v))]) } }),
		[]string{"largest value"},
	},
	{
		"compares text", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool {
				return (live == nil) == (old == nil) && strings.EqualFold(string(live), string(old))
			}
		}),
		[]string{"compare bytes, not text"},
	},
	{
		"compares padded text", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool {
				return (live == nil) == (old == nil) && bytes.Equal(bytes.TrimRight(live, " "), bytes.TrimRight(old, " "))
			}
		}),
		[]string{"compare the length"},
	},
	{
		"compares the beginning", with(func(s *mapStore) {
			s.match = func(live, old []byte) bool {
				return (live == nil) == (old == nil) && bytes.Equal(live[:min(6, len(live))], old[:min(6, len(old))])
			}
		}),
		[]string{"compare to the last byte"},
	},
	{
		"says false for what it did", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			_, err := s.CompareAndSwap(ctx, key, old, new, ttl)
			return false, err
		}),
		[]string{"create", "no count is lost"},
	},
	{
		"says false for the same bytes", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			swapped, err := s.CompareAndSwap(ctx, key, old, new, ttl)
			return swapped && !bytes.Equal(old, new), err
		}),
		[]string{"replace by the same"},
	},
	{
		"error into false", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			swapped, err := s.CompareAndSwap(ctx, key, old, new, ttl)
			if ctx.Err() != nil {
				err = nil
			}
			return swapped, err
		}),
		[]string{"swap with ended context"},
	},
	{
		"error into absent", loading(func(s *mapStore, ctx context.Context, key string) ([]byte, error) {
			value, err := s.Load(ctx, key)
			if ctx.Err() != nil {
				err = nil
			}
			return value, err
		}),
		[]string{"Load with ended context"},
	},
	{
		"ignores the context", with(func(s *mapStore) {
			s.check = func(_ context.Context, key string, old, new []byte, ttl time.Duration) error {
				return checkArguments(context.Background(), key, old, new, ttl)
			}
		}),
		[]string{"Load with ended context", "swap with ended context"},
	},
	{
		"writes and then says that the context has ended", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			swapped, err := s.CompareAndSwap(context.WithoutCancel(ctx), key, old, new, ttl)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			return swapped, err
		}),
		[]string{"swap with ended context"},
	},
	{
		"accepts both nil", forgets(func(old, new []byte, _ time.Duration) bool { return old == nil && new == nil }),
		[]string{"both nil"},
	},
	{
		"takes empty old for absent", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if len(old) == 0 {
				old = nil
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"empty old"},
	},
	{
		"takes empty new for delete", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if len(new) == 0 {
				new = nil
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"empty new"},
	},
	{
		"accepts a ttl of zero", forgets(func(_, new []byte, ttl time.Duration) bool { return new != nil && ttl == 0 }),
		[]string{"ttl not positive"},
	},
	{
		"wants a ttl for a delete", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if ttl <= 0 {
				return false, errors.New("bad ttl")
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"delete"},
	},
	{
		"accepts larger values", forgets(func(old, new []byte, _ time.Duration) bool { return len(old)+len(new) > 16384 }),
		[]string{"value too large"},
	},
	{
		"limits the value size", swapping(func(s *mapStore, ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
			if len(new) > 16000 {
				return false, errors.New("too large")
			}
			return s.CompareAndSwap(ctx, key, old, new, ttl)
		}),
		[]string{"largest value"},
	},
	{
		"accepts any key", with(func(s *mapStore) {
			s.check = func(ctx context.Context, _ string, old, new []byte, ttl time.Duration) error {
				return checkArguments(ctx, "k", old, new, ttl)
			}
		}),
		[]string{"bad key"},
	},
	{
		"Load accepts any key", loading(func(s *mapStore, ctx context.Context, key string) ([]byte, error) {
			if !goodKey(key) {
				return nil, nil
			}
			return s.Load(ctx, key)
		}),
		[]string{"bad key"},
	},
}
