package otpstats

import (
	"context"
	"database/sql"
	"time"
)

// The kinds of rows in the table of spreads. The rows of an hour are created
// once it has ended, since counts of distinct values cannot be added up.
const (
	spreadDone     = iota // the rows of this hour exist
	spreadClients         // a client and its number of addresses
	spreadAddress         // an address and its number of clients
	spreadUnsolved        // the number of addresses with only wrong guesses
)

// The minimum size of a spread.
const (
	minAddresses = 5
	minClients   = 3
)

type spread struct {
	kind int
	Spread
}

// keepSpreads creates the rows of all hours that ended five minutes ago or
// earlier.
func (s *Stats) keepSpreads(ctx context.Context, now int64) error {
	end := (now - 5*60000) / hourMs * hourMs
	for {
		from, err := s.spreadsEnd(ctx)
		if err != nil || from < 0 || from >= end {
			return err
		}
		spreads, err := s.spreadsOf(ctx, from)
		if err != nil {
			return err
		}
		rows := [][]any{{from / 1000, spreadDone, "", int64(0), int64(0)}}
		for _, p := range spreads {
			rows = append(rows, []any{from / 1000, p.kind, p.Subject, p.Count, p.Asked})
		}
		err = s.update(ctx, func(tx *sql.Tx) error {
			return s.insert(ctx, tx, "INSERT INTO {p}spreads (hour, kind, subject, count, asked)", rows,
				" ON CONFLICT (hour, kind, subject) DO UPDATE SET count = excluded.count, asked = excluded.asked")
		})
		if err != nil {
			return err
		}
	}
}

// spreadsEnd returns the first hour that has events and no rows yet, or -1.
func (s *Stats) spreadsEnd(ctx context.Context) (int64, error) {
	var last, first sql.NullInt64
	// Ignore hours that were created while a clock was ahead.
	err := s.db.QueryRowContext(ctx, s.sql.text("SELECT max(hour) FROM {p}spreads WHERE hour <= ?"), s.opts.Now().Unix()).Scan(&last)
	if err != nil {
		return 0, err
	}
	from := int64(0)
	if last.Valid {
		from = last.Int64*1000 + hourMs
	}
	err = s.db.QueryRowContext(ctx, s.sql.text("SELECT min(time) FROM {p}events WHERE time >= ?"), from).Scan(&first)
	if err != nil || !first.Valid {
		return -1, err
	}
	return first.Int64 / hourMs * hourMs, nil
}

// spreadsOf computes the spreads of one hour from the events.
func (s *Stats) spreadsOf(ctx context.Context, from int64) (all []spread, err error) {
	for _, q := range []struct {
		kind int
		text string
		args []any
	}{
		{spreadClients, `SELECT client, count(DISTINCT address), count(*) FROM {p}events WHERE time >= ? AND time < ? AND kind = ? AND client IS NOT NULL
			GROUP BY client HAVING count(DISTINCT address) >= ? ORDER BY 2 DESC LIMIT 50`, []any{int(kindAsked), minAddresses}},
		{spreadAddress, `SELECT address, count(DISTINCT client), count(*) FROM {p}events WHERE time >= ? AND time < ? AND kind = ? AND address IS NOT NULL
			GROUP BY address HAVING count(DISTINCT client) >= ? ORDER BY 2 DESC LIMIT 50`, []any{int(kindAsked), minClients}},
		{
			spreadUnsolved, `SELECT NULL, count(*), coalesce(sum(wrongs), 0) FROM (SELECT count(*) AS wrongs FROM {p}events
			WHERE time >= ? AND time < ? AND kind IN (?, ?) AND address IS NOT NULL GROUP BY address HAVING max(CASE kind WHEN ? THEN 1 ELSE 0 END) = 0) AS unsolved`,
			[]any{int(kindWrong), int(kindVerified), int(kindVerified)},
		},
	} {
		rows, err := s.query(ctx, s.db, q.text, append([]any{from, from + hourMs}, q.args...)...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			p := spread{kind: q.kind, Spread: Spread{Hour: time.UnixMilli(from).UTC()}}
			var subject []byte
			if err := rows.Scan(&subject, &p.Count, &p.Asked); err != nil {
				rows.Close()
				return nil, err
			}
			p.Subject = hashOf(subject).String()
			if p.Count > 0 {
				all = append(all, p)
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// spreads returns the spreads of a range, from the table or computed.
func (s *Stats) spreads(ctx context.Context, from, to int64) (all []spread, err error) {
	rows, err := s.query(ctx, s.db, "SELECT hour, kind, subject, count, asked FROM {p}spreads WHERE hour >= ? AND hour < ? AND kind > 0", from/1000, to/1000)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p spread
		var hour int64
		if err := rows.Scan(&hour, &p.kind, &p.Subject, &p.Count, &p.Asked); err != nil {
			return nil, err
		}
		p.Hour = time.Unix(hour, 0).UTC()
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	open, err := s.spreadsEnd(ctx)
	if err != nil || open < 0 {
		return all, err
	}
	// There are more than a few open hours only while the writer catches up.
	for hour := max(open, from, to-6*hourMs); hour < to; hour += hourMs {
		found, err := s.spreadsOf(ctx, hour)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
