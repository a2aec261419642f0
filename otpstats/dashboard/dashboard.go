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
	"net/url"
	"strings"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

// Options are the choices of [New]. The zero value has every default.
type Options struct {
	// Title is the heading. Default: "One-time codes".
	Title string

	// Now is the end of the ranges. Default: time.Now.
	Now func() time.Time

	// OnError is told why a page could not be made; the reader is told only that. Nil
	// for nobody.
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
// it; opts may be nil. It is safe for concurrent use and answers GET and HEAD.
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

// csv is the table of a chart.
func (c *chart) csv() ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	head := []string{c.First}
	for _, s := range c.Series {
		head = append(head, s.Name)
	}
	rows := [][]string{head}
	for _, r := range c.Rows() {
		rows = append(rows, append([]string{r.Label}, r.Raw...))
	}
	for _, row := range rows {
		for i, cell := range row {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "+") || strings.HasPrefix(cell, "-") || strings.HasPrefix(cell, "@") {
				row[i] = "'" + cell // a spreadsheet would run it
			}
		}
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// CSV is the address of a chart's file.
func (b *board) CSV(id string) template.URL { return b.link("csv", id) }

// link is this page's address with one parameter changed.
func (b *board) link(name, value string) template.URL {
	query := url.Values{}
	for _, f := range b.Filters {
		for _, c := range f.Choices {
			if c.Chosen && c.Value != "" {
				query.Set(f.Name, c.Value)
			}
		}
	}
	query.Set(name, value)
	return template.URL("?" + query.Encode())
}

// Style is the page's.
func (b *board) Style() template.CSS { return template.CSS(style) }
