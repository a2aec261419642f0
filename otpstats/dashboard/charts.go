package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// chart is one chart and its table.
type chart struct {
	ID      string // in the page and in links
	Title   string
	Note    string   // how to read it
	First   string   // the title of the first column
	Labels  []string // titles of the rows
	Axis    []string // shorter labels for the chart; nil means Labels
	Series  []series // the columns
	Percent bool     // values are shares, except in a series with Count
	Unit    string   // follows each number in the table
	Bars    bool     // horizontal bars instead of lines over time
	Nothing string   // shown if there is no data; empty means the default text

	Wide, Narrow template.HTML // SVG for wide and for narrow screens
}

type series struct {
	Name   string
	Values []float64 // NaN if there is none
	Count  bool      // only in the table
	Texts  []string  // instead of Values, only in the table
}

// None returns the text that is shown instead of an empty chart.
func (c *chart) None() string { return cmp.Or(c.Nothing, "No data in this period.") }

// Legend returns the names of the colors.
func (c *chart) Legend() (names []string) {
	for _, s := range c.Series {
		if !s.Count {
			names = append(names, s.Name)
		}
	}
	if len(names) == 1 && c.Bars {
		return nil
	}
	return names
}

// row is a row of the table.
type row struct {
	Label      string
	Cells, Raw []string // for people and for programs
}

// Rows returns the rows of the table.
func (c *chart) Rows() []row {
	rows := make([]row, len(c.Labels))
	for i, label := range c.Labels {
		rows[i].Label = label
		for _, s := range c.Series {
			if s.Texts != nil {
				rows[i].Cells, rows[i].Raw = append(rows[i].Cells, s.Texts[i]), append(rows[i].Raw, s.Texts[i])
				continue
			}
			v := s.Values[i]
			raw := ""
			if !math.IsNaN(v) {
				raw = strconv.FormatFloat(v, 'f', -1, 64)
			}
			rows[i].Cells, rows[i].Raw = append(rows[i].Cells, c.cell(v, s.Count)), append(rows[i].Raw, raw)
		}
	}
	return rows
}

// The library writes these colors into the SVG. They are replaced by CSS
// variables, so that the same chart works in light and dark mode.
var (
	textColor = charts.Color{R: 1, G: 1, B: 1, A: 255}
	gridColor = charts.Color{R: 2, G: 2, B: 2, A: 255}
	axisColor = charts.Color{R: 3, G: 3, B: 3, A: 255}
	variables = strings.NewReplacer(
		"rgb(1,1,1)", "var(--text)", "rgb(2,2,2)", "var(--grid)", "rgb(3,3,3)", "var(--axis)",
		"rgb(10,0,0)", "var(--s1)", "rgb(11,0,0)", "var(--s2)", "rgb(12,0,0)", "var(--s3)", "rgb(13,0,0)", "var(--s4)", "rgb(14,0,0)", "var(--s5)",
		"'Roboto Medium',sans-serif", "inherit", "<svg ", `<svg aria-hidden="true" `,
	)
	theme = charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: axisColor, AxisSplitLineColor: gridColor, BackgroundColor: charts.ColorTransparent, TextColor: textColor,
		TextColorTitle: textColor, TextColorMark: textColor, TextColorLabel: textColor, TextColorLegend: textColor, TextColorXAxis: textColor, TextColorYAxis: textColor,
		SeriesColors: []charts.Color{{R: 10, A: 255}, {R: 11, A: 255}, {R: 12, A: 255}, {R: 13, A: 255}, {R: 14, A: 255}},
	})
)

// drawAll draws the chart for wide and for narrow screens.
func (c *chart) drawAll() (err error) {
	if c.Empty() {
		return nil
	}
	if c.Wide, err = c.draw(760); err == nil {
		c.Narrow, err = c.draw(400)
	}
	return err
}

// Empty reports whether there is nothing to draw. A line of shares at 0 is not
// empty: it means a lot.
func (c *chart) Empty() bool {
	for _, s := range c.Series {
		for _, v := range s.Values {
			if !math.IsNaN(v) && (v != 0 || c.Percent && !c.Bars) {
				return false
			}
		}
	}
	return true
}

