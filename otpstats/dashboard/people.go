package dashboard

import (
	"fmt"
	"math"
	"slices"
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
		ID: "answer-times", Title: "From mail to correct code", First: "Day (UTC)", Unit: " s",
		Note: "Seconds from opening the challenge to the correct code, by day: half, 9 of 10, and 99 of 100 were faster.",
	}
	quantiles := []series{{Name: "Half"}, {Name: "9 of 10"}, {Name: "99 of 100"}}
	known := map[time.Time]otpstats.DayQuantiles{}
	for _, d := range times.Days {
		known[d.Day] = d
	}
	for at := q.filter.From.Truncate(day); at.Before(q.filter.To); at = at.Add(day) { // including days without answers
		c.Labels, c.Axis = append(c.Labels, at.Format("2006-01-02")), append(c.Axis, at.Format("2 Jan"))
		d, ok := known[at]
		for i, v := range []time.Duration{d.P50, d.P90, d.P99} {
			seconds := math.NaN()
			if ok {
				seconds = math.Round(v.Seconds())
			}
			quantiles[i].Values = append(quantiles[i].Values, seconds)
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

// gaveUp shows at which step people give up.
func (b *board) gaveUp(q *query) error {
	steps, err := q.GaveUp(q.ctx, q.filter)
	if err != nil {
		return err
	}
	c := &chart{
		ID: "gave-up", Title: "Where people give up", First: "Step", Bars: true, Percent: true,
		Note:   "Of the mailed codes that were passed or have expired.",
		Labels: []string{"nothing typed", "never correct"},
		Series: []series{
			{Name: "Share", Values: []float64{share(steps.NoAnswer, steps.Over, 1), share(steps.NeverRight, steps.Over, 1)}},
			{Name: "Number", Count: true, Values: []float64{float64(steps.NoAnswer), float64(steps.NeverRight)}},
		},
	}
	if q.filter.Provider == "" { // asking has none
		c.Note = "No mail: of all requests. The others: of the mailed codes that were passed or have expired."
		c.Labels = slices.Insert(c.Labels, 0, "no mail")
		c.Series[0].Values = slices.Insert(c.Series[0].Values, 0, share(steps.NotMailed, steps.Asked, 1))
		c.Series[1].Values = slices.Insert(c.Series[1].Values, 0, float64(steps.NotMailed))
	}
	b.Charts = append(b.Charts, c)
	if steps.Over > 0 {
		b.Tiles = append(b.Tiles, tile{"Gave up", percent(share(steps.Over-steps.Verified, steps.Over, 1), ""), "of the mailed codes that were passed or have expired"})
	}
	return nil
}

// wrong shows wrong codes: many addresses without a correct one mean that
// somebody is guessing.
func (b *board) wrong(q *query) error {
	abuse, err := q.Abuse(q.ctx, q.filter)
	if err != nil {
		return err
	}
	var points []point
	for at := q.filter.From.Truncate(q.bin); at.Before(q.filter.To); at = at.Add(q.bin) {
		points = append(points, point{at: at})
	}
	c := q.timeline("wrong", "Wrong codes", "Not a code: if digits were typed where a strong code was mailed, somebody is guessing. Addresses without a correct code: "+
		"many at the same time mean that somebody is guessing. Strong codes: mails to addresses with too many wrong guesses.", points)
	for _, name := range []string{"Wrong codes", "Not a code", "Addresses without a correct code", "Strong codes"} {
		c.Series = append(c.Series, series{Name: name, Values: make([]float64, len(points))})
	}
	for _, h := range abuse.Hours {
		if i := int(h.Hour.Sub(points[0].at) / q.bin); i >= 0 && i < len(points) {
			for j, n := range []int64{h.Wrong, h.Malformed, h.Unsolved, h.Strong} {
				c.Series[j].Values[i] += float64(n)
			}
		}
	}
	b.Charts = append(b.Charts, c)
	for _, s := range []struct {
		id, title, many, first string
		rows                   []otpstats.Spread
	}{
		{"clients", "Clients that asked for many addresses", "Addresses", "Client", abuse.Clients},
		{"addresses", "Addresses that many clients asked for", "Clients", "Address", abuse.Addresses},
	} {
		b.Charts = append(b.Charts, spread(s.id, s.title, s.many, s.first, s.rows))
	}
	return nil
}

// spread compares clients or addresses by their hashes.
func spread(id, title, many, first string, rows []otpstats.Spread) *chart {
	c := &chart{ID: id, Title: title, Note: "By full hour, while the rules look at any 60 minutes. The names are keyed hashes.", First: first, Bars: true}
	at, counts, asked := series{Name: "Hour (UTC)", Count: true}, series{Name: many}, series{Name: "Asked", Count: true}
	for _, r := range rows[:min(len(rows), maxBars)] {
		c.Labels, c.Axis = append(c.Labels, r.Subject), append(c.Axis, short(r.Subject)+" "+moment(r.Hour))
		at.Texts = append(at.Texts, r.Hour.Format("2006-01-02 15:04"))
		counts.Values = append(counts.Values, float64(r.Count))
		asked.Values = append(asked.Values, float64(r.Asked))
	}
	c.Series = []series{at, counts, asked}
	return c
}

// guesses shows how many attempts a success takes.
func (b *board) guesses(q *query) error {
	g, err := q.Guesses(q.ctx, q.filter)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		id, title, note, first string
		counts                 []int64
	}{
		{"guesses", "Wrong codes before the correct one", "Of people who were verified.", "Wrong codes", g.Wrong[:]},
		{"resends", "Mails resent before the correct code", "Of people who were verified.", "Resent", g.Resends[:]},
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
