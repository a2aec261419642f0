package otpstats

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter selects the data that a query uses. An empty string selects
// everything.
type Filter struct {
	// From and To are the range. From is rounded down to a full hour, and To is
	// rounded up. A zero To means now, and a zero From means seven days before
	// To. If To is before From, the range is empty. In ranges of more than 14
	// days they are rounded to full days in UTC instead, except in queries by
	// the hour.
	From, To time.Time

	// Purpose, Language, Domain, Provider and App are values that
	// [Stats.Dimensions] returned.
	Purpose, Language, Domain, Provider, App string
}

// Dimension is how a funnel is broken down.
type Dimension int

// The dimensions.
const (
	None     Dimension = iota // a single row
	Hour                      // full hours
	Day                       // days, in UTC
	Purpose                   // the kind of the purpose
	Language                  // the base language of the locale
	Domain                    // the domain of the address
	Provider                  // the mail provider that was named first, see Stats.Mail
	App                       // the client app, from Options.App
)

// Other is the value that stands for all values of a dimension beyond its
// limit. The number of values per day is limited so that strangers cannot fill
// the tables.
const Other = "(other)"

// Counts are the numbers of a [FunnelRow]. Counts about challenges (a challenge
// is one code mailed for one visitor) belong to the hour in which the challenge
// was opened, so that Verified is a part of Sent. All others belong to the hour
// of their event. Asked, ResendAsked, Limited and Failures have no provider.
type Counts struct {
	// Asked is the number of calls of Send, and of Resend where the old
	// challenge had expired and a new one was opened.
	Asked int64
	// ResendAsked is the number of other calls of Resend.
	ResendAsked int64
	// Limited is the number of calls that a rate limit rejected: no mail was
	// sent.
	Limited int64
	// LimitedClient is the part of Limited that is due to the budget of
	// Request.Client.
	LimitedClient int64
	// LimitedAll is the part of Limited that is due to the budget of all
	// strangers, otp.Options.StrangerStarts.
	LimitedAll int64
	// Sent is the number of challenges with a mail that the sender accepted.
	Sent int64
	// Strong is the part of Sent with a strong code: a longer code, which is
	// mailed after too many wrong guesses at the address or too many codes that
	// were asked for and not used.
	Strong int64
	// Resends is the number of further mails of these challenges.
	Resends int64
	// Decoys is the number of decoys opened: challenges that look real but send
	// no mail. They are not part of Sent.
	Decoys int64
	// FailedMails is the number of mails that were not sent.
	FailedMails int64
	// FailedTries is the number of failed attempts of a provider, even if
	// another provider accepted the mail.
	FailedTries int64
	// Failures is the number of calls that failed because of the system: the
	// store, Options.Admit, the generator, clocks or keys.
	Failures int64
	// Answered is the number of mailed challenges for which something was typed
	// before they expired: a correct code, a wrong one or malformed input.
	Answered int64
	// Verified is the number of challenges that were passed.
	Verified int64
	// Wrong is the number of wrong guesses.
	Wrong int64
	// Malformed is the number of inputs that do not look like a code.
	Malformed int64
	// Expired is the number of guesses after the deadline.
	Expired int64
	// Exhausted is the number of guesses after the last allowed one.
	Exhausted int64
	// Unknown is the number of calls with the ID of a challenge that does not
	// exist, was used before or has another purpose.
	Unknown int64
	// Revoked is the number of calls of RevokeDevices.
	Revoked int64
	// Over is the number of mailed challenges that ended: they were passed, or
	// given up after Options.Over. NoMail, NoAnswer and NeverRight are parts of
	// it.
	Over int64
	// NoMail is the number of challenges whose mail was lost later, in a queue.
	NoMail int64
	// NoAnswer is the number of challenges for which nothing was typed in time.
	NoAnswer int64
	// NeverRight is the number of challenges for which something was typed, but
	// never the correct code.
	NeverRight int64
}

// FunnelRow is one row of [Stats.Funnel].
type FunnelRow struct {
	Time  time.Time // by Hour or Day: its beginning, in UTC
	Value string    // by another dimension: its value, Other, or empty if there is none
	Counts
}

// Quantiles describe the time from the opening of a challenge to its correct
// code. They are computed from buckets, ten per decade, and are accurate to one
// eighth.
type Quantiles struct {
	Count int64         // number of correct codes; if it is 0, the others are 0
	P50   time.Duration // half were faster
	P90   time.Duration // 90% were faster
	P99   time.Duration // 99% were faster
}

// AnswerTimes is the result of [Stats.AnswerTimes].
type AnswerTimes struct {
	Quantiles                // of the whole range
	Days      []DayQuantiles // of each day that has an answer, in order of time
}

// DayQuantiles describe the challenges opened on one day.
type DayQuantiles struct {
	Day time.Time // its beginning, in UTC
	Quantiles
}

// Guesses is the result of [Stats.Guesses].
type Guesses struct {
	// Verified is the number of challenges that were passed.
	Verified int64
	// Wrong counts them by the wrong guesses before: Wrong[i] had i of them,
	// and Wrong[7] had 7 or more.
	Wrong [8]int64
	// Resends counts them by the resends before: Resends[i] had i of them, and
	// Resends[5] had 5 or more.
	Resends [6]int64
}

// Steps is the result of [Stats.GaveUp]: where people give up. NotMailed is
// part of Asked; NoAnswer, NeverRight and Verified are parts of Over.
type Steps struct {
	Asked      int64 // calls of Send
	NotMailed  int64 // without a mail: limited, failed, or a decoy
	Over       int64 // mailed challenges that ended
	NoAnswer   int64 // nothing was typed in time; includes mails that were lost in a queue
	NeverRight int64 // something was typed, but never the correct code
	Verified   int64 // passed
}