func (c *chart) draw(width int) (template.HTML, error) {
	var values [][]float64
	var alone []bool
	for _, s := range c.Series {
		if s.Count {
			continue
		}
		known := slices.Clone(s.Values)
		for i, v := range known {
			if math.IsNaN(v) {
				known[i] = charts.GetNullValue()
			}
		}
		values, alone = append(values, known), append(alone, hasLonePoint(s.Values))
	}
	labels := c.Axis
	if labels == nil {
		for _, l := range c.Labels {
			l = cut(l, width/20)
			labels = append(labels, l+strings.Repeat(" ", 1+len(l)/6)) // the font of the page may be wider than the library's
		}
	}
	most, count := 1.0, 6
	if !c.Percent {
		most, count = roundAxis(values)
	}
	height := 250
	if c.Bars {
		height = 40 + 26*len(labels)*max(1, len(values))*3/4
	}
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	font := charts.NewFontStyleWithSize(11)
	legend := charts.LegendOption{Show: charts.Ptr(false)} // the legend of the page can wrap
	var err error
	if c.Bars {
		slices.Reverse(labels) // the library begins at the bottom
		for _, v := range values {
			slices.Reverse(v)
		}
		o := charts.NewBarChartOptionWithData(values)
		o.Theme, o.Legend, o.Horizontal, o.ValueFormatter = theme, legend, true, c.format
		o.CategoryAxis.Labels, o.CategoryAxis.LabelFontStyle = labels, font
		for i := range o.SeriesList { // each bar shows its number, so no axis is needed
			o.SeriesList[i].Label = charts.SeriesLabel{Show: charts.Ptr(true), ValueFormatter: func(v float64) string { return c.cell(v, false) }, FontStyle: font}
		}
		most *= 1.2 // room for the number
		o.ValueAxis = []charts.ValueAxisOption{{Show: charts.Ptr(false), Min: charts.Ptr(0.0), Max: &most, RangeValuePaddingScale: charts.Ptr(0.0)}}
		err = painter.BarChart(o)
	} else {
		o := charts.NewLineChartOptionWithData(values)
		o.Theme, o.Legend, o.LineStrokeWidth, o.ValueFormatter = theme, legend, 2, c.format
		o.Symbol = charts.Symbol{Shape: charts.SymbolNone}
		for i := range o.SeriesList {
			if alone[i] {
				o.SeriesList[i].Symbol = charts.Symbol{Shape: charts.SymbolDot, Size: 2.5}
			}
		}
		o.XAxis.Labels, o.XAxis.LabelFontStyle, o.XAxis.LabelCount = labels, font, labelCount(width, labels)
		o.XAxis.BoundaryGap = charts.Ptr(len(labels) == 1) // otherwise the last two labels may touch
		o.YAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), Max: &most, RangeValuePaddingScale: charts.Ptr(0.0), LabelFontStyle: font, LabelCount: count}}
		err = painter.LineChart(o)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Title, err)
	}
	svg, err := painter.Bytes()
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Title, err)
	}
	return template.HTML(variables.Replace(string(svg))), nil
}

// labelCount returns how many labels fit on an axis. Each label begins at its
// tick, except the last, which ends there, so there must be room for two.
func labelCount(width int, labels []string) int {
	longest := 0
	for _, l := range labels {
		longest = max(longest, len(l))
	}
	return max(2, 1+(width-80)/(16*longest+16))
}

// hasLonePoint reports whether a line has a point without neighbors, which
// would be invisible.
func hasLonePoint(values []float64) bool {
	known := func(i int) bool { return i >= 0 && i < len(values) && !math.IsNaN(values[i]) }
	for i := range values {
		if known(i) && !known(i-1) && !known(i+1) {
			return true
		}
	}
	return false
}

// cut shortens a long name in the middle, since its ends say the most. The
// table has the full name.
func cut(name string, most int) string {
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	return string(runes[:most/2]) + "…" + string(runes[len(runes)-(most-1)/2:])
}

// format formats a number on an axis.
func (c *chart) format(v float64) string {
	if c.Percent {
		return fmt.Sprintf("%.0f%%", v*100)
	}
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if v >= unit.size {
			return strconv.FormatFloat(v/unit.size, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// roundAxis returns the end of an axis for the values, and how many labels it
// needs to have round, whole numbers.
func roundAxis(values [][]float64) (most float64, labels int) {
	for _, v := range values {
		for _, x := range v {
			if x != charts.GetNullValue() {
				most = max(most, x)
			}
		}
	}
	for step := 1.0; ; step *= 10 {
		for _, s := range []float64{step, 2 * step, 5 * step} {
			if n := math.Ceil(most / s); n <= 5 {
				return n * s, int(n) + 1
			}
		}
	}
}

// cell formats a number in a table.
func (c *chart) cell(v float64, count bool) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case c.Percent && !count:
		return fmt.Sprintf("%.1f %%", v*100)
	}
	return fmt.Sprintf("%.0f%s", v, c.Unit)
}
