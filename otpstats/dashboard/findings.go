package dashboard

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/go-mailotp/otp/otpstats"
)

type finding struct {
	What, Detail, Advice string
	Over                 bool // it lasts no more
	Link                 template.URL
}

const (
	keepOut = "Accounts are safe within the budgets. Put a CAPTCHA into Options.Admit, and limit at the proxy."
	lookAt  = "Look at the sender's log and at bounces for this domain; use another provider (relay.Failover), or ask the domain's postmaster."
)

// kinds say what an anomaly is, with its subject, what to do, and which chart shows it.
var kinds = map[otpstats.AnomalyKind]struct{ what, advice, chart string }{
	otpstats.DeliveryFalling:     {"Codes to %s are not coming back.", lookAt, "domains-time"},
	otpstats.DistributedGuessing: {"Somebody guesses at many addresses.", keepOut, "wrong"},
	otpstats.EscalationSpike:     {"Many guesses at addresses that were guessed at too often.", keepOut, "wrong"},
	otpstats.ClientSpread:        {"One client (%s) asks for many addresses.", "Limit or block it: its hash is that of Stats.ClientSubject.", "clients"},
	otpstats.AddressSpread: {"Many clients ask for one address (%s).",
		"Somebody floods this mailbox; its owner's known devices are not touched. Put a CAPTCHA into Options.Admit.", "addresses"},
	otpstats.Failing: {"Codes cannot be sent or checked.", "Look at the log for the events send_failed, failed, clock_back and unknown_key.", "failures"},
}

// findings says what needs attention: first what lasts, then what is over, the latest first.
func (b *board) findings(q *query) error {
	if n := q.Dropped(); n > 0 {
		b.Findings = append(b.Findings, finding{
			What: "Events were lost.", Detail: fmt.Sprintf("%s since the start: the database is slow or down, or the queue too short.", number(n)),
			Advice: "Look at what otpstats.Options.OnError is told, or make Options.Queue longer.",
		})
	}
	anomalies, err := q.Anomalies(q.ctx, q.filter)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, a := range anomalies {
		b.Findings = append(b.Findings, b.finding(a))
		if a.Kind == otpstats.DeliveryFalling {
			told[a.Subject] = true
		}
	}
	fallen, err := q.FallenDomains(q.ctx, q.filter)
	if err != nil {
		return err
	}
	for _, d := range fallen {
		if told[d.Domain] {
			continue
		}
		kind := kinds[otpstats.DeliveryFalling]
		b.Findings = append(b.Findings, finding{
			What: fmt.Sprintf(kind.what, d.Domain),
			Detail: fmt.Sprintf("From %s to %s: %.0f %% verified, usually %.0f %%.",
				moment(d.From), moment(d.To), d.Share*100, d.PastShare*100),
			Advice: kind.advice, Over: d.To.Before(b.now.Truncate(time.Hour)),
			Link: b.around(d.From, d.Domain, kind.chart),
		})
	}
	slices.SortStableFunc(b.Findings, func(x, y finding) int { return cmp.Compare(state(x), state(y)) })
	return nil
}

// state is where a finding stands: what lasts is first.
func state(f finding) int {
	if f.Over {
		return 1
	}
	return 0
}

// finding tells of an anomaly.
func (b *board) finding(a otpstats.Anomaly) finding {
	kind, known := kinds[a.Kind]
	f := finding{What: kind.what, Advice: kind.advice, Detail: "Found " + moment(a.Since) + ", and it lasts", Over: !a.Until.IsZero()}
	if f.Over {
		f.Detail = "Found " + moment(a.Since) + ", over " + moment(a.Until)
	}
	if !known { // of a later version, in the same tables
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
		f.Detail += fmt.Sprintf(": %s addresses and none right when it was found.", number(a.Count))
	case otpstats.ClientSpread:
		f.What = fmt.Sprintf(f.What, a.Subject)
		f.Detail += fmt.Sprintf(": %s addresses when it was found.", number(a.Count))
	case otpstats.AddressSpread:
		f.What = fmt.Sprintf(f.What, a.Subject)
		f.Detail += fmt.Sprintf(": %s clients when it was found.", number(a.Count))
	case otpstats.EscalationSpike:
		f.Detail += fmt.Sprintf(": %s refused guesses when it was found, usually %.0f.", number(a.Count), a.Usual)
	case otpstats.Failing:
		f.Detail += fmt.Sprintf(": %s failures when it was found, %.0f %% of all that was done; the limit is %.0f %%.", number(a.Count), a.Seen*100, a.Usual*100)
	}
	f.Link = b.around(a.Since, domain, kind.chart)
	return f
}

// around is the address of a chart of the day around t, six hours before and the rest after.
func (b *board) around(t time.Time, domain, chart string) template.URL {
	changes := []string{"range", "24h"}
	if domain != "" {
		changes = append(changes, "domain", domain)
	}
	return b.until(t.Truncate(time.Hour).Add(18*time.Hour), changes...) + template.URL("#"+chart)
}

func moment(t time.Time) string { return t.UTC().Format("2 Jan 15:04") }

// short is enough of a hash to tell it from others.
func short(hash string) string { return hash[:min(len(hash), 8)] }
