// Package otpstats answers how people fare with mailed codes: the funnel from asking
// to verified, how long answers take, who gives up and where, which mail domains
// have trouble, and who guesses or floods. It is an [otp.Observer] that keeps what it
// is told in SQLite or PostgreSQL, through database/sql.
//
//	stats, err := otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{Key: key})
//	defer stats.Close(ctx)
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: secrets, Observer: stats})
//	...
//	rows, err := stats.Funnel(ctx, otpstats.Filter{From: weekAgo}, otpstats.Day)
//
// # Costs
//
// Observe copies an event into a bounded queue and returns; where the queue is full the
// event is dropped and counted. One goroutine writes, in batches. A database that is
// slow or down never slows or fails a check.
//
// # Privacy
//
// No address, code, ID or client is stored. Addresses, clients and challenges are
// keyed hashes of the keyed hashes in the event, under Options.Key, so that the tables can
// be joined with nothing else; beside them stand the mail domain, the kind of the
// purpose and the base language. [Stats.Prune] and [Stats.Forget] delete.
package otpstats

import (
	"context"
	"time"

	"github.com/go-mailotp/otp"
)

// Dialect is the kind of SQL that a database speaks. The zero value is none.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // version 3.35 or later
	PostgreSQL                    // version 12 or later
)

// Options are the choices of [Open]. All but Key have a default.
type Options struct {
	// Key is the secret under which addresses, clients and challenges are hashed before
	// they are stored: 16 bytes or more, required. Another key makes all that is stored
	// another person's; keep it as long as the tables.
	Key []byte

	// Prefix is what the names of the tables begin with, if need be after that of a
	// schema and a dot. Default: "otp_stats_". Letters, digits and _, at most 40 in each part.
	Prefix string

	// Unmigrated says that the tables are there already, made from [Schema]; else
	// Open makes those that are missing.
	Unmigrated bool

	// App names the client app that a request comes from, such as "ios". It is called
	// by Observe, so it must be quick and safe for concurrent use, and its panic is the caller's.
	// Nil for no names.
	App func(ctx context.Context) string

	// Now is the clock for retention, for what is over and for the rules. Nil means
	// time.Now. It must be safe for concurrent use. Whoever replays or simulates events gives their clock: it is never ahead of what was
	// observed, nor more than a minute behind, since an event further ahead of it is kept as of now.
	Now func() time.Time

	// Queue is how many events may wait to be written, some 300 bytes each. 0 means
	// 16384; negative is an error.
	Queue int

	// Batch is how many events are written in one transaction at most. 0 means 1000;
	// negative is an error.
	Batch int

	// Interval is how long an event waits for others before it is written. 0 means one
	// second; negative is an error.
	Interval time.Duration

	// KeepEvents is how long single events are kept. 0 means 30 days; negative, and
	// less than a day, is an error.
	KeepEvents time.Duration

	// KeepRollups is how long the counts per hour are kept, and the anomalies. 0 means
	// 400 days, or KeepEvents if that is more; less than KeepEvents is an error.
	KeepRollups time.Duration

	// Over is how long after it was opened a challenge that was not passed counts as
	// given up. It should be an hour more than the longest TTL of a code. 0 means two
	// hours; negative is an error.
	Over time.Duration

	// OnError is told each failure of the database in the writer, which tries again, and of a
	// call of Mail with no known outcome. It holds no address. Nil for nobody. It is called by the writer,
	// which it must not hold up, and must not call Flush, Close or Forget.
	OnError func(error)

	// OnAnomaly is told of each anomaly at most once, when it begins; see [Rules]. With several
	// processes on one database it is one of them that is told, and nobody if just that one ends
	// between storing and telling: [Stats.Anomalies] has them all. Nil for nobody; the
	// anomalies are found and stored all the same. It is called by the writer,
	// which it must not hold up, and must not call Flush, Close or Forget. If it panics, OnError is told.
	OnAnomaly func(Anomaly)

	// OnCalm is told of each anomaly at most once, when it is over: with its Until, and else as it
	// began. All that is said of OnAnomaly holds for it.
	OnCalm func(Anomaly)

	// Rules say what is an anomaly. The zero value has every default.
	Rules Rules
}

// Mail outcomes for [Stats.Mail]. The values are those of otp.Outcome.
const (
	MailSent    = "sent"    // the provider took it
	MailUnknown = "unknown" // it may have gone out or not; counts as sent
	MailRefused = "refused" // for good: no provider will be asked any more
	MailExpired = "expired" // the code ended first
	MailDropped = "dropped" // the queue was closed first
	MailDelayed = "delayed" // a temporary failure: it will be tried again; changes no count
	MailFailed  = "failed"  // this attempt, for good or not: another provider may take it
)

var _ otp.Observer = (*Stats)(nil)
