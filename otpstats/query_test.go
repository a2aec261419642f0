package otpstats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// From and To are rounded to hours, and to days where the range is long.
func TestFilter_range(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	s := &Stats{opts: Options{Now: func() time.Time { return now }}}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, time.UTC) }
	for name, test := range map[string]struct {
		filter   Filter
		by       Dimension
		from, to time.Time
		long     bool
	}{
		"none":          {Filter{}, None, at(24, 12, 0), at(31, 13, 0), false},
		"full hours":    {Filter{From: at(1, 5, 0), To: at(1, 6, 0)}, None, at(1, 5, 0), at(1, 6, 0), false},
		"parts of them": {Filter{From: at(1, 5, 59), To: at(1, 6, 1)}, None, at(1, 5, 0), at(1, 7, 0), false},
		"14 days":       {Filter{From: at(1, 5, 0), To: at(15, 5, 0)}, None, at(1, 5, 0), at(15, 5, 0), false},
		"more":          {Filter{From: at(1, 5, 0), To: at(15, 5, 1)}, Day, at(1, 0, 0), at(16, 0, 0), true},
		"full days":     {Filter{From: at(1, 0, 0), To: at(31, 0, 0)}, App, at(1, 0, 0), at(31, 0, 0), true},
		"by the hour":   {Filter{From: at(1, 5, 0), To: at(31, 5, 1)}, Hour, at(1, 5, 0), at(31, 6, 0), false},
		"elsewhere":     {Filter{From: at(1, 5, 30).In(time.FixedZone("", 1800)), To: at(1, 6, 0)}, None, at(1, 5, 0), at(1, 6, 0), false},
	} {
		sc := s.scope(test.filter, test.by)
		require.Equal(t, []any{test.from, test.to, test.long}, []any{sc.from, sc.to, sc.long}, name)
	}
}
