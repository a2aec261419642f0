package otp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otptest"
)

func TestLogObserver(t *testing.T) { // D1
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{Observer: otp.NewLogObserver(log)})
	require.NoError(t, err)
	c, err := v.Send(ctx, otp.Request{To: bob, Client: "192.0.2.7", Locale: "de"})
	require.NoError(t, err)
	code := inbox.Code(bob)
	_, err = v.Check(ctx, c.ID, "000000")
	require.ErrorIs(t, err, otp.ErrCode)
	_, err = v.Check(ctx, c.ID, code)
	require.NoError(t, err)
	inbox.FailWith(&otp.SendError{Temporary: true, Stage: "connect", Err: errors.New("down")})
	_, err = v.Send(ctx, otp.Request{To: "carol@example.com"})
	require.ErrorIs(t, err, otp.ErrSend)

	text := out.String()
	for _, secret := range []string{bob, "carol@example.com", code, c.ID, "192.0.2.7"} {
		require.NotContains(t, text, secret)
	}
	var lines []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var v map[string]any
		require.NoError(t, json.Unmarshal(line, &v))
		lines = append(lines, v)
	}
	messages := make([]any, len(lines))
	for i, l := range lines {
		messages[i] = l["msg"]
	}
	require.Equal(t, []any{"otp asked", "otp sent", "otp wrong", "otp verified", "otp asked", "otp send_failed"}, messages)
	require.Equal(t, "b***@example.com", lines[1]["to"])
	require.Equal(t, "login", lines[1]["purpose"])
	require.Equal(t, "de", lines[1]["locale"])
	require.Len(t, lines[1]["client"], 22)
	require.Equal(t, lines[1]["challenge"], lines[3]["challenge"])
	require.Equal(t, 4.0, lines[2]["guesses_left"])
	require.Equal(t, "WARN", lines[5]["level"])
	require.Contains(t, lines[5]["error"], "connect")
	require.NotContains(t, lines[0], "challenge")
}

// A nil logger is the default one of the moment, and levels that are off cost nothing.
func TestLogObserver_default(t *testing.T) {
	var out bytes.Buffer
	old := slog.Default()
	defer slog.SetDefault(old)
	o := otp.NewLogObserver(nil)
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})))
	o.Observe(ctx, otp.Event{Kind: otpevent.Sent})
	require.Empty(t, out.String())
	o.Observe(ctx, otp.Event{Kind: otpevent.Failed, Err: errors.New("store down"), RetryAfter: time.Second})
	require.Contains(t, out.String(), `level=ERROR msg="otp failed" retry_after=1s error="store down"`)
}

func TestObservers(t *testing.T) {
	var got []string
	one := func(name string) otp.Observer {
		return otp.ObserverFunc(func(_ context.Context, e otp.Event) { got = append(got, name+string(e.Kind)) })
	}
	var none otp.ObserverFunc
	otp.MultiObserver(one("a "), nil, none, one("b ")).Observe(ctx, otp.Event{Kind: otpevent.Sent})
	require.Equal(t, []string{"a sent", "b sent"}, got)
	otp.MultiObserver().Observe(ctx, otp.Event{})
}

