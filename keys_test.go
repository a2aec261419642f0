package otp_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/stretchr/testify/require"
)

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

// A4: the store shows no address, code, purpose or client.
func TestStoredValues_showNothing(t *testing.T) {
	c := newClock()
	store := &recordingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	r := newRigOn(t, otp.Options{}, c, store)
	v := r.For("pay:invoice-4711")
	ch, err := v.Send(ctx, otp.Request{To: "someone@example.com", Client: "client-0815", Locale: "de", Vars: map[string]string{"amount": "99 EUR"}})
	require.NoError(t, err)
	code := r.last().Code
	_, err = v.Check(ctx, ch.ID, wrong(code))
	require.ErrorIs(t, err, otp.ErrCode)
	s256, s1, m5 := sha256.Sum256([]byte(code)), sha1.Sum([]byte(code)), md5.Sum([]byte(code))
	reversed := []byte(code)
	slices.Reverse(reversed)
	secrets := [][]byte{
		[]byte(code), reversed, []byte(hex.EncodeToString([]byte(code))), []byte(base64.StdEncoding.EncodeToString([]byte(code))),
		s256[:], s1[:], m5[:], []byte(hex.EncodeToString(s256[:])), []byte(hex.EncodeToString(s1[:])), []byte(hex.EncodeToString(m5[:])),
		[]byte("someone"), []byte("example"), []byte("invoice"), []byte("client-0815"), []byte("amount"), []byte(ch.Reference), []byte(ch.ID),
	}
	require.Len(t, store.values, 3) // client, address, guess
	for i := range store.values {
		require.Regexp(t, `^[A-Za-z0-9_-]{22}$`, store.keys[i])
		for _, s := range secrets {
			require.NotContains(t, string(store.values[i]), string(s))
			require.NotContains(t, store.keys[i], string(s))
		}
		for j := range i {
			require.NotEqual(t, store.values[j], store.values[i], "every sealed value is unique")
		}
	}
}

// A5: a ledger copied to the key of another address does not open there.
func TestStoredValues_boundToTheirKey(t *testing.T) {
	r := newRig(t, otp.Options{})
	mine, mineCode := r.ask(otp.Request{To: "mallory@example.com"})
	theirs, _ := r.ask(otp.Request{To: bob})
	value, err := r.store.Load(ctx, keyOf(t, mine.ID))
	require.NoError(t, err)
	old, err := r.store.Load(ctx, keyOf(t, theirs.ID))
	require.NoError(t, err)
	ok, err := r.store.CompareAndSwap(ctx, keyOf(t, theirs.ID), old, value, time.Hour)
	require.NoError(t, err)
	require.True(t, ok)
	_, err = r.Check(ctx, theirs.ID, mineCode)
	require.Error(t, err)
	require.NotErrorIs(t, err, otp.ErrUnknown)
	_, err = r.Check(ctx, mine.ID, mineCode)
	require.NoError(t, err)
}

// B13, B15: a code is good for its whole purpose and nothing else.
func TestPurpose_isWhole(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	purposes := []string{"pay:inv-42:99.00EUR", "pay:inv-42:98.00EUR", "pay:inv-4", "pay", "Pay:inv-42:99.00EUR", "login"}
	for _, made := range purposes {
		ch, err := r.For(made).Send(ctx, otp.Request{To: bob})
		require.NoError(t, err)
		code := r.last().Code
		for _, asked := range purposes {
			if asked == made {
				continue
			}
			v := r.For(asked)
			_, err := v.Check(ctx, ch.ID, code)
			require.ErrorIs(t, err, otp.ErrUnknown)
			_, err = v.Resend(ctx, ch.ID)
			require.ErrorIs(t, err, otp.ErrUnknown)
			_, err = v.Status(ctx, ch.ID)
			require.ErrorIs(t, err, otp.ErrUnknown)
		}
		got, err := r.For(made).Check(ctx, ch.ID, code)
		require.NoError(t, err)
		require.Equal(t, made, got.Purpose)
		r.clock.add(time.Second)
	}
}

