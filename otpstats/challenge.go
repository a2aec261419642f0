package otpstats

import (
	"time"

	"github.com/go-mailotp/otp"
)

// values are those of the dimensions.
type values struct{ purpose, language, domain, provider, app string }

// challenge is how one stands that is not over. What it adds to the roll-ups follows
// from it alone: tally. A change takes back the old one and adds the new.
type challenge struct {
	id      otp.Hash
	opened  int64 // Unix milliseconds
	address otp.Hash
	values
	mails, lost, again, decoys, failed           int64
	wrong, malformed, expired, exhausted, strong int64
	age                                          int64 // milliseconds until verified; -1 if it is not
	ended                                        int64 // 1 once it is over: what comes later still joins it
}

// apply is one event of the challenge.
func (c *challenge) apply(r *record) {
	switch r.kind {
	case kindSent:
		c.mails++
		if r.resend {
			c.again++
		}
	case kindDecoy:
		c.decoys++
	case kindSendFailed, kindRefused, kindSendLeft:
		c.failed++
	case kindVerified:
		if c.age < 0 {
			c.age = r.age.Milliseconds()
		}
	case kindWrong:
		c.wrong++
	case kindMalformed:
		c.malformed++
	case kindExpired:
		c.expired++
	case kindExhausted:
		c.exhausted++
	case kindEscalated:
		c.strong++
	}
}

// tally is what the challenge adds to the roll-up of its hour.
func (c *challenge) tally() (t tally) {
	right := c.age >= 0
	mailed := c.mails > 0 || right // a failed mail that went out all the same
	t[resends], t[failedMails] = c.again, c.failed+c.lost
	t[wrong], t[malformed], t[expired], t[exhausted], t[escalated] = c.wrong, c.malformed, c.expired, c.exhausted, c.strong
	t[decoys] = one(c.decoys > 0)
	t[sent] = one(mailed)
	typed := c.wrong > 0 || c.malformed > 0 || c.strong > 0
	t[answered] = one(mailed && (right || typed))
	if right {
		t[verified] = 1
		t[ageColumn+ageBucket(time.Duration(c.age)*time.Millisecond)] = 1
		t[wrongColumn+min(c.wrong, wrongBuckets-1)] = 1
		t[againColumn+min(c.again, againBuckets-1)] = 1
	}
	if c.ended > 0 && mailed {
		t[over] = 1
		switch {
		case right:
		case typed:
			t[neverRight] = 1
		case c.lost >= c.mails:
			t[noMail] = 1
		default:
			t[noAnswer] = 1
		}
	}
	return t
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