// Abuse is the result of [Stats.Abuse].
type Abuse struct {
	// Hours are the hours of the range with a guess that was not correct.
	Hours []AbuseHour
	// Clients are at most 50 clients that asked for codes to many addresses,
	// those with the most addresses first.
	Clients []Spread
	// Addresses are at most 50 addresses that many clients asked for, those
	// with the most clients first.
	Addresses []Spread
}

// AbuseHour describes one hour.
type AbuseHour struct {
	// Hour is the beginning of the hour, in UTC.
	Hour time.Time
	// Wrong is the number of wrong guesses.
	Wrong int64
	// Usual is the number of wrong guesses in the median hour of the range.
	Usual float64
	// Unsolved is the number of addresses with only wrong guesses in the hour.
	Unsolved int64
	// Strong is the number of challenges opened in the hour with a strong code,
	// which is mailed after too many wrong guesses at the address.
	Strong int64
	// Malformed is the number of inputs that do not look like a code. Digits
	// typed where a strong code was mailed come from somebody who guesses.
	Malformed int64
	// High says that Unsolved is at least Guessing.MinAddresses, and Wrong at
	// least Guessing.Factor times Usual.
	High bool
}

// Spread is a client and its addresses, or an address and its clients, in one
// hour.
type Spread struct {
	// Hour is the beginning of the hour, in UTC.
	Hour time.Time
	// Subject is the stored hash of the client or address. It is the same in
	// every hour. See Stats.ClientSubject and AddressSubject.
	Subject string
	// Count is the number of different addresses or clients, of which at most
	// twice the limit of the rule count in each minute; see [SpreadRule].
	Count int64
	// Asked is the number of calls; those of one client for one address count
	// at most once a minute.
	Asked int64
}

// Names are the values that a filter can select, those with the most traffic
// first, at most 200 of each.
type Names struct {
	Purposes  []string // kinds
	Languages []string // base languages
	Domains   []string // of addresses
	Providers []string // of mail
	Apps      []string // from Options.App
}

// scope is what a query reads: the rows from one time up to, but not including,
// another.
type scope struct {
	Filter
	from, to time.Time
	long     bool // by day
}

func (s *Stats) scope(f Filter, by Dimension) scope {
	if f.To.IsZero() {
		f.To = s.opts.Now().Add(1) // so that an hour that begins now is included
	}
	if f.From.IsZero() {
		f.From = f.To.AddDate(0, 0, -7)
	}
	unit := time.Hour
	long := f.To.Sub(f.From) > 14*24*time.Hour && by != Hour
	if long {
		unit = 24 * time.Hour
	}
	for _, v := range []*string{&f.Purpose, &f.Language, &f.Domain, &f.Provider, &f.App} {
		*v = clean(*v) // as they are stored
	}
	// Truncate counts from the year 1 and therefore in hours and days of UTC.
	return scope{f, f.From.UTC().Truncate(unit), f.To.UTC().Add(unit - 1).Truncate(unit), long}
}

// sum is one row of the result of sums.
type sum struct {
	time  int64 // Unix seconds
	value string
	tally tally
}

// sums adds up columns of the roll-ups, by at most one dimension of time and
// one other. It reads the coarsest grain that has all dimensions of the filter,
// since that has the fewest rows.
func (s *Stats) sums(ctx context.Context, sc scope, by []Dimension, columns []int) (all []sum, err error) {
	at, value := "0", "''"
	grain := grainHour
	if sc.long {
		grain = grainDay
	}
	var only []Dimension
	where, args := "", []any{}
	for d, v := range map[Dimension]string{Purpose: sc.Purpose, Language: sc.Language, Domain: sc.Domain, Provider: sc.Provider, App: sc.App} {
		if v != "" {
			only = append(only, d)
			where += " AND " + dimensionColumns[d] + " = ?"
			args = append(args, v)
		}
	}
	for _, d := range by {
		switch d {
		case None:
		case Hour:
			at = "time"
		case Day:
			at = "time - time % 86400"
		default:
			if value = dimensionColumns[d]; value == "" {
				return nil, fmt.Errorf("invalid dimension %d", d)
			}
			if !slices.Contains(only, d) {
				only = append(only, d)
			}
		}
	}
	has := func(d Dimension) bool { return slices.Contains(only, d) }
	switch {
	case len(only) == 0:
	case len(only) == 1:
		grain += int(only[0])
	case len(only) == 2 && has(Purpose) && has(Language):
		grain = grainPurposeLanguage
	case len(only) == 2 && has(Purpose) && has(Domain):
		grain = grainPurposeDomain
	case len(only) == 2 && has(Language) && has(Domain):
		grain = grainLanguageDomain
	default:
		grain = grainAll
	}
	text := "SELECT " + at + ", " + value
	for _, c := range columns {
		text += ", sum(" + columnNames[c] + ")"
	}
	text += " FROM {p}rollups WHERE grain = ? AND time >= ? AND time < ?" + where + " GROUP BY " + groups(at, value)
	rows, err := s.query(ctx, s.db, text, append([]any{grain, sc.from.Unix(), sc.to.Unix()}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r sum
		into := []any{&r.time, &r.value}
		for _, c := range columns {
			into = append(into, &r.tally[c])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// groups returns what a query groups by. PostgreSQL does not group by
// constants, and a query without any group returns a row even if there is
// nothing to add up.
func groups(at, value string) string {
	var by []string
	if at != "0" {
		by = append(by, "1")
	}
	if value != "''" {
		by = append(by, "2")
	}
	if by == nil {
		return "grain"
	}
	return strings.Join(by, ", ")
}
