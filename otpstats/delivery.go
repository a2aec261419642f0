package otpstats

import "math"

// domain is what the rule for delivery knows about a domain.
type domain struct {
	minutes [span]mailedMinute
	latest  int64 // minute with a mail
	past    struct{ sent, quick float64 }
}

// mailedMinute is about the challenges opened in one minute.
type mailedMinute struct {
	minute  int64
	sent    int64 // mailed
	quick   int64 // answered correctly within quick
	guessed int64 // guessed at, and not answered correctly so far
}

// tested returns how many challenges the rule expects an answer for.
func (m *mailedMinute) tested() int64 { return max(m.sent-m.guessed, m.quick) }

// mailed changes a minute of a domain. Minutes that leave the ring become the
// past.
func (w *watch) mailed(name string, minute int64, change func(*mailedMinute)) {
	d := w.domains[name]
	if d == nil {
		if len(w.domains) >= 2*slotsOf[Domain] && !w.forgetDomain(minute) {
			return
		}
		d = &domain{}
		w.domains[name] = d
	}
	m := &d.minutes[minute%span]
	if m.minute > minute {
		return
	}
	d.latest = max(d.latest, minute)
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

// forgetDomain deletes the domain with the smallest past among those that had no
// mail in the last hour and have too small a past for a verdict. Names that
// strangers invented are among those. It reports whether there was one.
func (w *watch) forgetDomain(minute int64) bool {
	least := ""
	for name, d := range w.domains {
		if minute-d.latest < span || d.past.sent >= float64(w.rules.Delivery.MinPast) {
			continue
		}
		if least == "" || d.past.sent < w.domains[least].past.sent {
			least = name
		}
	}
	delete(w.domains, least)
	return least != ""
}

// excuse makes the rule expect no answer to the mails since a minute.
func (w *watch) excuse(from int64) {
	for _, d := range w.domains {
		for i := range d.minutes {
			if m := &d.minutes[i]; m.minute >= from {
				m.sent, m.guessed = m.quick, 0
			}
		}
	}
}

// delivery is the rule for one domain.
func (w *watch) delivery(name string, d *domain) {
	key := subject{DeliveryFalling, name}
	r := w.rules.Delivery
	if name == Other || name == "" || d.past.sent < float64(r.MinPast) {
		return
	}
	// Look at all periods that end now, and judge by the most significant one
	// that fires, or else by the shortest one with enough mails.
	verdict, worst := unknown, Anomaly{}
	var n, k int64
	highest := 0.0
	for back := int64(0); back < 60; back++ {
		minute := w.minute - delay - back
		if m := &d.minutes[minute%span]; m.minute == minute {
			n, k = n+m.tested(), k+m.quick
		}
		if n < r.MinSent || back+1 < minutesOf(r.Window) {
			continue
		}
		share, usual, z := compare(k, n, d.past.quick, d.past.sent)
		v := quiet
		switch {
		case share < usual*(1-r.Drop) && z >= r.Z:
			v = fires
		case share < usual*(1-r.Drop/2) && z >= r.Z/2:
			v = loud
		}
		if verdict == unknown || v == fires && z > highest {
			verdict, highest, worst = v, z, Anomaly{Count: n, Seen: share, Usual: usual}
		}
	}
	w.judge(key, verdict, worst)
}

// compare returns the shares k/n and pastK/pastN, and how significantly the first
// is below the second: z is the signed root of the G statistic, the likelihood
// ratio test that both shares are equal. By chance alone it exceeds a value about
// as often as a standard normal variable does, also for small n. It is 0 if the
// share is not below the past or if there are no numbers.
func compare(k, n int64, pastK, pastN float64) (share, past, z float64) {
	if n == 0 || pastN == 0 {
		return 0, 0, 0
	}
	share, past = float64(k)/float64(n), pastK/pastN
	if share >= past {
		return share, past, 0
	}
	pooled := (float64(k) + pastK) / (float64(n) + pastN)
	part := func(seen, all, share float64) float64 {
		if seen == 0 {
			return 0
		}
		return seen * math.Log(seen/(all*share))
	}
	g := part(float64(k), float64(n), pooled) + part(float64(n-k), float64(n), 1-pooled) +
		part(pastK, pastN, pooled) + part(pastN-pastK, pastN, 1-pooled)
	return share, past, math.Sqrt(2 * max(0, g))
}
