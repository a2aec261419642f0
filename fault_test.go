package otp_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

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
			r.clock.add(9*time.Minute + 30*time.Second)
			return r.Resend(ctx, id)
		},
		"right": func(r *rig, ctx context.Context, id, code string) (otp.Challenge, error) {
			return r.Check(ctx, id, code)
		},
		"wrong": func(r *rig, ctx context.Context, id, code string) (otp.Challenge, error) {
			return r.Check(ctx, id, wrong(code))
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
						r.clock.add(2 * time.Second)
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
	c := newClock()
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
		if err == nil && name != "status" {
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
