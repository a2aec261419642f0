// Package smtpreply says whose fault it is that a mail server refuses a mail, by
// one table of [Rules].
package smtpreply

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mailotp/otp/otpevent"
)

// Reply is a negative reply to a command. Stage is the command: "hello" for the
// greeting and EHLO, "tls", "auth", "mail", "rcpt" or "data", which is also the
// reply to the content.
type Reply struct {
	Stage    string
	Code     int
	Enhanced [3]int // RFC 3463; zero if the reply has none
	Text     string
}

// Greylisted reports whether a reply asks to come back in some minutes.
func (r Reply) Greylisted() bool { return r.rule().Greylist }

// Class says whose fault a reply is.
func (r Reply) Class() otpevent.Class { return r.rule().Class }

func (r Reply) rule() Rule {
	i := slices.IndexFunc(Rules, func(rule Rule) bool { return rule.matches(r) })
	return Rules[i] // the last one matches everything
}

// matches reports whether all conditions of the rule hold.
func (rule Rule) matches(r Reply) bool {
	enhanced := r.Enhanced
	if r.Code/100 != enhanced[0] { // none, or of two minds: then it says nothing
		enhanced = [3]int{}
	}
	return anyOf(rule.Stages, func(s string) bool { return s == r.Stage }) &&
		anyOf(rule.Codes, func(s string) bool { return strings.HasPrefix(strconv.Itoa(r.Code), s) }) &&
		anyOf(rule.Enhanced, func(s string) bool { return like(s, enhanced) }) &&
		(rule.Text == nil || rule.Text.MatchString(r.Text))
}

// anyOf reports whether ok holds for a word of list, or list is empty.
func anyOf(list string, ok func(string) bool) bool {
	return list == "" || slices.ContainsFunc(strings.Fields(list), ok)
}

// like compares an enhanced code with a pattern: "5.1.1", "x.2.2" for any class,
// "5.7.*" for any detail, "5.7.20-32" for a range, and "none".
func like(pattern string, code [3]int) bool {
	if code == [3]int{} {
		return pattern == "none"
	}
	parts := strings.Split(pattern, ".")
	for i, part := range parts {
		low, high, span := strings.Cut(part, "-")
		if !span {
			high = low
		}
		from, err := strconv.Atoi(low)
		if err != nil {
			continue // x or *
		}
		to, _ := strconv.Atoi(high)
		if code[i] < from || code[i] > to {
			return false
		}
	}
	return len(parts) == len(code)
}

// Rule is a row of the table. An empty condition holds for every reply.
type Rule struct {
	Stages   string         // commands
	Codes    string         // the first digits of the reply
	Enhanced string         // patterns; a code of another class than the reply is none
	Text     *regexp.Regexp // is found in the text

	Class    otpevent.Class
	Greylist bool
	Why      string // with the source
}

func words(expression string) *regexp.Regexp { return regexp.MustCompile(`(?is)` + expression) }

const (
	recipient = otpevent.ClassRecipient
	mailbox   = otpevent.ClassMailbox
	content   = otpevent.ClassContent
	us        = otpevent.ClassUs
	throttle  = otpevent.ClassThrottle
	unknown   = otpevent.ClassUnknown
)

