package otp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
)

// What happens when the sender, the store or Admit fails.

var (
	refusedForNow  = &otp.SendError{Temporary: true, Stage: "rcpt", Err: errors.New("450 try later")}
	refusedForGood = &otp.SendError{Stage: "rcpt", Err: errors.New("550 no such user")}
	perhapsSent    = &otp.SendError{Temporary: true, MaybeSent: true, Stage: "data", Err: errors.New("timeout")}
)

// Rule 7: a mail that surely did not go out for a temporary reason costs no
// send, but for the minute, three times an hour; its challenge is gone.
func TestRule7_temporary(t *testing.T) {
	r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}, {N: 2, Per: time.Hour}}})
	r.fail = always(refusedForNow)
	for i := range 4 {
		if i > 0 {
			_, err := r.Send(ctx, otp.Request{To: bob})
			require.ErrorIs(t, err, otp.ErrLimited, "the minute counts all the same")
			r.clock.Add(time.Minute)
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
	r.clock.Add(time.Minute)
	ch, code := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	r.clock.Add(time.Minute)
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
		r.clock.Add(time.Second)
	}
	r.fail = nil
	ids, codes := r.askAll(12, otp.Request{To: bob})
	_, err := r.Check(ctx, ids[0], codes[0])
	require.NoError(t, err)
}

// R7', J10: where the recipient is refused for good nothing is given back, and
// the challenge becomes a decoy.
func TestRule7_permanent(t *testing.T) {
	r := newRig(t, otp.Options{})
	var code string
	r.fail = func(m otp.Message) error { code = m.Code; return refusedForGood }
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err, "nobody learns which mailboxes exist")
	require.Len(t, ch.ID, 64)
	require.Equal(t, 5, ch.GuessesLeft)
	require.Contains(t, r.kinds(), otpevent.SendFailed, "but for the operator")
	r.fail = nil
	got, err := r.Check(ctx, ch.ID, code) // nobody should know it, and it helps nobody
	require.ErrorIs(t, err, otp.ErrCode)
	require.Equal(t, 4, got.GuessesLeft)
	r.clock.Add(time.Minute)
	_, err = r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.Zero(t, r.sent())
	for i := range 3 {
		r.clock.Add(time.Minute)
		_, err = r.Send(ctx, otp.Request{To: bob})
		require.NoError(t, err, "send %d", i+3)
	}
	r.clock.Add(time.Minute)
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
		require.NoError(t, err)
		require.Len(t, ch.ID, 64)
		var failed *otp.SendError
		require.ErrorAs(t, r.failure(), &failed)
		require.ErrorIs(t, failed, said)
		require.True(t, failed.MaybeSent)
		_, err = r.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrLimited)
		_, err = r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
	}
}

// failure is the error of the newest event that has one.
func (r *rig) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range slices.Backward(r.events) {
		if e.Err != nil {
			return e.Err
		}
	}
	return nil
}

// R7', 15, J10: only a refused recipient makes a decoy. Any other failure is
// told, and costs no send of the hour.
func TestRule7_whoseFault(t *testing.T) {
	for name, tt := range map[string]struct {
		said  otp.SendError
		decoy bool
	}{
		"550 5.1.1 at rcpt":         {otp.SendError{Stage: "rcpt", Class: otpevent.ClassRecipient}, true},
		"a sender without classes":  {otp.SendError{Stage: "rcpt"}, true},
		"a refusal at no stage":     {otp.SendError{Class: otpevent.ClassRecipient}, true},
		"554 5.7.1 at rcpt":         {otp.SendError{Stage: "rcpt", Class: otpevent.ClassUs}, false},
		"552 5.2.2 at rcpt":         {otp.SendError{Stage: "rcpt", Class: otpevent.ClassMailbox}, false},
		"550 at data":               {otp.SendError{Stage: "data", Class: otpevent.ClassContent}, false},
		"compose":                   {otp.SendError{Stage: "compose", Class: otpevent.ClassContent}, false},
		"unknown":                   {otp.SendError{Stage: "rcpt", Class: otpevent.ClassUnknown}, false},
		"no stage and no class":     {otp.SendError{}, false},
		"450 4.1.1 at rcpt":         {otp.SendError{Temporary: true, Stage: "rcpt", Class: otpevent.ClassRecipient}, false},
		"a class of the sender own": {otp.SendError{Stage: "rcpt", Class: "weather"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}, {N: 1, Per: time.Hour}}})
			r.fail = always(&tt.said)
			require.Equal(t, tt.decoy, tt.said.RefusedRecipient())
			ch, err := r.Send(ctx, otp.Request{To: bob})
			r.fail = nil
			r.clock.Add(time.Minute)
			if tt.decoy {
				require.NoError(t, err)
				require.Len(t, ch.ID, 64)
				_, err = r.Send(ctx, otp.Request{To: bob})
				require.ErrorIs(t, err, otp.ErrLimited, "nothing is given back")
				return
			}
			require.ErrorIs(t, err, otp.ErrSend)
			require.Zero(t, ch)
			r.ask(otp.Request{To: bob})
		})
	}
	require.False(t, (*otp.SendError)(nil).RefusedRecipient())
}

