package otp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/stretchr/testify/require"
)

// What happens when the sender, the store or Admit fails.

var (
	refusedForNow  = &otp.SendError{Temporary: true, Stage: "rcpt", Err: errors.New("450 try later")}
	refusedForGood = &otp.SendError{Stage: "rcpt", Err: errors.New("550 no such user")}
	perhapsSent    = &otp.SendError{Temporary: true, MaybeSent: true, Stage: "data", Err: errors.New("timeout")}
)

func always(err error) func(otp.Message) error { return func(otp.Message) error { return err } }

// Rule 7: a mail that surely did not go out for a temporary reason costs no
// send, but for the minute, three times an hour; its challenge is gone.
func TestRule7_temporary(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}, {N: 2, Per: time.Hour}}})
	r.fail = always(refusedForNow)
	for i := range 4 {
		if i > 0 {
			_, err := r.Send(ctx, otp.Request{To: bob})
			require.ErrorIs(t, err, otp.ErrLimited, "the minute counts all the same")
			r.clock.add(time.Minute)
		}
		ch, err := r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		var said *otp.SendError
		require.ErrorAs(t, err, &said)
		require.True(t, said.Temporary)
		require.Equal(t, "rcpt", said.Stage)
		require.Zero(t, ch)
	}
	// The fourth was not given back: one send is left.
	r.fail = nil
	r.clock.add(time.Minute)
	ch, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	r.clock.add(time.Minute)
	_, err = r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
}

// Rule 7: the challenge of a mail that did not go out is removed.
func TestRule7_temporaryRemoves(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 100, Per: time.Millisecond}}})
	r.fail = always(refusedForNow)
	for range 30 { // far more than fit alive; also past the third refund
		_, err := r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		r.clock.add(time.Second)
	}
	r.fail = nil
	ids, codes := r.askAll(12, otp.Request{To: bob})
	_, err := r.Check(ctx, ids[0], codes[0])
	require.NoError(t, err)
}

// Rule 7: after a permanent refusal nothing is given back, and the challenge
// becomes a decoy.
func TestRule7_permanent(t *testing.T) {
	r := newRig(t, otp.Options{})
	var code string
	r.fail = func(m otp.Message) error { code = m.Code; return refusedForGood }
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	require.Len(t, ch.ID, 64)
	require.Equal(t, 5, ch.GuessesLeft)
	r.fail = nil
	got, err := r.Check(ctx, ch.ID, code) // nobody should know it, and it helps nobody
	require.ErrorIs(t, err, otp.ErrCode)
	require.Equal(t, 4, got.GuessesLeft)
	r.clock.add(time.Minute)
	_, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Zero(t, r.sent())
	for i := range 3 {
		r.clock.add(time.Minute)
		_, err = r.Send(ctx, otp.Request{To: bob})
		require.NoError(t, err, "send %d", i+3)
	}
	r.clock.add(time.Minute)
	_, err = r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
}

// Rule 7, G10: where the mail may have gone out, the code is good. An error
// that does not say what happened counts as that.
func TestRule7_maybeSent(t *testing.T) {
	for _, said := range []error{perhapsSent, errors.New("boom"), fmt.Errorf("wrapped: %w", perhapsSent), context.DeadlineExceeded} {
		r := newRig(t, otp.Options{})
		var code string
		r.fail = func(m otp.Message) error { code = m.Code; return said }
		ch, err := r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		require.ErrorIs(t, err, said)
		var failed *otp.SendError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.MaybeSent)
		require.NotZero(t, ch)
		_, err = r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrLimited)
		_, err = r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
	}
}

// Rule 7: a failed resend of the same code leaves the challenge as it was.
func TestRule7_failedResend(t *testing.T) {
	for name, said := range map[string]error{"temporary": refusedForNow, "permanent": refusedForGood, "maybe": perhapsSent} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}, {N: 2, Per: time.Hour}}})
			ch, code := r.ask(otp.Request{To: bob})
			r.clock.add(time.Minute)
			r.fail = always(said)
			got, err := r.Resend(ctx, ch.ID)
			require.ErrorIs(t, err, otp.ErrSend)
			require.Equal(t, ch.ID, got.ID)
			r.fail = nil
			r.clock.add(time.Minute)
			_, err = r.Resend(ctx, ch.ID)
			if name == "temporary" {
				require.NoError(t, err, "given back")
			} else {
				require.ErrorIs(t, err, otp.ErrLimited, "spent")
			}
			_, err = r.Check(ctx, ch.ID, code)
			require.NoError(t, err)
		})
	}
}