// A8: a rotation loses no live code and no count; a dropped secret does, and
// then short codes wait.
func TestRotation(t *testing.T) {
	c := newClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	a, b := secret("A"), secret("B")
	old := newRigOn(t, otp.Options{Secrets: [][]byte{a}, Sends: wide}, c, store)
	rolled := newRigOn(t, otp.Options{Secrets: [][]byte{a, b}, IndexSecret: a, Sends: wide}, c, store)
	promoted := newRigOn(t, otp.Options{Secrets: [][]byte{b, a}, IndexSecret: a, Sends: wide}, c, store)
	dropped := newRigOn(t, otp.Options{Secrets: [][]byte{b}, IndexSecret: a, Sends: wide}, c, store)

	ch, code := old.ask(otp.Request{To: bob})
	left := 4
	for _, r := range []*rig{old, rolled, promoted, rolled} {
		got, err := r.Check(ctx, ch.ID, wrong(code))
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, left, got.GuessesLeft)
		left--
	}
	_, err := promoted.Check(ctx, ch.ID, code)
	require.NoError(t, err)

	ch, code = rolled.ask(otp.Request{To: bob}) // under a
	dropped.kinds()
	for _, call := range []func() (otp.Challenge, error){
		func() (otp.Challenge, error) { return dropped.Check(ctx, ch.ID, code) },
		func() (otp.Challenge, error) { return dropped.Status(ctx, ch.ID) },
		func() (otp.Challenge, error) { return dropped.Resend(ctx, ch.ID) },
	} {
		_, err := call()
		require.ErrorIs(t, err, otp.ErrUnknown)
		require.Contains(t, dropped.kinds(), otp.EventUnknownKey)
	}
	_, err = rolled.Check(ctx, ch.ID, code)
	require.NoError(t, err, "looking changed nothing")

	rolled.ask(otp.Request{To: "carol@example.com", Client: "c"})
	dropped.kinds()
	dropped.ask(otp.Request{To: "dave@example.com", Client: "c"}) // whose ledger is new
	require.Equal(t, []otp.EventKind{otp.EventAsked, otp.EventUnknownKey, otp.EventSent}, dropped.kinds())
	ch, code = dropped.ask(otp.Request{To: bob})
	require.Contains(t, dropped.kinds(), otp.EventUnknownKey)
	require.True(t, ch.Strong, "what was spent is not known")
	_, err = dropped.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	c.add(30*24*time.Hour - time.Millisecond)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
	c.add(time.Minute)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.False(t, ch.Strong)
}

// Rule 8: a verifier that is ahead and lacks a secret does not make short codes
// wait longer than thirty days from now.
func TestRotation_lostByNodeAhead(t *testing.T) {
	c := newClock()
	store := otp.NewMemoryStore(nil)
	a, b := secret("A"), secret("B")
	old := newRigOn(t, otp.Options{Secrets: [][]byte{a}, Sends: wide}, c, store)
	dropped := newRigOn(t, otp.Options{Secrets: [][]byte{b}, IndexSecret: a, Sends: wide}, c, store)
	old.ask(otp.Request{To: bob})
	c.add(300 * 24 * time.Hour)
	dropped.ask(otp.Request{To: bob})
	c.add(-300 * 24 * time.Hour)
	c.add(time.Second)
	ch, _ := dropped.ask(otp.Request{To: bob}) // repairs it
	require.True(t, ch.Strong)
	c.add(30 * 24 * time.Hour)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.False(t, ch.Strong)
}

// Namespaces on one store know nothing of each other, though the secret is one.
func TestNamespace(t *testing.T) {
	c := newClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	live := newRigOn(t, otp.Options{Namespace: "live"}, c, store)
	stage := newRigOn(t, otp.Options{Namespace: "stage"}, c, store)
	ch, code := live.ask(otp.Request{To: bob})
	_, err := stage.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	other, otherCode := stage.ask(otp.Request{To: bob}) // its own budget
	require.NotEqual(t, keyOf(t, ch.ID), keyOf(t, other.ID))
	got, err := stage.Check(ctx, other.ID, otherCode)
	require.NoError(t, err)
	c.add(time.Second)
	_, err = live.Send(ctx, otp.Request{To: bob, Device: got.Device})
	require.ErrorIs(t, err, otp.ErrLimited, "a device token of the other namespace counts as none")
}