// R7', 16: a failed resend of the same code leaves the challenge as it was, and
// is told where the mail surely did not go out.
func TestRule7_failedResend(t *testing.T) {
	for name, said := range map[string]error{"temporary": refusedForNow, "us": &otp.SendError{Class: otpevent.ClassUs}, "recipient": refusedForGood, "maybe": perhapsSent} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Minute}, {N: 2, Per: time.Hour}}})
			ch, code := r.ask(otp.Request{To: bob})
			r.clock.Add(time.Minute)
			r.fail = always(said)
			got, err := r.Resend(ctx, ch.ID)
			require.Equal(t, ch.ID, got.ID)
			require.Equal(t, 5, got.GuessesLeft)
			givenBack := name == "temporary" || name == "us"
			if givenBack {
				require.ErrorIs(t, err, otp.ErrSend, `it is not "sent again"`)
			} else {
				require.NoError(t, err)
			}
			r.fail = nil
			r.clock.Add(time.Minute)
			_, err = r.Resend(ctx, ch.ID)
			if givenBack {
				require.NoError(t, err)
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

	// A deadline that passed before the sender was asked: surely not sent.
	synctest.Test(t, func(t *testing.T) {
		r = newRig(t, otp.Options{Sends: []otp.Limit{{N: 1, Per: time.Hour}}})
		cctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
		store := &hookStore{Store: r.store, after: func() { time.Sleep(time.Second) }}
		v, err := otp.NewVerifier(store, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: []otp.Limit{{N: 1, Per: time.Hour}}})
		require.NoError(t, err)
		_, err = v.Send(cctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, r.sent())
		r.ask(otp.Request{To: bob})
	})
}

// R7", 17, J13: a visitor who hangs up does not stop the mail that is counted
// already. A sender that hangs ends at the caller's deadline, after 30 seconds
// or with the code.
func TestRule7_hangUp(t *testing.T) {
	r := newRig(t, otp.Options{})
	cctx, cancel := context.WithCancel(ctx)
	v, err := otp.NewVerifier(&hookStore{Store: r.store, after: cancel}, rigSender{r}, &otp.Options{Now: r.clock.Now, Secrets: [][]byte{secret("A")}})
	require.NoError(t, err)
	ch, err := v.Send(cctx, otp.Request{To: bob})
	require.NoError(t, err)
	require.Equal(t, 1, r.sent())
	_, err = r.Check(ctx, ch.ID, r.last().Code)
	require.NoError(t, err)

	type key struct{}
	for name, tt := range map[string]struct {
		ttl, deadline, want time.Duration
	}{
		"no deadline":         {10 * time.Minute, 0, 30 * time.Second},
		"an early deadline":   {10 * time.Minute, 7 * time.Second, 7 * time.Second},
		"a late deadline":     {10 * time.Minute, 45 * time.Second, 45 * time.Second},
		"the end of the code": {20 * time.Second, 0, 20 * time.Second},
		"the end before that": {20 * time.Second, 45 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hangs := otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
					require.Equal(t, "kept", ctx.Value(key{}))
					<-ctx.Done()
					return &otp.SendError{Temporary: true, Err: ctx.Err()}
				})
				v, err := otp.NewVerifier(otp.NewMemoryStore(nil), hangs, &otp.Options{TTL: tt.ttl, Observer: discard{}})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, "kept"))
				if tt.deadline > 0 {
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
				}
				defer cancel()
				start := time.Now()
				_, err = v.Send(ctx, otp.Request{To: bob})
				require.ErrorIs(t, err, otp.ErrSend)
				require.Equal(t, tt.want, time.Since(start))
			})
		})
	}
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
		r.Send(ctx, otp.Request{To: bob})
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
	require.Contains(t, r.kinds(), otpevent.Failed)
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

