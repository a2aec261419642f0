package dashboard

import (
	"fmt"
	"math"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

func (b *board) answerTimes(q *query) error {
	times, err := q.AnswerTimes(q.ctx, q.filter)
	if err != nil {
		return err
	}
	if times.Count > 0 {
		b.Tiles = append(b.Tiles, tile{"Median time to answer", round(times.P50), fmt.Sprintf("9 of 10 within %s", round(times.P90))})
	}
	c := &chart{
		ID: "answer-times", Title: "From mail to right code", First: "Day (UTC)", Unit: " s",
		Note: "Seconds from opening the challenge, by day: half, nine of ten, and 99 of 100 were quicker.",
	}
	quantiles := []series{{Name: "Half"}, {Name: "9 of 10"}, {Name: "99 of 100"}}
	for _, d := range times.Days {
		c.Labels, c.Axis = append(c.Labels, d.Day.Format("2006-01-02")), append(c.Axis, d.Day.Format("2 Jan"))
		for i, v := range []time.Duration{d.P50, d.P90, d.P99} {
			quantiles[i].Values = append(quantiles[i].Values, math.Round(v.Seconds()))
		}
	}
	c.Series = quantiles
	b.Charts = append(b.Charts, c)
	return nil
}

func round(d time.Duration) string {
	switch {
	case d >= 10*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// gaveUp tells at which step people leave.
func (b *board) gaveUp(q *query) error {
	steps, err := q.GaveUp(q.ctx, q.filter)
	if err != nil {
		return err
	}
	c := &chart{
		ID: "gave-up", Title: "Where people leave", First: "Step", Bars: true, Percent: true,
		Note:   "No mail: of all who asked. The others: of the mailed codes whose time is over.",
		Labels: []string{"no mail", "nothing typed", "never right"},
		Series: []series{
			{Name: "Share", Values: []float64{share(steps.NotMailed, steps.Asked, 1), share(steps.NoAnswer, steps.Over, 1), share(steps.NeverRight, steps.Over, 1)}},
			{Name: "Number", Count: true, Values: []float64{float64(steps.NotMailed), float64(steps.NoAnswer), float64(steps.NeverRight)}},
		},
	}
	b.Charts = append(b.Charts, c)
	if steps.Over > 0 {
		b.Tiles = append(b.Tiles, tile{"Gave up", percent(share(steps.Over-steps.Verified, steps.Over, 1), ""), "of the mailed codes whose time is over"})
	}
	return nil
}

// wrong tells of wrong codes: many addresses with none right is somebody who guesses.
func (b *board) wrong(q *query) error {
	abuse, err := q.Abuse(q.ctx, q.filter)
	if err != nil {
		return err
	}
	var points []point
	for at := q.filter.From.Truncate(q.bin); at.Before(q.filter.To); at = at.Add(q.bin) {
		points = append(points, point{at: at})
	}
	c := q.timeline("wrong", "Wrong codes", "Addresses without a right code: many of them at once mean that somebody guesses. Refused: guesses at addresses that were guessed at too often.", points)
	codes, unsolved, refused := column("Wrong codes", points, zero), column("Addresses without a right code", points, zero), column("Refused", points, zero)
	for _, h := range abuse.Hours {
		if i := int(h.Hour.Sub(points[0].at) / q.bin); i >= 0 && i < len(points) {
			codes.Values[i] += float64(h.Wrong)
			unsolved.Values[i] += float64(h.Unsolved)
			refused.Values[i] += float64(h.Escalated)
		}
	}
	c.Series = []series{codes, unsolved, refused}
	b.Charts = append(b.Charts, c)
	for _, s := range []struct {
		id, title, note, first string
		rows                   []otpstats.Spread
	}{
		{"clients", "Clients that asked for many addresses", "In one hour. The names are keyed hashes.", "Client", abuse.Clients},
		{"addresses", "Addresses that many clients asked for", "In one hour. The names are keyed hashes.", "Address", abuse.Addresses},
	} {
		b.Charts = append(b.Charts, spread(s.id, s.title, s.note, s.first, s.rows))
	}
	return nil
}

func zero(point) float64 { return 0 }

func spread(id, title, note, first string, rows []otpstats.Spread) *chart {
	c := &chart{ID: id, Title: title, Note: note, First: first, Bars: true, Series: []series{{Name: "How many"}, {Name: "Asked", Count: true}}}
	for _, r := range rows[:min(len(rows), maxBars)] {
		c.Labels = append(c.Labels, r.Subject[:min(len(r.Subject), 8)]+" "+r.Hour.Format("2 Jan 15:04"))
		c.Series[0].Values = append(c.Series[0].Values, float64(r.Count))
		c.Series[1].Values = append(c.Series[1].Values, float64(r.Asked))
	}
	return c
}

// guesses tells how many tries a success takes.
func (b *board) guesses(q *query) error {
	g, err := q.Guesses(q.ctx, q.filter)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		id, title, note, first string
		counts                 []int64
	}{
		{"guesses", "Wrong codes before the right one", "Of those who were verified.", "Wrong codes", g.Wrong[:]},
		{"resends", "Mails sent again before the right code", "Of those who were verified.", "Sent again", g.Resends[:]},
	} {
		c := &chart{ID: s.id, Title: s.title, Note: s.note, First: s.first, Bars: true, Percent: true, Series: []series{{Name: "Share"}, {Name: "Number", Count: true}}}
		for i, n := range s.counts {
			label := fmt.Sprint(i)
			if i == len(s.counts)-1 {
				label += " or more"
			}
			c.Labels = append(c.Labels, label)
			c.Series[0].Values = append(c.Series[0].Values, share(n, g.Verified, 1))
			c.Series[1].Values = append(c.Series[1].Values, float64(n))
		}
		b.Charts = append(b.Charts, c)
	}
	return nil
}

// kinds are the anomalies in words.
var kinds = map[otpstats.AnomalyKind]string{
	otpstats.DeliveryFalling:     "Codes to %s are not coming back.",
	otpstats.DistributedGuessing: "Somebody guesses at many addresses.",
	otpstats.ClientSpread:        "One client asks for many addresses.",
	otpstats.AddressSpread:       "Many clients ask for one address.",
	otpstats.EscalationSpike:     "Many guesses at addresses that were guessed at too often.",
}

// findings says what needs attention.
func (b *board) findings(q *query) error {
	anomalies, err := q.Anomalies(q.ctx, q.filter)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, a := range anomalies {
		f := finding{What: kinds[a.Kind], Detail: "From " + a.Since.UTC().Format("2 Jan 15:04")}
		if a.Until.IsZero() {
			f.Detail += ", and it lasts"
		} else {
			f.Detail += " to " + a.Until.UTC().Format("2 Jan 15:04")
		}
		switch a.Kind {
		case otpstats.DeliveryFalling:
			told[a.Subject] = true
			f.What = fmt.Sprintf(f.What, a.Subject)
			f.Detail += fmt.Sprintf(": %.0f %% answered in time, usually %.0f %%.", a.Seen*100, a.Usual*100)
			f.Link = b.link("domain", a.Subject)
		case otpstats.DistributedGuessing:
			f.Detail += fmt.Sprintf(": %d addresses, and none right.", a.Count)
		default:
			f.Detail += fmt.Sprintf(": %d, the limit is %.0f.", a.Count, a.Usual)
		}
		b.Findings = append(b.Findings, f)
	}
	fallen, err := q.FallenDomains(q.ctx, q.filter)
	if err != nil {
		return err
	}
	for _, d := range fallen {
		if !told[d.Domain] {
			b.Findings = append(b.Findings, finding{
				What: fmt.Sprintf(kinds[otpstats.DeliveryFalling], d.Domain),
				Detail: fmt.Sprintf("From %s to %s: %.0f %% verified, usually %.0f %%.",
					d.From.UTC().Format("2 Jan 15:04"), d.To.UTC().Format("2 Jan 15:04"), d.Share*100, d.PastShare*100),
				Link: b.link("domain", d.Domain),
			})
		}
	}
	if n := q.Dropped(); n > 0 {
		b.Findings = append(b.Findings, finding{What: "Events were lost.", Detail: fmt.Sprintf("%s since the start: the database is slow or down, or the queue too short.", number(n))})
	}
	return nil
}
