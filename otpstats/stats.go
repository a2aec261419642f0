package otpstats

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/go-mailotp/otp"
)

// Stats takes events and answers questions about them. It must be made by [Open] and is
// safe for concurrent use. Several processes may use the same tables in PostgreSQL;
// a file of SQLite is for one.
type Stats struct{}

var errTodo = errors.New("otpstats: not built yet")

// Open makes the tables in db if need be, and starts the goroutine that writes, which
// [Stats.Close] ends. The db stays the caller's, who closes it after that.
func Open(ctx context.Context, db *sql.DB, d Dialect, opts *Options) (*Stats, error) {
	return &Stats{}, nil
}

// Schema returns the SQL that makes the tables and indexes where they are missing, for
// those who migrate with a tool of their own: statements that end with a semicolon. An empty prefix
// is the default one.
func Schema(d Dialect, prefix string) (string, error) { return "", errTodo }

// Observe takes an event and never waits. It is for [otp.Options].Observer.
// An [otp.EventForgotten] does what [Stats.Forget] does.
func (s *Stats) Observe(ctx context.Context, e otp.Event) {}

// Mail says what became of a mail, by the ID in otp.Event.Message: for the functions that
// relay.Failover and relay.Queue report to. It may come before or after the event of
// the send, and never waits. Provider may be empty; outcome is one of those above, and
// others are ignored.
func (s *Stats) Mail(message, provider, outcome string) {}

// Dropped is how many events were lost since Open: the queue was full, or Close had no
// time for them.
func (s *Stats) Dropped() int64 { return 0 }

// Flush waits until all that was observed before the call is written and
// the rules have seen it. It returns the error of ctx.
func (s *Stats) Flush(ctx context.Context) error { return nil }

// Close writes what waits and ends the writer. When ctx ends first, the rest is
// dropped and the error of ctx returned. Further events are dropped. It may be called more than once.
func (s *Stats) Close(ctx context.Context) error { return nil }

// Prune deletes what is older at now than Options.KeepEvents and KeepRollups say. The writer does so
// once an hour by itself.
func (s *Stats) Prune(ctx context.Context, now time.Time) error { return errTodo }

// Forget erases what is stored about one address, by the AddressHash of its events:
// single events, challenges and anomalies. Counts without a name stay. What other
// processes still have in their queues is not reached.
func (s *Stats) Forget(ctx context.Context, address otp.Hash) error { return errTodo }

// Funnel counts what happened, one row for each value of the dimension that has any:
// Hour and Day in the order of time, the others by Asked and Sent, the most first.
func (s *Stats) Funnel(ctx context.Context, f Filter, by Dimension) ([]FunnelRow, error) {
	return nil, errTodo
}

// AnswerTimes tells how long people take from the opening of a challenge to the right answer.
func (s *Stats) AnswerTimes(ctx context.Context, f Filter) (AnswerTimes, error) {
	return AnswerTimes{}, errTodo
}

// Guesses tells how many wrong guesses and resends come before a right answer.
func (s *Stats) Guesses(ctx context.Context, f Filter) (Guesses, error) { return Guesses{}, errTodo }

// GaveUp tells at which step people leave.
func (s *Stats) GaveUp(ctx context.Context, f Filter) (Steps, error) { return Steps{}, errTodo }

// FallenDomains tells which mail domains had fewer right answers in a stretch of the range than
// at all other times, by the numbers of Rules.Delivery; the most certain first.
func (s *Stats) FallenDomains(ctx context.Context, f Filter) ([]FallenDomain, error) {
	return nil, errTodo
}

// Abuse tells of guessing and flooding. The counts of the hours heed the whole filter, all else
// only its range.
func (s *Stats) Abuse(ctx context.Context, f Filter) (Abuse, error) { return Abuse{}, errTodo }

// Anomalies returns those that began or lasted in the range, the latest first, at
// most 200. Of the filter, only the range counts.
func (s *Stats) Anomalies(ctx context.Context, f Filter) ([]Anomaly, error) { return nil, errTodo }

// Dimensions returns the values that filters can choose in the range.
func (s *Stats) Dimensions(ctx context.Context, f Filter) (Names, error) { return Names{}, errTodo }