// Rules are the table; the first rule that matches applies. Before the server has
// seen a recipient, and whenever a permanent rejection does not clearly name the
// recipient, it is ours: a relay that rejects all our mail must not look like one
// person with a wrong address.
var Rules = []Rule{
	// Delays.
	{Stages: "rcpt data", Codes: "45", Enhanced: "none 4.2.0 4.7.1 4.7.0 4.3.0 4.3.2 4.4.* 4.5.1 4.0.0", Text: words(`gr[ea]y.?list|postgrey|sqlgrey`), Class: throttle, Greylist: true, Why: "the words of Postgrey, milter-greylist and others"},
	{Codes: "4", Text: words(`\b(client|sender|helo)\b.*\b(rejected|denied|not owned)\b|relay(ing)? (access )?(denied|not permitted)|cannot find your|authentication (required|failed)`), Class: us, Why: "Postfix and Exim, with soft_bounce or unknown host names"},
	{Stages: "rcpt data", Codes: "450 451", Enhanced: "4.2.0 4.7.1", Class: throttle, Greylist: true, Why: "what greylisters use (RFC 6647 section 2.1)"},
	{Codes: "4", Enhanced: "4.2.2", Class: mailbox, Why: "RFC 3463: mailbox full"},
	{Codes: "4", Enhanced: "4.1.8 4.7.20-32 4.7.500-699 4.7.850-899", Class: us, Why: "sender's domain, SPF, DKIM, reverse DNS (RFC 7372); Exchange: address restricted"},
	{Codes: "421 432", Class: throttle, Why: "RFC 5321 4.2.2: closing; Exchange Online 432: too many at once"},
	{Codes: "4", Enhanced: "4.1.1 4.2.1 4.3.* 4.4.* 4.5.3 4.7.*", Class: throttle, Why: "RFC 3463: a system that is busy or out of order"},
	{Codes: "4", Text: words(`too (many|much|fast|quickly)|throttl|rate.?limit|unexpected volume|try again later|deferred`), Class: throttle, Why: "Amazon SES 454, Yahoo, Gmail"},
	{Codes: "4", Class: unknown, Why: "RFC 5321 4.2.1: later, without a reason"},

	// Before the recipient is named.
	{Stages: "connect hello tls auth mail", Class: us, Why: "the sender, the host and the login are the same for all mails"},

	// Codes that name the recipient, whatever the words.
	{Enhanced: "5.1.1-6 5.1.10 5.1.351 5.4.4 5.4.310", Class: recipient, Why: "RFC 3463, RFC 7505: no such mailbox or domain; Exchange Online"},
	{Enhanced: "5.2.1", Text: words(`rate|too (many|quickly)|additional messages`), Class: throttle, Why: "Gmail: this reader receives too many"},
	{Enhanced: "5.2.1", Class: recipient, Why: "RFC 3463: mailbox disabled"},
	{Enhanced: "5.4.1", Text: words(`recipient address rejected`), Class: recipient, Why: "Exchange Online: no such mailbox (edge blocking)"},

	// Words about us, which some servers send with any code.
	{Text: words(`submission quota|(daily|sending|relay) (user )?(sending )?(quota|limit)`), Class: us, Why: "Exchange, Gmail: what our account may send"},
	{Enhanced: "none 5.0.* 5.1.0 5.2.* 5.3.* 5.4.* 5.5.*", Text: words(`relay|sender|\b(client|host)\b.*\brejected\b|\brejected\b.*\b(client|host)\b|not verified|authenticat|credential|\byour (account|ip|host|domain|server|network|address)\b|block.?list|black.?list|spamhaus|dnsbl|\b(helo|ehlo|spf|dkim|dmarc|ptr)\b|reverse dns|reputation`), Class: us, Why: "Postfix, Exim, Amazon SES: relay, sender, host, login, sandbox, block lists"},

	// What is left of the mailbox and of the contents.
	{Text: words(`quota exceeded|over.?quota|mailbox (is )?full|out of storage|exceeded storage|not enough storage`), Class: mailbox, Why: "Gmail also with 5.7.1"},
	{Enhanced: "5.2.0 5.2.2", Class: mailbox, Why: "RFC 3463: mailbox full, or another mailbox status"},
	{Enhanced: "5.2.121 5.2.122", Class: throttle, Why: "Exchange: the reader's hourly limit"},
	{Enhanced: "5.2.3 5.3.4 5.6.*", Class: content, Why: "RFC 3463: too large, or media that the server does not take"},
	{Stages: "data", Enhanced: "5.7.0 5.7.1 5.7.512", Class: content, Why: "after the content it is about the content or a policy"},
	{Enhanced: "5.1.0", Class: recipient, Why: "RFC 3463: another address status"},
	{Enhanced: "5.5.0", Text: words(`mailbox unavailable`), Class: recipient, Why: "Outlook.com"},
	{Enhanced: "5.0.0 5.3.0 5.3.5 5.4.6 5.4.14", Class: unknown, Why: "RFC 3463: no reason, or a loop on the way"},
	{Enhanced: "5.*.*", Class: us, Why: "5.1.7, 5.1.8, 5.4.5, 5.5.x, 5.7.x and all that is not in this table"},

	// No enhanced code.
	{Stages: "rcpt", Codes: "550 551 553", Class: recipient, Why: "RFC 5321 4.2.2: mailbox unavailable, not local, name not allowed"},
	{Codes: "552", Class: mailbox, Why: "RFC 5321 4.2.2: exceeded storage allocation"},
	{Stages: "data", Text: words(`delivery error: dd`), Class: recipient, Why: "Yahoo"},
	{Stages: "data", Codes: "550 554", Class: content, Why: "RFC 5321 4.2.2: after the content it is about the content or a policy"},
	{Class: us, Why: "nothing says that it is the recipient"},
}
