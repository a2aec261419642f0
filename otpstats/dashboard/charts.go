package dashboard

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"
)

// chart is one picture with what a table says in numbers.
type chart struct {
	ID      string // in links
	Title   string
	Note    string   // how to read it
	First   string   // the head of the first column
	Labels  []string // of the rows
	Axis    []string // shorter labels for the picture; nil for Labels
	Series  []series // the columns
	Percent bool     // values are shares, but for those of a series that counts
	Unit    string   // after each number in the table
	Bars    bool     // horizontal bars in place of lines over time

	Wide, Narrow template.HTML // the pictures
}

type series struct {
	Name   string
	Values []float64 // NaN for none
	Count  bool      // numbers for the table only
}

// row is one of the table.
type row struct {
	Label      string
	Cells, Raw []string // for people, for programs
}

// Rows is the table.
func (c *chart) Rows() []row {
	rows := make([]row, len(c.Labels))
	for i, label := range c.Labels {
		rows[i].Label = label
		for _, s := range c.Series {
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

// Colors that the library writes into the picture and that become CSS variables,
// so that one picture is right in the light and in the dark.
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

// drawAll makes the pictures for wide and for narrow screens.
func (c *chart) drawAll() (err error) {
	if c.Empty() {
		return nil
	}
	if c.Wide, err = c.draw(760); err == nil {
		c.Narrow, err = c.draw(400)
	}
	return err
}

// Empty reports whether there is nothing to draw.
func (c *chart) Empty() bool {
	for _, s := range c.Series {
		for _, v := range s.Values {
			if !math.IsNaN(v) && v != 0 {
				return false
			}
		}
	}
	return true
}

func (c *chart) draw(width int) (template.HTML, error) {
	var values [][]float64
	var names []string
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
		values, names = append(values, known), append(names, s.Name)
	}
	labels := c.Axis
	if labels == nil {
		labels = slices.Clone(c.Labels)
	}
	var most *float64
	if c.Percent {
		most = charts.Ptr(1.0)
	}
	height := 280
	if c.Bars {
		height = 70 + 26*len(labels)*max(1, len(values))*3/4
	}
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	font := charts.NewFontStyleWithSize(11)
	legend := charts.LegendOption{SeriesNames: names, FontStyle: font, Show: charts.Ptr(len(names) > 1)}
	var err error
	if c.Bars {
		slices.Reverse(labels) // the library begins at the bottom
		for _, v := range values {
			slices.Reverse(v)
		}
		o := charts.NewBarChartOptionWithData(values)
		o.Theme, o.Legend, o.Horizontal, o.ValueFormatter = theme, legend, true, c.format
		o.CategoryAxis.Labels, o.CategoryAxis.LabelFontStyle = labels, font
		o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), Max: most, RangeValuePaddingScale: charts.Ptr(0.0), LabelFontStyle: font, LabelCount: 5}}
		err = painter.BarChart(o)
	} else {
		o := charts.NewLineChartOptionWithData(values)
		o.Theme, o.Legend, o.LineStrokeWidth, o.ValueFormatter = theme, legend, 2, c.format
		o.Symbol = charts.Symbol{Shape: charts.SymbolNone}
		o.XAxis.Labels, o.XAxis.LabelFontStyle, o.XAxis.LabelCount = labels, font, width/90
		o.YAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), Max: most, RangeValuePaddingScale: charts.Ptr(0.0), LabelFontStyle: font, LabelCount: 6}}
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

// format is a number on an axis.
func (c *chart) format(v float64) string {
	if c.Percent {
		return fmt.Sprintf("%.0f%%", v*100)
	}
	return charts.FormatValueHumanizeShort(v, 1, false)
}

// cell is a number in a table.
func (c *chart) cell(v float64, count bool) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case c.Percent && !count:
		return fmt.Sprintf("%.1f %%", v*100)
	}
	return fmt.Sprintf("%.0f%s", v, c.Unit)
}
