package model

import (
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// verdictOf returns the verdict of an error.
func verdictOf(err error) verdict {
	for v, is := range map[verdict]error{
		badAddress: otp.ErrAddress, malformed: otp.ErrMalformed, wrong: otp.ErrCode, expired: otp.ErrExpired,
		exhausted: otp.ErrExhausted, unknown: otp.ErrUnknown, limited: otp.ErrLimited, notSent: otp.ErrSend,
	} {
		if errors.Is(err, is) {
			return v
		}
	}
	if err != nil {
		return broken
	}
	return fine
}

// compare compares the results of a call with the model's answer.
func (w *world) compare(want answer, got otp.Challenge, err error) {
	defer func() {
		if w.Failed() {
			w.Log(w.m)
		}
	}()
	if v := verdictOf(err); v != want.verdict {
		w.Fatalf("the verifier says %q (%v), the model %q", v, err, want.verdict)
	}
	if w.m.fault != "" {
		w.Fatal(w.m.fault)
	}
	var limit *otp.LimitError
	if errors.As(err, &limit) {
		if wait := time.Duration(want.retryAfter) * time.Millisecond; limit.RetryAfter != wait || limit.Scope != want.scope {
			w.Fatalf("the verifier says to come back in %v for the sake of the %s, the model in %v for that of the %s", limit.RetryAfter, limit.Scope, wait, want.scope)
		}
	}
	w.compareEvents(want, limit)
	c := want.about
	if c == nil {
		if !reflect.DeepEqual(got, otp.Challenge{}) {
			w.Fatalf("the verifier returns %#v, the model no challenge", fields(got))
		}
		return
	}
	if c.id == "" { // new
		for _, other := range w.m.challenges {
			if other.id == got.ID {
				w.Fatal("a duplicate ID")
			}
		}
		c.id = got.ID
	}
	if c.reference == "" { // a decoy has no mail to read it from
		c.reference = got.Reference
	}
	expect := otp.Challenge{
		ID: c.id, Masked: c.to.Masked(), Purpose: c.purpose, Reference: c.reference, Strong: c.strong,
		KnownDevice: c.lane == known, Letters: c.hasLetters(),
		SentAt: time.UnixMilli(c.sentAt), ExpiresAt: time.UnixMilli(c.deadline), ResendAt: time.UnixMilli(want.resendAt), ResendUntil: time.UnixMilli(c.resendUntil()), GuessesLeft: want.left,
	}
	if want.passed {
		expect.To, expect.Vars, expect.Device = c.to, c.vars, got.Device
		if got.Device == "" {
			w.Fatal("no token for the device")
		}
	}
	if got, expect := fields(got), fields(expect); !reflect.DeepEqual(got, expect) {
		w.Fatalf("with %q the verifier returns\n%#v\nthe model\n%#v", want.verdict, got, expect)
	}
}

// compareEvents compares the events of a call with the model.
func (w *world) compareEvents(want answer, limit *otp.LimitError) {
	var clockBack, unknownKey, refused bool
	for _, e := range w.saw {
		if w.address != (otp.Hash{}) && e.AddressHash != w.address && e.AddressHash != (otp.Hash{}) {
			w.Fatalf("an event has the hash %v of an address, AddressHash says %v", e.AddressHash, w.address)
		}
		switch e.Kind {
		case otpevent.ClockBack:
			clockBack = true
		case otpevent.UnknownKey:
			unknownKey = true
		case otpevent.Limited:
			refused = true
			if limit == nil || e.Scope != limit.Scope || e.RetryAfter != limit.RetryAfter {
				w.Fatalf("the event says to come back in %v for the sake of the %s, the error is %v", e.RetryAfter, e.Scope, limit)
			}
		}
	}
	if clockBack != want.clockBack {
		w.Fatalf("an event for a clock that is behind: %t, the model says %t", clockBack, want.clockBack)
	}
	// In a race, each load reports it. Differs: so does a verifier that remembers such a
	// value, before it loads another one.
	if unknownKey != want.unknownKey && !w.raced && (want.unknownKey || w.counting == nil) {
		w.Fatalf("an event for an unknown secret: %t, the model says %t", unknownKey, want.unknownKey)
	}
	if refused != (limit != nil) {
		w.Fatalf("an event for a spent budget: %t, the error is %v", refused, limit)
	}
}

// compareSwaps compares how often the verifier wrote, and for how long, with the
// model.
func (w *world) compareSwaps() {
	if !slices.Equal(w.counting.ttls, w.m.swaps) {
		w.Fatalf("the verifier wrote for %v, the model for %v milliseconds", w.counting.ttls, w.m.swaps)
	}
}

// A seen is a Challenge that fmt prints in full and reflect can compare.
type seen struct {
	ID, To, Masked, Purpose, Reference string
	Vars                               map[string]string
	Strong, KnownDevice, Letters       bool
	SentAt, ExpiresAt                  int64
	ResendAt, ResendUntil              int64
	GuessesLeft                        int
	Device                             string
}

func fields(c otp.Challenge) seen {
	s := seen{
		c.ID, c.To.String(), c.Masked, c.Purpose, c.Reference, c.Vars, c.Strong, c.KnownDevice, c.Letters,
		c.SentAt.UnixNano(), c.ExpiresAt.UnixNano(), c.ResendAt.UnixNano(), c.ResendUntil.UnixNano(), c.GuessesLeft, c.Device,
	}
	if len(s.Vars) == 0 {
		s.Vars = nil
	}
	return s
}
