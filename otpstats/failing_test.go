package otpstats

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
)

// The borders of failures: how many, which part of all that was done, in how long, and what counts.
func TestRules_failing(t *testing.T) {
	for name, test := range map[string]struct {
		rule   FailureRule
		kind   kind
		failed int // at minute 1001
		next   int // at later
		later  int64
		done   int // at minute 1001
		told   bool
	}{
		"one less":      {failed: 9},
		"as many":       {failed: 10, told: true},
		"mails":         {kind: kindSendFailed, failed: 10, told: true},
		"clocks":        {kind: kindClockBack, failed: 10, told: true},
		"keys":          {kind: kindUnknownKey, failed: 10, told: true},
		"who left":      {kind: kindLeft, failed: 100, done: 100},
		"most left":     {kind: kindLeft, failed: 100, done: 99, told: true},
		"and mails":     {kind: kindSendLeft, failed: 100, done: 99, told: true},
		"the refused":   {kind: kindRefused, failed: 100},
		"the limited":   {kind: kindLimited, failed: 100},
		"own number":    {rule: FailureRule{Min: 3}, failed: 3, told: true},
		"too small":     {failed: 10, done: 41},
		"large enough":  {failed: 10, done: 40, told: true},
		"own share":     {rule: FailureRule{Share: .5}, failed: 10, done: 11},
		"in the window": {failed: 9, next: 1, later: 1010, told: true},
		"out of it":     {failed: 9, next: 1, later: 1011},
		"one minute":    {rule: FailureRule{Window: time.Minute}, failed: 10, told: true},
		"off":           {rule: FailureRule{Off: true}, failed: 100},
	} {
		if test.kind == kindNone {
			test.kind = kindFailed
		}
		s := newScene(t, Rules{Failures: test.rule})
		s.see(1001, test.failed, test.kind, event{})
		s.see(1001, test.done, kindSent, event{})
		s.see(test.later, test.next, test.kind, event{})
		began, _ := s.anomalies(1050)
		require.Equal(t, test.told, len(began) == 1, name)
		if test.told {
			a := s.news[0].Anomaly
			require.Equal(t, Failing, a.Kind)
			require.EqualValues(t, test.failed+test.next, a.Count, name)
			require.InDelta(t, float64(a.Count)/float64(int(a.Count)+test.done), a.Seen, 1e-9, name)
			_, ended := s.anomalies(1100)
			require.Len(t, ended, 1, name)
		}
	}
	for _, k := range []kind{kindSent, kindDecoy, kindWrong, kindVerified} {
		s := newScene(t, Rules{})
		s.see(1001, 10, kindFailed, event{})
		s.see(1001, 41, k, event{})
		began, _ := s.anomalies(1050)
		require.NotContains(t, kindsOf(s.news), Failing, "%d is work that was done: %v", k, began)
	}
	_, err := Rules{Failures: FailureRule{Share: 1.01}}.filled()
	require.Error(t, err)
	_, err = Rules{Delivery: DeliveryRule{Drop: 1}}.filled()
	require.Error(t, err)
}

func kindsOf(all []news) (kinds []AnomalyKind) {
	for _, n := range all {
		kinds = append(kinds, n.Kind)
	}
	return kinds
}

// Which failures are the system's.
func TestFailureOf(t *testing.T) {
	left := fmt.Errorf("otp: load: %w", context.Canceled)
	for _, test := range []struct {
		kind kind
		err  error
		want kind
	}{
		{kindFailed, errors.New("connection refused"), kindFailed},
		{kindFailed, context.DeadlineExceeded, kindFailed},
		{kindFailed, left, kindLeft},
		{kindSendFailed, &otp.SendError{Temporary: true, Err: left}, kindSendLeft},
		{kindSendFailed, &otp.SendError{Temporary: true, Stage: "rcpt"}, kindSendFailed},
		{kindSendFailed, &otp.SendError{MaybeSent: true, Stage: "rcpt"}, kindSendFailed},
		{kindSendFailed, &otp.SendError{Stage: "rcpt"}, kindRefused},
		{kindSendFailed, &otp.SendError{Stage: "data"}, kindSendFailed},
		{kindSendFailed, (*otp.SendError)(nil), kindSendFailed},
		{kindUnknownKey, left, kindUnknownKey},
	} {
		require.Equal(t, test.want, failureOf(test.kind, test.err), "%d %#v", test.kind, test.err)
	}
}

