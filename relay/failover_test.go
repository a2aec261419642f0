package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/relay"
)

// attempts collects what a failover tells.
type attempts struct {
	mu  sync.Mutex
	all []string
}

func (a *attempts) observe(_ context.Context, one relay.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said := string(one.Outcome)
	if one.Resting {
		said += "rests" // and has no outcome
	}
	if !one.Resting && (one.Err == nil) != (one.Outcome == otpevent.MailSent) {
		said += fmt.Sprintf(", with the error %v", one.Err)
	}
	a.all = append(a.all, one.Provider+" "+said)
}

func newFailover(t testing.TB, opts relay.FailoverOptions, senders ...otp.Sender) (*relay.Failover, *attempts) {
	t.Helper()
	told := &attempts{}
	opts.OnAttempt = told.observe
	var providers []relay.Provider
	for i, s := range senders {
		providers = append(providers, relay.Provider{Name: string(rune('a' + i)), Sender: s})
	}
	f, err := relay.NewFailover(providers, &opts)
	require.NoError(t, err)
	return f, told
}

func TestFailover_order(t *testing.T) {
	again := relay.FailoverOptions{RetryUnknown: true}
	for name, c := range map[string]struct {
		first, second    error
		opts             relay.FailoverOptions
		want             error
		temporary, maybe bool
		told             []string
	}{
		"the first takes it":      {nil, nil, relay.FailoverOptions{}, nil, false, false, []string{"a sent"}},
		"busy":                    {errBusy, nil, relay.FailoverOptions{}, nil, false, false, []string{"a failed", "b sent"}},
		"both busy":               {errBusy, errBusy, relay.FailoverOptions{}, errBusy, true, false, []string{"a failed", "b failed"}},
		"refused":                 {errGone, nil, relay.FailoverOptions{}, errGone, false, false, []string{"a refused"}},
		"busy, then refused":      {errBusy, errGone, relay.FailoverOptions{}, errGone, false, false, []string{"a failed", "b refused"}},
		"mail refused":            {errSpam, nil, relay.FailoverOptions{}, nil, false, false, []string{"a failed", "b sent"}},
		"mail refused by both":    {errSpam, errSpam, relay.FailoverOptions{}, errSpam, false, false, []string{"a failed", "b failed"}},
		"mail refused, then busy": {errSpam, errBusy, relay.FailoverOptions{}, errBusy, true, false, []string{"a failed", "b failed"}},
		"busy, then mail refused": {errBusy, errSpam, relay.FailoverOptions{}, errSpam.Err, true, false, []string{"a failed", "b failed"}},
		"mail, then recipient":    {errSpam, errGone, relay.FailoverOptions{}, errGone, false, false, []string{"a failed", "b refused"}},
		"relay denied":            {errUs, nil, relay.FailoverOptions{}, nil, false, false, []string{"a failed", "b sent"}}, // J10
		"relay denied by both":    {errUs, errUs, relay.FailoverOptions{}, errUs, false, false, []string{"a failed", "b failed"}},
		"busy, then relay denied": {errBusy, errUs, relay.FailoverOptions{}, errUs.Err, true, false, []string{"a failed", "b failed"}},
		"unknown":                 {errLost, nil, relay.FailoverOptions{}, errLost, true, true, []string{"a unknown"}},
		"foreign":                 {context.DeadlineExceeded, nil, relay.FailoverOptions{}, context.DeadlineExceeded, false, true, []string{"a unknown"}},
		"unknown, again":          {errLost, nil, again, nil, false, false, []string{"a unknown", "b sent"}},
		"unknown, then busy":      {errLost, errBusy, again, errBusy.Err, true, true, []string{"a unknown", "b failed"}},
		"unknown, then a refusal": {errLost, errGone, again, errGone.Err, false, true, []string{"a unknown", "b refused"}},
		"unknown, then of a mail": {errLost, errSpam, again, errSpam.Err, true, true, []string{"a unknown", "b failed"}},
		"mail refused, then lost": {errSpam, errLost, relay.FailoverOptions{}, errLost, true, true, []string{"a failed", "b unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, told := newFailover(t, c.opts, says(c.first), says(c.second))
			err := f.Send(t.Context(), message(t, 1))
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.NoError(t, err)
			}
			var e *otp.SendError
			if errors.As(err, &e) {
				require.Equal(t, c.temporary, e.Temporary)
				require.Equal(t, c.maybe, e.MaybeSent)
				var want *otp.SendError
				if errors.As(c.second, &want) && len(c.told) == 2 {
					require.Equal(t, want.Class, e.Class)
				}
			}
			require.Equal(t, c.told, told.all)
		})
	}
}

