package dashboard

import (
	"context"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net/url"
	"slices"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

// board has everything that a page shows.
type board struct {
	Title, From, To string
	Until           string // value of the form field; empty means now
	Earlier, Later  template.URL
	Filters         []filter
	Findings        []finding
	Tiles           []tile
	Charts          []*chart
	Footer          string

	now    time.Time
	chosen url.Values // parameters that are not the default
}

type filter struct {
	Label, Name string
	Choices     []choice
}

type choice struct {
	Value, Text string
	Chosen      bool
}

type tile struct{ Name, Value, Note string }

// ranges are the lengths of time that readers can choose.
var ranges = []struct {
	value, text string
	length      time.Duration
	bin         time.Duration // time of one point
	shares      time.Duration // time of one point of a share, which needs more events
	label       string        // format on the axis: a point need not be the first of its day
}{
	{"24h", "24 hours", day, time.Hour, time.Hour, "15:04"},
	{"7d", "7 days", 7 * day, time.Hour, 3 * time.Hour, "2 Jan 15:04"},
	{"30d", "30 days", 30 * day, 3 * time.Hour, 6 * time.Hour, "2 Jan 15:04"},
	{"90d", "90 days", 90 * day, day, day, "2 Jan"},
	{"365d", "12 months", 365 * day, day, day, "2 Jan 2006"},
}

const (
	day          = 24 * time.Hour
	defaultRange = 1
	untilFormat  = "2006-01-02T15:04" // of a datetime-local field
)

// query is what a page asks Stats for.
type query struct {
	*otpstats.Stats
	ctx    context.Context
	filter otpstats.Filter
	bin    time.Duration
	shares time.Duration
	label  string
}

// board runs all queries of the page.
func (h *handler) board(ctx context.Context, form url.Values) (*board, error) {
	chosen := ranges[defaultRange]
	for _, r := range ranges {
		if r.value == form.Get("range") {
			chosen = r
		}
	}
	now := h.opts.Now().UTC()
	b := &board{
		Title: h.opts.Title, now: now, chosen: url.Values{},
		Footer: "Shares are relative to the codes mailed in the same time. Codes from the last few minutes may still be answered.",
	}
	to := now
	// The year 1 would be the zero time, which Filter takes for now.
	if until, err := time.Parse(untilFormat, form.Get("until")); err == nil && until.Before(now) && until.Year() >= 2000 {
		to, b.Until = until, until.Format(untilFormat)
		b.chosen.Set("until", b.Until)
	}
	for _, name := range []string{"purpose", "language", "domain", "provider", "app"} {
		if value := form.Get(name); value != "" {
			b.chosen.Set(name, value)
		}
	}
	b.chosen.Set("range", chosen.value)
	q := &query{Stats: h.stats, ctx: ctx, bin: chosen.bin, shares: chosen.shares, label: chosen.label, filter: otpstats.Filter{
		From: to.Add(-chosen.length), To: to,
		Purpose: form.Get("purpose"), Language: form.Get("language"), Domain: form.Get("domain"), Provider: form.Get("provider"), App: form.Get("app"),
	}}
	b.From, b.To = q.filter.From.Format("2 Jan 2006 15:04"), to.Format("2 Jan 2006 15:04")
	b.Earlier = b.link("until", q.filter.From.Format(untilFormat))
	if b.Until != "" {
		b.Later = b.until(to.Add(chosen.length))
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
		{"Range", "range", times},
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

// link returns the URL of this page with some parameters changed: names, each
// followed by its value. An empty value removes the parameter.
func (b *board) link(changes ...string) template.URL {
	query := maps.Clone(b.chosen)
	for i := 0; i < len(changes); i += 2 {
		query.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			query.Del(changes[i])
		}
	}
	return template.URL("?" + query.Encode())
}

// until returns the URL of this page with its range ending at t, or now.
func (b *board) until(t time.Time, changes ...string) template.URL {
	value := ""
	if t.Before(b.now) {
		value = t.Format(untilFormat)
	}
	return b.link(append(changes, "until", value)...)
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

// point has the counts of one stretch of time.
type point struct {
	at time.Time
	otpstats.Counts
}

// points returns the counts over time, one point per bin, without gaps.
func (q *query) points(f otpstats.Filter, bin time.Duration) ([]point, error) {
	by := otpstats.Hour
	if bin >= day {
		by = otpstats.Day
	}
	rows, err := q.Funnel(q.ctx, f, by)
	if err != nil {
		return nil, err
	}
	var list []point
	for at := f.From.Truncate(bin); at.Before(f.To); at = at.Add(bin) {
		list = append(list, point{at: at})
	}
	for _, r := range rows {
		i := int(r.Time.Sub(list[0].at) / bin)
		if i < 0 || i >= len(list) {
			continue
		}
		add(&list[i].Counts, r.Counts)
	}
	return list, nil
}

// add adds the counts that the page shows.
func add(sum *otpstats.Counts, c otpstats.Counts) {
	sum.Asked += c.Asked
	sum.ResendAsked += c.ResendAsked
	sum.Limited += c.Limited
	sum.LimitedAll += c.LimitedAll
	sum.Sent += c.Sent
	sum.Resends += c.Resends
	sum.FailedMails += c.FailedMails
	sum.FailedTries += c.FailedTries
	sum.Failures += c.Failures
	sum.Answered += c.Answered
	sum.Verified += c.Verified
	sum.Wrong += c.Wrong
}

// timeline returns a chart over the points, without series.
func (q *query) timeline(id, title, note string, points []point) *chart {
	c := &chart{ID: id, Title: title, Note: note, First: "Time (UTC)"}
	for _, p := range points {
		c.Labels = append(c.Labels, p.at.Format("2006-01-02 15:04"))
		c.Axis = append(c.Axis, p.at.Format(q.label))
	}
	return c
}

func column(name string, points []point, count func(otpstats.Counts) int64) series {
	s := series{Name: name, Values: make([]float64, len(points))}
	for i, p := range points {
		s.Values[i] = float64(count(p.Counts))
	}
	return s
}

func (b *board) overTime(q *query) error {
	points, err := q.points(q.filter, q.bin)
	if err != nil {
		return err
	}
	var sum otpstats.Counts
	for _, p := range points {
		add(&sum, p.Counts)
	}
	funnel := q.timeline("funnel", "From asked to verified", "How many people asked for a code, were mailed one, typed something, and typed the correct code.", points)
	// Asking has no provider, and the attempt of a provider has no other
	// dimension.
	asking, trying := q.filter.Provider == "", q.filter.Purpose+q.filter.Language+q.filter.Domain+q.filter.App == ""
	failed := "mails not sent"
	if asking {
		funnel.Series = append(funnel.Series, column("Asked", points, func(c otpstats.Counts) int64 { return c.Asked }))
		limited := percent(share(sum.Limited, sum.Asked+sum.ResendAsked, 1), "were limited")
		if sum.LimitedAll > 0 {
			limited += fmt.Sprintf(", %s by the limit for all strangers", number(sum.LimitedAll))
		}
		b.Tiles = append(b.Tiles, tile{"Asked", number(sum.Asked), limited})
		failed += fmt.Sprintf("; %s calls failed", number(sum.Failures))
	} else {
		funnel.Title, funnel.Note = "From mailed to verified", "How many of the codes mailed by this provider were answered, and answered correctly."
	}
	funnel.Series = append(funnel.Series,
		column("Mailed", points, func(c otpstats.Counts) int64 { return c.Sent }),
		column("Answered", points, func(c otpstats.Counts) int64 { return c.Answered }),
		column("Verified", points, func(c otpstats.Counts) int64 { return c.Verified }),
	)
	b.Tiles = append(b.Tiles,
		tile{"Mailed", number(sum.Sent), fmt.Sprintf("%s resent", number(sum.Resends))},
		tile{"Answered", number(sum.Answered), percent(share(sum.Answered, sum.Sent, 1), "of mailed")},
		tile{"Verified", number(sum.Verified), percent(share(sum.Verified, sum.Sent, 1), "of mailed")},
		tile{"Wrong codes", number(sum.Wrong), ""},
		tile{"Failed", number(sum.FailedMails), failed},
	)
	failures := q.timeline("failures", "Failures", "Mails not sent: no sender accepted them.", points)
	failures.Series = []series{column("Mails not sent", points, func(c otpstats.Counts) int64 { return c.FailedMails })}
	if trying {
		failures.Note += " Failed tries: attempts of a provider, even if another provider accepted the mail."
		failures.Series = append(failures.Series, column("Failed tries", points, func(c otpstats.Counts) int64 { return c.FailedTries }))
	}
	if asking {
		failures.Note += " System failures: calls that failed because of the store, Options.Admit, clocks or keys."
		failures.Series = append(failures.Series, column("System failures", points, func(c otpstats.Counts) int64 { return c.Failures }))
	}
	b.Charts = append(b.Charts, funnel, failures)
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
