package otp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
)

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

// A8: a rotation loses no live code and no count; a dropped secret does, and
// then short codes wait.
func TestRotation(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	a, b := secret("A"), secret("B")
	old := newRigOn(t, otp.Options{Secrets: [][]byte{a}, Sends: wide}, c, store)
	rolled := newRigOn(t, otp.Options{Secrets: [][]byte{a, b}, IndexSecret: a, Sends: wide}, c, store)
	promoted := newRigOn(t, otp.Options{Secrets: [][]byte{b, a}, IndexSecret: a, Sends: wide}, c, store)
	dropped := newRigOn(t, otp.Options{Secrets: [][]byte{b}, IndexSecret: a, Sends: wide}, c, store)

	ch, code := old.ask(otp.Request{To: bob})
	left := 4
	for _, r := range []*rig{old, rolled, promoted, rolled} {
		got, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
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
		require.Contains(t, dropped.kinds(), otpevent.UnknownKey)
	}
	_, err = rolled.Check(ctx, ch.ID, code)
	require.NoError(t, err, "looking changed nothing")

	rolled.ask(otp.Request{To: "carol@example.com", Client: "c"})
	dropped.kinds()
	dropped.ask(otp.Request{To: "dave@example.com", Client: "c"}) // whose ledger is new
	require.Equal(t, []otpevent.Kind{otpevent.Asked, otpevent.UnknownKey, otpevent.Sent}, dropped.kinds())
	ch, code = dropped.ask(otp.Request{To: bob})
	require.Contains(t, dropped.kinds(), otpevent.UnknownKey)
	require.True(t, ch.Strong, "what was spent is not known")
	_, err = dropped.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	c.Add(30*24*time.Hour + time.Minute - time.Millisecond)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
	c.Add(time.Minute)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.False(t, ch.Strong)
}

// Rule 8: a verifier that is ahead and lacks a secret does not make short codes
// wait longer than thirty days and two minutes from now.
func TestRotation_lostByNodeAhead(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(nil)
	a, b := secret("A"), secret("B")
	old := newRigOn(t, otp.Options{Secrets: [][]byte{a}, Sends: wide}, c, store)
	dropped := newRigOn(t, otp.Options{Secrets: [][]byte{b}, IndexSecret: a, Sends: wide}, c, store)
	old.ask(otp.Request{To: bob})
	c.Add(300 * 24 * time.Hour)
	dropped.ask(otp.Request{To: bob})
	c.Add(-300 * 24 * time.Hour)
	c.Add(time.Second)
	ch, _ := dropped.ask(otp.Request{To: bob}) // repairs it
	require.True(t, ch.Strong)
	c.Add(30*24*time.Hour + 2*time.Minute)
	ch, _ = dropped.ask(otp.Request{To: bob})
	require.False(t, ch.Strong)
}

// A8: three rotations in a row, each rolled out while old and new verifiers
// serve one store, leave the budget of an address exact to the guess, and every
// code and device token good.
func TestRotation_threeInARow(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	first := secret("0")
	node := func(names ...string) *rig {
		var secrets [][]byte
		for _, name := range names {
			secrets = append(secrets, secret(name))
		}
		return newRigOn(t, otp.Options{Secrets: secrets, IndexSecret: first, Sends: wide, Guesses: 1}, c, store)
	}
	// Each pair serves at the same time: the last step's nodes and the next one's.
	steps := [][]string{{"0"}, {"0", "1"}, {"1", "0"}, {"1", "0", "2"}, {"2", "1"}, {"2", "1", "3"}, {"3", "2"}, {"3"}}
	nodes := make([]*rig, len(steps))
	for i, names := range steps {
		nodes[i] = node(names...)
	}
	device := nodes[0].device(bob)
	told := 0
	for i := range nodes[1:] {
		old, fresh := nodes[i], nodes[i+1]
		for _, pair := range [][2]*rig{{old, fresh}, {fresh, old}} {
			ch, code := pair[0].ask(otp.Request{To: bob})
			if !ch.Strong {
				if _, err := pair[1].Check(ctx, ch.ID, testkit.WrongCode(code)); errors.Is(err, otp.ErrCode) {
					told++
				}
			}
			ch, code = pair[0].ask(otp.Request{To: bob, Device: device})
			require.False(t, ch.Strong, "the lane of the known is not touched")
			_, err := pair[1].Check(ctx, ch.ID, code)
			require.NoError(t, err, "step %d", i)
			c.Add(2 * time.Second)
		}
	}
	require.Equal(t, 10, told)
	ch, _ := nodes[len(nodes)-1].ask(otp.Request{To: bob})
	require.True(t, ch.Strong)
}

