package otpstats

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// AnomalyKind is a kind of [Anomaly].
type AnomalyKind string

// The kinds of anomaly.
const (
	// DeliveryFalling means that fewer of the codes mailed to a domain come
	// back than before.
	DeliveryFalling AnomalyKind = "delivery_falling"
	// DistributedGuessing means wrong guesses at many addresses without a
	// correct one.
	DistributedGuessing AnomalyKind = "distributed_guessing"
	// ClientSpread means that one client asks for many addresses.
	ClientSpread AnomalyKind = "client_spread"
	// AddressSpread means that many clients ask for one address.
	AddressSpread AnomalyKind = "address_spread"
	// StrongCodes means that many more mails than usual carry a strong code: a
	// longer code, which is mailed to addresses that had too many wrong guesses
	// or unused codes.
	StrongCodes AnomalyKind = "strong_codes"
	// Failing means that the sender accepts no mail, or that calls fail because
	// of the system: the store, Options.Admit, the generator, clocks or keys. A
	// relay.Queue accepts every mail, so look at its reports as well.
	Failing AnomalyKind = "failing"
	// Crowded means that strangers have used three quarters of what
	// otp.Options.StrangerStarts allows, or its default over a MemoryStore. When
	// all of it is used, people on new devices are refused.
	Crowded AnomalyKind = "crowded"
	// Evicted means that a full MemoryStore dropped values that were written
	// less than a day ago: counts of wrong guesses or codes were forgotten.
	Evicted AnomalyKind = "evicted"
	// EventsLost means that Options.Queue was full and events were dropped, so
	// the numbers of that time are too small. It concerns mails, correct and
	// wrong codes and the reports of Stats.Mail: everything that strangers can
	// cause without limit is added up in memory instead.
	EventsLost AnomalyKind = "events_lost"
)

// Anomaly is something unusual that has begun, and may have ended.
type Anomaly struct {
	// Kind says what is unusual.
	Kind AnomalyKind `json:"kind"`
	// Subject is the domain, or the stored hash of the client or address (see
	// Stats.ClientSubject). It is empty if the anomaly is about all traffic.
	Subject string `json:"subject"`
	// Since is the minute in which the anomaly was detected.
	Since time.Time `json:"since"`
	// Until is when the anomaly ended. It is zero while it lasts.
	Until time.Time `json:"until,omitzero"`
	// Count is what the rule counted at detection: mails sent, addresses
	// without a correct code, addresses, clients, strong codes, failures or
	// events.
	Count int64 `json:"count"`
	// Seen is the unusual number: the share of codes verified, codes that are
	// strong or calls failed, from 0 to 1, or else Count.
	Seen float64 `json:"seen"`
	// Usual is what Seen usually is, or its limit.
	Usual float64 `json:"usual"`
}

// Rules decide what is an anomaly. They are evaluated for each minute of event
// time, over the events of all processes that write to the database. An anomaly
// is reported once, and ends when its rule has been quiet for Calm.
//
// In every rule a negative number is an error, and so is a Window of less than
// a minute or more than an hour.
type Rules struct {
	// Calm is how long a rule must be quiet before its anomaly ends. 0 means 30
	// minutes; less than a minute or more than a day is an error.
	Calm time.Duration

	Delivery  DeliveryRule // for DeliveryFalling
	Guessing  GuessingRule // for DistributedGuessing
	Clients   SpreadRule   // for ClientSpread
	Addresses SpreadRule   // for AddressSpread
	Strong    StrongRule   // for StrongCodes
	Failures  FailureRule  // for Failing
	Crowded   CountRule    // for Crowded; its Window is an hour by default
	Evicted   CountRule    // for Evicted
	Lost      CountRule    // for EventsLost
}

// DeliveryRule compares, for each domain, the share of mailed codes that were
// answered correctly within two and a half minutes with that share in the weeks
// before. It ignores challenges with only wrong guesses, since their mail
// arrived or a guesser opened them, and challenges with a strong code.
type DeliveryRule struct {
	// Off disables the rule.
	Off bool
	// MinSent is the minimum number of mails in the period that is judged. 0
	// means 8: fewer may all belong to one person.
	MinSent int64
	// MinPast is the minimum number of mails in the past. 0 means 200.
	MinPast int64
	// Drop is the part of the usual share that must be missing; 1 or more is an
	// error. 0 means 0.3.
	Drop float64
	// Z is the minimum significance of the drop: the signed root of the G
	// statistic (the likelihood ratio test) of the two shares. Chance alone
	// exceeds it about as often as a standard normal variable. 0 means 5.5,
	// once in fifty million evaluations.
	Z float64
	// Window is the shortest period that is judged. The rule also judges every
	// longer period up to an hour. 0 means 10 minutes.
	Window time.Duration
}

