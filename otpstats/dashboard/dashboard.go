// Package dashboard shows what an [otpstats.Stats] knows as a page: charts over time and
// by mail domain, language, purpose, app and provider, with the numbers as tables and as
// CSV behind each, and above them what needs attention. The page is made on the server
// and has no script.
//
//	board, err := dashboard.New(stats, nil)
//	...
//	mux.Handle("/admin/codes", requireAdmin(board))
//
// It has no login of its own: put it behind the application's. It names mail domains, and
// neither addresses nor clients.
package dashboard

import (
	"bytes"
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

// Options are the choices of [New]. The zero value has every default.
type Options struct {
	// Title is the heading. Default: "One-time codes".
	Title string

	// Now is the end of the ranges. It must be the clock of otpstats.Options.Now, and is called
	// concurrently. Default: time.Now.
	Now func() time.Time

	// OnError is told why a page could not be made; the reader is told only that. It is
	// called concurrently. Nil for nobody.
	OnError func(r *http.Request, err error)
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

// New returns the dashboard over stats, for the path where the application mounts
// it; opts may be nil. It is safe for concurrent use. Without stats it returns an error.
//
// The query says what is shown:
//
//	range     24h, 7d (the default), 30d, 90d or 365d
//	until     the end of the range, in UTC, such as 2006-01-02T15:04; now if there is none
//	purpose, language, domain, provider, app
//	          values as otpstats.Filter has them; all if there is none
//	csv       the table of one chart as a file; its name is the chart's id in the page
//
// A range that is not one of these counts as the default. So does, as now, an until that cannot be
// read, is in the future or is before the year 2000. Other values may be any: of what nobody
// has there is no data.
//
// The statuses are 200; 404 for a chart that there is not, 405 for methods but GET and
// HEAD, and 503 where the database fails, of which Options.OnError is told.
func New(stats *otpstats.Stats, opts *Options) (http.Handler, error) {
	if stats == nil {
		return nil, errors.New("dashboard: no stats")
	}
	h := &handler{stats: stats}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Title == "" {
		h.opts.Title = "One-time codes"
	}
	if h.opts.Now == nil {
		h.opts.Now = time.Now
	}
	return h, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	// The pictures have their styles in attributes.
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("Referrer-Policy", "no-referrer")
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
		http.Error(w, "There is no such chart.", http.StatusNotFound)
	case err != nil:
		if h.opts.OnError != nil {
			h.opts.OnError(r, err)
		}
		http.Error(w, "The numbers cannot be had now.", http.StatusServiceUnavailable)
	default:
		w.Write(body)
	}
}

var errNoChart = errors.New("dashboard: no such chart")

// answer makes the page, or the CSV file that the query asks for.
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

// separators are what a spreadsheet may split cells at, in some locales, though the file has commas:
// what follows would be a cell of its own, and a formula.
var separators = strings.NewReplacer(";", ",", "\t", " ")

// csv is the table of a chart.
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
				row[i] = "'" + cell // a spreadsheet would run it
			}
		}
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// CSV is the address of a chart's file.
func (b *board) CSV(id string) template.URL { return b.link("csv", id) }

// Style is the page's.
func (b *board) Style() template.CSS { return template.CSS(style) }