// Namespaces on one store know nothing of each other, though the secret is one.
func TestNamespace(t *testing.T) {
	c := testkit.NewClock()
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
	c.Add(time.Second)
	_, err = live.Send(ctx, otp.Request{To: bob, Device: got.Device})
	require.ErrorIs(t, err, otp.ErrLimited, "a device token of the other namespace counts as none")
}

// Rule 12: the known lane has its own budgets, opened by a token for this address only.
func TestKnownLane(t *testing.T) {
	r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
	ch, code := r.ask(otp.Request{To: "bob@example.com", Client: "c"})
	require.False(t, ch.KnownDevice)
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	require.Len(t, got.Device, 54)
	r.ask(otp.Request{To: bob})

	// The stranger's lane has spent its send; the known lane has not.
	_, err = r.Send(ctx, otp.Request{To: bob, Client: "d"})
	require.ErrorIs(t, err, otp.ErrLimited)
	tampered := []byte(got.Device)
	tampered[3] ^= 1
	for _, token := range []string{"", "x", string(tampered), got.Device + "A", got.Device[:53]} {
		_, err = r.Send(ctx, otp.Request{To: bob, Device: token})
		require.ErrorIs(t, err, otp.ErrLimited, token)
	}
	mine, _ := r.ask(otp.Request{To: bob, Device: got.Device, Client: "c"})
	require.True(t, r.events[len(r.events)-1].Known)
	require.True(t, mine.KnownDevice)
	require.True(t, r.last().Known)
	require.Equal(t, got.Device, r.KnownDevice(bob, "", "x", string(tampered), got.Device, got.Device+"A"))
	require.Empty(t, r.KnownDevice("carol@example.com", got.Device))
	require.Empty(t, r.KnownDevice("bob", got.Device))
	_, err = r.Send(ctx, otp.Request{To: bob, Device: got.Device})
	require.ErrorIs(t, err, otp.ErrLimited, "the known lane has budgets too")

	// The token is for this delivery address, not for all that share its budget,
	// and not for another.
	r.clock.Add(time.Minute)
	r.ask(otp.Request{To: "bob+tag@example.com", Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)
	r.ask(otp.Request{To: "carol@example.com", Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)

	// Proven opens it too, and it draws no start of the client.
	r.clock.Add(time.Minute)
	for i := range 3 {
		r.ask(otp.Request{To: bob, Proven: true, Client: "c"})
		r.clock.Add(time.Minute)
		require.True(t, r.events[len(r.events)-1].Known, i)
	}

	// It survives Forget, and ends after 180 days.
	require.NoError(t, r.Forget(ctx, bob))
	r.ask(otp.Request{To: bob, Device: got.Device})
	require.True(t, r.events[len(r.events)-1].Known)
	r.clock.Add(180 * 24 * time.Hour)
	require.Empty(t, r.KnownDevice(bob, got.Device))
	r.ask(otp.Request{To: bob, Device: got.Device})
	require.False(t, r.events[len(r.events)-1].Known)
}

// A11: what is not needed any more goes: the ledger outlives its windows by a
// minute, and not longer.
func TestStoredValues_expire(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, _ := r.ask(otp.Request{To: bob, Client: "c"})
	key := keyOf(t, ch.ID)
	gone := func() bool { value, err := r.store.Load(ctx, key); require.NoError(t, err); return value == nil }
	r.clock.Add(26*time.Hour + time.Minute - time.Millisecond)
	require.False(t, gone())
	r.clock.Add(time.Millisecond)
	require.True(t, gone(), "a day and its last step for the send")

	ch, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	r.clock.Add(30*24*time.Hour + 2*time.Minute - time.Millisecond)
	require.False(t, gone())
	r.clock.Add(time.Millisecond)
	require.True(t, gone(), "thirty days and what clocks differ for the wrong guess")
}

// R18, 23: verifiers with different generators read each other's codes.
func TestShapes(t *testing.T) {
	c := testkit.NewClock()
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	var rigs []*rig
	for _, g := range []otp.Generator{otp.Digits(6), otp.Digits(8), otp.Letters(6)} {
		rigs = append(rigs, newRigOn(t, otp.Options{Sends: wide, Generator: g}, c, store))
	}
	for i, sends := range rigs {
		for j, reads := range rigs {
			ch, code := sends.ask(otp.Request{To: bob})
			require.Equal(t, i == 2, ch.Letters)
			got, err := reads.Status(ctx, ch.ID)
			require.NoError(t, err)
			require.Equal(t, ch, got, "the keyboard is that of the code")
			for _, other := range []string{"12345", "1234567", "BCDFGHJK", "?"} {
				got, err = reads.Check(ctx, ch.ID, other)
				require.ErrorIs(t, err, otp.ErrMalformed, "%d %d %s", i, j, other)
				require.Equal(t, ch, got, "not counted")
			}
			_, err = reads.Check(ctx, ch.ID, strings.ToLower(code[:2])+" "+code[2:])
			require.NoError(t, err, "%d %d", i, j)
			c.Add(2 * time.Second)
		}
	}
	// A custom generator reads its own.
	r := newRigOn(t, otp.Options{Sends: wide, Generator: struct{ otp.Generator }{otp.Digits(6)}}, c, store)
	ch, code := r.ask(otp.Request{To: bob})
	require.True(t, ch.Letters)
	_, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}

// R17, 24, J6: device tokens are taken back for good.
func TestRevokeDevices(t *testing.T) {
	c := testkit.NewClock()
	c.Add(137 * time.Millisecond)
	store := otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})
	options := otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Second}}}
	r := newRigOn(t, options, c, store)
	ahead := options
	ahead.Now = func() time.Time { return c.Now().Add(time.Minute) }
	fast := newRigOn(t, ahead, c, store)
	known := func(device string) bool {
		t.Helper()
		c.Add(2 * time.Second)
		ch, _ := r.ask(otp.Request{To: bob, Device: device})
		return ch.KnownDevice
	}
	old, early := r.device(bob), fast.device(bob)
	require.True(t, known(old))
	require.True(t, known(early))
	mine, code := r.ask(otp.Request{To: bob, Device: old})
	proven, _ := r.ask(otp.Request{To: bob, Proven: true})
	stranger, strangerCode := r.ask(otp.Request{To: bob})
	early = fast.device(bob)
	require.NoError(t, r.RevokeDevices(ctx, "Bob+home@example.com"))
	require.Contains(t, r.kinds(), otpevent.Revoked)
	for name, token := range map[string]string{"old": old, "of a clock a minute ahead": early} {
		require.False(t, known(token), name)
		require.Equal(t, token, r.KnownDevice(bob, token), "it asks no store")
	}
	for _, id := range []string{mine.ID, proven.ID} {
		_, err := r.Check(ctx, id, code)
		require.ErrorIs(t, err, otp.ErrUnknown)
		_, err = r.Resend(ctx, id)
		require.ErrorIs(t, err, otp.ErrUnknown)
	}
	_, err := r.Check(ctx, stranger.ID, strangerCode)
	require.NoError(t, err, "strangers' codes are not touched")
	fresh := r.device(bob) // passed right after it
	require.True(t, known(fresh))
	proven, _ = r.ask(otp.Request{To: bob, Proven: true})
	require.True(t, proven.KnownDevice)

	// It outlasts Forget and the loss of the key.
	require.NoError(t, r.Forget(ctx, bob))
	require.False(t, known(old))
	require.True(t, known(fresh))
	rotated := options
	rotated.Secrets, rotated.IndexSecret = [][]byte{secret("B")}, secret("A")
	lost := newRigOn(t, rotated, c, store)
	c.Add(2 * time.Second)
	ch, _ := lost.ask(otp.Request{To: bob, Device: fresh})
	require.False(t, ch.KnownDevice, "nobody knows what was revoked")
	require.ErrorIs(t, r.RevokeDevices(ctx, "bob"), otp.ErrAddress)
	require.Empty(t, r.KnownDevice("bob", old))
}