// A provider that fails rests, and is tried with one mail after that.
func TestFailover_breaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		first := &book{answer: func(int, context.Context, otp.Message) (bool, error) {
			if down {
				return false, errBusy
			}
			return true, nil
		}}
		second := says(nil)
		f, told := newFailover(t, relay.FailoverOptions{Failures: 3, Rest: time.Minute}, first, second)
		send := func() string {
			told.all = nil
			require.NoError(t, f.Send(t.Context(), message(t, 1)))
			return told.all[0]
		}
		for range 3 {
			require.Equal(t, "a failed", send())
		}
		for range 5 {
			require.Equal(t, "a rests", send())
		}
		require.Equal(t, `Failover["a open" "b closed"]`, fmt.Sprintf("%+v", f))
		time.Sleep(time.Minute + time.Second)
		require.Equal(t, "a failed", send())
		require.Equal(t, "a rests", send())
		time.Sleep(time.Minute + time.Second)
		down = false
		require.Equal(t, "a sent", send())
		require.Equal(t, "a sent", send())
	})
}

// Refusals and callers that give up say nothing about a provider; all at rest
// is a temporary failure in which nothing was sent.
func TestFailover_whatCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := error(errGone)
		first := &book{answer: func(int, context.Context, otp.Message) (bool, error) { return false, answer }}
		f, told := newFailover(t, relay.FailoverOptions{Failures: 2}, first)
		for range 5 {
			require.ErrorIs(t, f.Send(t.Context(), message(t, 1)), errGone)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first.answer = func(int, context.Context, otp.Message) (bool, error) { cancel(); return false, errBusy }
		for range 5 {
			require.Error(t, f.Send(ctx, message(t, 1)))
			ctx, cancel = context.WithCancel(t.Context())
		}
		first.answer = func(int, context.Context, otp.Message) (bool, error) { return false, errBusy }
		require.ErrorIs(t, f.Send(t.Context(), message(t, 1)), errBusy)
		require.ErrorIs(t, f.Send(t.Context(), message(t, 1)), errBusy)
		err := f.Send(t.Context(), message(t, 1))
		require.ErrorIs(t, err, relay.ErrAllResting)
		var e *otp.SendError
		require.ErrorAs(t, err, &e)
		require.True(t, e.Temporary)
		require.False(t, e.MaybeSent)
		require.Equal(t, "a rests", told.all[len(told.all)-1])

		f, _ = newFailover(t, relay.FailoverOptions{Failures: 1}, says(errBusy), says(errSpam))
		for range 2 { // in the second it rests, and may take the mail later
			err := f.Send(t.Context(), message(t, 1))
			require.ErrorIs(t, err, errSpam.Err)
			require.ErrorAs(t, err, &e)
			require.True(t, e.Temporary)
		}
		cancel()
		require.ErrorIs(t, f.Send(ctx, message(t, 1)), context.Canceled)
	})
}

// A provider that hangs is given up after its attempt.
func TestFailover_hanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &book{answer: func(_ int, ctx context.Context, _ otp.Message) (bool, error) {
			<-ctx.Done()
			return false, &otp.SendError{Temporary: true, Stage: "connect", Err: ctx.Err()}
		}}
		f, told := newFailover(t, relay.FailoverOptions{Attempt: 2 * time.Second}, hangs, says(nil))
		began := time.Now()
		require.NoError(t, f.Send(t.Context(), message(t, 1)))
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Equal(t, []string{"a failed", "b sent"}, told.all)
	})
}

// A nil pointer in an error is no success, and nobody knows what was sent.
func TestFailover_nilInAnError(t *testing.T) {
	f, told := newFailover(t, relay.FailoverOptions{}, says((*otp.SendError)(nil)), says(nil))
	require.ErrorContains(t, f.Send(t.Context(), message(t, 1)), "nil")
	require.Equal(t, []string{"a unknown"}, told.all)
}

// What a provider says of a breaker of its own is its failure, not our rest.
func TestFailover_breakerOfTheProvider(t *testing.T) {
	for _, open := range []error{gobreaker.ErrOpenState, gobreaker.ErrTooManyRequests} {
		spare := says(nil)
		f, told := newFailover(t, relay.FailoverOptions{}, says(fmt.Errorf("no answer, and then: %w", open)), spare)
		require.ErrorIs(t, f.Send(t.Context(), message(t, 1)), open)
		require.Equal(t, []string{"a unknown"}, told.all)
		require.Zero(t, spare.count(), "it may have gone out")
	}
}

