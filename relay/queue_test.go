package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/relay"
)

func newQueue(t testing.TB, sender otp.Sender, opts relay.QueueOptions) (*relay.Queue, *reports) {
	t.Helper()
	told := &reports{}
	opts.OnReport = told.observe
	q, err := relay.NewQueue(sender, &opts)
	require.NoError(t, err)
	return q, told
}

// C3: Send returns at once, whatever the sender does.
func TestQueue_returnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &book{answer: func(int, context.Context, otp.Message) (bool, error) { time.Sleep(time.Second); return true, nil }}
		q, told := newQueue(t, slow, relay.QueueOptions{Size: 10, Workers: 2})
		began := time.Now()
		for i := range 10 {
			m := message(t, i)
			m.Known = true
			require.NoError(t, q.Send(t.Context(), m))
		}
		require.Equal(t, 10, q.Len())
		var failed *otp.SendError
		require.ErrorAs(t, q.Send(t.Context(), message(t, 10)), &failed)
		require.ErrorIs(t, failed, relay.ErrFull)
		require.True(t, failed.Temporary)
		require.False(t, failed.MaybeSent)
		require.Equal(t, began, time.Now())

		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, 5*time.Second, time.Since(began), "two at once, all of them")
		require.Zero(t, q.Len())
		require.Len(t, told.final(), 10)
		require.ErrorIs(t, q.Send(t.Context(), message(t, 11)), relay.ErrClosed)
		require.NoError(t, q.Close(t.Context()), "again")
	})
}

// C3: it says so while it still takes mails, to refuse people with and without
// an account alike. J3: a fifth of the places is for known devices.
func TestQueue_full(t *testing.T) {
	for size, want := range map[int]struct{ strangersFull, strangers, knownFull int }{
		1: {1, 1, 1}, 4: {4, 4, 4}, 5: {4, 4, 5}, 9: {8, 8, 9}, 10: {7, 8, 9}, 40: {28, 32, 36},
	} {
		synctest.Test(t, func(t *testing.T) {
			open := make(chan struct{})
			stuck := &book{answer: func(int, context.Context, otp.Message) (bool, error) { <-open; return true, nil }}
			q, _ := newQueue(t, stuck, relay.QueueOptions{Size: size})
			for i := range size {
				require.Equal(t, i >= want.strangersFull, q.Full(false), "%d of %d", i, size)
				require.Equal(t, i >= want.knownFull, q.Full(true), "%d of %d", i, size)
				m := message(t, i)
				if i >= want.strangers {
					require.ErrorIs(t, q.Send(t.Context(), m), relay.ErrFull, "%d of %d", i, size)
					m.Known = true
				}
				require.NoError(t, q.Send(t.Context(), m))
			}
			require.True(t, q.Full(false) && q.Full(true))
			last := message(t, size)
			last.Known = true
			require.ErrorIs(t, q.Send(t.Context(), last), relay.ErrFull)
			close(open)
			require.NoError(t, q.Close(t.Context()))
			require.False(t, q.Full(false) || q.Full(true))
		})
	}
}

// J3: the mail of a known device does not wait behind a flood of strangers'
// mails, in which its code could expire. Among themselves, all keep their order.
func TestQueue_knownFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		slow := otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			order = append(order, m.ID)
			time.Sleep(time.Second)
			return nil
		})
		q, _ := newQueue(t, slow, relay.QueueOptions{Size: 20, Workers: 1})
		for i := range 6 {
			m := message(t, i)
			m.Known = i == 2 || i == 4
			require.NoError(t, q.Send(t.Context(), m))
		}
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []string{"mail2", "mail4", "mail0", "mail1", "mail3", "mail5"}, order)
	})
}

