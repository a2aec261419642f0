package relay_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/relay"
)

// A queue keeps a mail longer than a sender may keep its Vars: they are the
// caller's.
func TestQueue_varsAreTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got string
		q, _ := newQueue(t, otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			got = m.Vars["brand"]
			return nil
		}), relay.QueueOptions{})
		m := message(t, 1)
		m.Vars = map[string]string{"brand": "Acme"}
		require.NoError(t, q.Send(t.Context(), m))
		m.Vars["brand"] = "of the next mail"
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, "Acme", got)
	})
}

// bodyError is an error of a provider's client; a nil one cannot be printed.
type bodyError struct{ Body string }

func (e *bodyError) Error() string { return "answered " + e.Body }

// A nil pointer of any type in an error ends no process.
func TestRelay_foreignNilInAnError(t *testing.T) {
	for name, said := range map[string]error{
		"bare":    (*bodyError)(nil),
		"wrapped": &otp.SendError{Temporary: true, Stage: "test", Err: (*bodyError)(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, told := newQueue(t, says(said), relay.QueueOptions{})
				require.NoError(t, q.Send(t.Context(), message(t, 1)))
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, []otpevent.Outcome{otpevent.MailUnknown}, told.outcomes())
			})
			f, told := newFailover(t, relay.FailoverOptions{}, says(said), says(nil))
			require.Error(t, f.Send(t.Context(), message(t, 1)))
			require.Equal(t, []string{"a unknown"}, told.all)
		})
	}
}

// An observer that panics ends neither the process nor the queue.
func TestQueue_observerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(n int, _ context.Context, _ otp.Message) (bool, error) {
			if n == 1 {
				return false, errBusy
			}
			return true, nil
		}}
		q, err := relay.NewQueue(b, &relay.QueueOptions{Workers: 1, OnReport: func(context.Context, relay.Report) { panic("739164") }})
		require.NoError(t, err)
		for i := range 3 {
			require.NoError(t, q.Send(t.Context(), message(t, i)))
		}
		require.NoError(t, q.Close(t.Context()))
		for i := range 3 {
			require.Equal(t, 1, b.times(message(t, i).ID))
		}
		require.Zero(t, q.Len())
	})
}

// Delayed is reported before the final outcome, however short the pause and
// slow the observer.
func TestQueue_delayedComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answer: func(n int, _ context.Context, _ otp.Message) (bool, error) {
			if n == 1 {
				return false, errBusy
			}
			return true, nil
		}}
		told := &reports{}
		q, err := relay.NewQueue(b, &relay.QueueOptions{Backoff: 1, OnReport: func(ctx context.Context, one relay.Report) {
			if one.Outcome == otpevent.MailDelayed {
				time.Sleep(time.Second)
			}
			told.observe(ctx, one)
		}})
		require.NoError(t, err)
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		require.NoError(t, q.Close(t.Context()))
		synctest.Wait()
		require.Equal(t, []otpevent.Outcome{otpevent.MailDelayed, otpevent.MailSent}, told.outcomes())
	})
}

// A pause as long as it can be is no short one.
func TestQueue_longBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := says(errBusy)
		q, _ := newQueue(t, busy, relay.QueueOptions{Backoff: 1 << 62})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		require.NoError(t, q.Close(t.Context()))
		require.Less(t, busy.count(), 20)
	})
}

// Close tells of each mail that it drops before it returns, also when all
// workers are held by a sender that does not obey its context: the process may
// end now.
func TestQueue_closeTellsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := says(nil)
		deaf.answer = func(int, context.Context, otp.Message) (bool, error) { time.Sleep(time.Hour); return true, nil }
		q, told := newQueue(t, deaf, relay.QueueOptions{Workers: 1})
		for i := range 3 {
			require.NoError(t, q.Send(t.Context(), message(t, i)))
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, q.Close(ctx))
		require.Equal(t, map[string][]otpevent.Outcome{"mail1": {otpevent.MailDropped}, "mail2": {otpevent.MailDropped}}, told.final())
		require.Equal(t, 1, q.Len())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, told.final(), 3)
	})
}

// Where a mail may have gone out already, no later failure takes that back.
func TestQueue_unknownStaysUnknown(t *testing.T) {
	for name, then := range map[string]error{"refused": errGone, "busy": errBusy, "unknown": errLost} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &book{answer: func(n int, _ context.Context, _ otp.Message) (bool, error) {
					if n == 1 {
						return true, errLost
					}
					return false, then
				}}
				q, told := newQueue(t, b, relay.QueueOptions{RetryUnknown: true})
				require.NoError(t, q.Send(t.Context(), message(t, 1)))
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, map[string][]otpevent.Outcome{"mail1": {otpevent.MailUnknown}}, told.final())
			})
		})
	}
}

// D1: nor does JSON.
func TestQueue_reportAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, told := newQueue(t, says(&bodyError{"739164 for somebody1@example.com"}), relay.QueueOptions{})
		require.NoError(t, q.Send(t.Context(), message(t, 1)))
		require.NoError(t, q.Close(t.Context()))
		text, err := json.Marshal(told.all[0])
		require.NoError(t, err)
		require.NotContains(t, string(text), "739164")
		require.NotContains(t, string(text), "somebody1")
		require.Contains(t, string(text), "[code]")
		var body *bodyError
		require.ErrorAs(t, told.all[0].Err, &body)
	})
}
