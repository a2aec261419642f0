package otpstats_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/sqltest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// counted is one challenge, or an event without one, as the naive count sees it.
type counted struct {
	at  time.Time
	by  [6]string // by Dimension - Purpose
	n   otpstats.Counts
	age time.Duration
}

// naive counts from the events alone, at a time when all challenges are over.
func naive(all []happening) []counted {
	var list []counted
	groups := map[otp.Hash][]happening{}
	var order []otp.Hash
	challengeOf := map[string]otp.Hash{}
	provider, refused := map[string]string{}, map[string]bool{}
	for _, h := range all {
		c := counted{at: h.Time, by: [6]string{h.Purpose, base(h.Locale), h.Domain, "", h.app}}
		switch {
		case h.outcome == otpevent.MailFailed:
			list = append(list, counted{at: h.Time, by: [6]string{3: h.provider}, n: otpstats.Counts{FailedTries: 1}})
		case h.outcome == otpevent.MailSent:
			provider[h.message] = h.provider
		case h.outcome != "":
			provider[h.message], refused[h.message] = "", true
		case h.Kind == otpevent.Asked && h.ChallengeHash == otp.Hash{}:
			c.n.Asked = 1
			list = append(list, c)
		case h.Kind == otpevent.Asked:
			c.n.ResendAsked = 1
			list = append(list, c)
		case h.Kind == otpevent.Limited:
			c.n.Limited = 1
			switch h.Scope {
			case "client":
				c.n.LimitedClient = 1
			case "all":
				c.n.LimitedAll = 1
			}
			list = append(list, c)
		case h.Kind == otpevent.Unknown:
			c.n.Unknown = 1
			list = append(list, c)
		default:
			if groups[h.ChallengeHash] == nil {
				order = append(order, h.ChallengeHash)
			}
			groups[h.ChallengeHash] = append(groups[h.ChallengeHash], h)
			if h.Kind == otpevent.Sent {
				challengeOf[h.Message] = h.ChallengeHash
			}
		}
	}
	for _, id := range order {
		g := groups[id]
		c := counted{at: g[0].Time.Add(-g[0].Age), by: [6]string{g[0].Purpose, base(g[0].Locale), g[0].Domain, "", g[0].app}, age: -1}
		count := func(kind otpevent.Kind) (n int64) {
			for _, h := range g {
				if h.Kind == kind {
					n++
				}
			}
			return n
		}
		lost := int64(0)
		for message, of := range challengeOf {
			if of == id {
				c.by[3] = cmp.Or(c.by[3], provider[message])
				if refused[message] {
					lost++
				}
			}
		}
		mails, right := count(otpevent.Sent), count(otpevent.Verified)
		c.n.Sent = min(1, mails+right)
		c.n.Decoys = min(1, count(otpevent.Decoy))
		c.n.FailedMails = count(otpevent.SendFailed) + lost
		c.n.Verified = right
		c.n.Wrong, c.n.Malformed, c.n.Expired = count(otpevent.Wrong), count(otpevent.Malformed), count(otpevent.Expired)
		c.n.Exhausted = count(otpevent.Exhausted)
		if c.n.Sent == 1 && g[0].Strong {
			c.n.Strong = 1
		}
		for _, h := range g {
			if h.Resend {
				c.n.Resends++
			}
			if h.Kind == otpevent.Verified {
				c.age = h.Age
			}
		}
		if c.n.Sent == 1 {
			c.n.Over = 1
			if right > 0 || c.n.Wrong+c.n.Malformed > 0 {
				c.n.Answered = 1
			}
			switch {
			case right > 0:
			case c.n.Wrong+c.n.Malformed > 0:
				c.n.NeverRight = 1
			case lost >= mails:
				c.n.NoMail = 1
			default:
				c.n.NoAnswer = 1
			}
		}
		list = append(list, c)
	}
	return list
}

func base(locale string) string {
	if locale == "x!" {
		return otpstats.Other
	}
	b, _, _ := strings.Cut(strings.ReplaceAll(locale, "_", "-"), "-")
	return b
}

func plus(a, b otpstats.Counts) otpstats.Counts {
	return otpstats.Counts{
		Asked: a.Asked + b.Asked, ResendAsked: a.ResendAsked + b.ResendAsked, Limited: a.Limited + b.Limited, Sent: a.Sent + b.Sent,
		LimitedClient: a.LimitedClient + b.LimitedClient, LimitedAll: a.LimitedAll + b.LimitedAll, Strong: a.Strong + b.Strong, Unknown: a.Unknown + b.Unknown,
		Resends: a.Resends + b.Resends, Decoys: a.Decoys + b.Decoys, FailedMails: a.FailedMails + b.FailedMails, FailedTries: a.FailedTries + b.FailedTries,
		Answered: a.Answered + b.Answered, Verified: a.Verified + b.Verified, Wrong: a.Wrong + b.Wrong, Malformed: a.Malformed + b.Malformed,
		Expired: a.Expired + b.Expired, Exhausted: a.Exhausted + b.Exhausted, Over: a.Over + b.Over,
		NoMail: a.NoMail + b.NoMail, NoAnswer: a.NoAnswer + b.NoAnswer, NeverRight: a.NeverRight + b.NeverRight,
	}
}