// GuessingRule counts the addresses that had wrong guesses and no correct one
// in Window.
type GuessingRule struct {
	Off          bool          // disables the rule
	MinAddresses int64         // minimum number of addresses. 0 means 20
	Factor       float64       // how many times the usual number is unusual. 0 means 4
	Window       time.Duration // 0 means 10 minutes
}

// SpreadRule counts the different addresses that one client asked for, or the
// different clients that asked for one address, in Window. Pairs with a correct
// code do not count: people in one office share a client, for example. Of each
// minute, the first 2*Limit addresses of a client count, and the first 2*Limit
// clients of an address: more would tell nothing, and cost a row each.
type SpreadRule struct {
	Off    bool          // disables the rule
	Limit  int64         // the number that is unusual. 0 means 20 addresses or 8 clients
	Window time.Duration // 0 means an hour
}

// StrongRule compares the share of strong codes among the codes that were
// mailed in Window with that share in the past.
type StrongRule struct {
	Off    bool          // disables the rule
	Min    int64         // minimum number of strong codes. 0 means 20
	Factor float64       // how many times the usual share is unusual. 0 means 5
	Window time.Duration // 0 means 10 minutes
}

// CountRule counts events in Window that should not happen at all.
type CountRule struct {
	Off    bool          // disables the rule
	Min    int64         // minimum number of events. 0 means 1
	Window time.Duration // 0 means 10 minutes
}

// FailureRule counts failures in Window: mails that were not sent, except to
// rejected recipients, and calls that failed because of the system. Calls whose
// caller left before the end count only if there are more of them than
// successful calls.
type FailureRule struct {
	Off    bool          // disables the rule
	Min    int64         // minimum number of failures. 0 means 10
	Share  float64       // minimum part of all mails, decoys, guesses and failures, at most 1. 0 means 0.2
	Window time.Duration // 0 means 10 minutes
}

// filled returns the rules with their defaults, or an error for invalid values.
func (r Rules) filled() (Rules, error) {
	var errs []error
	duration := func(name string, d *time.Duration, standard, most time.Duration) {
		if *d = cmp.Or(*d, standard); *d < time.Minute || *d > most {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s: %v, want 1m to %v", name, *d, most))
		}
	}
	count := func(name string, n *int64, standard int64) {
		if *n = cmp.Or(*n, standard); *n < 0 {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s: %d is negative", name, *n))
		}
	}
	factor := func(name string, x *float64, standard float64) {
		if *x = cmp.Or(*x, standard); !(*x > 0) {
			errs = append(errs, fmt.Errorf("otpstats: Options.Rules.%s: %v, want more than 0", name, *x))
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
	count("Strong.Min", &r.Strong.Min, 20)
	factor("Strong.Factor", &r.Strong.Factor, 5)
	duration("Strong.Window", &r.Strong.Window, 10*time.Minute, time.Hour)
	count("Failures.Min", &r.Failures.Min, 10)
	factor("Failures.Share", &r.Failures.Share, 0.2)
	duration("Failures.Window", &r.Failures.Window, 10*time.Minute, time.Hour)
	count("Crowded.Min", &r.Crowded.Min, 1)
	duration("Crowded.Window", &r.Crowded.Window, time.Hour, time.Hour) // it happens at most once an hour
	count("Evicted.Min", &r.Evicted.Min, 1)
	duration("Evicted.Window", &r.Evicted.Window, 10*time.Minute, time.Hour)
	count("Lost.Min", &r.Lost.Min, 1)
	duration("Lost.Window", &r.Lost.Window, 10*time.Minute, time.Hour)
	if r.Delivery.Drop >= 1 {
		errs = append(errs, fmt.Errorf("otpstats: Options.Rules.Delivery.Drop: %v, want less than 1", r.Delivery.Drop))
	}
	if r.Failures.Share > 1 {
		errs = append(errs, fmt.Errorf("otpstats: Options.Rules.Failures.Share: %v, want at most 1", r.Failures.Share))
	}
	return r, errors.Join(errs...)
}
