// Package promql_test parses the queries of the Grafana dashboard of otpotel
// with the parser of Prometheus. It is here because that parser's module
// requires very many others, which users of otpotel should not see in go.sum.
package promql_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// variables are what Grafana inserts.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$purpose", "login|pay")

func parse(query string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(query))
}

// Prometheus accepts every query of the dashboard, and each returns a vector,
// which a panel can draw.
func TestGrafana(t *testing.T) {
	raw, err := os.ReadFile("../../../otpotel/grafana.json")
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	queries := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries++
			expr, err := parse(target.Expr)
			require.NoError(t, err, "%s: %s", p.Title, target.Expr)
			require.Equal(t, parser.ValueTypeVector, expr.Type(), p.Title)
		}
	}
	require.GreaterOrEqual(t, queries, 24)
}

// The parser finds what a search for names does not.
func TestParse_refuses(t *testing.T) {
	for _, query := range []string{
		`sum(rate(otp_events_total{otp_event="sent"}))`,
		`sum by (otp_event (rate(otp_events_total[$__rate_interval]))`,
		`histogram_quantile(sum by (le) (rate(otp_answer_age_seconds_bucket[5m])))`,
		`otp_events_total{otp_purpose=~"$purpose"}[$__interval]`,
		`otp_events_total{otp_purpose=~"("}`,
	} {
		_, err := parse(query)
		require.Error(t, err, query)
	}
}
