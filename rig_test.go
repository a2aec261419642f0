package otp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// rig is a verifier with everything around it that a test looks at.
type rig struct {
	*otp.Verifier
	t     *testing.T
	clock *testkit.Clock
	store otp.Store

	mu     sync.Mutex
	mails  []otp.Message
	events []otp.Event
	fail   func(otp.Message) error // what the sender says; nil for success
}

// newRig makes a rig; opts gets clock, observer and a secret where it has none.
func newRig(t *testing.T, opts otp.Options) *rig {
	c := testkit.NewClock()
	return newRigOn(t, opts, c, otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}))
}

func newRigOn(t *testing.T, opts otp.Options, c *testkit.Clock, store otp.Store) *rig {
	t.Helper()
	r := &rig{t: t, clock: c, store: store}
	if opts.Now == nil {
		opts.Now = c.Now
	}
	if opts.Secrets == nil {
		opts.Secrets = [][]byte{secret("A")}
	}
	if opts.Observer == nil {
		opts.Observer = r
	}
	v, err := otp.NewVerifier(store, rigSender{r}, &opts)
	require.NoError(t, err)
	r.Verifier = v
	return r
}

// secret makes a secret of 32 bytes from a name.
func secret(name string) []byte {
	return []byte(fmt.Sprintf("%-32s", "secret "+name))
}

// rigSender is the rig as a Sender.
type rigSender struct{ *rig }

func (r *rig) Observe(_ context.Context, e otp.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r rigSender) Send(_ context.Context, m otp.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(m); err != nil {
			return err
		}
	}
	r.mails = append(r.mails, m)
	return nil
}

// kinds are the kinds of the events so far, which it forgets.
func (r *rig) kinds() []otp.EventKind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []otp.EventKind
	for _, e := range r.events {
		out = append(out, e.Kind)
	}
	r.events = nil
	return out
}

// last is the newest mail.
func (r *rig) last() otp.Message {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(r.t, r.mails, "no mail was sent")
	return r.mails[len(r.mails)-1]
}

func (r *rig) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mails)
}

// ask opens a challenge and returns it with its code.
func (r *rig) ask(req otp.Request) (otp.Challenge, string) {
	r.t.Helper()
	ch, err := r.Send(ctx, req)
	require.NoError(r.t, err)
	return ch, r.last().Code
}

// askAll opens n challenges for one address, as far apart as Sends wants.
func (r *rig) askAll(n int, req otp.Request) (ids, codes []string) {
	r.t.Helper()
	for range n {
		ch, code := r.ask(req)
		ids, codes = append(ids, ch.ID), append(codes, code)
		r.clock.Add(time.Millisecond)
	}
	return ids, codes
}

var ctx = context.Background()

const bob = "bob@example.com"

// wide takes the brakes off sending, for tests of something else.
var wide = []otp.Limit{{N: 100, Per: time.Second}}

// device gets a device token for an address.
func (r *rig) device(to string) string {
	r.t.Helper()
	ch, code := r.ask(otp.Request{To: to})
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(r.t, err)
	r.clock.Add(time.Second)
	return got.Device
}

func (r *rig) messageFor() otp.Message {
	r.clock.Add(time.Minute)
	r.ask(otp.Request{To: bob})
	return r.last()
}

// keyOf is the store key of a challenge's ledger: the ID's first 16 bytes.
func keyOf(t *testing.T, id string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(id)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(raw[:16])
}

// recordingStore keeps a copy of all that is written.
type recordingStore struct {
	otp.Store
	mu     sync.Mutex
	keys   []string
	values [][]byte
}

func (s *recordingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	s.keys = append(s.keys, key)
	s.values = append(s.values, bytes.Clone(new))
	s.mu.Unlock()
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// together runs f n times at once and returns how often it gave each error.
func together(n int, f func(i int) error) map[error]int {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	count := map[error]int{}
	for _, err := range errs {
		count[err]++
	}
	return count
}

// countingStore counts its calls.
type countingStore struct {
	otp.Store
	mu           sync.Mutex
	loads, swaps int
}

func (s *countingStore) calls() [2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [2]int{s.loads, s.swaps}
}

func (s *countingStore) Load(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	s.loads++
	s.mu.Unlock()
	return s.Store.Load(ctx, key)
}

func (s *countingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	s.swaps++
	s.mu.Unlock()
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

func always(err error) func(otp.Message) error { return func(otp.Message) error { return err } }

// faultyStore fails at the call whose number is at, counted from 1.
type faultyStore struct {
	otp.Store
	at    int64
	apply bool // a failing swap is made all the same
	n     atomic.Int64
}

var errDown = errors.New("store is down")

func (s *faultyStore) Load(ctx context.Context, key string) ([]byte, error) {
	if s.n.Add(1) == s.at {
		return nil, errDown
	}
	return s.Store.Load(ctx, key)
}

func (s *faultyStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if s.n.Add(1) == s.at {
		if s.apply {
			s.Store.CompareAndSwap(ctx, key, old, new, ttl)
		}
		return false, errDown
	}
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}
