package otpstats

import "time"

// Filter chooses what a query looks at. Empty texts choose everything.
type Filter struct {
	// From and To are the range; From counts as its full hour and To as the end of its own.
	// Zero To means now, zero From means seven days before To. In ranges of more than
	// 60 days they count as full days, in UTC.
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
	Provider                  // the mail provider that took the first mail
	App                       // the client app, from Options.App
)

// Other is the value of a dimension for all that had no place of their own: the
// number of names is bounded, so that strangers cannot fill the tables.
const Other = "(other)"

// Counts say what happened. Those about challenges count in the hour in which the challenge was
// opened, so that Verified is a part of Sent; Asked and Limited count in their own hour, and under no provider.
type Counts struct {
	Asked       int64 // calls of Send
	ResendAsked int64 // calls of Resend
	Limited     int64 // asked, and a budget was spent: no mail
	Sent        int64 // challenges with a mail that the sender took
	Resends     int64 // further mails of a challenge
	Decoys      int64 // decoys opened; not in Sent
	FailedMails int64 // mails that did not go out
	FailedTries int64 // attempts of a provider that failed, whether or not another took the mail
	Answered    int64 // challenges, mailed ones, with a guess, right or wrong
	Verified    int64 // challenges passed
	Wrong       int64 // wrong guesses
	Malformed   int64 // input that is no code
	Expired     int64 // guesses after the deadline
	Exhausted   int64 // guesses after the last
	Escalated   int64 // guesses at a short code when only strong ones count
	Over        int64 // mailed challenges that are over: passed, or given up for Options.Over
	NoMail      int64 // of Over: the mail was lost later, in a queue
	NoAnswer    int64 // of Over: mailed, and never a guess
	NeverRight  int64 // of Over: guesses, and never the right one
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
	Count         int64 // of right answers; with 0 the others are 0
	P50, P90, P99 time.Duration
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
	Verified int64
	Wrong    [8]int64
	Resends  [6]int64
}

// Steps is what [Stats.GaveUp] returns: where people leave. Shares are of what
// stands before them: NotMailed of Asked, the others of Over.
type Steps struct {
	Asked      int64 // calls of Send
	NotMailed  int64 // of those, without a mail: limited, failed, or a decoy
	Over       int64 // mailed challenges that are over
	NoAnswer   int64 // of those, without any guess; a mail lost in a queue counts here
	NeverRight int64 // of those, guessed at and never right
	Verified   int64 // of those, passed
}

// FallenDomain is a mail domain with fewer right answers than it used to have.
type FallenDomain struct {
	Domain                 string
	From, To               time.Time // the worst stretch of the range
	Sent, Verified         int64     // in that stretch, challenges that had their time
	PastSent, PastVerified int64     // in the four weeks before the range and the rest of the range
	Share, PastShare       float64   // Verified of Sent, PastVerified of PastSent
	Z                      float64   // of the two-proportion test: how many standard errors Share is below PastShare
}

// Abuse is what [Stats.Abuse] returns.
type Abuse struct {
	Hours     []AbuseHour // each hour of the range with a wrong guess or an escalation
	Clients   []Spread    // clients that asked for many addresses, the widest first; at most 50
	Addresses []Spread    // addresses that many clients asked for, the widest first; at most 50
}

// AbuseHour is what happened in one hour.
type AbuseHour struct {
	Hour      time.Time
	Wrong     int64   // wrong guesses
	Usual     float64 // wrong guesses in the median hour of the range
	Unsolved  int64   // addresses with wrong guesses in the hour and no right one
	Escalated int64   // guesses refused since only strong codes count
	High      bool    // far above the usual: see Rules.Guessing
}

// Spread is one client and its addresses, or one address and its clients, in one hour.
type Spread struct {
	Hour    time.Time
	Subject string // the stored hash: the same one has the same
	Count   int64  // how many different
	Asked   int64  // how often
}

// Names are the values that a filter can choose, those with the most traffic first; at most 200 of each.
type Names struct {
	Purposes, Languages, Domains, Providers, Apps []string
}
