package otpstats

import "math"

// domain is what the rule for delivery knows of one.
type domain struct {
	minutes [span]mailedMinute
	past    struct{ sent, quick float64 }
}

// mailedMinute is about the challenges opened in one minute.
type mailedMinute struct {
	minute  int64
	sent    int64 // mailed
	quick   int64 // answered right at once
	guessed int64 // guessed at, and not right so far
}

// tested is of how many the rule wants an answer.
func (m *mailedMinute) tested() int64 { return max(m.sent-m.guessed, m.quick) }

// mailed changes a minute of a domain. Minutes that the ring has no more place for are the past.
func (w *watch) mailed(name string, minute int64, change func(*mailedMinute)) {
	d := w.domains[name]
	if d == nil {
		if len(w.domains) >= 2*places[Domain] {
			return
		}
		d = &domain{}
		w.domains[name] = d
	}
	m := &d.minutes[minute%span]
	if m.minute > minute {
		return
	}
	if m.minute < minute {
		// What is unusual must not become usual.
		if w.active[subject{DeliveryFalling, name}] == nil && name != Other {
			d.past.sent += float64(m.tested())
			d.past.quick += float64(m.quick)
		}
		*m = mailedMinute{minute: minute}
	}
	change(m)
}

// delivery is the rule for one domain.
func (w *watch) delivery(name string, d *domain) {
	key := subject{DeliveryFalling, name}
	r := w.rules.Delivery
	if name == Other || name == "" || d.past.sent < float64(r.MinPast) {
		return
	}
	var n, k int64
	for back := int64(0); back < 60 && (back < minutesOf(r.Window) || n < r.MinSent); back++ {
		minute := w.minute - delay - back
		if m := &d.minutes[minute%span]; m.minute == minute {
			n, k = n+m.tested(), k+m.quick
		}
	}
	share, usual, z := compare(k, n, d.past.quick, d.past.sent)
	verdict := quiet
	switch {
	case n < r.MinSent:
		verdict = unknown
	case share < usual*(1-r.Drop) && z >= r.Z:
		verdict = fires
	case share < usual*(1-r.Drop/2) && z >= r.Z/2:
		verdict = loud
	}
	w.judge(key, verdict, Anomaly{Count: n, Seen: share, Usual: usual})
}

// compare is the two-proportion z-test: how many standard errors k of n is below
// pastK of pastN, and both shares. Without numbers nothing is below.
func compare(k, n int64, pastK, pastN float64) (share, past, z float64) {
	if n == 0 || pastN == 0 {
		return 0, 0, 0
	}
	share, past = float64(k)/float64(n), pastK/pastN
	pooled := (float64(k) + pastK) / (float64(n) + pastN)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/float64(n) + 1/pastN))
	if deviation == 0 {
		return share, past, 0
	}
	return share, past, (past - share) / deviation
}
