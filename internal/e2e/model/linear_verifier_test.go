package model

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// A Verifier is linearizable: concurrent guesses, sends and status requests for
// one address are answered as if they came one after the other, so parallel
// requests get no more verdicts than the budgets allow (B1, B2, B3). This holds for
// a store that fails, too: a call that returned an error counts as made or not
// made, now or later.
//
// The clock stands still. A guess reads the time before it is recorded, so with a
// deadline in between it could be right after another was told that it is too late.
func TestLinear_verifier(t *testing.T) {
	newStore := func() otp.Store { return otp.NewMemoryStore(nil) }
	for name, faults := range map[string]int{"good store": 0, "failing store": 12} {
		t.Run(name, func(t *testing.T) {
			said := map[string]int{}
			linAll(t, linVerifiers(), 1000, func(seed uint64) []porcupine.Operation {
				ops := linVerifierHistory(t, newStore(), seed, faults)
				for _, op := range ops {
					said[op.Input.(linRequest).verb+": "+op.Output.(linReply).verdict]++
				}
				return ops
			})
			t.Log(said)
			if testing.Short() {
				return // so few histories may leave something out
			}
			for _, each := range []string{"right: ", "wrong: wrong", "shape: malformed", "foreign: unknown", "status: exhausted", "resend: limited", "send: limited", "held: ", "held: limited", "revoke: "} {
				if said[each] == 0 {
					t.Errorf("%q was never said", each)
				}
			}
		})
	}
}

// A linChallenge is a challenge that clients ask about.
type linChallenge struct{ id, code string }

// A linAsker is what the clients of one history share.
type linAsker struct {
	*otp.Verifier
	t       *testing.T
	history *linHistory
	to      string

	mu         sync.Mutex
	challenges []linChallenge // by number; the first is none
}

// linVerifierHistory lets a few clients ask about a few challenges of one
// address. Of a hundred calls of the store some fail: see [linFailingStore].
func linVerifierHistory(t *testing.T, store otp.Store, seed uint64, faults int) []porcupine.Operation {
	const clients, calls = 4, 6
	now := time.Now()
	failing := &linFailingStore{Store: store}
	v, err := otp.NewVerifier(failing, otp.SenderFunc(linKeepCode), &otp.Options{
		Secrets: [][]byte{[]byte("a secret of no more than 32 bytes")},
		Guesses: linGuesses, WrongGuesses: []otp.Limit{{N: linWrong, Per: time.Hour}},
		Sends: []otp.Limit{{N: linSends, Per: time.Hour}}, Now: func() time.Time { return now },
		Observer: otp.ObserverFunc(func(context.Context, otp.Event) {}), // nothing is logged
	})
	if err != nil {
		t.Fatal(err)
	}
	// The address is new: the store may be a database that others use.
	a := &linAsker{Verifier: v, t: t, history: newLinHistory(clients + 1), to: crand.Text() + "@example.com", challenges: make([]linChallenge, 1)}
	alone := rand.New(rand.NewPCG(seed, clients))
	for range 1 + alone.IntN(2) {
		a.ask(clients, alone, "send", 0)
	}
	failing.faults = faults
	linAtOnce(clients, seed, func(client int, dice *rand.Rand) {
		for range calls {
			linPause(dice)
			a.ask(client, dice, linVerbs[dice.IntN(len(linVerbs))], a.pick(dice))
		}
	})
	failing.late.Wait()
	failing.faults = 0
	for n := range a.challenges[1:] { // see what became of them
		a.ask(clients, alone, "status", n+1)
	}
	return a.history.operations()
}

// linVerbs are what clients do, the usual calls more often.
var linVerbs = strings.Fields(strings.Repeat("wrong wrong wrong wrong wrong right right right status status status resend resend resend send send held held shape foreign ", 2) + "revoke forget")

// pick chooses a challenge, mostly the newest.
func (a *linAsker) pick(dice *rand.Rand) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n = len(a.challenges) - 1
	if dice.IntN(3) == 0 {
		n = 1 + dice.IntN(n)
	}
	return n
}

// ask makes one call and records it.
func (a *linAsker) ask(client int, dice *rand.Rand, verb string, n int) {
	a.mu.Lock()
	about := a.challenges[n]
	a.mu.Unlock()
	in := linRequest{verb: verb, challenge: n}
	if verb == "send" || verb == "held" {
		in.lane = dice.IntN(2)
	}
	call := &linCall{dice: dice}
	op := a.history.note(client, func() (any, any, bool) {
		got, err := a.call(context.WithValue(context.Background(), linCallKey{}, call), in, about)
		out := linReply{verdict: linVerdict(err)}
		if got.ID != "" {
			out.left, out.strong, out.opened = got.GuessesLeft, got.Strong, got.ID != about.id
		}
		if out.opened {
			in.opens = a.add(linChallenge{got.ID, call.code})
		}
		mails := 0
		if err == nil && (verb == "send" || verb == "held" || verb == "resend") {
			mails = 1
		}
		if call.mails != mails || mails == 1 && !out.opened && call.code != about.code {
			a.t.Errorf("%+v -> %+v with %d mails", in, out, call.mails)
		}
		return in, out, out.verdict != linUnknown
	})
	// A swap that was made and denied, and overwritten before this call looked, is
	// made again. The answer belongs to one of the two, and the other is unknown.
	for range call.again {
		op.Output = linReply{verdict: linUnknown}
		a.history.clients[client] = append(a.history.clients[client], op)
	}
}

func (a *linAsker) add(c linChallenge) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenges = append(a.challenges, c)
	return len(a.challenges) - 1
}

func (a *linAsker) call(ctx context.Context, in linRequest, about linChallenge) (otp.Challenge, error) {
	switch in.verb {
	case "send":
		return a.Send(ctx, otp.Request{To: a.to, Proven: in.lane == 1})
	case "held":
		return a.Send(ctx, otp.Request{To: a.to, Proven: in.lane == 1, Held: []string{about.id}})
	case "revoke":
		return otp.Challenge{}, a.RevokeDevices(ctx, a.to)
	case "resend":
		return a.Resend(ctx, about.id)
	case "status":
		return a.Status(ctx, about.id)
	case "forget":
		return otp.Challenge{}, a.Forget(ctx, a.to)
	case "foreign":
		return a.For("pay").Check(ctx, about.id, about.code)
	case "shape": // of the other generator
		if len(about.code) > 6 {
			return a.Check(ctx, about.id, "123456")
		}
		return a.Check(ctx, about.id, "BCDFGHJKMNPQRS")
	case "wrong":
		return a.Check(ctx, about.id, testkit.WrongCode(about.code))
	}
	return a.Check(ctx, about.id, about.code)
}

func linVerdict(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errLinFault):
		return linUnknown
	case errors.Is(err, otp.ErrLimited):
		return "limited"
	}
	switch err {
	case otp.ErrCode:
		return "wrong"
	case otp.ErrUnknown:
		return "unknown"
	case otp.ErrExhausted:
		return "exhausted"
	case otp.ErrMalformed:
		return "malformed"
	}
	return err.Error()
}
