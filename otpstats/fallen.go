package otpstats

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// mailedHour is about the challenges of a domain that were opened in one hour, or day.
type mailedHour struct{ time, sent, verified int64 }

// FallenDomains tells which mail domains had fewer right answers in a stretch of the range than
// at all other times, by the numbers of Rules.Delivery; the most certain first.
// Challenges for which something was typed and never right are left out: their mail arrived.
func (s *Stats) FallenDomains(ctx context.Context, f Filter) ([]FallenDomain, error) {
	sc := s.scope(f, Hour) // an outage is shorter than a day
	if sc.to.Sub(sc.from) > 32*24*time.Hour {
		sc = s.scope(f, None)
	}
	hours, err := s.mailedHours(ctx, sc)
	if err != nil {
		return nil, wrap("fallen domains", err)
	}
	before := sc
	before.from, before.to, before.long = sc.from.AddDate(0, 0, -28).Truncate(24*time.Hour), sc.from.Truncate(24*time.Hour), true
	past, err := s.sums(ctx, before, []Dimension{Domain}, []int{sent, verified, neverRight})
	if err != nil {
		return nil, wrap("fallen domains", err)
	}
	pasts := map[string]mailedHour{}
	for _, r := range past {
		pasts[r.value] = mailedHour{sent: r.tally[sent] - r.tally[neverRight], verified: r.tally[verified]}
	}
	unit := int64(3600)
	if sc.long {
		unit = 86400
	}
	var all []FallenDomain
	for name, list := range hours {
		if d, found := s.worst(list, pasts[name], unit); found && name != Other && name != "" {
			d.Domain = name
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b FallenDomain) int { return cmp.Or(cmp.Compare(b.Z, a.Z), cmp.Compare(a.Domain, b.Domain)) })
	return all, nil
}

// mailedHours are those of each domain in a range, in the order of time.
func (s *Stats) mailedHours(ctx context.Context, sc scope) (map[string][]mailedHour, error) {
	at := Hour
	if sc.long {
		at = Day
	}
	rows, err := s.sums(ctx, sc, []Dimension{at, Domain}, []int{sent, verified, neverRight})
	if err != nil {
		return nil, err
	}
	pending, err := s.pending(ctx, sc, at)
	if err != nil {
		return nil, err
	}
	hours := map[string][]mailedHour{}
	for _, r := range rows {
		h := mailedHour{r.time, r.tally[sent] - r.tally[neverRight] - pending[hourOf{r.value, r.time}], r.tally[verified]}
		hours[r.value] = append(hours[r.value], h)
	}
	for _, list := range hours {
		slices.SortFunc(list, func(a, b mailedHour) int { return cmp.Compare(a.time, b.time) })
	}
	return hours, nil
}

type hourOf struct {
	domain string
	time   int64
}

// pending counts the challenges that are not over and say nothing: something was typed, or they
// are so young that the answer may still come.
func (s *Stats) pending(ctx context.Context, sc scope, at Dimension) (map[hourOf]int64, error) {
	unit := hourMs
	if at == Day {
		unit = dayMs
	}
	young := s.opts.Now().Add(-10 * time.Minute).UnixMilli()
	rows, err := s.query(ctx, s.db, `SELECT domain, opened, purpose, language, provider, app FROM {p}challenges
		WHERE ended = 0 AND opened >= ? AND opened < ? AND mails > 0 AND age < 0 AND (wrong > 0 OR malformed > 0 OR strong > 0 OR opened > ?)`, sc.from.UnixMilli(), sc.to.UnixMilli(), young)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[hourOf]int64{}
	for rows.Next() {
		var v values
		var opened int64
		if err := rows.Scan(&v.domain, &opened, &v.purpose, &v.language, &v.provider, &v.app); err != nil {
			return nil, err
		}
		if sc.chooses(v) {
			counts[hourOf{v.domain, opened / unit * unit / 1000}]++
		}
	}
	return counts, rows.Err()
}

// chooses reports whether the filter lets values through.
func (f *Filter) chooses(v values) bool {
	is := func(want, value string) bool { return want == "" || want == value }
	return is(f.Purpose, v.purpose) && is(f.Language, v.language) && is(f.Domain, v.domain) && is(f.Provider, v.provider) && is(f.App, v.app)
}

// stretches are how many hours, or days, are looked at together.
var stretches = []int64{1, 3, 6, 12, 24}

// worst finds the stretch that is the most certain to be below the past.
func (s *Stats) worst(list []mailedHour, past mailedHour, unit int64) (worst FallenDomain, found bool) {
	r := s.opts.Rules.Delivery
	for _, h := range list {
		past.sent += h.sent
		past.verified += h.verified
	}
	for _, length := range stretches {
		var n, k int64
		first := 0
		for _, h := range list {
			n, k = n+h.sent, k+h.verified
			for ; list[first].time <= h.time-length*unit; first++ {
				n, k = n-list[first].sent, k-list[first].verified
			}
			pastN, pastK := past.sent-n, past.verified-k
			share, usual, z := compare(k, n, float64(pastK), float64(pastN))
			if n < r.MinSent || pastN < r.MinPast || share >= usual*(1-r.Drop) || z < max(r.Z, worst.Z) {
				continue
			}
			found = true
			worst = FallenDomain{
				From: time.Unix(list[first].time, 0).UTC(), To: time.Unix(h.time+unit, 0).UTC(),
				Sent: n, Verified: k, PastSent: pastN, PastVerified: pastK, Share: share, PastShare: usual, Z: z,
			}
		}
	}
	return worst, found
}
