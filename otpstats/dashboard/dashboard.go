// Package dashboard shows the numbers of an [otpstats.Stats] as a web page. At
// the top is what needs attention. Below are charts over time and by mail
// domain, language, purpose, app and provider, each with its numbers as a table
// and as a CSV file. The page is rendered on the server and has no script.
//
//	board, err := dashboard.New(stats, nil)
//	...
//	mux.Handle("/admin/codes", requireAdmin(board))
//
// It has no login: protect it with that of your application. It shows mail
// domains, but neither addresses nor clients.
//
// Like package otpstats, it is experimental until version 1: it may change in a
// minor version.
package dashboard

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

// Options configure [New]. The zero value means all defaults.
type Options struct {
	// Title is the heading of the page. Default: "One-time codes".
	Title string

	// Now returns the time at which ranges end by default. It must be the same
	// clock as otpstats.Options.Now and safe for concurrent use. Nil means
	// time.Now.
	Now func() time.Time

	// OnError receives the reason why a page could not be rendered; the reader
	// sees only that it failed. It is called with the context of the request
	// and must be safe for concurrent use. Nil disables it.
	OnError func(ctx context.Context, err error)
}

//go:embed page.html.tmpl
var pageSource string

//go:embed style.css
var style string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// handler serves the page and the CSV files.
type handler struct {
	stats *otpstats.Stats
	opts  Options
}

// New returns the dashboard over stats. Mount it at any path. It is safe for
// concurrent use. A nil opts means all defaults; it is an error if stats is
// nil.
//
// Query parameters select what the page shows:
//
//	range     24h, 7d (the default), 30d, 90d or 365d
//	until     the end of the range in UTC, such as 2006-01-02T15:04; by default now
//	purpose, language, domain, provider, app
//	          values of otpstats.Filter; by default all
//	csv       the ID of a chart in the page: returns its table as a CSV file
//
// An invalid range means the default. An until that is invalid, in the future
// or before the year 2000 means now. Other values may be anything; there is no
// data for values that do not exist.
//
// The status is 200, 404 for an unknown chart, 405 for methods other than GET
// and HEAD, or 503 if the database fails, which Options.OnError receives.
func New(stats *otpstats.Stats, opts *Options) (http.Handler, error) {
	if stats == nil {
		return nil, errors.New("dashboard: New: stats is nil")
	}
	h := &handler{stats: stats}
	if opts != nil {
		h.opts = *opts
	}
	h.opts.Title = cmp.Or(h.opts.Title, "One-time codes")
	if h.opts.Now == nil {
		h.opts.Now = time.Now
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	// The charts are SVG with style attributes.
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	body, err := h.answer(r, header)
	switch {
	case errors.Is(err, errNoChart):
		http.Error(w, "Chart not found.", http.StatusNotFound)
	case err != nil:
		if h.opts.OnError != nil {
			h.opts.OnError(r.Context(), err)
		}
		http.Error(w, "The numbers are not available right now.", http.StatusServiceUnavailable)
	default:
		w.Write(body)
	}
}

var errNoChart = errors.New("dashboard: chart not found")

// answer renders the page, or the CSV file that the query asks for.
func (h *handler) answer(r *http.Request, header http.Header) ([]byte, error) {
	b, err := h.board(r.Context(), r.URL.Query())
	if err != nil {
		return nil, err
	}
	if id := r.URL.Query().Get("csv"); id != "" {
		for _, c := range b.Charts {
			if c.ID == id {
				header.Set("Content-Type", "text/csv; charset=utf-8")
				header.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", id+".csv"))
				return c.csv()
			}
		}
		return nil, errNoChart
	}
	for _, c := range b.Charts {
		if err := c.drawAll(); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, b); err != nil {
		return nil, err
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	return out.Bytes(), nil
}

// separators replaces characters at which spreadsheets split cells in some
// locales, although the file uses commas: the rest would be a separate cell,
// and could be a formula.
var separators = strings.NewReplacer(";", ",", "\t", " ")

// csv returns the table of a chart as a CSV file.
func (c *chart) csv() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	head := []string{c.First}
	for _, s := range c.Series {
		name := s.Name
		if c.Unit != "" {
			name += " (" + strings.TrimSpace(c.Unit) + ")"
		}
		head = append(head, name)
	}
	rows := [][]string{head}
	for _, r := range c.Rows() {
		rows = append(rows, append([]string{r.Label}, r.Raw...))
	}
	for _, row := range rows {
		for i, cell := range row {
			cell = separators.Replace(cell)
			row[i] = cell
			if strings.IndexAny(strings.TrimSpace(cell), "=+-@＝＋－＠") == 0 {
				row[i] = "'" + cell // a spreadsheet would evaluate it
			}
		}
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// CSV returns the URL of a chart's file.
func (b *board) CSV(id string) template.URL { return b.link("csv", id) }

// Style returns the style sheet.
func (b *board) Style() template.CSS { return template.CSS(style) }
