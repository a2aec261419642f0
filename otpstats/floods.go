package otpstats

import "github.com/go-mailotp/otp"

// spreads has, for each subject, the others it was seen with and in which
// minute it was last.
type spreads map[otp.Hash]map[otp.Hash]int64

// add remembers up to twice the limit of the rule: more would add no
// information and cost memory.
func (s spreads) add(one, other otp.Hash, minute, limit int64) {
	if one == (otp.Hash{}) || other == (otp.Hash{}) {
		return
	}
	others := s[one]
	if others == nil {
		if len(s) >= maxPeople && !s.makeRoom() {
			return
		}
		others = map[otp.Hash]int64{}
		s[one] = others
	}
	if _, known := others[other]; known || int64(len(others)) < 2*limit {
		others[other] = max(others[other], minute)
	}
}

// makeRoom deletes a subject that was seen with at most one other, so that many
// of those cannot hide one that matters.
func (s spreads) makeRoom() bool {
	looked := 0
	for one, others := range s { // in random order
		if len(others) <= 1 {
			delete(s, one)
			return true
		}
		if looked++; looked == 20 {
			break
		}
	}
	return false
}

// spread is the rule for one client with many addresses, or one address with
// many clients.
func (w *watch) spread(kind AnomalyKind, all spreads, r SpreadRule) {
	from := w.minute - minutesOf(r.Window)
	for h, others := range all {
		if int64(len(others)) < r.Limit/2 && w.minute%10 != 0 {
			continue
		}
		for other, minute := range others {
			if minute < from {
				delete(others, other)
			}
		}
		n := int64(len(others))
		if n == 0 {
			delete(all, h)
		}
		verdict := quiet
		switch {
		case r.Off:
		case n >= r.Limit:
			verdict = fires
		case n >= r.Limit*2/3:
			verdict = loud
		}
		if verdict != quiet {
			w.judge(subject{kind, h.String()}, verdict, Anomaly{Count: n, Seen: float64(n), Usual: float64(r.Limit)})
		}
	}
}