// Mails that were not handed over count, whoever's fault it is; and callers who leave while the sender
// hangs are told of by the Verifier in a way that is known here.
func TestFailing_mails(t *testing.T) {
	s := newStage(t)
	fail := error(&otp.SendError{Stage: "rcpt", Err: errors.New("550 no such user")})
	ctx, leave := context.WithCancel(t.Context())
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.SenderFunc(func(context.Context, otp.Message) error {
		if fail == nil {
			leave()
			return &otp.SendError{Temporary: true, Stage: "data", Err: ctx.Err()}
		}
		return fail
	}), &otp.Options{Observer: s, Now: s.now})
	require.NoError(t, err)
	for n := range 10 {
		if n == 5 {
			fail = nil
		}
		ctx, leave = context.WithCancel(t.Context())
		v.Send(ctx, otp.Request{To: fmt.Sprintf("p%d@a.example", n)})
		leave()
	}
	require.NoError(t, s.Flush(t.Context()))
	kinds := map[kind]int{}
	_, err = s.read(t.Context(), "id > ? ORDER BY id", 0, func(e *event) { kinds[e.kind]++ })
	require.NoError(t, err)
	require.Equal(t, []int{0, 5, 5}, []int{kinds[kindSendFailed], kinds[kindRefused], kinds[kindSendLeft]})
	rows, err := s.Funnel(t.Context(), Filter{}, None)
	require.NoError(t, err)
	require.Equal(t, []int64{10, 10, 0}, []int64{rows[0].Asked, rows[0].FailedMails, rows[0].Sent})
}

// A store that is down is reported and counted, until it answers again; callers
// who left early do not count.
func TestFailing(t *testing.T) {
	c := newClock()
	var found, calm []Anomaly
	s := openStats(t, sqltest.SQLite(t), c, Options{
		OnAnomaly: func(_ context.Context, a Anomaly) { found = append(found, a) },
		OnCalm:    func(_ context.Context, a Anomaly) { calm = append(calm, a) },
	})
	later := func(d time.Duration) {
		require.NoError(t, s.Flush(t.Context()))
		c.Add(d)
		require.NoError(t, s.Flush(t.Context()))
	}
	left := fmt.Errorf("otp: load: %w", context.Canceled)
	for range 50 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Wrong, Time: c.Now().Add(-20 * time.Minute)})
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Failed, Time: c.Now().Add(-20 * time.Minute), Purpose: "login", Err: left})
	}
	later(time.Minute)
	require.Empty(t, found)
	for range 12 {
		s.Observe(t.Context(), otp.Event{Kind: otpevent.Failed, Time: c.Now(), Purpose: "login", Err: errors.New("otp: load: connection refused")})
	}
	later(time.Minute)
	require.Len(t, found, 1)
	require.Equal(t, Anomaly{Kind: Failing, Since: c.Now().Truncate(time.Minute), Count: 12, Seen: 1, Usual: .2}, found[0])
	rows, err := s.Funnel(t.Context(), Filter{}, Purpose)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.EqualValues(t, 12, rows[0].Failures+rows[1].Failures)
	require.Empty(t, calm)
	later(time.Hour)
	require.Len(t, found, 1)
	require.Len(t, calm, 1)
	until := calm[0].Until
	require.True(t, until.After(found[0].Since))
	calm[0].Until = time.Time{}
	require.Equal(t, found, calm, "as it began")
}