// What a challenge's events say of its history.
func TestEvent_history(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var events []otp.Event
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
		Now:      func() time.Time { return now },
		Observer: otp.ObserverFunc(func(_ context.Context, e otp.Event) { events = append(events, e) }),
	})
	require.NoError(t, err)
	c, err := v.Send(ctx, otp.Request{To: bob, Client: "192.0.2.7"})
	require.NoError(t, err)
	now = now.Add(30 * time.Second)
	_, err = v.Check(ctx, c.ID, "000000")
	require.ErrorIs(t, err, otp.ErrCode)
	now = now.Add(12 * time.Second)
	_, err = v.Check(ctx, c.ID, inbox.Code(bob))
	require.NoError(t, err)
	require.Len(t, events, 4)
	asked, sent, wrong, right := events[0], events[1], events[2], events[3]
	require.Zero(t, asked.ChallengeHash)
	require.NotZero(t, asked.AddressHash)
	require.NotZero(t, asked.ClientHash)
	require.Equal(t, asked.AddressHash, right.AddressHash)
	require.Equal(t, sent.ChallengeHash, right.ChallengeHash)
	require.Equal(t, []int{0, 1, 1}, []int{sent.WrongGuesses, wrong.WrongGuesses, right.WrongGuesses})
	require.Equal(t, []time.Duration{0, 30 * time.Second, 42 * time.Second}, []time.Duration{sent.Age, wrong.Age, right.Age})
	text, err := json.Marshal(map[string]otp.Hash{"a": right.AddressHash, "none": {}})
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"`+right.AddressHash.String()+`","none":""}`, string(text))
}

// Span sees each call with its error, and its context goes to store and sender.
func TestOptions_Span(t *testing.T) {
	type key struct{}
	var ended []string
	var sender otp.Sender = otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		require.Equal(t, "send", ctx.Value(key{}))
		return nil
	})
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), sender, &otp.Options{
		Span: func(ctx context.Context, operation string) (context.Context, func(error)) {
			return context.WithValue(ctx, key{}, operation), func(err error) {
				if err != nil {
					operation += ": " + err.Error()
				}
				ended = append(ended, operation)
			}
		},
	})
	require.NoError(t, err)
	c, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	v.Check(ctx, c.ID, "nonsense")
	v.Status(ctx, c.ID)
	v.Resend(ctx, c.ID)
	v.Forget(ctx, bob)
	v.Check(ctx, c.ID, "000000")
	require.Equal(t, []string{
		"send", "check: " + otp.ErrMalformed.Error(), "status", "resend: otp: too many requests: try again in 1m0s", "forget", "check: " + otp.ErrUnknown.Error(),
	}, ended)
}

// What belongs to a challenge names it, also where nothing else is known of it, and what is asked
// or refused before there is one does not.
func TestEvent_challenge(t *testing.T) {
	r := newRig(t, otp.Options{})
	c, _ := r.ask(otp.Request{To: bob})
	sent := r.events[1]
	_, err := r.Check(ctx, c.ID, "hello")
	require.ErrorIs(t, err, otp.ErrMalformed)
	malformed := r.events[2]
	require.Equal(t, otpevent.Malformed, malformed.Kind)
	require.Equal(t, sent.ChallengeHash, malformed.ChallengeHash)
	require.Equal(t, sent.AddressHash, malformed.AddressHash)
	require.Equal(t, 5, malformed.GuessesLeft)

	_, err = r.Check(ctx, c.ID, strings.Repeat("x", 65)) // decided without the store
	require.ErrorIs(t, err, otp.ErrMalformed)
	malformed = r.events[3]
	require.Equal(t, sent.ChallengeHash, malformed.ChallengeHash)
	require.Zero(t, malformed.GuessesLeft)
	require.Zero(t, malformed.Age)

	// J8: a program finds the events of a person, but not the entry of the store.
	hash, err := r.AddressHash("Bob+tag@example.com")
	require.NoError(t, err)
	require.Equal(t, sent.AddressHash, hash)
	require.NotEqual(t, keyOf(t, c.ID), hash.String())
	_, err = r.AddressHash("bob")
	require.ErrorIs(t, err, otp.ErrAddress)

	_, err = r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited)
	limited := r.events[5]
	require.Equal(t, "address", limited.Scope)
	require.Equal(t, otpevent.Limited, limited.Kind)
	require.Zero(t, limited.ChallengeHash, "nobody will hear of it")
	require.Zero(t, limited.GuessesLeft)
	require.Zero(t, limited.Age)

	r.kinds()
	r.clock.Add(2 * time.Minute)
	_, err = r.Resend(ctx, c.ID)
	require.NoError(t, err)
	require.Len(t, r.events, 2)
	require.Equal(t, sent.ChallengeHash, r.events[0].ChallengeHash, "the same code again")
	r.clock.Add(time.Hour)
	_, err = r.Resend(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, otpevent.Asked, r.events[2].Kind)
	require.Zero(t, r.events[2].ChallengeHash, "a new one is asked for")
	require.NotZero(t, r.events[3].ChallengeHash)
	require.NotEqual(t, sent.ChallengeHash, r.events[3].ChallengeHash)
}

// Check of a wrong code allocates little: closures that escape from the
// compare-and-swap loop once doubled it.
func TestCheck_allocations(t *testing.T) {
	if testkit.RaceDetector() {
		t.Skip("the race detector changes what is allocated")
	}
	inbox := &otptest.Inbox{}
	v, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{Guesses: 10})
	require.NoError(t, err)
	c, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	wrong := testkit.WrongCode(inbox.Code(bob))
	require.LessOrEqual(t, testing.AllocsPerRun(8, func() { v.Check(ctx, c.ID, wrong) }), 12.0)
}

// An observer that keeps the event costs the caller of Check no allocation.
func TestObserver_allocations(t *testing.T) {
	if testkit.RaceDetector() {
		t.Skip("the race detector changes what is allocated")
	}
	allocations := func(o otp.Observer) float64 {
		inbox := &otptest.Inbox{}
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
			Observer: o, Sends: []otp.Limit{{N: 100, Per: time.Hour}}, WrongGuesses: []otp.Limit{{N: 100, Per: time.Hour}}, Guesses: 10,
		})
		require.NoError(t, err)
		c, err := v.Send(ctx, otp.Request{To: bob, Proven: true})
		require.NoError(t, err)
		return testing.AllocsPerRun(8, func() { v.Check(ctx, c.ID, "000000") })
	}
	var last otp.Event
	with := allocations(otp.ObserverFunc(func(_ context.Context, e otp.Event) { last = e }))
	require.Equal(t, otpevent.Wrong, last.Kind)
	require.Equal(t, allocations(nil), with)
}

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
	o := otp.NewAlarmObserver()
	at := func(after time.Duration, kind otpevent.Kind) []map[string]any {
		o.Observe(t.Context(), otp.Event{Kind: kind, Time: alarmStart.Add(after), Purpose: "login", Err: errors.New("store down")})
		return lines()
	}
	for kind, level := range map[otpevent.Kind]string{
		otpevent.Failed: "ERROR", otpevent.UnknownKey: "ERROR", otpevent.ClockBack: "ERROR",
		otpevent.SendFailed: "WARN", otpevent.Crowded: "WARN", otpevent.Evicted: "WARN",
	} {
		require.True(t, otp.Alarming(kind), kind)
		first := at(0, kind)
		require.Len(t, first, 1, kind)
		delete(first[0], "time")
		require.Equal(t, map[string]any{"level": level, "msg": "otp " + string(kind), "purpose": "login", "error": "store down", "count": 1.0}, first[0])
		for range 4 {
			require.Empty(t, at(time.Second, kind), kind)
		}
		require.Empty(t, at(otp.AlarmGap-1, kind), kind)
		next := at(otp.AlarmGap, kind)
		require.Len(t, next, 1, kind)
		require.Equal(t, 6.0, next[0]["count"], kind)
		require.Empty(t, at(2*otp.AlarmGap-1, kind), kind)
		require.Equal(t, 2.0, at(time.Hour, kind)[0]["count"], "counted from the last line on")
	}
}

// What people do is not an alarm, and neither is an address that does not
// exist: it must not use up the minute of a failure that concerns all mail.
func TestAlarms_quiet(t *testing.T) {
	lines := alarmLog(t)
	o := otp.NewAlarmObserver()
	for _, kind := range []otpevent.Kind{
		otpevent.Asked, otpevent.Limited, otpevent.Sent, otpevent.Decoy, otpevent.Verified, otpevent.Wrong, otpevent.Malformed,
		otpevent.Expired, otpevent.Exhausted, otpevent.Unknown, otpevent.Revoked, otpevent.Forgotten, "of a later version", "",
	} {
		require.False(t, otp.Alarming(kind), kind)
		o.Observe(t.Context(), otp.Event{Kind: kind, Time: alarmStart, Err: errors.New("no")})
	}
	o.Observe(t.Context(), otp.Event{Kind: otpevent.SendFailed, Time: alarmStart, Err: &otp.SendError{Stage: "rcpt", Class: otpevent.ClassRecipient, Err: errors.New("550 5.1.1 no such user")}})
	require.Empty(t, lines())
	o.Observe(t.Context(), otp.Event{Kind: otpevent.SendFailed, Time: alarmStart, Err: &otp.SendError{Stage: "auth", Class: otpevent.ClassUs, Err: errors.New("535 5.7.8 no")}})
	all := lines()
	require.Len(t, all, 1)
	require.Equal(t, 1.0, all[0]["count"])
}

// Times of concurrent events that are a little out of order make no second
// line. A clock that was set back does not silence the log for years.
func TestAlarms_clock(t *testing.T) {
	lines := alarmLog(t)
	o := otp.NewAlarmObserver()
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {-time.Second, 0}, {1 - otp.AlarmGap, 0}, {-otp.AlarmGap, 1}, {-24 * time.Hour, 1}, {-24*time.Hour + time.Second, 0}, {0, 1}} {
		o.Observe(t.Context(), otp.Event{Kind: otpevent.ClockBack, Time: alarmStart.Add(step.at)})
		require.Len(t, lines(), step.want, step.at)
	}
}

// Failures that stop all mail are one line at the default logger of the moment,
// without a code or an address. J9
func TestAlarms_masked(t *testing.T) {
	for _, reply := range []*otp.SendError{
		{Temporary: true, Stage: "auth", Class: otpevent.ClassUs, Err: errors.New("535 5.7.8 authentication failed")},
		{Stage: "mail", Class: otpevent.ClassUs, Err: errors.New("554 5.7.1 relay access denied")},
		{Stage: "mail", Class: otpevent.ClassUs, Err: errors.New("550 5.7.60 client does not have permissions to send as this sender")},
	} {
		lines := alarmLog(t)
		var codes []string
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			codes = append(codes, m.Code)
			failed := *reply
			failed.Err = fmt.Errorf("%w for <%v> (%s)", reply.Err, m.To.String(), m.Code)
			return &failed
		}), &otp.Options{Now: func() time.Time { return alarmStart }})
		require.NoError(t, err)
		for n := range 20 {
			v.Send(t.Context(), otp.Request{To: fmt.Sprintf("person%d@example.com", n), Client: fmt.Sprint("192.0.2.", n)})
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
	o := otp.NewAlarmObserver()
	for minute := range time.Duration(3) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				o.Observe(t.Context(), otp.Event{Kind: otpevent.Failed, Time: alarmStart.Add(minute * otp.AlarmGap), Err: errors.New("store down")})
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
	o := otp.NewAlarmObserver()
	for _, e := range []otp.Event{
		{Kind: otpevent.Verified, Time: alarmStart, Purpose: "login"},
		{Kind: otpevent.Failed, Time: alarmStart, Err: errors.New("store down")},
		{Kind: otpevent.SendFailed, Time: alarmStart, Err: &otp.SendError{Stage: "auth"}},
	} {
		o.Observe(t.Context(), e)
		require.Zero(t, testing.AllocsPerRun(100, func() { o.Observe(t.Context(), e) }), e.Kind)
	}
}
