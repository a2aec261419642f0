package dashboard

import (
	"fmt"
	"html/template"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

type finding struct {
	What, Detail, Advice string
	Over                 bool // it has ended
	Link                 template.URL
}

const (
	keepOut = "Accounts are safe: the budgets limit guesses. Ask for a CAPTCHA before Send, and rate-limit at the proxy."
	lookAt  = "Check the log of the sender and the bounces of this domain. Use another provider (relay.Failover), or ask the postmaster of the domain."
)

// kinds have, for each anomaly, what it is (with its subject), what to do, and
// which chart shows it.
var kinds = map[otpstats.AnomalyKind]struct{ what, advice, chart string }{
	otpstats.DeliveryFalling:     {"Codes to %s are not coming back.", lookAt, "domains-time"},
	otpstats.DistributedGuessing: {"Somebody is guessing at many addresses.", keepOut, "wrong"},
	otpstats.StrongCodes:         {"Unusually many mails carry a strong code: their addresses had too many wrong guesses or unused codes.", keepOut, "wrong"},
	otpstats.ClientSpread:        {"One client (%s) is asking for many addresses.", "Limit or block it. Stats.ClientSubject computes this name from the client's hash.", "clients"},
	otpstats.AddressSpread: {
		"Many clients are asking for one address (%s).",
		"Somebody is flooding this mailbox. Known devices of its owner are not affected. Ask for a CAPTCHA before Send.", "addresses",
	},
	otpstats.Failing: {"Codes cannot be sent or checked.", "Check the log for the events send_failed, failed, clock_back and unknown_key.", "failures"},
	otpstats.Crowded: {
		"Strangers have used three quarters of the codes that they may ask for.",
		"Once all are used, people on new devices are refused; known devices are not. Ask for a CAPTCHA before Send. If these are your users, raise otp.Options.StrangerStarts.", "funnel",
	},
	otpstats.Evicted: {
		"The memory store is full and has dropped young entries.",
		"Codes or counts of wrong guesses were forgotten. Raise otp.MemoryOptions.MaxEntries, or use a store on disk. If this is a flood, ask for a CAPTCHA before Send.", "funnel",
	},
	otpstats.EventsLost: {
		"Events were lost.",
		"The numbers of that time are too small. Check the errors that otpstats.Options.OnError received, or increase Options.Queue.", "funnel",
	},
}

// findings lists what needs attention: first what lasts, then what has ended,
// the latest first.
func (b *board) findings(q *query) error {
	anomalies, err := q.Anomalies(q.ctx, q.filter)
	if err != nil {
		return err
	}
	for _, a := range anomalies { // in this order already
		b.Findings = append(b.Findings, b.finding(a))
	}
	return nil
}

// finding describes an anomaly.
func (b *board) finding(a otpstats.Anomaly) finding {
	kind, known := kinds[a.Kind]
	f := finding{What: kind.what, Advice: kind.advice, Detail: "Detected " + moment(a.Since) + ", not ended", Over: !a.Until.IsZero()}
	if f.Over {
		f.Detail = "Detected " + moment(a.Since) + ", ended " + moment(a.Until)
	}
	if !known { // from a later version that uses the same tables
		f.What, f.Detail = string(a.Kind), f.Detail+"."
		return f
	}
	domain := ""
	switch a.Kind {
	case otpstats.DeliveryFalling:
		domain = a.Subject
		f.What = fmt.Sprintf(f.What, a.Subject)
		f.Detail += fmt.Sprintf(": %.0f %% answered in time, usually %.0f %%.", a.Seen*100, a.Usual*100)
	case otpstats.DistributedGuessing:
		f.Detail += fmt.Sprintf(": %s addresses without a correct code at detection.", number(a.Count))
	case otpstats.ClientSpread:
		f.What = fmt.Sprintf(f.What, a.Subject)
		f.Detail += fmt.Sprintf(": %s addresses at detection.", number(a.Count))
	case otpstats.AddressSpread:
		f.What = fmt.Sprintf(f.What, a.Subject)
		f.Detail += fmt.Sprintf(": %s clients at detection.", number(a.Count))
	case otpstats.StrongCodes:
		f.Detail += fmt.Sprintf(": %s strong codes at detection, %.1f %% of all mails, usually %.1f %%.", number(a.Count), a.Seen*100, a.Usual*100)
	case otpstats.Failing:
		f.Detail += fmt.Sprintf(": %s failures at detection, %.0f %% of all calls; the limit is %.0f %%.", number(a.Count), a.Seen*100, a.Usual*100)
	case otpstats.Crowded:
		f.Detail += "."
	case otpstats.Evicted:
		f.Detail += fmt.Sprintf(": %s entries at detection.", number(a.Count))
	case otpstats.EventsLost:
		f.Detail += fmt.Sprintf(": %s events at detection. The database is slow or down, or the queue is too short.", number(a.Count))
	}
	f.Link = b.around(a.Since, domain, kind.chart)
	return f
}

// around returns the URL of a chart over the day around t: six hours before it
// and 18 after.
func (b *board) around(t time.Time, domain, chart string) template.URL {
	changes := []string{"range", "24h"}
	if domain != "" {
		changes = append(changes, "domain", domain)
	}
	return b.until(t.Truncate(time.Hour).Add(18*time.Hour), changes...) + template.URL("#"+chart)
}

func moment(t time.Time) string { return t.UTC().Format("2 Jan 15:04") }

// short returns enough of a hash to distinguish it from others.
func short(hash string) string { return hash[:min(len(hash), 8)] }