// Rule 10, B5: a store that fails at any of its calls never lets anybody in,
// and never gives a guess that is not counted.
func TestRule10_storeFails(t *testing.T) {
	for _, apply := range []bool{false, true} {
		for at := int64(1); at <= 12; at++ {
			c := testkit.NewClock()
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
				note(r.Check(ctx, ch.ID, testkit.WrongCode(code)))
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
				require.Contains(t, r.kinds(), otpevent.Failed)
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
	require.ErrorContains(t, err, "lost too many races")
	require.Zero(t, got)
	_, err = v.Send(ctx, otp.Request{To: bob})
	require.ErrorContains(t, err, "lost too many races")
	require.ErrorContains(t, v.Forget(ctx, bob), "lost too many races")
	require.Equal(t, 3*69, store.n)
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
		Now: r.clock.Now, Secrets: [][]byte{secret("A")}, Sends: wide, Observer: r, ClientStarts: []otp.Limit{{N: 2, Per: time.Hour}},
	})
	require.NoError(t, err)
	for range 2 {
		ch, err := v.Send(ctx, otp.Request{To: bob, Client: "c"})
		require.NoError(t, err)
		code := r.last().Code
		got, err := v.Check(ctx, ch.ID, testkit.WrongCode(code))
		require.ErrorIs(t, err, otp.ErrCode)
		require.Equal(t, 4, got.GuessesLeft, "counted once")
		_, err = v.Check(ctx, ch.ID, code)
		require.NoError(t, err)
		_, err = v.Check(ctx, ch.ID, code)
		require.ErrorIs(t, err, otp.ErrUnknown)
		r.clock.Add(time.Second)
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
		r.clock.Add(2 * time.Second)
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
	require.Equal(t, []otpevent.Kind{otpevent.Asked, otpevent.Failed}, r.kinds())
}

// fault is what a faultStore does at one of its calls.
type fault string

const (
	failsBefore  fault = "error, nothing done"
	failsAfter   fault = "error, swap made"
	timesOut     fault = "deadline exceeded, swap made"
	cancels      fault = "context cancelled"
	saysNo       fault = "false, swap made"
	saysNoAndNot fault = "false, nothing done"
)

// faultStore has one fault at the call whose number is at, counted from 1.
type faultStore struct {
	otp.Store
	fault  fault
	at, n  int
	cancel context.CancelFunc
	hit    bool
}

func (s *faultStore) strikes() bool {
	s.n++
	s.hit = s.hit || s.n == s.at
	return s.n == s.at
}

func (s *faultStore) Load(ctx context.Context, key string) ([]byte, error) {
	if s.strikes() {
		switch s.fault {
		case failsBefore, failsAfter:
			return nil, errDown
		case timesOut:
			return nil, context.DeadlineExceeded
		case cancels:
			s.cancel()
		}
	}
	return s.Store.Load(ctx, key)
}

func (s *faultStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if !s.strikes() {
		return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	}
	switch s.fault {
	case failsBefore:
		return false, errDown
	case saysNoAndNot:
		return false, nil
	case cancels:
		s.cancel()
		return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	}
	_, err := s.Store.CompareAndSwap(ctx, key, old, new, ttl)
	switch {
	case err != nil:
		return false, err
	case s.fault == failsAfter:
		return false, errDown
	case s.fault == timesOut:
		return false, context.DeadlineExceeded
	}
	return false, nil // saysNo
}

// B5: a store that fails in any way, at any of its calls, in any operation, and
// a sender that fails in any way with it: no success that is not kept, no more
// verdicts than counted guesses, no mail that was not reserved.
func TestFaults(t *testing.T) {
	senders := map[string]error{"sent": nil, "temporary": refusedForNow, "permanent": refusedForGood, "maybe": perhapsSent}
	operations := map[string]func(r *rig, ctx context.Context, id, code string) (otp.Challenge, error){
		"send": func(r *rig, ctx context.Context, _, _ string) (otp.Challenge, error) {
			return r.Send(ctx, otp.Request{To: bob, Client: "c"})
		},
		"resend": func(r *rig, ctx context.Context, id, _ string) (otp.Challenge, error) { return r.Resend(ctx, id) },
		"renew": func(r *rig, ctx context.Context, id, _ string) (otp.Challenge, error) {
			r.clock.Add(5 * time.Minute)
			return r.Resend(ctx, id)
		},
		"right": func(r *rig, ctx context.Context, id, code string) (otp.Challenge, error) {
			return r.Check(ctx, id, code)
		},
		"wrong": func(r *rig, ctx context.Context, id, code string) (otp.Challenge, error) {
			return r.Check(ctx, id, testkit.WrongCode(code))
		},
		"status": func(r *rig, ctx context.Context, id, _ string) (otp.Challenge, error) { return r.Status(ctx, id) },
		"forget": func(r *rig, ctx context.Context, _, _ string) (otp.Challenge, error) {
			return otp.Challenge{}, r.Forget(ctx, bob)
		},
	}
	cases := 0
	for name, operation := range operations {
		for sender, said := range senders {
			if said != nil && name != "send" && name != "resend" && name != "renew" {
				continue
			}
			for _, kind := range []fault{failsBefore, failsAfter, timesOut, cancels, saysNo, saysNoAndNot} {
				for _, place := range []string{"here", "elsewhere"} {
					for at, hit := 1, true; hit; at++ {
						what := fmt.Sprintf("%s, %s at call %d, %s, %s", name, kind, at, sender, place)
						r, store := newFaultRig(t, kind)
						ch, code := r.ask(otp.Request{To: bob, Client: "c"})
						if place == "elsewhere" { // a process that remembers nothing
							r.Verifier = r.another()
						}
						r.clock.Add(2 * time.Second)
						opCtx, cancel := context.WithCancel(ctx)
						store.n, store.at, store.cancel = 0, at, cancel
						r.fail = always(said)
						mails := r.sent()
						got, err := operation(r, opCtx, ch.ID, code)
						cancel()
						r.fail, store.at = nil, 0
						heldTo(t, what, r, name, ch, code, mails, got, err)
						hit = store.hit
						cases++
					}
				}
			}
		}
	}
	require.Greater(t, cases, 600)
	t.Log(cases, "cases")
}

func newFaultRig(t *testing.T, kind fault) (*rig, *faultStore) {
	c := testkit.NewClock()
	store := &faultStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}), fault: kind}
	return newRigOn(t, otp.Options{Sends: wide}, c, store), store
}