// Rule 12: the known lane has its own budgets, opened by a token for this address only.
func TestKnownLane(t *testing.T) {
	r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
	ch, code := r.ask(otp.Request{To: "bob@example.com", Client: "c"})
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	require.Len(t, got.Device, 54)

	// The stranger's lane has spent its send; the known lane has not.
	_, err = r.Send(ctx, otp.Request{To: bob, Client: "d"})
	require.ErrorIs(t, err, otp.ErrLimited)
	tampered := []byte(got.Device)
	tampered[3] ^= 1
	for _, token := range []string{"", "x", string(tampered), got.Device + "A", got.Device[:53]} {
		_, err = r.Send(ctx, otp.Request{To: bob, Device: token})
		require.ErrorIs(t, err, otp.ErrLimited, token)
	}
	r.ask(otp.Request{To: bob, Device: got.Device, Client: "c"})
	require.True(t, r.events[len(r.events)-1].Known)
	_, err = r.Send(ctx, otp.Request{To: bob, Device: got.Device})
	require.ErrorIs(t, err, otp.ErrLimited, "the known lane has budgets too")

	// The token is for this delivery address, not for all that share its budget,
	// and not for another.
	r.clock.add(time.Minute)
	r.ask(otp.Request{To: "bob+tag@example.com", Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)
	r.ask(otp.Request{To: "carol@example.com", Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)

	// Proven opens it too, and it draws no start of the client.
	r.clock.add(time.Minute)
	for i := range 3 {
		r.ask(otp.Request{To: bob, Proven: true, Client: "c"})
		r.clock.add(time.Minute)
		require.True(t, r.events[len(r.events)-1].Known, i)
	}

	// It survives Forget, and ends after 180 days.
	require.NoError(t, r.Forget(ctx, bob))
	r.ask(otp.Request{To: bob, Device: got.Device})
	require.True(t, r.events[len(r.events)-1].Known)
	r.clock.add(180 * 24 * time.Hour)
	r.ask(otp.Request{To: bob, Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)
}

// Forget frees everything, for all spellings and purposes.
func TestForget(t *testing.T) {
	r := newRig(t, otp.Options{})
	pay, err := r.For("pay").Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	code := r.last().Code
	require.Equal(t, 1, r.store.(*otp.MemoryStore).Len())
	require.NoError(t, r.Forget(ctx, "BOB+x@example.com"))
	require.Zero(t, r.store.(*otp.MemoryStore).Len())
	require.NoError(t, r.Forget(ctx, bob), "nothing there is no error")
	_, err = r.For("pay").Check(ctx, pay.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	r.ask(otp.Request{To: bob})
	require.Contains(t, r.kinds(), otp.EventForgotten)
}

// A11: what is not needed any more goes: the ledger outlives its windows by a
// minute, and not longer.
func TestStoredValues_expire(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, _ := r.ask(otp.Request{To: bob, Client: "c"})
	key := keyOf(t, ch.ID)
	gone := func() bool { value, err := r.store.Load(ctx, key); require.NoError(t, err); return value == nil }
	r.clock.add(24*time.Hour + time.Minute - time.Millisecond)
	require.False(t, gone())
	r.clock.add(time.Millisecond)
	require.True(t, gone(), "a day for the send")

	ch, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, wrong(code))
	require.ErrorIs(t, err, otp.ErrCode)
	r.clock.add(30*24*time.Hour + time.Minute - time.Millisecond)
	require.False(t, gone())
	r.clock.add(time.Millisecond)
	require.True(t, gone(), "thirty days for the wrong guess")
}
