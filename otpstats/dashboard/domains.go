package dashboard

import (
	"math"
	"slices"

	"github.com/go-mailotp/otp/otpstats"
)

// share returns part/whole, or NaN if the whole is too small to say anything.
func share(part, whole int64, least int64) float64 {
	if whole < max(1, least) {
		return math.NaN()
	}
	return float64(part) / float64(whole)
}

// leastShare is how many mails a share over time needs for a standard error
// below 15%.
const leastShare = 12

// sparse reports whether most points have too few mails for a share.
func sparse(points []point) bool {
	enough := 0
	for _, p := range points {
		if p.Sent >= leastShare {
			enough++
		}
	}
	return 2*enough < len(points)
}

// maxLines is how many domains have a line.
const maxLines = 5

// domains compares the mail domains: if one line falls, its mail is late or
// lost.
func (b *board) domains(q *query) error {
	rows, err := q.Funnel(q.ctx, q.filter, otpstats.Domain)
	if err != nil {
		return err
	}
	if err := b.domainLines(q, rows); err != nil {
		return err
	}
	b.Charts = append(b.Charts, q.parts("domains", "Mail domains",
		"Verified of mailed, the domains with the most traffic first. A low share can also mean that somebody is guessing.", "Domain", rows))
	return nil
}

// domainLines compares the largest domains over time. A selected domain comes
// first, but is not alone.
func (b *board) domainLines(q *query, rows []otpstats.FunnelRow) error {
	f := q.filter
	f.Domain = ""
	var names []string
	if q.filter.Domain != "" {
		names = append(names, q.filter.Domain)
		var err error
		if rows, err = q.Funnel(q.ctx, f, otpstats.Domain); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if r.Value != q.filter.Domain {
			names = append(names, r.Value)
		}
	}
	var c *chart
	bin := q.shares
	for _, name := range names[:min(len(names), maxLines)] {
		f.Domain = name
		points, err := q.points(f, bin)
		for err == nil && c == nil && sparse(points) && 2*bin <= min(day, f.To.Sub(f.From)/6) {
			bin *= 2
			points, err = q.points(f, bin)
		}
		if err != nil {
			return err
		}
		if c == nil {
			c = q.timeline("domains-time", "Verified of mailed, by mail domain", "The largest domains. If one line falls, mail to that domain is late or lost. "+
				"If all lines fall together, all your mail is late or lost, or somebody is asking for other people's codes (see Wrong codes). Gaps are times with fewer than 12 mails.", points)
			c.Percent = true
		}
		line := series{Name: name}
		for _, p := range points {
			line.Values = append(line.Values, share(p.Verified, p.Sent, leastShare))
			if p.Sent > 0 {
				c.Nothing = "Too few mails to compute a share."
			}
		}
		c.Series = append(c.Series, line)
	}
	if c != nil {
		b.Charts = append(b.Charts, c)
	}
	return nil
}

// maxBars is the maximum number of bars in a chart.
const maxBars = 12

// parts compares the values of a dimension.
func (q *query) parts(id, title, note, first string, rows []otpstats.FunnelRow) *chart {
	c := &chart{ID: id, Title: title, Note: note, First: first, Bars: true, Percent: true}
	shares, sent := series{Name: "Verified of mailed"}, series{Name: "Mailed", Count: true}
	asked, failed := series{Name: "Asked", Count: true}, series{Name: "Failed tries", Count: true}
	rows = slices.DeleteFunc(rows, func(r otpstats.FunnelRow) bool { return r.Value == "" && r.Sent == 0 }) // asked, but without a mail that would have a value
	for _, r := range rows[:min(len(rows), maxBars)] {
		label := r.Value
		if label == "" {
			label = "(none)"
		}
		c.Labels = append(c.Labels, label)
		shares.Values = append(shares.Values, share(r.Verified, r.Sent, 1))
		sent.Values = append(sent.Values, float64(r.Sent))
		asked.Values = append(asked.Values, float64(r.Asked))
		failed.Values = append(failed.Values, float64(r.FailedTries))
	}
	c.Series = []series{shares, sent}
	switch { // asking has no provider
	case id == "providers":
		c.Series = append(c.Series, failed)
	case q.filter.Provider == "":
		c.Series = append(c.Series, asked)
	}
	return c
}

func (b *board) breakdowns(q *query) error {
	for _, d := range []struct {
		by               otpstats.Dimension
		id, title, first string
	}{
		{otpstats.Purpose, "purposes", "Purposes", "Purpose"},
		{otpstats.Language, "languages", "Languages", "Language"},
		{otpstats.App, "apps", "Apps", "App"},
		{otpstats.Provider, "providers", "Mail providers", "Provider"},
	} {
		rows, err := q.Funnel(q.ctx, q.filter, d.by)
		if err != nil {
			return err
		}
		b.Charts = append(b.Charts, q.parts(d.id, d.title, "Verified of mailed.", d.first, rows))
	}
	return nil
}
