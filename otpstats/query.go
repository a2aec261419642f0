package otpstats

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Filter chooses what a query looks at. Empty texts choose everything.
type Filter struct {
	// From and To are the range; From counts as its full hour and To as the end of its own.
	// Zero To means now, zero From means seven days before To; a range that ends before it begins is empty. In ranges of more than
	// 14 days they count as full days, in UTC, but where a query is by the hour.
	From, To time.Time

	// Purpose, Language, Domain, Provider and App are values as [Stats.Dimensions] gives them.
	Purpose, Language, Domain, Provider, App string
}

// Dimension is what a funnel is told apart by.
type Dimension int

// The dimensions.
const (
	None     Dimension = iota // one row for all
	Hour                      // full hours
	Day                       // days, in UTC
	Purpose                   // the kind of the purpose
	Language                  // the base language of the locale
	Domain                    // the domain of the address
	Provider                  // the mail provider that was named first, see Stats.Mail
	App                       // the client app, from Options.App
)

// Other is the value of a dimension for all that had no place of their own: the
// number of names is bounded, so that strangers cannot fill the tables.
const Other = "(other)"

// Counts say what happened. Those about challenges count in the hour in which the challenge was
// opened, so that Verified is a part of Sent; Asked and Limited count in their own hour, and under no provider.
type Counts struct {
	Asked       int64 // calls of Send, and of Resend where the old challenge is over and a new one opens
	ResendAsked int64 // other calls of Resend
	Limited     int64 // asked, and a budget was spent: no mail
	Sent        int64 // challenges with a mail that the sender took
	Resends     int64 // further mails of a challenge
	Decoys      int64 // decoys opened; not in Sent
	FailedMails int64 // mails that did not go out
	FailedTries int64 // attempts of a provider that failed, whether or not another took the mail
	Failures    int64 // calls that the system failed: the store, Options.Admit, the generator, clocks, keys
	Answered    int64 // challenges, mailed ones, for which a code was typed in time, right or wrong, or anything that is no code
	Verified    int64 // challenges passed
	Wrong       int64 // wrong guesses
	Malformed   int64 // input that is no code
	Expired     int64 // guesses after the deadline
	Exhausted   int64 // guesses after the last
	Escalated   int64 // guesses at a short code when only strong ones count
	Over        int64 // mailed challenges that are over: passed, or given up for Options.Over
	NoMail      int64 // of Over: the mail was lost later, in a queue
	NoAnswer    int64 // of Over: mailed, and nothing typed but what came too late
	NeverRight  int64 // of Over: something typed, and never the right code
}

// FunnelRow is one row of [Stats.Funnel].
type FunnelRow struct {
	Time  time.Time // for Hour and Day: their beginning, in UTC
	Value string    // for the other dimensions; empty for none, or Other
	Counts
}

// Quantiles of the time from opening a challenge to its right answer. They come from
// buckets of a tenth of a decade and are good to an eighth.
type Quantiles struct {
	Count int64         // of right answers; with 0 the others are 0
	P50   time.Duration // half were quicker
	P90   time.Duration // nine of ten were
	P99   time.Duration // 99 of 100 were
}

// AnswerTimes is what [Stats.AnswerTimes] returns.
type AnswerTimes struct {
	Quantiles                // of all
	Days      []DayQuantiles // of the days with an answer, in their order
}

// DayQuantiles are those of the challenges opened on one day.
type DayQuantiles struct {
	Day time.Time // its beginning, in UTC
	Quantiles
}

// Guesses is what [Stats.Guesses] returns: of the challenges that were passed, how
// many had i wrong guesses before, and how many had i resends. The last place also counts all beyond.
type Guesses struct {
	Verified int64    // challenges that were passed
	Wrong    [8]int64 // of those, by the wrong guesses before
	Resends  [6]int64 // of those, by the resends before
}

// Steps is what [Stats.GaveUp] returns: where people leave. Shares are of what
// stands before them: NotMailed of Asked, the others of Over.
type Steps struct {
	Asked      int64 // calls of Send
	NotMailed  int64 // of those, without a mail: limited, failed, or a decoy
	Over       int64 // mailed challenges that are over
	NoAnswer   int64 // of those, with nothing typed in time; a mail lost in a queue counts here
	NeverRight int64 // of those, with something typed and never right
	Verified   int64 // of those, passed
}

// FallenDomain is a mail domain with fewer right answers than it used to have.
type FallenDomain struct {
	Domain                 string    // of the addresses
	From, To               time.Time // the worst stretch of the range
	Sent, Verified         int64     // in that stretch, challenges that had their time
	PastSent, PastVerified int64     // in the four weeks before the range and the rest of the range
	Share, PastShare       float64   // Verified of Sent, PastVerified of PastSent
	Z                      float64   // of the two-proportion test: how many standard errors Share is below PastShare
}

// Abuse is what [Stats.Abuse] returns.
type Abuse struct {
	Hours     []AbuseHour // each hour of the range with a guess that was not right
	Clients   []Spread    // clients that asked for many addresses, the widest first; at most 50
	Addresses []Spread    // addresses that many clients asked for, the widest first; at most 50
}

// AbuseHour is what happened in one hour.
type AbuseHour struct {
	Hour      time.Time // its beginning, in UTC
	Wrong     int64     // wrong guesses
	Usual     float64   // wrong guesses in the median hour of the range
	Unsolved  int64     // addresses with wrong guesses in the hour and no right one
	Escalated int64     // guesses refused since only strong codes count
	Malformed int64     // input that is no code: digits where a strong code was mailed are a guesser's
	High      bool      // Unsolved is Guessing.MinAddresses or more, and Wrong Guessing.Factor times Usual or more
}

// Spread is one client and its addresses, or one address and its clients, in one hour.
type Spread struct {
	Hour    time.Time // its beginning, in UTC
	Subject string    // the stored hash: equal in every hour, see Stats.ClientSubject and AddressSubject
	Count   int64     // how many different
	Asked   int64     // how often
}

// Names are the values that a filter can choose, those with the most traffic first; at most 200 of each.
type Names struct {
	Purposes  []string // kinds
	Languages []string // base languages
	Domains   []string // of addresses
	Providers []string // of mail
	Apps      []string // of Options.App
}

// scope is what a query reads: the rows from a time until before another.
type scope struct {
	Filter
	from, to time.Time
	long     bool // by the day
}

func (s *Stats) scope(f Filter, by Dimension) scope {
	if f.To.IsZero() {
		f.To = s.opts.Now().Add(1) // with the hour that begins now
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
	// Truncate counts from the year 1, whose hours and days are those of UTC.
	return scope{f, f.From.UTC().Truncate(unit), f.To.UTC().Add(unit - 1).Truncate(unit), long}
}

// sum is one row of sums.
type sum struct {
	time  int64 // Unix seconds
	value string
	tally tally
}

// sums adds up columns of the roll-ups, by at most one time and one other dimension. It
// reads the rows of one dimension where the filter leaves it at that, since they are few.
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
				return nil, fmt.Errorf("no dimension has the number %d", d)
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

// groups is what a query groups by. Constants are none, but a query without any group
// has a row also for nothing.
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