func TestQueue_outcomes(t *testing.T) {
	for name, c := range map[string]struct {
		sender   otp.Sender
		opts     relay.QueueOptions
		want     []otpevent.Outcome
		accepted int
	}{
		"sent":            {says(nil), relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailSent}, 1},
		"refused":         {says(errGone), relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailRefused}, 0},
		"unknown":         {says(errLost), relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailUnknown}, 0},
		"nil in an error": {says((*otp.SendError)(nil)), relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailUnknown}, 0},
		"foreign":         {says(errors.New("what?")), relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailUnknown}, 0},
		"panic": {
			otp.SenderFunc(func(context.Context, otp.Message) error { panic("739164") }),
			relay.QueueOptions{},
			[]otpevent.Outcome{otpevent.MailUnknown},
			0,
		},
		"twice busy": {&book{answer: func(n int, _ context.Context, _ otp.Message) (bool, error) {
			if n < 3 {
				return false, errBusy
			}
			return true, nil
		}}, relay.QueueOptions{}, []otpevent.Outcome{otpevent.MailDelayed, otpevent.MailDelayed, otpevent.MailSent}, 1},
		"unknown, again": {&book{answer: func(n int, _ context.Context, _ otp.Message) (bool, error) {
			if n < 2 {
				return true, errLost
			}
			return true, nil
		}}, relay.QueueOptions{RetryUnknown: true}, []otpevent.Outcome{otpevent.MailDelayed, otpevent.MailSent}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, told := newQueue(t, c.sender, c.opts)
				require.NoError(t, q.Send(t.Context(), message(t, 1)))
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, c.want, told.outcomes())
				require.Equal(t, len(c.want), told.all[len(c.want)-1].Attempts)
				if b, ok := c.sender.(*book); ok {
					require.Equal(t, c.accepted, b.times("mail1"))
				}
			})
		})
	}
}

// A mail that is dropped while it waits for another attempt is told with the
// failure that it waited for.
func TestQueue_dropTellsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, told := newQueue(t, says(errBusy), relay.QueueOptions{Backoff: time.Minute})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, q.Close(ctx), context.DeadlineExceeded)
		require.Equal(t, []otpevent.Outcome{otpevent.MailDelayed, otpevent.MailDropped}, told.outcomes())
		require.ErrorIs(t, told.all[1].Err, errBusy)
	})
}

// A mail is tried until its code ends, ever more slowly, and then told as
// expired.
func TestQueue_backsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := says(errBusy)
		q, told := newQueue(t, busy, relay.QueueOptions{Backoff: time.Second})
		began := time.Now()
		m := message(t, 1)
		require.NoError(t, q.Send(t.Context(), m))
		require.NoError(t, q.Close(t.Context()))
		require.True(t, time.Now().Before(m.ExpiresAt))
		require.Greater(t, time.Since(began), 8*time.Minute)
		last := told.all[len(told.all)-1]
		require.Equal(t, otpevent.MailExpired, last.Outcome)
		require.ErrorIs(t, last.Err, errBusy)
		require.Equal(t, busy.count(), last.Attempts)
		require.Greater(t, busy.count(), 10)
		require.Less(t, busy.count(), 25)
		require.InDelta(t, 1, told.all[1].Age.Seconds(), 0.25)
		require.InDelta(t, 2, (told.all[2].Age - told.all[1].Age).Seconds(), 0.5)
		require.InDelta(t, 4, (told.all[3].Age - told.all[2].Age).Seconds(), 1)
	})
}

// A sender that says how long to wait is left alone for that long, and twice as
// long the next time.
func TestQueue_retryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		q, _ := newQueue(t, otp.SenderFunc(func(context.Context, otp.Message) error {
			at = append(at, time.Since(start))
			if len(at) <= 2 {
				return &otp.SendError{Temporary: true, RetryAfter: time.Minute}
			}
			return nil
		}), relay.QueueOptions{})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		require.NoError(t, q.Close(t.Context()))
		require.Len(t, at, 3)
		require.Zero(t, at[0])
		require.GreaterOrEqual(t, at[1], time.Minute)
		require.LessOrEqual(t, at[1], 75*time.Second)
		require.GreaterOrEqual(t, at[2]-at[1], 2*time.Minute)
		require.LessOrEqual(t, at[2]-at[1], 150*time.Second)
	})
}

// What waited for its turn until its code ended is not sent any more.
func TestQueue_tooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &book{answer: func(int, context.Context, otp.Message) (bool, error) { time.Sleep(time.Minute); return true, nil }}
		q, told := newQueue(t, slow, relay.QueueOptions{Workers: 1, Attempt: time.Hour})
		first, second := message(t, 1), message(t, 2)
		second.ExpiresAt = time.Now().Add(time.Minute)
		require.NoError(t, q.Send(t.Context(), first))
		synctest.Wait()
		require.NoError(t, q.Send(t.Context(), second))
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []otpevent.Outcome{otpevent.MailSent, otpevent.MailExpired}, told.outcomes())
		require.Zero(t, slow.times(second.ID))
	})
}