// Rule 7: settling does not end with the request.
func TestRule7_settlesAfterCancel(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Hour}}})
	cctx, cancel := context.WithCancel(ctx)
	r.fail = func(otp.Message) error { cancel(); return refusedForNow }
	_, err := r.Send(cctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	r.fail = nil
	r.ask(otp.Request{To: bob})

	// A context that ended before the sender was asked: surely not sent.
	r = newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Hour}}, Admit: func(context.Context, otp.Address) (bool, error) { return true, nil }})
	cctx, cancel = context.WithCancel(ctx)
	store := &hookStore{Store: r.store, after: cancel}
	v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: []otp.Limit{{N: 1, Per: time.Hour}}})
	require.NoError(t, err)
	_, err = v.Send(cctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, r.sent())
	r.ask(otp.Request{To: bob})
}

// hookStore calls after when a swap has been made.
type hookStore struct {
	otp.Store
	after func()
}

func (s *hookStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	ok, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	s.after()
	return ok, err
}

// Rule 7: settling brings nothing back that was erased meanwhile.
func TestRule7_forgottenMeanwhile(t *testing.T) {
	for _, said := range []error{refusedForNow, refusedForGood} {
		r := newRig(t, otp.Options{})
		r.fail = func(otp.Message) error {
			require.NoError(t, r.Forget(ctx, bob))
			return said
		}
		// Forget tells the observer, which is the rig and locked while it sends.
		v, err := otp.NewVerifier(r.store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}})
		require.NoError(t, err)
		r.Verifier = v
		_, err = r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		require.Zero(t, r.store.(*otp.MemoryStore).Len())
	}
}

// Rule 7: a settling that the store does not answer ends after five seconds.
func TestRule7_settleIsBounded(t *testing.T) {
	r := newRig(t, otp.Options{})
	store := &deadlineStore{Store: r.store}
	v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Observer: r})
	require.NoError(t, err)
	r.fail = func(otp.Message) error { store.on = true; return refusedForNow }
	ch, err := v.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	require.Zero(t, ch)
	require.InDelta(t, 5, store.left.Seconds(), 1)
	require.Contains(t, r.kinds(), otp.EventFailed)
}

// deadlineStore notes how long it may take, and fails.
type deadlineStore struct {
	otp.Store
	on   bool
	left time.Duration
}

func (s *deadlineStore) Load(ctx context.Context, key string) ([]byte, error) {
	if !s.on {
		return s.Store.Load(ctx, key)
	}
	return nil, s.down(ctx)
}

func (s *deadlineStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if !s.on {
		return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	}
	return false, s.down(ctx)
}

func (s *deadlineStore) down(ctx context.Context) error {
	end, _ := ctx.Deadline()
	s.left = time.Until(end)
	return errDown
}

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

// Rule 10, B5: a store that fails at any of its calls never lets anybody in,
// and never gives a guess that is not counted.
func TestRule10_storeFails(t *testing.T) {
	for _, apply := range []bool{false, true} {
		for at := int64(1); at <= 12; at++ {
			c := newClock()
			store := &faultyStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}), apply: apply}
			r := newRigOn(t, otp.Options{Sends: wide, Guesses: 3}, c, store)
			ch, code := r.ask(otp.Request{To: bob, Client: "c"})
			store.n.Store(0)
			store.at = at
			told, successes := 0, 0
			note := func(ch otp.Challenge, err error) {
				switch {
				case err == nil:
					successes++
				case errors.Is(err, errDown):
					require.Zero(t, ch)
				case errors.Is(err, otp.ErrCode):
					told++
				}
			}
			for range 5 {
				note(r.Check(ctx, ch.ID, wrong(code)))
			}
			require.Zero(t, successes)
			require.LessOrEqual(t, told, 3)

			ch, err := r.Send(ctx, otp.Request{To: bob, Client: "c"})
			if err != nil {
				require.ErrorIs(t, err, errDown)
				require.Zero(t, ch)
				ch, _ = r.ask(otp.Request{To: bob, Client: "c"})
			}
			code = r.last().Code
			for range 3 {
				note(r.Check(ctx, ch.ID, code))
			}
			require.LessOrEqual(t, successes, 1)
			if _, err = r.Status(ctx, ch.ID); errors.Is(err, errDown) {
				require.Contains(t, r.kinds(), otp.EventFailed)
			}
		}
	}
}