// A provider on which callers' time runs out is one that fails: behind a queue
// nobody else would ever be asked.
func TestFailover_hangsBehindQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &book{answer: func(_ int, ctx context.Context, _ otp.Message) (bool, error) {
			<-ctx.Done()
			return false, &otp.SendError{Temporary: true, Stage: "connect", Err: ctx.Err()}
		}}
		f, _ := newFailover(t, relay.FailoverOptions{}, hangs, says(nil))
		q, told := newQueue(t, f, relay.QueueOptions{})
		for i := range 10 {
			require.NoError(t, q.Send(t.Context(), message(t, i)))
		}
		require.NoError(t, q.Close(t.Context()))
		for id, outcomes := range told.final() {
			require.Equal(t, []otpevent.Outcome{otpevent.MailSent}, outcomes, id)
		}
	})
}

func TestNewFailover_refuses(t *testing.T) {
	for _, providers := range [][]relay.Provider{nil, {{Sender: says(nil)}}, {{Name: "a"}}, {{"a", says(nil)}, {"a", says(nil)}}} {
		_, err := relay.NewFailover(providers, nil)
		require.Error(t, err)
	}
	for _, o := range []relay.FailoverOptions{{Failures: -1}, {Rest: -1}, {Attempt: -1}} {
		_, err := relay.NewFailover([]relay.Provider{{"a", says(nil)}}, &o)
		require.Error(t, err)
	}
}

// Thousands of mails through providers that flap, refuse, hang and lose
// answers: each is delivered or reported, none is lost in silence, and only
// where the rules allow it does one arrive twice.
func TestQueue_flapping(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("RetryUnknown=%t", again), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { flap(t, again) })
		})
	}
}

func flap(t *testing.T, again bool) {
	mails := testkit.Rounds(2000, 10_000)
	flapping := func(seed uint64) *book {
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(seed, 7))
		return &book{answer: func(_ int, ctx context.Context, m otp.Message) (bool, error) {
			mu.Lock()
			at, luck := time.Now().Unix()/20%3, dice.IntN(1000)
			mu.Unlock()
			time.Sleep(time.Duration(luck) * time.Millisecond / 10)
			switch {
			case at == int64(seed)%3 && luck < 900: // down
				return false, errBusy
			case luck < 20: // accepted, and then hangs
				<-ctx.Done()
				return true, &otp.SendError{Temporary: true, MaybeSent: true, Stage: "data", Err: ctx.Err()}
			case luck < 40: // hangs
				<-ctx.Done()
				return false, &otp.SendError{Temporary: true, Stage: "connect", Err: ctx.Err()}
			case m.ID[len(m.ID)-2:] == "13": // nobody there
				return false, errGone
			case luck < 60:
				return true, errLost
			case luck < 80:
				return false, errors.New("what?")
			}
			return true, nil
		}}
	}
	books := []*book{flapping(1), flapping(2), flapping(3)}
	f, _ := newFailover(t, relay.FailoverOptions{Attempt: 5 * time.Second, Rest: 10 * time.Second, RetryUnknown: again}, books[0], books[1], books[2])
	q, told := newQueue(t, f, relay.QueueOptions{Size: 500, Workers: 50, RetryUnknown: again, Attempt: 20 * time.Second})
	taken := map[string]bool{}
	for i := range mails {
		m := message(t, i)
		for q.Send(t.Context(), m) != nil { // full: the caller asks again later
			time.Sleep(50 * time.Millisecond)
		}
		taken[m.ID] = true
	}
	require.NoError(t, q.Close(t.Context()))
	final := told.final()
	require.Len(t, final, mails)
	count, twice := map[otpevent.Outcome]int{}, 0
	for id, outcomes := range final {
		require.True(t, taken[id])
		require.Len(t, outcomes, 1, "told once")
		arrived := books[0].times(id) + books[1].times(id) + books[2].times(id)
		count[outcomes[0]]++
		switch outcomes[0] {
		case otpevent.MailSent:
			require.GreaterOrEqual(t, arrived, 1, "not lost")
		case otpevent.MailRefused:
			require.True(t, arrived == 0 || again)
		}
		if arrived > 1 {
			twice++
		}
	}
	if !again {
		require.Zero(t, twice)
	}
	require.Greater(t, count[otpevent.MailSent], mails*8/10)
	require.Greater(t, count[otpevent.MailRefused], mails/200)
	t.Log(count, "twice:", twice)
}
