package dashboard

import (
	"context"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"slices"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

// board is what a page shows.
type board struct {
	Title, From, To string
	Filters         []filter
	Findings        []finding
	Tiles           []tile
	Charts          []*chart
	Footer          string
}

type filter struct {
	Label, Name string
	Choices     []choice
}

type choice struct {
	Value, Text string
	Chosen      bool
}

type finding struct {
	What, Detail string
	Link         template.URL
}

type tile struct{ Name, Value, Note string }

// ranges are the times to choose from.
var ranges = []struct {
	value, text string
	length      time.Duration
	bin         time.Duration // of one point
	label       string        // of the axis
}{
	{"24h", "Last 24 hours", 24 * time.Hour, time.Hour, "15:04"},
	{"7d", "Last 7 days", 7 * 24 * time.Hour, time.Hour, "2 Jan"},
	{"30d", "Last 30 days", 30 * 24 * time.Hour, 3 * time.Hour, "2 Jan"},
	{"90d", "Last 90 days", 90 * 24 * time.Hour, 24 * time.Hour, "2 Jan"},
	{"365d", "Last 12 months", 365 * 24 * time.Hour, 24 * time.Hour, "Jan 2006"},
}

const defaultRange = 1

// query is what a page asks for.
type query struct {
	*otpstats.Stats
	ctx    context.Context
	filter otpstats.Filter
	bin    time.Duration
	label  string
}

// board asks for everything that the page shows.
func (h *handler) board(ctx context.Context, form url.Values) (*board, error) {
	chosen := ranges[defaultRange]
	for _, r := range ranges {
		if r.value == form.Get("range") {
			chosen = r
		}
	}
	to := h.opts.Now().UTC()
	q := &query{Stats: h.stats, ctx: ctx, bin: chosen.bin, label: chosen.label, filter: otpstats.Filter{
		From: to.Add(-chosen.length), To: to,
		Purpose: form.Get("purpose"), Language: form.Get("language"), Domain: form.Get("domain"), Provider: form.Get("provider"), App: form.Get("app"),
	}}
	b := &board{
		Title: h.opts.Title, From: q.filter.From.Format("2 Jan 2006 15:04"), To: to.Format("2 Jan 2006 15:04"),
		Footer: "Shares are of the codes mailed in the same time. A code that was asked for in the last minutes may still be answered.",
	}
	names, err := h.stats.Dimensions(ctx, otpstats.Filter{From: q.filter.From, To: to})
	if err != nil {
		return nil, err
	}
	var times []choice
	for _, r := range ranges {
		times = append(times, choice{r.value, r.text, r.value == chosen.value})
	}
	b.Filters = []filter{
		{"Time", "range", times},
		choices("Purpose", "purpose", q.filter.Purpose, names.Purposes), choices("Language", "language", q.filter.Language, names.Languages),
		choices("Mail domain", "domain", q.filter.Domain, names.Domains), choices("Provider", "provider", q.filter.Provider, names.Providers),
		choices("App", "app", q.filter.App, names.Apps),
	}
	for _, add := range []func(*query) error{b.overTime, b.domains, b.answerTimes, b.gaveUp, b.wrong, b.breakdowns, b.guesses} {
		if err := add(q); err != nil {
			return nil, err
		}
	}
	return b, b.findings(q)
}

func choices(label, name, chosen string, values []string) filter {
	f := filter{Label: label, Name: name, Choices: []choice{{"", "All", chosen == ""}}}
	if chosen != "" && !slices.Contains(values, chosen) {
		values = append([]string{chosen}, values...)
	}
	for _, v := range values {
		f.Choices = append(f.Choices, choice{v, v, v == chosen})
	}
	return f
}

// point is what happened in one stretch of time.
type point struct {
	at time.Time
	otpstats.Counts
}

// points are the counts over time, without gaps.
func (q *query) points(f otpstats.Filter) ([]point, error) {
	by := otpstats.Hour
	if q.bin >= 24*time.Hour {
		by = otpstats.Day
	}
	rows, err := q.Funnel(q.ctx, f, by)
	if err != nil {
		return nil, err
	}
	var list []point
	for at := f.From.Truncate(q.bin); at.Before(f.To); at = at.Add(q.bin) {
		list = append(list, point{at: at})
	}
	for _, r := range rows {
		i := int(r.Time.Sub(list[0].at) / q.bin)
		if i < 0 || i >= len(list) {
			continue
		}
		p := &list[i]
		p.Asked += r.Asked
		p.Sent += r.Sent
		p.Answered += r.Answered
		p.Verified += r.Verified
		p.Wrong += r.Wrong
		p.Escalated += r.Escalated
		p.Limited += r.Limited
		p.Decoys += r.Decoys
		p.FailedMails += r.FailedMails
		p.FailedTries += r.FailedTries
		p.Resends += r.Resends
	}
	return list, nil
}

// timeline is an empty chart over the points.
func (q *query) timeline(id, title, note string, points []point) *chart {
	c := &chart{ID: id, Title: title, Note: note, First: "Time (UTC)"}
	for _, p := range points {
		c.Labels = append(c.Labels, p.at.Format("2006-01-02 15:04"))
		c.Axis = append(c.Axis, p.at.Format(q.label))
	}
	return c
}

func column(name string, points []point, value func(point) float64) series {
	s := series{Name: name, Values: make([]float64, len(points))}
	for i, p := range points {
		s.Values[i] = value(p)
	}
	return s
}

// share is a part of a whole; none of a whole that is too small to say anything.
func share(part, whole int64, least int64) float64 {
	if whole < max(1, least) {
		return math.NaN()
	}
	return float64(part) / float64(whole)
}

// leastShare is how many mails a share over time needs.
const leastShare = 8

func (b *board) overTime(q *query) error {
	points, err := q.points(q.filter)
	if err != nil {
		return err
	}
	c := q.timeline("funnel", "From asked to verified", "How many asked for a code, were mailed one, typed something, and typed the right code.", points)
	c.Series = []series{
		column("Asked", points, func(p point) float64 { return float64(p.Asked) }),
		column("Mailed", points, func(p point) float64 { return float64(p.Sent) }),
		column("Answered", points, func(p point) float64 { return float64(p.Answered) }),
		column("Verified", points, func(p point) float64 { return float64(p.Verified) }),
	}
	b.Charts = append(b.Charts, c)
	var sum otpstats.Counts
	for _, p := range points {
		sum.Asked += p.Asked
		sum.Sent += p.Sent
		sum.Answered += p.Answered
		sum.Verified += p.Verified
		sum.Resends += p.Resends
		sum.Limited += p.Limited
		sum.Wrong += p.Wrong
	}
	b.Tiles = append(b.Tiles,
		tile{"Asked", number(sum.Asked), percent(share(sum.Limited, sum.Asked, 1), "told to wait")},
		tile{"Mailed", number(sum.Sent), fmt.Sprintf("%s sent again", number(sum.Resends))},
		tile{"Answered", number(sum.Answered), percent(share(sum.Answered, sum.Sent, 1), "of mailed")},
		tile{"Verified", number(sum.Verified), percent(share(sum.Verified, sum.Sent, 1), "of mailed")},
		tile{"Wrong codes", number(sum.Wrong), ""},
	)
	return nil
}

// maxLines is how many domains have a line of their own.
const maxLines = 5

// domains tells of the mail domains: a fall of one line means that its mail is late or lost.
func (b *board) domains(q *query) error {
	rows, err := q.Funnel(q.ctx, q.filter, otpstats.Domain)
	if err != nil {
		return err
	}
	var lines *chart
	for _, r := range rows[:min(len(rows), maxLines)] {
		f := q.filter
		f.Domain = r.Value
		points, err := q.points(f)
		if err != nil {
			return err
		}
		if lines == nil {
			lines = q.timeline("domains-time", "Verified of mailed, by mail domain", "The largest domains. A fall of one line alone means that mail to it is late or lost.", points)
			lines.Percent = true
		}
		lines.Series = append(lines.Series, column(r.Value, points, func(p point) float64 { return share(p.Verified, p.Sent, leastShare) }))
	}
	if lines != nil {
		b.Charts = append(b.Charts, lines)
	}
	b.Charts = append(b.Charts, parts("domains", "Mail domains", "Verified of mailed, the domains with the most traffic first.", "Domain", rows))
	return nil
}

// maxBars is how many values a chart of bars has.
const maxBars = 12

// parts compares the values of a dimension.
func parts(id, title, note, first string, rows []otpstats.FunnelRow) *chart {
	c := &chart{ID: id, Title: title, Note: note, First: first, Bars: true, Percent: true}
	shares, sent, asked := series{Name: "Verified of mailed"}, series{Name: "Mailed", Count: true}, series{Name: "Asked", Count: true}
	for _, r := range rows[:min(len(rows), maxBars)] {
		label := r.Value
		if label == "" {
			label = "(none)"
		}
		c.Labels = append(c.Labels, label)
		shares.Values = append(shares.Values, share(r.Verified, r.Sent, 1))
		sent.Values = append(sent.Values, float64(r.Sent))
		asked.Values = append(asked.Values, float64(r.Asked))
	}
	c.Series = []series{shares, sent, asked}
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
		b.Charts = append(b.Charts, parts(d.id, d.title, "Verified of mailed.", d.first, rows))
	}
	return nil
}

func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func percent(v float64, of string) string {
	if math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%.1f %% %s", v*100, of)
}