// Rule 10: what does not open or decode is an error, whatever is asked.
func TestRule10_corruptValue(t *testing.T) {
	for name, corrupt := range map[string]func([]byte) []byte{
		"a bit":            func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"nonce":            func(b []byte) []byte { b[5] ^= 1; return b },
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"fingerprint only": func(b []byte) []byte { return b[:4] },
		"shorter":          func(b []byte) []byte { return b[:3] },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{Sends: wide})
			ch, code := r.ask(otp.Request{To: bob})
			key := keyOf(t, ch.ID)
			old, err := r.store.Load(ctx, key)
			require.NoError(t, err)
			require.NotNil(t, old)
			ok, err := r.store.CompareAndSwap(ctx, key, old, corrupt(bytes.Clone(old)), time.Hour)
			require.NoError(t, err)
			require.True(t, ok)
			for _, call := range []func() (otp.Challenge, error){
				func() (otp.Challenge, error) { return r.Check(ctx, ch.ID, code) },
				func() (otp.Challenge, error) { return r.Status(ctx, ch.ID) },
				func() (otp.Challenge, error) { return r.Resend(ctx, ch.ID) },
				func() (otp.Challenge, error) { return r.Send(ctx, otp.Request{To: bob}) },
			} {
				got, err := call()
				require.Error(t, err)
				require.Zero(t, got)
				require.NotErrorIs(t, err, otp.ErrUnknown)
			}
			require.Equal(t, 1, r.sent())
			require.NoError(t, r.Forget(ctx, bob), "erasing needs no opening")
			r.ask(otp.Request{To: bob})
		})
	}
}

// Rule 10: a store that never agrees is given up on.
func TestRule10_lostRaces(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	ch, code := r.ask(otp.Request{To: bob})
	store := &stubbornStore{Store: r.store}
	v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: wide})
	require.NoError(t, err)
	got, err := v.Check(ctx, ch.ID, code)
	require.ErrorContains(t, err, "lost races")
	require.Zero(t, got)
	_, err = v.Send(ctx, otp.Request{To: bob})
	require.ErrorContains(t, err, "lost races")
	require.ErrorContains(t, v.Forget(ctx, bob), "lost races")
	require.Equal(t, 3*66, store.n)
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
}

// stubbornStore says that every comparison failed.
type stubbornStore struct {
	otp.Store
	n int
}

func (s *stubbornStore) CompareAndSwap(context.Context, string, []byte, []byte, time.Duration) (bool, error) {
	s.n++
	return false, nil
}

// Rule 11: a swap that was made though the store said false is recognised.
func TestRule11_lostReply(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
	store := &forgetfulStore{Store: r.store}
	v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{
		Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: wide, Observer: r, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}}})
	require.NoError(t, err)
	for range 2 {
		ch, err := v.Send(ctx, otp.Request{To: bob, Client: "c"})
		require.NoError(t, err)
		code := r.last().Code
		got, err := v.Check(ctx, ch.ID, wrong(code))
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, 4, got.GuessesLeft, "counted once")
		_, err = v.Check(ctx, ch.ID, code)
		require.NoError(t, err)
		_, err = v.Check(ctx, ch.ID, code)
		require.ErrorIs(t, err, otp.ErrUnknown)
		r.clock.add(time.Second)
	}
	_, err = v.Send(ctx, otp.Request{To: bob, Client: "c"})
	require.ErrorIs(t, err, otp.ErrLimited, "each start was counted once")
	require.Equal(t, 2, r.sent())
	require.NoError(t, v.Forget(ctx, bob))
}

// forgetfulStore makes each swap and says that it did not.
type forgetfulStore struct{ otp.Store }

func (s *forgetfulStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	_, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	return false, err
}

// Rule 11: a lost reply with another's write on top opens no second challenge
// of the same ID, so its code is still good only once.
func TestRule11_lostReplyThenOther(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	store := &interruptedStore{forgetfulStore: forgetfulStore{r.store}}
	v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: wide})
	require.NoError(t, err)
	store.between = func() {
		r.clock.add(2 * time.Second)
		r.ask(otp.Request{To: bob}) // the other's write
	}
	ch, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	code := r.last().Code
	_, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	_, err = r.Check(ctx, ch.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
}

// interruptedStore loses the answer of its first swap, behind which another
// writer comes; then it works.
type interruptedStore struct {
	forgetfulStore
	between func()
}

func (s *interruptedStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if s.between == nil {
		return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	}
	between := s.between
	s.between = nil
	ok, err := s.forgetfulStore.CompareAndSwap(ctx, key, old, new, ttl)
	between()
	return ok, err
}

func TestAdmit_error(t *testing.T) {
	down := errors.New("directory is down")
	r := newRig(t, otp.Options{Admit: func(context.Context, otp.Address) (bool, error) { return true, down }})
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, down)
	require.Zero(t, ch)
	require.Zero(t, r.sent())
	require.Zero(t, r.store.(*otp.MemoryStore).Len())
	require.Equal(t, []otp.EventKind{otp.EventAsked, otp.EventFailed}, r.kinds())
}
