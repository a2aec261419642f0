package otpstats

import (
	"time"

	"github.com/go-mailotp/otp"
)

// values has a value of each dimension.
type values struct{ purpose, language, domain, provider, app string }

// challenge is the state of a challenge until a day after it expired. What it
// adds to the roll-ups follows from this state alone: tally. A change subtracts
// the old tally and adds the new one.
type challenge struct {
	id      otp.Hash
	opened  int64 // Unix milliseconds
	address otp.Hash
	values
	mails, lost, again, decoys, failed   int64
	wrong, malformed, expired, exhausted int64
	strong                               int64 // 1 if its code is a strong one
	age                                  int64 // milliseconds until verified; -1 if it is not
	ended                                int64 // 1 once it expired; late events are still added
}

// apply adds one event to the challenge.
func (c *challenge) apply(e *event) {
	c.strong = max(c.strong, b2i(e.strong))
	switch e.kind {
	case kindSent:
		c.mails++
		if e.resend {
			c.again++
		}
	case kindDecoy:
		c.decoys++
	case kindSendFailed, kindRefused, kindSendLeft:
		c.failed++
	case kindVerified:
		if c.age < 0 {
			c.age = e.age
		}
	case kindWrong:
		c.wrong++
	case kindMalformed:
		c.malformed += e.times
	case kindExpired:
		c.expired += e.times
	case kindExhausted:
		c.exhausted += e.times
	}
}

// tally returns what the challenge adds to the roll-up of its hour.
func (c *challenge) tally() (t tally) {
	right := c.age >= 0
	mailed := c.mails > 0 || right // a mail that failed may have gone out nevertheless
	t[resends], t[failedMails] = c.again, c.failed+c.lost
	t[wrong], t[malformed], t[expired], t[exhausted] = c.wrong, c.malformed, c.expired, c.exhausted
	t[decoys] = b2i(c.decoys > 0)
	t[sent], t[strong] = b2i(mailed), b2i(mailed && c.strong > 0)
	typed := c.wrong > 0 || c.malformed > 0
	t[answered] = b2i(mailed && (right || typed))
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
