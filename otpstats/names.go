package otpstats

import (
	"context"
	"strings"
	"time"
)

const (
	hourMs = int64(time.Hour / time.Millisecond)
	dayMs  = 24 * hourMs
)

// names bounds how many values of a dimension are stored per day. Values with a
// verified challenge have slots that strangers who invent new ones cannot take.
type names struct {
	slots  int              // for the proven values, and again for the new ones of a day
	proven map[string]int64 // the day when a value was last verified
	today  map[string]bool
	dayOf  int64
}

var slotsOf = map[Dimension]int{Purpose: 30, Language: 40, Domain: 250, Provider: 30, App: 30}

func newNames() map[Dimension]*names {
	all := map[Dimension]*names{}
	for d, n := range slotsOf {
		all[d] = &names{slots: n, proven: map[string]int64{}, today: map[string]bool{}}
	}
	return all
}

// bounded returns name, or Other if there is no slot for it. right means that
// the name comes from a verified challenge.
func (n *names) bounded(name string, day int64, right bool) string {
	if name == "" || name == Other {
		return name
	}
	if day > n.dayOf {
		n.dayOf = day
		clear(n.today)
	}
	last, proven := n.proven[name]
	if right && (!proven || last < day) && (proven || n.room(day)) {
		n.proven[name] = day
	}
	if proven || n.today[name] {
		return name
	}
	if len(n.today) >= n.slots {
		return Other
	}
	n.today[name] = true
	return name
}

// learn gives the names of a verified challenge their slots.
func (s *Stats) learn(e *event) {
	day := e.time / dayMs
	for d, name := range map[Dimension]string{Purpose: e.purpose, Language: e.language, Domain: e.domain, App: e.app} {
		s.names[d].bounded(name, day, true)
	}
}

// room reports whether there is a free slot for a proven name. If need be, it
// takes the slot of one that was not verified for a week.
func (n *names) room(day int64) bool {
	if len(n.proven) < n.slots {
		return true
	}
	for name, last := range n.proven {
		if last < day-7 {
			delete(n.proven, name)
			return true
		}
	}
	return false
}

// clean makes a text acceptable to every database.
func clean(s string) string {
	if len(s) > 128 {
		return Other
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, strings.ToValidUTF8(s, ""))
		}
	}
	return s
}

// language returns the base language of a locale, or of the first one in a list:
// "pt" for "pt-BR,en".
func language(locale string) string {
	end := strings.IndexAny(locale, ",;-_.@")
	if end < 0 {
		end = len(locale)
	}
	base := strings.ToLower(locale[:end])
	if base == "" && locale == "" {
		return ""
	}
	if len(base) < 2 || len(base) > 3 || strings.Trim(base, "abcdefghijklmnopqrstuvwxyz") != "" {
		return Other
	}
	return base
}

// seedNames gives the names of the last week their slots.
func (s *Stats) seedNames(ctx context.Context, now time.Time) error {
	today := now.UnixMilli() / dayMs
	for d, n := range s.names {
		rows, err := s.query(ctx, s.db, `SELECT `+dimensionColumns[d]+`, max(time), sum(verified) FROM {p}rollups
			WHERE grain = ? AND time >= ? GROUP BY 1 ORDER BY 3 DESC`, grainDay+int(d), (today-7)*86400)
		if err != nil {
			return err
		}
		for rows.Next() {
			var name string
			var last, right int64
			if err := rows.Scan(&name, &last, &right); err != nil {
				rows.Close()
				return err
			}
			day := last / 86400
			switch {
			case name == "" || name == Other:
			case (right > 0 || d == Provider) && len(n.proven) < n.slots:
				n.proven[name] = day
			case day == today && len(n.today) < n.slots:
				n.today[name], n.dayOf = true, today
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
