package otpstats

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// kind is an otpevent.Kind as it is stored: the numbers never change.
type kind uint8

const (
	kindNone kind = iota
	kindAsked
	kindLimited
	kindSent
	kindSendFailed
	kindDecoy
	kindVerified
	kindWrong
	kindMalformed
	kindExpired
	kindExhausted
	kindEscalated
	kindUnknown
	kindClockBack
	kindUnknownKey
	kindFailed
	kindForgotten // not stored
	kindMail      // not stored: a call of Stats.Mail
	kindLeft      // an otpevent.Failed of a caller who did not wait
	kindSendLeft  // an otpevent.SendFailed of such a one
	kindRefused   // an otpevent.SendFailed that only says something of the recipient
)

// failureOf tells the failures of the system from those that people cause.
func failureOf(k kind, err error) kind {
	var e *otp.SendError
	left := errors.Is(err, context.Canceled)
	switch {
	case k == kindFailed && left:
		return kindLeft
	case k == kindSendFailed && left:
		return kindSendLeft
	case k == kindSendFailed && errors.As(err, &e) && e.RefusedRecipient():
		return kindRefused
	}
	return k
}

func kindOf(k otpevent.Kind) kind {
	switch k {
	case otpevent.Asked:
		return kindAsked
	case otpevent.Limited:
		return kindLimited
	case otpevent.Sent:
		return kindSent
	case otpevent.SendFailed:
		return kindSendFailed
	case otpevent.Decoy:
		return kindDecoy
	case otpevent.Verified:
		return kindVerified
	case otpevent.Wrong:
		return kindWrong
	case otpevent.Malformed:
		return kindMalformed
	case otpevent.Expired:
		return kindExpired
	case otpevent.Exhausted:
		return kindExhausted
	case otpevent.Escalated:
		return kindEscalated
	case otpevent.Unknown:
		return kindUnknown
	case otpevent.ClockBack:
		return kindClockBack
	case otpevent.UnknownKey:
		return kindUnknownKey
	case otpevent.Failed:
		return kindFailed
	case otpevent.Forgotten:
		return kindForgotten
	}
	return kindNone
}

// record is an event, or a call of Mail, on its way to the database. The writer makes
// it fit to be stored: hashes keyed, values bounded.
type record struct {
	kind                        kind
	resend, strong, decoy       bool
	time                        int64 // Unix milliseconds
	age                         time.Duration
	wrongs                      int64
	address, client, challenge  otp.Hash
	message                     otp.Hash // once it is fit
	purpose, locale, domain     string
	app, provider, outcome, mid string
}

// opened is when the record's challenge was, in Unix milliseconds.
func (r *record) opened() int64 { return r.time - r.age.Milliseconds() }

func (r *record) values() values {
	return values{purpose: r.purpose, language: r.locale, domain: r.domain, app: r.app}
}

// hash keys a hash again, told apart by what it stands for.
func (s *Stats) hash(what byte, b []byte) (h otp.Hash) {
	mac := hmac.New(sha256.New, s.opts.Key)
	mac.Write([]byte{what})
	mac.Write(b)
	copy(h[:], mac.Sum(nil))
	return h
}

// ClientSubject is how [Anomaly] and [Spread] name the client of an event's ClientHash: for an
// Observer that looks for the client of an alarm, or for whoever has the hash from a log.
func (s *Stats) ClientSubject(client otp.Hash) string { return s.rehash('c', client).String() }

// AddressSubject is how [Anomaly] and [Spread] name the address of an event's AddressHash.
func (s *Stats) AddressSubject(address otp.Hash) string { return s.rehash('a', address).String() }

func (s *Stats) rehash(what byte, h otp.Hash) otp.Hash {
	if h == (otp.Hash{}) {
		return h
	}
	return s.hash(what, h[:])
}

// skew is how far a time may be ahead of the clock before it is taken for wrong: the promise of
// package otp wants clocks that agree to a minute.
const skew = time.Minute

var outcomes = []string{MailSent, MailUnknown, MailRefused, MailExpired, MailDropped, MailDelayed, MailFailed}

// bounded keeps a long text of the application from waiting in the queue.
func bounded(text string) string {
	if len(text) > 128 {
		return Other
	}
	return text
}

// fit makes the records of a batch fit to be stored.
func (s *Stats) fit(batch []record) {
	now := s.opts.Now()
	for i := range batch {
		r := &batch[i]
		if r.kind == kindMail && !slices.Contains(outcomes, r.outcome) {
			s.told(fmt.Errorf("otpstats: Mail: %q is no outcome", r.outcome))
		}
		if r.time < 0 || r.time > now.Add(skew).UnixMilli() {
			r.time = now.UnixMilli() // another process's clock must not make it later here
		}
		r.age = min(max(r.age, 0), time.Duration(r.time)*time.Millisecond)
		r.wrongs = min(max(r.wrongs, 0), math.MaxInt32)
		r.address, r.client, r.challenge = s.rehash('a', r.address), s.rehash('c', r.client), s.rehash('q', r.challenge)
		if r.mid != "" {
			r.message, r.mid = s.hash('m', []byte(r.mid)), ""
		}
		day, right := r.time/dayMs, r.kind == kindVerified
		r.purpose = s.names[Purpose].bounded(clean(r.purpose), day, right)
		r.locale = s.names[Language].bounded(language(r.locale), day, right)
		r.domain = s.names[Domain].bounded(clean(r.domain), day, right)
		r.app = s.names[App].bounded(clean(r.app), day, right)
		r.provider = s.names[Provider].bounded(clean(r.provider), day, r.outcome == MailSent)
	}
}
