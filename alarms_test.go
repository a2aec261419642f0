package otp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
)

var alarmStart = time.Unix(1_800_000_000, 0)

// alarmLog makes the default logger write to a buffer until the test ends, and
// returns a function that takes what it wrote.
func alarmLog(t *testing.T) (lines func() []map[string]any) {
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	var out bytes.Buffer
	slog.SetDefault(slog.New(slog.NewJSONHandler(&out, nil)))
	return func() (all []map[string]any) {
		for line := range bytes.Lines(out.Bytes()) {
			var v map[string]any
			require.NoError(t, json.Unmarshal(line, &v))
			all = append(all, v)
		}
		out.Reset()
		return all
	}
}

// The first event of a kind is logged at once, and further ones once a minute,
// with the number of events that the line stands for.
func TestAlarms_onceAMinute(t *testing.T) {
	lines := alarmLog(t)
	o := newAlarmObserver()
	at := func(after time.Duration, kind otpevent.Kind) []map[string]any {
		o.Observe(t.Context(), Event{Kind: kind, Time: alarmStart.Add(after), Purpose: "login", Err: errors.New("store down")})
		return lines()
	}
	for kind, level := range map[otpevent.Kind]string{
		otpevent.Failed: "ERROR", otpevent.UnknownKey: "ERROR", otpevent.ClockBack: "ERROR",
		otpevent.SendFailed: "WARN", otpevent.Crowded: "WARN", otpevent.Evicted: "WARN",
	} {
		require.True(t, alarming(kind), kind)
		first := at(0, kind)
		require.Len(t, first, 1, kind)
		delete(first[0], "time")
		require.Equal(t, map[string]any{"level": level, "msg": "otp " + string(kind), "purpose": "login", "error": "store down", "count": 1.0}, first[0])
		for range 4 {
			require.Empty(t, at(time.Second, kind), kind)
		}
		require.Empty(t, at(alarmGap-1, kind), kind)
		next := at(alarmGap, kind)
		require.Len(t, next, 1, kind)
		require.Equal(t, 6.0, next[0]["count"], kind)
		require.Empty(t, at(2*alarmGap-1, kind), kind)
		require.Equal(t, 2.0, at(time.Hour, kind)[0]["count"], "counted from the last line on")
	}
}

// What people do is not an alarm, and neither is an address that does not
// exist: it must not use up the minute of a failure that concerns all mail.
func TestAlarms_quiet(t *testing.T) {
	lines := alarmLog(t)
	o := newAlarmObserver()
	for _, kind := range []otpevent.Kind{
		otpevent.Asked, otpevent.Limited, otpevent.Sent, otpevent.Decoy, otpevent.Verified, otpevent.Wrong, otpevent.Malformed,
		otpevent.Expired, otpevent.Exhausted, otpevent.Unknown, otpevent.Revoked, otpevent.Forgotten, "of a later version", "",
	} {
		require.False(t, alarming(kind), kind)
		o.Observe(t.Context(), Event{Kind: kind, Time: alarmStart, Err: errors.New("no")})
	}
	o.Observe(t.Context(), Event{Kind: otpevent.SendFailed, Time: alarmStart, Err: &SendError{Stage: stageRcpt, Class: otpevent.ClassRecipient, Err: errors.New("550 5.1.1 no such user")}})
	require.Empty(t, lines())
	o.Observe(t.Context(), Event{Kind: otpevent.SendFailed, Time: alarmStart, Err: &SendError{Stage: "auth", Class: otpevent.ClassUs, Err: errors.New("535 5.7.8 no")}})
	all := lines()
	require.Len(t, all, 1)
	require.Equal(t, 1.0, all[0]["count"])
}

// Times of concurrent events that are a little out of order make no second
// line. A clock that was set back does not silence the log for years.
func TestAlarms_clock(t *testing.T) {
	lines := alarmLog(t)
	o := newAlarmObserver()
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {-time.Second, 0}, {1 - alarmGap, 0}, {-alarmGap, 1}, {-24 * time.Hour, 1}, {-24*time.Hour + time.Second, 0}, {0, 1}} {
		o.Observe(t.Context(), Event{Kind: otpevent.ClockBack, Time: alarmStart.Add(step.at)})
		require.Len(t, lines(), step.want, step.at)
	}
}

// Failures that stop all mail are one line at the default logger of the moment,
// without a code or an address. J9
func TestAlarms_masked(t *testing.T) {
	for _, reply := range []*SendError{
		{Temporary: true, Stage: "auth", Class: otpevent.ClassUs, Err: errors.New("535 5.7.8 authentication failed")},
		{Stage: "mail", Class: otpevent.ClassUs, Err: errors.New("554 5.7.1 relay access denied")},
		{Stage: "mail", Class: otpevent.ClassUs, Err: errors.New("550 5.7.60 client does not have permissions to send as this sender")},
	} {
		lines := alarmLog(t)
		var codes []string
		v, err := NewVerifier(NewMemoryStore(nil), SenderFunc(func(_ context.Context, m Message) error {
			codes = append(codes, m.Code)
			failed := *reply
			failed.Err = fmt.Errorf("%w for <%v> (%s)", reply.Err, m.To.String(), m.Code)
			return &failed
		}), &Options{Observer: newAlarmObserver(), Now: func() time.Time { return alarmStart }})
		require.NoError(t, err)
		for n := range 20 {
			v.Send(t.Context(), Request{To: fmt.Sprintf("person%d@example.com", n), Client: fmt.Sprint("192.0.2.", n)})
		}
		require.Len(t, codes, 20)
		all := lines()
		require.Len(t, all, 1)
		require.Equal(t, "otp send_failed", all[0]["msg"])
		require.Equal(t, "p***@example.com", all[0]["to"])
		require.Contains(t, all[0]["error"], reply.Err.Error())
		text := fmt.Sprint(all)
		for _, secret := range append(codes, "person", "192.0.2") {
			require.NotContains(t, text, secret)
		}
	}
}

// However many goroutines fail at once, there is one line, and none of the
// failures is missing from the next one.
func TestAlarms_concurrent(t *testing.T) {
	lines := alarmLog(t)
	o := newAlarmObserver()
	for minute := range time.Duration(3) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				o.Observe(t.Context(), Event{Kind: otpevent.Failed, Time: alarmStart.Add(minute * alarmGap), Err: errors.New("store down")})
			})
		}
		wg.Wait()
	}
	var counts []any
	for _, l := range lines() {
		counts = append(counts, l["count"])
	}
	require.Equal(t, []any{1.0, 50.0, 50.0}, counts)
}

// Observe runs while somebody waits for Check: it allocates nothing unless it
// logs.
func TestAlarms_allocations(t *testing.T) {
	if testkit.RaceDetector() {
		t.Skip("the race detector changes what is allocated")
	}
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	o := newAlarmObserver()
	for _, e := range []Event{
		{Kind: otpevent.Verified, Time: alarmStart, Purpose: "login"},
		{Kind: otpevent.Failed, Time: alarmStart, Err: errors.New("store down")},
		{Kind: otpevent.SendFailed, Time: alarmStart, Err: &SendError{Stage: "auth"}},
	} {
		o.Observe(t.Context(), e)
		require.Zero(t, testing.AllocsPerRun(100, func() { o.Observe(t.Context(), e) }), e.Kind)
	}
}
