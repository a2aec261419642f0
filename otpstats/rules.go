package otpstats

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// AnomalyKind says what is unusual.
type AnomalyKind string

// The kinds of anomaly.
const (
	// DeliveryFalling: fewer of the codes mailed to a domain come back than used to.
	DeliveryFalling AnomalyKind = "delivery_falling"
	// DistributedGuessing: wrong guesses at many addresses, and none right.
	DistributedGuessing AnomalyKind = "distributed_guessing"
	// ClientSpread: one client asks for many addresses.
	ClientSpread AnomalyKind = "client_spread"
	// AddressSpread: many clients ask for one address.
	AddressSpread AnomalyKind = "address_spread"
	// EscalationSpike: many guesses at addresses where only strong codes count.
	EscalationSpike AnomalyKind = "escalation_spike"
	// Failing: the sender takes no mails, or the system fails calls: the store, Options.Admit,
	// the generator, clocks, keys. Behind a relay.Queue, which takes all, look at its reports.
	Failing AnomalyKind = "failing"
)

// Anomaly is something unusual that begins, or has been.
type Anomaly struct {
	Kind    AnomalyKind `json:"kind"`           // what is unusual
	Subject string      `json:"subject"`        // the domain, or the stored hash of the client (see Stats.ClientSubject) or address; empty for all traffic
	Since   time.Time   `json:"since"`          // the minute in which it was found
	Until   time.Time   `json:"until,omitzero"` // when it was over; zero while it lasts
	Count   int64       `json:"count"`          // what was seen when it was found: mails sent, unsolved addresses, addresses, clients, escalations, failures
	Seen    float64     `json:"seen"`           // the number that is unusual: the share, from 0 to 1, that was verified or failed, or Count
	Usual   float64     `json:"usual"`          // what it is usually, or the limit
}

// Rules say what is an anomaly. They are evaluated for each minute of the time of
// the events, over the events of all processes that write to the database. An anomaly is
// told once and is over when its rule has been quiet for Calm. In each rule a negative number, and a
// Window of less than a minute, is an error.
type Rules struct {
	// Calm is how long a rule must be quiet for its anomaly to be over. 0 means 30
	// minutes; less than a minute, and more than a day, is an error.
	Calm time.Duration

	Delivery    DeliveryRule // for DeliveryFalling
	Guessing    GuessingRule // for DistributedGuessing
	Clients     SpreadRule   // for ClientSpread
	Addresses   SpreadRule   // for AddressSpread
	Escalations SpikeRule    // for EscalationSpike
	Failures    FailureRule  // for Failing
}

// DeliveryRule compares, for each domain, the share of the mailed codes that were
// answered right within two and a half minutes with the same share in the weeks before. Challenges with
// wrong guesses only, and strong codes, are left out: a guesser opened them, or their mail arrived.
type DeliveryRule struct {
	Off     bool          // never
	MinSent int64         // mails that a verdict needs, in the last hour at most. 0 means 8: fewer may be one person
	MinPast int64         // mails that the past needs. 0 means 200
	Drop    float64       // how much of the usual share must be gone, below 1. 0 means 0.3
	Z       float64       // standard errors between the two shares. 0 means 5.5: by chance once in fifty million looks
	Window  time.Duration // the shortest stretch looked at; so is each longer one, up to an hour. 0 means 10 minutes
}

// GuessingRule counts the addresses with wrong guesses and no right one in Window.
type GuessingRule struct {
	Off          bool          // never
	MinAddresses int64         // 0 means 20
	Factor       float64       // how many times the usual. 0 means 4
	Window       time.Duration // 0 means 10 minutes, 60 at most
}

// SpreadRule counts the different addresses that one client asked for, or the
// different clients that asked for one address, in Window. Those with a right answer do
// not count: the people of an office share a client, too.
type SpreadRule struct {
	Off    bool          // never
	Limit  int64         // how many are unusual. 0 means 20 addresses, 8 clients
	Window time.Duration // 0 means an hour, which is the most
}

// SpikeRule counts escalations in Window.
type SpikeRule struct {
	Off    bool          // never
	Min    int64         // 0 means 20
	Factor float64       // how many times the usual. 0 means 5
	Window time.Duration // 0 means 10 minutes, 60 at most
}

// FailureRule counts the failures in Window: mails that were not handed over, other than to refused
// recipients, and calls that the system failed; those whose caller did not wait only where there are more
// of them than of all that was done.
type FailureRule struct {
	Off    bool          // never
	Min    int64         // 0 means 10
	Share  float64       // of all that was done: mails, decoys, guesses and failures; at most 1. 0 means 0.2
	Window time.Duration // 0 means 10 minutes, 60 at most
}

// filled has the defaults.
func (r Rules) filled() (Rules, error) {
	var errs []error
	duration := func(name string, d *time.Duration, standard, most time.Duration) {
		if *d = cmp.Or(*d, standard); *d < time.Minute || *d > most {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s is not from a minute to %v", name, most))
		}
	}
	count := func(name string, n *int64, standard int64) {
		if *n = cmp.Or(*n, standard); *n < 0 {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s is negative", name))
		}
	}
	factor := func(name string, x *float64, standard float64) {
		if *x = cmp.Or(*x, standard); !(*x > 0) {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s is not above 0", name))
		}
	}
	duration("Calm", &r.Calm, 30*time.Minute, 24*time.Hour)
	count("Delivery.MinSent", &r.Delivery.MinSent, 8)
	count("Delivery.MinPast", &r.Delivery.MinPast, 200)
	factor("Delivery.Drop", &r.Delivery.Drop, 0.3)
	factor("Delivery.Z", &r.Delivery.Z, 5.5)
	duration("Delivery.Window", &r.Delivery.Window, 10*time.Minute, time.Hour)
	count("Guessing.MinAddresses", &r.Guessing.MinAddresses, 20)
	factor("Guessing.Factor", &r.Guessing.Factor, 4)
	duration("Guessing.Window", &r.Guessing.Window, 10*time.Minute, time.Hour)
	count("Clients.Limit", &r.Clients.Limit, 20)
	duration("Clients.Window", &r.Clients.Window, time.Hour, time.Hour)
	count("Addresses.Limit", &r.Addresses.Limit, 8)
	duration("Addresses.Window", &r.Addresses.Window, time.Hour, time.Hour)
	count("Escalations.Min", &r.Escalations.Min, 20)
	factor("Escalations.Factor", &r.Escalations.Factor, 5)
	duration("Escalations.Window", &r.Escalations.Window, 10*time.Minute, time.Hour)
	count("Failures.Min", &r.Failures.Min, 10)
	factor("Failures.Share", &r.Failures.Share, 0.2)
	duration("Failures.Window", &r.Failures.Window, 10*time.Minute, time.Hour)
	if r.Delivery.Drop >= 1 || r.Failures.Share > 1 {
		errs = append(errs, errors.New("otpstats: Options.Rules.Delivery.Drop is 1 or more, or Failures.Share more than 1"))
	}
	return r, errors.Join(errs...)
}
