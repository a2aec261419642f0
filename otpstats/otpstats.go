// Package otpstats measures how well mailed codes work for people: the funnel
// from asking for a code to being verified, how long answers take, where people
// give up, which mail domains have trouble, and who guesses or floods. Its
// [Stats] is an [otp.Observer] that stores events in SQLite or PostgreSQL,
// through database/sql.
//
//	stats, err := otpstats.Open(ctx, db, otpstats.SQLite, &otpstats.Options{Key: key})
//	defer stats.Close(ctx)
//	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: secrets, Observer: stats})
//	...
//	rows, err := stats.Funnel(ctx, otpstats.Filter{From: weekAgo}, otpstats.Day)
//
// The package is experimental until version 1: its API and its tables may
// change in a minor version.
//
// # Costs
//
// Observe copies an event into a bounded queue and returns. What strangers can
// cause as often as they like, such as input that is not a code or requests
// beyond a rate limit, is only added up in memory: it costs no row each and
// cannot fill the queue. If the queue is full nevertheless, the event is dropped
// and counted, which is an anomaly: [EventsLost]. One goroutine writes in
// batches, so a database that is slow or down never slows or fails a check.
//
// # Privacy
//
// No address, code, ID or client is stored. Addresses, clients and challenges
// appear in events as keyed hashes, and are hashed once more under Options.Key,
// so that the tables cannot be joined with logs or other data. The mail domain,
// the kind of the purpose and the base language are stored in clear.
// [Stats.Prune] and [Stats.Forget] delete stored data.
package otpstats

import (
	"context"
	"time"

	"github.com/go-mailotp/otp"
)

// Dialect is the SQL dialect of a database. The zero value is invalid.
type Dialect int

// The dialects.
const (
	SQLite     Dialect = iota + 1 // version 3.35 or later
	PostgreSQL                    // version 12 or later
)

// Options configure [Open]. Only Key is required.
type Options struct {
	// Key is the secret under which addresses, clients and challenges are
	// hashed before they are stored. It is required, and fewer than 16 bytes
	// are an error. Changing it disconnects all stored hashes, so keep it as
	// long as the tables.
	Key []byte

	// Prefix is the beginning of each table name, optionally after a schema
	// and a dot. Each part has 1 to 40 letters, digits and underscores;
	// anything else is an error. Default: "otp_stats_".
	Prefix string

	// Unmigrated means that the tables already exist, created from [Schema]. By
	// default, Open creates those that are missing.
	Unmigrated bool

	// App returns the name of the client app that a request comes from, such
	// as "ios". Observe calls it, so it must be fast and safe for concurrent
	// use; a panic reaches the caller of Observe. Nil means that no names are
	// stored.
	App func(ctx context.Context) string

	// Now is the clock for retention, for expired challenges and for the
	// rules. It must be safe for concurrent use. Nil means time.Now. When you
	// replay or simulate events, supply the replay clock. It must not run
	// ahead of the last event, and it may lag at most a minute behind: an event
	// further in its future is stored with the time of the clock.
	Now func() time.Time

	// Queue is the number of events that can wait to be written, at about 300
	// bytes each, and also the number of different sums in memory. 0 means
	// 16384; a negative number is an error.
	Queue int

	// Batch is the maximum number of events written in one transaction. 0
	// means 1000; a negative number is an error.
	Batch int

	// Interval is how long an event waits for others before it is written. 0
	// means one second; a negative duration is an error.
	Interval time.Duration

	// KeepEvents is how long single events are kept. 0 means 30 days; less than
	// a day is an error.
	KeepEvents time.Duration

	// KeepRollups is how long hourly and daily counts and anomalies are kept. 0
	// means 400 days, or KeepEvents if that is longer; less than KeepEvents is
	// an error.
	KeepRollups time.Duration

	// Over is the time after which a challenge that was opened and not passed
	// counts as given up. It should exceed the longest TTL of a code by an
	// hour. 0 means two hours; a negative duration is an error.
	Over time.Duration

	// OnError receives each database error of the writer, which then tries
	// again, each call of Mail with an unknown outcome, and each panic of
	// OnAnomaly or OnCalm. The error contains no address.
	//
	// OnError, OnAnomaly and OnCalm are called by the writer: they must not
	// block it, and must not call Flush, Close or Forget. Their context has the
	// values of the one given to Open and ends when Close gives up. Nil
	// disables the callback.
	OnError func(ctx context.Context, err error)

	// OnAnomaly receives each anomaly when it begins, at most once; see
	// [Rules]. If several processes share a database, only one of them calls
	// it. If that process ends between storing the anomaly and calling
	// OnAnomaly, none does. [Stats.Anomalies] always has all of them, even if
	// OnAnomaly is nil.
	OnAnomaly func(ctx context.Context, a Anomaly)

	// OnCalm receives each anomaly when it ends, at most once: the Anomaly as
	// it began, with Until set. Otherwise it is called like OnAnomaly.
	OnCalm func(ctx context.Context, a Anomaly)

	// Rules decide what is an anomaly. The zero value means all defaults.
	Rules Rules
}

var _ otp.Observer = (*Stats)(nil)
