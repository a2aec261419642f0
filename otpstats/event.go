package otpstats

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// kind is an otpevent.Kind as it is stored. The numbers never change.
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
	_ // a guess at a short code that was not accepted any more
	kindUnknown
	kindClockBack
	kindUnknownKey
	kindFailed
	kindForgotten // not stored
	kindMail      // not stored: a call of Stats.Mail
	kindLeft      // an otpevent.Failed whose caller canceled its context
	kindSendLeft  // an otpevent.SendFailed whose caller did
	kindRefused   // an otpevent.SendFailed that is the recipient's fault
	kindCrowded
	kindEvicted
	kindRevoked
	kindLost // not an otpevent: events that found the queue full
)

// scopeOf is an otp.Event.Scope: whose budget was spent.
type scopeOf uint8

const (
	ofAddress scopeOf = iota // or unknown
	ofClient
	ofAll
)

func scopeOfText(text string) scopeOf {
	switch text {
	case "client":
		return ofClient
	case "all":
		return ofAll
	}
	return ofAddress
}

// failureOf separates the failures of the system from those that people cause.
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
	case otpevent.Unknown:
		return kindUnknown
	case otpevent.ClockBack:
		return kindClockBack
	case otpevent.UnknownKey:
		return kindUnknownKey
	case otpevent.Failed:
		return kindFailed
	case otpevent.Crowded:
		return kindCrowded
	case otpevent.Evicted:
		return kindEvicted
	case otpevent.Revoked:
		return kindRevoked
	case otpevent.Forgotten:
		return kindForgotten
	}
	return kindNone
}

// event is an otp.Event or a call of Mail: in the queue, in the table and,
// read from there, before the rules. normalizeBatch prepares it for the table.
type event struct {
	kind                       kind
	resend, strong, decoy      bool
	time                       int64 // Unix milliseconds
	age                        int64 // milliseconds
	wrongs                     int64
	times                      int64    // how many events it stands for; see sums
	scope                      scopeOf  // not in the table of events
	address, client, challenge otp.Hash // once normalized, under Options.Key
	purpose, domain, app       string
	language                   string // a locale until normalized

	// Of Mail and otpevent.Sent; not in the table of events.
	mailID   string   // the ID of the mail until normalized
	mail     otp.Hash // its hash after that
	provider string
	outcome  otpevent.Outcome
}

const eventColumns = "time, kind, resend, strong, decoy, purpose, language, domain, app, address, client, challenge, age, wrongs, times"

// row is the event in the order of eventColumns.
func (e *event) row() []any {
	return []any{
		e.time, int64(e.kind), b2i(e.resend), b2i(e.strong), b2i(e.decoy), e.purpose, e.language, e.domain, e.app,
		blob(e.address), blob(e.client), blob(e.challenge), e.age, e.wrongs, max(1, e.times),
	}
}

// scanEvent reads a row of id and eventColumns.
func scanEvent(rows *sql.Rows) (e event, id int64, err error) {
	var k, resend, strong, decoy int64
	var address, client, challenge sql.RawBytes
	err = rows.Scan(&id, &e.time, &k, &resend, &strong, &decoy, &e.purpose, &e.language, &e.domain, &e.app, &address, &client, &challenge, &e.age, &e.wrongs, &e.times)
	e.kind, e.resend, e.strong, e.decoy = kind(k), resend > 0, strong > 0, decoy > 0
	e.address, e.client, e.challenge = hashOf(address), hashOf(client), hashOf(challenge)
	return e, id, err
}

// opened is the time when the event's challenge was opened, in Unix
// milliseconds.
func (e *event) opened() int64 { return e.time - e.age }

func (e *event) values() values {
	return values{purpose: e.purpose, language: e.language, domain: e.domain, app: e.app}
}

// blob is a hash as it is stored: nil for the zero hash.
func blob(h otp.Hash) []byte {
	if h == (otp.Hash{}) {
		return nil
	}
	return h[:]
}

func hashOf(b []byte) (h otp.Hash) { copy(h[:], b); return h }

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// hash keys b. Hashes of different types never match.
func (s *Stats) hash(typ byte, b []byte) (h otp.Hash) {
	mac := hmac.New(sha256.New, s.opts.Key)
	mac.Write([]byte{typ})
	mac.Write(b)
	copy(h[:], mac.Sum(nil))
	return h
}

// ClientSubject returns the name under which [Anomaly] and [Spread] list the
// client with an event's ClientHash. Use it to find the client of an anomaly,
// in an Observer of your own or in a log that has the hash.
func (s *Stats) ClientSubject(client otp.Hash) string { return s.rehash('c', client).String() }

// AddressSubject returns the name under which [Anomaly] and [Spread] list the
// address with an event's AddressHash, which [otp.Verifier.AddressHash] also
// returns.
func (s *Stats) AddressSubject(address otp.Hash) string { return s.rehash('a', address).String() }

func (s *Stats) rehash(typ byte, h otp.Hash) otp.Hash {
	if h == (otp.Hash{}) {
		return h
	}
	return s.hash(typ, h[:])
}

// skew is how far a time may be ahead of the clock before it counts as wrong:
// package otp requires clocks that agree to a minute.
const skew = time.Minute

var outcomes = []otpevent.Outcome{
	otpevent.MailSent, otpevent.MailUnknown, otpevent.MailRefused, otpevent.MailExpired, otpevent.MailDropped, otpevent.MailDelayed, otpevent.MailFailed,
}

// bounded keeps a long text of the application out of the queue.
func bounded(text string) string {
	if len(text) > 128 {
		return Other
	}
	return text
}

// normalizeBatch prepares a batch for the tables: it keys hashes, bounds values
// and reports outcomes that do not exist.
func (s *Stats) normalizeBatch(batch []event) {
	now := s.opts.Now()
	for i := range batch {
		e := &batch[i]
		if e.kind == kindMail && !slices.Contains(outcomes, e.outcome) {
			s.reportError(fmt.Errorf("otpstats: Mail: unknown outcome %q", e.outcome))
		}
		if e.time < 0 || e.time > now.Add(skew).UnixMilli() {
			e.time = now.UnixMilli() // another process's clock must not make it later here
		}
		e.age = min(max(e.age, 0), e.time)
		e.wrongs = min(max(e.wrongs, 0), math.MaxInt32)
		e.address, e.client, e.challenge = s.rehash('a', e.address), s.rehash('c', e.client), s.rehash('q', e.challenge)
		if e.mailID != "" {
			e.mail, e.mailID = s.hash('m', []byte(e.mailID)), ""
		}
		day, right := e.time/dayMs, e.kind == kindVerified
		e.purpose = s.names[Purpose].bounded(clean(e.purpose), day, right)
		e.language = s.names[Language].bounded(language(e.language), day, right)
		e.domain = s.names[Domain].bounded(clean(e.domain), day, right)
		e.app = s.names[App].bounded(clean(e.app), day, right)
		e.provider = s.names[Provider].bounded(clean(e.provider), day, e.outcome == otpevent.MailSent)
	}
}
