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
)

// Anomaly is something unusual that begins, or has been.
type Anomaly struct {
	Kind    AnomalyKind // what is unusual
	Subject string      // the domain, or the stored hash of the client or address; empty for all traffic
	Since   time.Time   // the minute in which it was found
	Until   time.Time   // when it was over; zero while it lasts
	Count   int64       // what was seen: mails sent, unsolved addresses, addresses, clients, escalations
	Seen    float64     // the number that is unusual: the share verified, or Count
	Usual   float64     // what it is usually, or the limit
}

// Rules say what is an anomaly. They are evaluated for each minute of the time of
// the events, over the events of all processes that write to the database. An anomaly is
// told once and is over when its rule has been quiet for Calm.
type Rules struct {
	// Calm is how long a rule must be quiet for its anomaly to be over. 0 means 30
	// minutes; negative is an error.
	Calm time.Duration

	Delivery    DeliveryRule // for DeliveryFalling
	Guessing    GuessingRule // for DistributedGuessing
	Clients     SpreadRule   // for ClientSpread
	Addresses   SpreadRule   // for AddressSpread
	Escalations SpikeRule    // for EscalationSpike
}

// DeliveryRule compares, for each domain, the share of the mailed codes that were
// answered right within two and a half minutes with the same share in the weeks before. Challenges with
// wrong guesses only, and strong codes, are left out: a guesser opened them, or their mail arrived.
type DeliveryRule struct {
	Off     bool          // never
	MinSent int64         // mails that a verdict needs, in the last hour at most. 0 means 20
	MinPast int64         // mails that the past needs. 0 means 200
	Drop    float64       // how much of the usual share must be gone. 0 means 0.3
	Z       float64       // standard errors between the two shares. 0 means 6
	Window  time.Duration // the shortest stretch looked at; up to an hour where there are fewer mails than MinSent. 0 means 10 minutes
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
	count("Delivery.MinSent", &r.Delivery.MinSent, 20)
	count("Delivery.MinPast", &r.Delivery.MinPast, 200)
	factor("Delivery.Drop", &r.Delivery.Drop, 0.3)
	factor("Delivery.Z", &r.Delivery.Z, 6)
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
	return r, errors.Join(errs...)
}
