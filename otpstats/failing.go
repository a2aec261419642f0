package otpstats

// workMinute counts the calls of one minute: those that failed, those that were
// done, and those whose caller left before the end.
type workMinute struct{ minute, failed, done, left int64 }

// worked counts events for the rule for failures.
func (w *watch) worked(k kind, minute, times int64) {
	m := &w.work[minute%span]
	if minute < m.minute {
		return
	}
	if minute > m.minute {
		*m = workMinute{minute: minute}
	}
	switch k {
	case kindSent, kindDecoy, kindWrong, kindVerified:
		m.done += times
	case kindSendFailed, kindFailed, kindClockBack, kindUnknownKey:
		m.failed += times
	case kindLeft, kindSendLeft:
		m.left += times
	}
}

// failing is the rule for calls that the system fails and mails that no sender
// accepts.
func (w *watch) failing() {
	r := w.rules.Failures
	var failed, done, left int64
	for _, m := range w.work {
		if m.minute >= w.minute-minutesOf(r.Window) && m.minute <= w.minute {
			failed, done, left = failed+m.failed, done+m.done, left+m.left
		}
	}
	if left > done { // people close pages; if most do, something hangs
		failed += left
	}
	share := float64(failed) / float64(max(1, failed+done))
	verdict := quiet
	switch {
	case failed >= r.Min && share >= r.Share:
		verdict = fires
	case failed >= (r.Min+1)/2 && share >= r.Share/2:
		verdict = loud
	}
	w.judge(subject{Failing, ""}, verdict, Anomaly{Count: failed, Seen: share, Usual: r.Share})
}
