package otp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-mailotp/otp/otpevent"
)

// alarmGap is the shortest time between two log lines about one kind of event.
const alarmGap = time.Minute

// alarmObserver is the observer of verifiers without Options.Observer: it logs
// what an operator must see even if nobody set up anything.
type alarmObserver struct {
	alarms [alarmKinds]alarm
}

// newAlarmObserver returns an observer that logs the kinds that are alarming to
// slog.Default(), in the form of [NewLogObserver] and at most one line a minute
// for each kind, by the times of the events. The attribute count is the number
// of events of that kind since the last line.
//
// It is safe for concurrent use and starts no goroutine, so what happened after
// the last line is counted only once it happens again.
func newAlarmObserver() Observer { return new(alarmObserver) }

// alarming reports whether newAlarmObserver logs events of a kind.
func alarming(kind otpevent.Kind) bool { return alarmOf(kind) >= 0 }

const alarmKinds = 6

// alarmOf returns the place of a kind in alarmObserver, or -1.
func alarmOf(kind otpevent.Kind) int {
	switch kind {
	case otpevent.Failed:
		return 0
	case otpevent.UnknownKey:
		return 1
	case otpevent.ClockBack:
		return 2
	case otpevent.SendFailed:
		return 3
	case otpevent.Crowded:
		return 4
	case otpevent.Evicted:
		return 5
	}
	return -1
}

// Observe logs the event, or counts it, or ignores it.
func (o *alarmObserver) Observe(ctx context.Context, e Event) {
	i := alarmOf(e.Kind)
	if i < 0 {
		return
	}
	// Anybody can type an address that does not exist. If that was logged, it
	// would use up the minute of the failure that stops all mail.
	if failed, ok := errors.AsType[*SendError](e.Err); ok && failed.RefusedRecipient() {
		return
	}
	if count := o.alarms[i].due(e.Time); count > 0 {
		logAlarm(ctx, e, count)
	}
}

// alarm counts the events of one kind.
type alarm struct {
	mu      sync.Mutex
	last    time.Time // of the last line
	waiting int       // events since then
}

// due counts an event and returns 0, or, if it is time for a line, the number
// of events that the line stands for.
func (a *alarm) due(now time.Time) (count int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
	// Concurrent events may come a little out of order. If the clock was set
	// back by more, the rest of the old minute could last for years.
	if since := now.Sub(a.last); since > -alarmGap && since < alarmGap {
		return 0
	}
	count, a.waiting, a.last = a.waiting, 0, now
	return count
}

// logAlarm is not part of Observe so that events that are not logged are not
// moved to the heap.
func logAlarm(ctx context.Context, e Event, count int) {
	level := slog.LevelError
	switch e.Kind {
	case otpevent.SendFailed, otpevent.Crowded, otpevent.Evicted:
		level = slog.LevelWarn
	}
	if to := slog.Default(); to.Enabled(ctx, level) {
		var room [maxAttrs + 1]slog.Attr
		to.LogAttrs(ctx, level, "otp "+string(e.Kind), append(e.attrs(room[:0]), slog.Int("count", count))...)
	}
}
