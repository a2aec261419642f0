package otpstats

import (
	"fmt"
	"math"
	"time"
)

// The columns of a roll-up.
const (
	asked = iota
	resendAsked
	limited
	limitedClient
	limitedAll
	sent
	strong
	resends
	decoys
	failedMails
	failedTries
	failures
	answered
	verified
	wrong
	malformed
	expired
	exhausted
	unknownID
	revoked
	over
	noMail
	noAnswer
	neverRight
	countColumns

	ageColumn    = countColumns
	ageBuckets   = 42
	wrongColumn  = ageColumn + ageBuckets
	wrongBuckets = 8
	againColumn  = wrongColumn + wrongBuckets
	againBuckets = 6
	tallyColumns = againColumn + againBuckets
)

// tally has the counts of one row of a roll-up.
type tally [tallyColumns]int64

// columnNames are the names in the table.
var columnNames = func() (names [tallyColumns]string) {
	copy(names[:], []string{
		"asked", "resend_asked", "limited", "limited_client", "limited_all", "sent", "strong", "resends", "decoys", "failed_mails", "failed_tries", "failures", "answered", "verified",
		"wrong", "malformed", "expired", "exhausted", "unknown", "revoked", "over", "no_mail", "no_answer", "never_right",
	})
	for i := range ageBuckets {
		names[ageColumn+i] = fmt.Sprintf("age_%d", i)
	}
	for i := range wrongBuckets {
		names[wrongColumn+i] = fmt.Sprintf("wrong_%d", i)
	}
	for i := range againBuckets {
		names[againColumn+i] = fmt.Sprintf("resends_%d", i)
	}
	return names
}()

// unlimited are the columns that strangers can increase as fast as the network
// allows: in a day, they may exceed 32 bits.
var unlimited = map[int]bool{
	asked: true, resendAsked: true, limited: true, limitedClient: true, limitedAll: true, failures: true,
	malformed: true, expired: true, exhausted: true, unknownID: true, revoked: true,
}

func (t *tally) add(other *tally, factor int64) {
	for i, n := range other {
		t[i] += factor * n
	}
}

func (t *tally) counts() Counts {
	return Counts{
		Asked: t[asked], ResendAsked: t[resendAsked], Limited: t[limited], LimitedClient: t[limitedClient], LimitedAll: t[limitedAll],
		Sent: t[sent], Strong: t[strong], Resends: t[resends], Decoys: t[decoys],
		FailedMails: t[failedMails], FailedTries: t[failedTries], Failures: t[failures], Answered: t[answered], Verified: t[verified], Wrong: t[wrong],
		Malformed: t[malformed], Expired: t[expired], Exhausted: t[exhausted], Unknown: t[unknownID], Revoked: t[revoked], Over: t[over],
		NoMail: t[noMail], NoAnswer: t[noAnswer], NeverRight: t[neverRight],
	}
}

// bounds are the upper ends of all buckets but the last: ten per decade, from
// one second to 2.8 hours.
var bounds = func() (b [ageBuckets - 1]time.Duration) {
	for i := range b {
		b[i] = time.Duration(math.Round(math.Pow(10, float64(i)/10)*1000)) * time.Millisecond
	}
	return b
}()

// quickBuckets is the number of buckets below quick: the answers of people
// whose mail arrived immediately.
const quickBuckets = 23

var quick = bounds[quickBuckets-1]

func ageBucket(age time.Duration) int {
	for i, b := range bounds {
		if age < b {
			return i
		}
	}
	return ageBuckets - 1
}

// quantile returns the q quantile, as if the ages in each bucket were spread
// evenly on a logarithmic scale.
func quantile(buckets []int64, q float64) time.Duration {
	var total, below int64
	for _, n := range buckets {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := max(1, int64(math.Ceil(q*float64(total))))
	for i, n := range buckets {
		if below+n < rank {
			below += n
			continue
		}
		low, high := 500*time.Millisecond, 24*time.Hour
		if i > 0 {
			low = bounds[i-1]
		}
		if i < len(bounds) {
			high = bounds[i]
		}
		share := (float64(rank-below) - 0.5) / float64(n)
		at := float64(low) * math.Pow(float64(high)/float64(low), share)
		return time.Duration(at).Round(time.Millisecond)
	}
	return 0
}

func quantiles(buckets []int64) Quantiles {
	var q Quantiles
	for _, n := range buckets {
		q.Count += n
	}
	q.P50, q.P90, q.P99 = quantile(buckets, .5), quantile(buckets, .9), quantile(buckets, .99)
	return q
}