// another is a second verifier like that of newFaultRig.
func (r *rig) another() *otp.Verifier {
	v, err := otp.NewVerifier(r.store, rigSender{r}, &otp.Options{Sends: wide, Secrets: [][]byte{secret("A")}, Now: r.clock.Now, Observer: r})
	require.NoError(r.t, err)
	return v
}

// heldTo looks, with the store in order again, at what an operation has left.
func heldTo(t *testing.T, what string, r *rig, name string, ch otp.Challenge, code string, mails int, got otp.Challenge, err error) {
	t.Helper()
	system := err != nil && !errors.Is(err, otp.ErrSend) && !isPersons(err)
	if system {
		require.Zero(t, got, what)
		require.Equal(t, mails, r.sent(), what)
	}
	now, statusErr := r.Status(ctx, ch.ID)
	switch name {
	case "right":
		if err == nil {
			require.Equal(t, bob, got.To.String(), what)
			require.ErrorIs(t, statusErr, otp.ErrUnknown, what)
		}
		accepted := 0
		for range 3 {
			if _, again := r.Check(ctx, ch.ID, code); again == nil {
				accepted++
			}
		}
		if err == nil {
			require.Zero(t, accepted, what)
		}
		require.LessOrEqual(t, accepted, 1, what)
	case "wrong":
		require.Error(t, err, what)
		require.NoError(t, statusErr, what)
		if errors.Is(err, otp.ErrCode) {
			require.Less(t, now.GuessesLeft, 5, what)
			require.GreaterOrEqual(t, got.GuessesLeft, now.GuessesLeft, what)
		}
	case "forget":
		if err == nil {
			require.ErrorIs(t, statusErr, otp.ErrUnknown, what)
		}
	default: // send, resend, renew, status: what was there is there
		require.NoError(t, statusErr, what)
		require.Equal(t, 5, now.GuessesLeft, what)
		if err == nil && name != "status" && r.failure() == nil {
			require.Equal(t, mails+1, r.sent(), what)
			_, err = r.Check(ctx, got.ID, r.last().Code)
			require.NoError(t, err, what)
		}
	}
}

// isPersons reports an error that a person can cause.
func isPersons(err error) bool {
	for _, sentinel := range []error{otp.ErrCode, otp.ErrMalformed, otp.ErrUnknown, otp.ErrLimited, otp.ErrAddress} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return otp.NeedsResend(err)
}

// The context of a mail is like any other, though its timer starts late.
func TestSend_mailContext(t *testing.T) {
	var kept []context.Context
	sender := otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		require.NoError(t, ctx.Err())
		if m.Locale == "de" { // one that waits
			child, cancel := context.WithCancelCause(ctx)
			cancel(errDown)
			require.Equal(t, errDown, context.Cause(child))
			other, cancel2 := context.WithTimeout(ctx, time.Hour)
			defer cancel2()
			end, ok := other.Deadline()
			mine, _ := ctx.Deadline()
			require.True(t, ok)
			require.True(t, end.Equal(mine))
			require.NoError(t, other.Err())
			kept = append(kept, other)
		}
		kept = append(kept, ctx)
		return nil
	})
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{Sends: wide})
	require.NoError(t, err)
	caller, cancel := context.WithCancelCause(ctx)
	for _, locale := range []string{"", "de"} {
		_, err = v.Send(caller, otp.Request{To: bob, Locale: locale})
		require.NoError(t, err)
	}
	cancel(errDown)
	require.Len(t, kept, 3)
	for _, ctx := range kept { // over when Send has returned
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		require.NotErrorIs(t, context.Cause(ctx), errDown, "the caller's own end is not seen")
	}
}