// R17: nobody stays in the known lane by renewing what was opened there.
func TestRevokeDevices_renewals(t *testing.T) {
	r := newRig(t, otp.Options{ClientStarts: []otp.Limit{{N: 1, Per: time.Hour}}})
	device := r.device(bob)
	start := r.clock.Now()
	r.clock.Add(180*24*time.Hour - 10*time.Minute)
	ch, _ := r.ask(otp.Request{To: bob, Device: device, Client: "c"})
	require.True(t, ch.KnownDevice)
	proven, _ := r.ask(otp.Request{To: "carol@example.com", Proven: true})
	r.clock.Add(8 * time.Minute)
	ch, err := r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.True(t, ch.KnownDevice, "the token is still good")
	r.clock.Set(start.Add(180 * 24 * time.Hour))
	r.clock.Add(10 * time.Minute)
	ch, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.False(t, ch.KnownDevice)
	_, err = r.Send(ctx, otp.Request{To: "dave@example.com", Client: "c"})
	require.ErrorIs(t, err, otp.ErrLimited, "a stranger's start is charged")
	proven, err = r.Resend(ctx, proven.ID)
	require.NoError(t, err)
	require.True(t, proven.KnownDevice, "the application vouched for it")
}

// J6: a token that was issued between two calls is revoked by the second one,
// whatever the clock of its caller says.
func TestRevokeDevices_twice(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Second}}})
	for range 3 {
		require.NoError(t, r.RevokeDevices(ctx, bob))
		ch, code := r.ask(otp.Request{To: bob})
		got, err := r.Check(ctx, ch.ID, code) // at the same time
		require.NoError(t, err)
		known, _ := r.ask(otp.Request{To: bob, Device: got.Device})
		require.True(t, known.KnownDevice)
		require.NoError(t, r.RevokeDevices(ctx, bob))
		known, _ = r.ask(otp.Request{To: bob, Device: got.Device})
		require.False(t, known.KnownDevice)
	}
}

// What a process remembers may be sealed under a secret that it has no more. It
// asks the store before it says that a challenge does not exist.
func TestRotation_remembered(t *testing.T) {
	c := testkit.NewClock()
	store := struct{ otp.Store }{otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})} // values of it are remembered
	a, b := secret("A"), secret("B")
	newRigOn(t, otp.Options{Secrets: [][]byte{a}}, c, store).ask(otp.Request{To: bob})
	c.Add(time.Minute)
	lost := otp.Options{Secrets: [][]byte{b}, IndexSecret: a}
	works := newRigOn(t, lost, c, store)
	lost.Admit = func(context.Context, otp.Address) (bool, error) { return true, errDown }
	fails := newRigOn(t, lost, c, store)
	_, err := fails.Send(ctx, otp.Request{To: bob}) // remembers what it could not open
	require.ErrorIs(t, err, errDown)
	ch, code := works.ask(otp.Request{To: bob})
	fails.kinds()
	_, err = fails.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	require.NotContains(t, fails.kinds(), otpevent.UnknownKey, "it was reported when it was there")
}