// row is the place of a funnel: what counts by is.
type row struct {
	at    time.Time
	value string
}

func naiveFunnel(list []counted, f otpstats.Filter, by otpstats.Dimension) map[row]otpstats.Counts {
	rows := map[row]otpstats.Counts{}
	want := [5]string{f.Purpose, f.Language, f.Domain, f.Provider, f.App}
	for _, c := range list {
		chosen := !c.at.Before(f.From) && c.at.Before(f.To)
		for i, w := range want {
			chosen = chosen && (w == "" || w == c.by[i])
		}
		var at row
		switch by {
		case otpstats.None:
		case otpstats.Hour:
			at.at = c.at.UTC().Truncate(time.Hour)
		case otpstats.Day:
			at.at = c.at.UTC().Truncate(24 * time.Hour)
		default:
			at.value = c.by[by-otpstats.Purpose]
		}
		if chosen {
			rows[at] = plus(rows[at], c.n)
		}
	}
	for at, n := range rows {
		if n == (otpstats.Counts{}) {
			delete(rows, at)
		}
	}
	return rows
}

// The funnel equals a naive count over all events.
func TestFunnel_isTheNaiveCount(t *testing.T) {
	testkit.Long(t)
	eachEngine(t, func(t *testing.T, d sqltest.Database) {
		for seed := range uint64(testkit.Rounds(1, 2)) {
			c := newClock()
			start, prefix := c.Now(), fmt.Sprintf("seed%d_", seed)
			m := newMaker(seed)
			all := m.traffic(start, 50*time.Hour, testkit.Rounds(400, 900))
			s := open(t, d, c, otpstats.Options{Prefix: prefix, App: appOf, Batch: 200, Queue: 200_000, Interval: time.Hour})
			for i, h := range all {
				c.Set(h.Time)
				h.tell(s)
				if m.IntN(300) == 0 {
					flush(t, s)
				}
				if i == len(all)/2 { // a restart in between
					require.NoError(t, s.Close(t.Context()))
					s = open(t, d, c, otpstats.Options{Prefix: prefix, App: appOf, Batch: 100, Queue: 200_000, Interval: time.Hour})
				}
			}
			c.Add(10 * time.Hour) // all are over
			flush(t, s)
			flush(t, s)
			require.Zero(t, s.Dropped())
			compareAll(t, s, naive(all), start)
			for range 2 { // and again nothing counts twice
				c.Add(5 * time.Hour)
				flush(t, s)
			}
			compareAll(t, s, naive(all), start)
		}
	})
}

func compareAll(t *testing.T, s *otpstats.Stats, list []counted, start time.Time) {
	t.Helper()
	week := otpstats.Filter{From: start, To: start.Add(7 * 24 * time.Hour)}
	hours := otpstats.Filter{From: start.Add(5 * time.Hour), To: start.Add(30 * time.Hour)}
	half := otpstats.Filter{From: start.AddDate(0, 0, -70), To: start.AddDate(0, 0, 10)}
	one, two, three := week, hours, week
	one.Purpose = "login"
	two.Domain, two.Language = "a.example", "de"
	three.Provider, three.App = "two", "web"
	for _, f := range []otpstats.Filter{week, hours, half, one, two, three} {
		for by := otpstats.None; by <= otpstats.App; by++ {
			rows, err := s.Funnel(t.Context(), f, by)
			require.NoError(t, err)
			got := map[row]otpstats.Counts{}
			for _, r := range rows {
				got[row{r.Time, r.Value}] = r.Counts
			}
			require.Equal(t, naiveFunnel(list, f, by), got, "%+v by %d", f, by)
		}
	}
	// The distributions and steps, of all.
	total := naiveFunnel(list, week, otpstats.None)[row{}]
	guesses, err := s.Guesses(t.Context(), week)
	require.NoError(t, err)
	want := otpstats.Guesses{Verified: total.Verified}
	var ages []time.Duration
	for _, c := range list {
		if c.n.Verified > 0 {
			want.Wrong[min(c.n.Wrong, 7)]++
			want.Resends[min(c.n.Resends, 5)]++
			ages = append(ages, c.age)
		}
	}
	require.Equal(t, want, guesses)
	steps, err := s.GaveUp(t.Context(), week)
	require.NoError(t, err)
	require.Equal(t, otpstats.Steps{
		Asked: total.Asked, NotMailed: total.Asked - total.Sent, Over: total.Over,
		NoAnswer: total.NoAnswer + total.NoMail, NeverRight: total.NeverRight, Verified: total.Verified,
	}, steps)
	times, err := s.AnswerTimes(t.Context(), week)
	require.NoError(t, err)
	slices.Sort(ages)
	for q, got := range map[float64]time.Duration{.5: times.P50, .9: times.P90, .99: times.P99} {
		exact := ages[int(q*float64(len(ages)))]
		require.InEpsilon(t, exact.Seconds(), got.Seconds(), 0.26, "quantile %v", q) // a bucket
	}
	require.Equal(t, int64(len(ages)), times.Count)
	perDay := map[time.Time]int64{}
	for _, d := range times.Days {
		perDay[d.Day] = d.Count
	}
	for at, n := range naiveFunnel(list, week, otpstats.Day) {
		require.Equal(t, n.Verified, perDay[at.at])
	}
}
