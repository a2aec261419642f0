package otpstats

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// upTo lists the columns from one up to, but not including, another.
func upTo(from, to int) (columns []int) {
	for c := from; c < to; c++ {
		columns = append(columns, c)
	}
	return columns
}

// Funnel counts what happened, with one row for each value of the dimension
// that has a count. Rows by Hour and Day are in order of time; others by Asked
// plus Sent, the largest first.
func (s *Stats) Funnel(ctx context.Context, f Filter, by Dimension) ([]FunnelRow, error) {
	all, err := s.sums(ctx, s.scope(f, by), []Dimension{by}, upTo(0, countColumns))
	if err != nil {
		return nil, wrap("funnel", err)
	}
	rows := make([]FunnelRow, 0, len(all))
	for _, r := range all {
		row := FunnelRow{Value: r.value, Counts: r.tally.counts()}
		if by == Hour || by == Day {
			row.Time = time.Unix(r.time, 0).UTC()
		}
		if row.Counts != (Counts{}) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b FunnelRow) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(b.Asked+b.Sent, a.Asked+a.Sent), cmp.Compare(a.Value, b.Value))
	})
	return rows, nil
}

// AnswerTimes returns how long people take from the opening of a challenge to
// the correct code.
func (s *Stats) AnswerTimes(ctx context.Context, f Filter) (AnswerTimes, error) {
	all, err := s.sums(ctx, s.scope(f, Day), []Dimension{Day}, upTo(ageColumn, ageColumn+ageBuckets))
	if err != nil {
		return AnswerTimes{}, wrap("answer times", err)
	}
	slices.SortFunc(all, func(a, b sum) int { return cmp.Compare(a.time, b.time) })
	var times AnswerTimes
	var total tally
	for _, r := range all {
		total.add(&r.tally, 1)
		day := DayQuantiles{time.Unix(r.time, 0).UTC(), quantiles(r.tally[ageColumn : ageColumn+ageBuckets])}
		if day.Count > 0 {
			times.Days = append(times.Days, day)
		}
	}
	times.Quantiles = quantiles(total[ageColumn : ageColumn+ageBuckets])
	return times, nil
}

// total returns the sum of a whole range.
func (s *Stats) total(ctx context.Context, f Filter, columns []int) (tally, error) {
	all, err := s.sums(ctx, s.scope(f, None), nil, columns)
	if err != nil || len(all) == 0 {
		return tally{}, err
	}
	return all[0].tally, nil
}

// Guesses returns how many wrong guesses and resends come before the correct
// code.
func (s *Stats) Guesses(ctx context.Context, f Filter) (Guesses, error) {
	t, err := s.total(ctx, f, append(upTo(wrongColumn, tallyColumns), verified))
	g := Guesses{Verified: t[verified]}
	copy(g.Wrong[:], t[wrongColumn:])
	copy(g.Resends[:], t[againColumn:])
	return g, wrap("guesses", err)
}

// GaveUp returns at which step people give up.
func (s *Stats) GaveUp(ctx context.Context, f Filter) (Steps, error) {
	t, err := s.total(ctx, f, upTo(0, countColumns))
	return Steps{
		Asked: t[asked], NotMailed: max(0, t[asked]-t[sent]), Over: t[over], NoAnswer: t[noAnswer] + t[noMail],
		NeverRight: t[neverRight], Verified: t[over] - t[noAnswer] - t[noMail] - t[neverRight],
	}, wrap("gave up", err)
}

// Dimensions returns the values that a filter can select in the range. It
// ignores the rest of the filter.
func (s *Stats) Dimensions(ctx context.Context, f Filter) (Names, error) {
	sc := s.scope(Filter{From: f.From, To: f.To}, None)
	var n Names
	for d, list := range map[Dimension]*[]string{
		Purpose: &n.Purposes, Language: &n.Languages, Domain: &n.Domains, Provider: &n.Providers, App: &n.Apps,
	} {
		all, err := s.sums(ctx, sc, []Dimension{d}, []int{asked, sent, failedTries})
		if err != nil {
			return Names{}, wrap("dimensions", err)
		}
		slices.SortFunc(all, func(a, b sum) int {
			return cmp.Or(cmp.Compare(b.tally[asked]+b.tally[sent], a.tally[asked]+a.tally[sent]), cmp.Compare(a.value, b.value))
		})
		for _, r := range all[:min(200, len(all))] {
			if r.value != "" {
				*list = append(*list, r.value)
			}
		}
	}
	return n, nil
}

// Abuse returns numbers about guessing and flooding. The counts of guesses and
// strong codes use the whole filter. Everything else uses only its range, and
// goes back no further than Options.KeepEvents.
func (s *Stats) Abuse(ctx context.Context, f Filter) (Abuse, error) {
	sc := s.scope(f, Hour)
	all, err := s.sums(ctx, sc, []Dimension{Hour}, []int{wrong, malformed, strong})
	if err != nil {
		return Abuse{}, wrap("abuse", err)
	}
	spreads, err := s.spreads(ctx, sc.from.UnixMilli(), min(sc.to.UnixMilli(), s.opts.Now().UnixMilli()+hourMs))
	if err != nil {
		return Abuse{}, wrap("abuse", err)
	}
	hours := map[int64]*AbuseHour{}
	hour := func(at int64) *AbuseHour {
		if hours[at] == nil {
			hours[at] = &AbuseHour{Hour: time.Unix(at, 0).UTC()}
		}
		return hours[at]
	}
	var counts []float64
	for _, r := range all {
		counts = append(counts, float64(r.tally[wrong]))
		if r.tally[wrong] > 0 || r.tally[malformed] > 0 || r.tally[strong] > 0 {
			h := hour(r.time)
			h.Wrong, h.Malformed, h.Strong = r.tally[wrong], r.tally[malformed], r.tally[strong]
		}
	}
	var a Abuse
	for _, p := range spreads {
		switch p.kind {
		case spreadClients:
			a.Clients = append(a.Clients, p.Spread)
		case spreadAddress:
			a.Addresses = append(a.Addresses, p.Spread)
		case spreadUnsolved:
			hour(p.Hour.Unix()).Unsolved = p.Count
		}
	}
	a.Clients, a.Addresses = widest(a.Clients), widest(a.Addresses)
	usual := median(counts)
	r := s.opts.Rules.Guessing
	for _, h := range hours {
		h.Usual = usual
		h.High = h.Unsolved >= r.MinAddresses && float64(h.Wrong) >= r.Factor*max(1, usual)
		a.Hours = append(a.Hours, *h)
	}
	slices.SortFunc(a.Hours, func(x, y AbuseHour) int { return x.Hour.Compare(y.Hour) })
	return a, nil
}

func widest(all []Spread) []Spread {
	slices.SortFunc(all, func(a, b Spread) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Hour.Compare(a.Hour), cmp.Compare(a.Subject, b.Subject))
	})
	return all[:min(50, len(all))]
}

func median(n []float64) float64 {
	if len(n) == 0 {
		return 0
	}
	slices.Sort(n)
	return (n[(len(n)-1)/2] + n[len(n)/2]) / 2
}