// Hanging senders are cut off at the attempt's end, and what they say counts.
func TestQueue_hanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &book{answer: func(n int, ctx context.Context, _ otp.Message) (bool, error) {
			if n > 1 {
				return true, nil
			}
			<-ctx.Done()
			return false, &otp.SendError{Temporary: true, Stage: "connect", Err: ctx.Err()}
		}}
		q, told := newQueue(t, hangs, relay.QueueOptions{Attempt: 3 * time.Second})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []otpevent.Outcome{otpevent.MailDelayed, otpevent.MailSent}, told.outcomes())
		require.Equal(t, 3*time.Second, told.all[0].Age)
	})
}

// The request that asked for a mail may end; the mail goes on, with its values.
func TestQueue_requestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var value any
		q, told := newQueue(t, otp.SenderFunc(func(ctx context.Context, _ otp.Message) error {
			time.Sleep(time.Second)
			value = ctx.Value(key{})
			return ctx.Err()
		}), relay.QueueOptions{})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		require.NoError(t, q.Send(ctx, message(t, 1)))
		cancel()
		require.Error(t, q.Send(ctx, message(t, 2)), "of a request that has ended")
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []otpevent.Outcome{otpevent.MailSent}, told.outcomes())
		require.Equal(t, "trace", value)
	})
}

// Close whose patience ends drops the rest and tells of each.
func TestQueue_closeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := &book{answer: func(n int, ctx context.Context, _ otp.Message) (bool, error) {
			if n == 1 {
				return false, errBusy
			}
			<-ctx.Done()
			return true, errLost
		}}
		q, told := newQueue(t, hangs, relay.QueueOptions{Workers: 2, Backoff: time.Minute, Attempt: time.Hour})
		for i := range 6 {
			require.NoError(t, q.Send(t.Context(), message(t, i)))
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.ErrorIs(t, q.Close(ctx), context.DeadlineExceeded)
		final := told.final()
		require.Len(t, final, 6)
		count := map[otpevent.Outcome]int{}
		for id, outcomes := range final {
			require.Len(t, outcomes, 1, id)
			count[outcomes[0]]++
		}
		require.Equal(t, map[otpevent.Outcome]int{otpevent.MailUnknown: 2, otpevent.MailDropped: 4}, count)
		require.Zero(t, q.Len())
	})
	synctest.Test(t, func(t *testing.T) {
		q, _ := newQueue(t, otp.SenderFunc(func(context.Context, otp.Message) error { time.Sleep(time.Hour); return nil }), relay.QueueOptions{})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, q.Close(ctx))
		require.Equal(t, 6*time.Second, time.Since(began), "of a sender that obeys nothing")
		time.Sleep(time.Hour) // which ends some time
	})
}

// D1, D2: nothing that a queue prints or tells holds a code or a whole address.
func TestQueue_printsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := errors.New("bad mail for somebody1@example.com: your code is 739164\r\n")
		slow := otp.SenderFunc(func(context.Context, otp.Message) error { time.Sleep(time.Second); return said })
		q, told := newQueue(t, slow, relay.QueueOptions{})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		var text strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&text, verb, q)
			fmt.Fprintf(&text, verb, struct{ Q *relay.Queue }{q})
		}
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "queue", q)
		require.NoError(t, q.Close(t.Context()))
		require.ErrorIs(t, told.all[0].Err, said)
		for _, verb := range []string{"%v", "%+v", "%s"} {
			fmt.Fprintf(&text, verb, told.all[0])
		}
		require.NotContains(t, text.String(), "739164")
		require.NotContains(t, text.String(), "somebody1")
		require.Contains(t, text.String(), "Queue{Len: 1, Size: 1000}")
	})
}

func TestNewQueue_refuses(t *testing.T) {
	_, err := relay.NewQueue(nil, nil)
	require.Error(t, err)
	for _, o := range []relay.QueueOptions{{Size: -1}, {Workers: -1}, {Attempt: -1}, {Backoff: -1}} {
		_, err := relay.NewQueue(says(nil), &o)
		require.Error(t, err)
	}
}
