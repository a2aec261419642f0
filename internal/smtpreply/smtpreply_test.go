package smtpreply_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpreply"
	"github.com/go-mailotp/otp/otpevent"
)

const (
	recipient = otpevent.ClassRecipient
	mailbox   = otpevent.ClassMailbox
	content   = otpevent.ClassContent
	us        = otpevent.ClassUs
	throttle  = otpevent.ClassThrottle
	unknown   = otpevent.ClassUnknown
)

// parse reads a stage and a reply such as "550 5.1.1 no such user".
func parse(t *testing.T, stage, reply string) smtpreply.Reply {
	t.Helper()
	number, text, _ := strings.Cut(reply, " ")
	code, err := strconv.Atoi(number)
	require.NoError(t, err)
	r := smtpreply.Reply{Stage: stage, Code: code, Text: text}
	enhanced, rest, _ := strings.Cut(text, " ")
	var e [3]int
	if n, _ := fmt.Sscanf(enhanced, "%d.%d.%d", &e[0], &e[1], &e[2]); n == 3 {
		r.Enhanced, r.Text = e, rest
	}
	return r
}

// replies are what servers say.
var replies = []struct {
	stage, reply string
	want         otpevent.Class
}{
	{"rcpt", "550 5.1.0 Address rejected", recipient},
	{"rcpt", "550 5.1.1 no such user", recipient},
	{"rcpt", "550 5.1.2 no such domain", recipient},
	{"rcpt", "501 5.1.3 bad syntax", recipient},
	{"rcpt", "550 5.1.4 ambiguous", recipient},
	{"rcpt", "550 5.1.5 not valid", recipient},
	{"rcpt", "551 5.1.6 moved", recipient},
	{"rcpt", "556 5.1.10 null MX", recipient},
	{"rcpt", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", recipient},
	{"rcpt", "550 5.2.1 disabled", recipient},
	{"rcpt", "554 5.1.1 <relay@example.com>: client host rejected it", recipient}, // the code decides
	{"rcpt", "550 5.4.1 Recipient address rejected: Access denied.", recipient},   // Exchange Online
	{"rcpt", "550 5.5.0 Requested action not taken: mailbox unavailable", recipient},
	{"data", "550 5.1.1 after the mail", recipient},
	{"data", "554 delivery error: dd This user doesn't have an account", recipient},
	{"rcpt", "550 no such user", recipient},
	{"rcpt", "550 Unrouteable address", recipient}, // Exim
	{"rcpt", "551 user not local", recipient},
	{"rcpt", "553 mailbox name not allowed", recipient},
	{"rcpt", "550 #5.1.0 Address rejected.", recipient}, // not in the form of RFC 2034
	{"rcpt", "550 hostile user rejected", recipient},
	{"rcpt", "550 4.1.1 of two minds", recipient}, // by its words alone

	{"rcpt", "552 5.2.2 mailbox full", mailbox},
	{"data", "552 5.2.2 mailbox full", mailbox},
	{"rcpt", "550 5.2.0 other", mailbox},
	{"rcpt", "552 full", mailbox},
	{"rcpt", "550 5.7.1 The user's email quota exceeded", mailbox}, // Gmail
	{"rcpt", "452 4.2.2 mailbox full", mailbox},

	{"rcpt", "550 5.2.3 too long", content},
	{"data", "552 5.3.4 too large", content},
	{"data", "550 5.6.0 bad media", content},
	{"data", "550 5.7.1 spam", content},
	{"data", "550 no", content},
	{"data", "554 Message not allowed - [PH01]", content},

	{"rcpt", "550 5.1.0 <codes@acme.example>: Sender address rejected: User unknown", us},
	{"rcpt", "550 5.1.7 bad sender", us},
	{"rcpt", "550 5.1.8 bad sender domain", us},
	{"rcpt", "550 5.1.9 conversion", us},
	{"rcpt", "550 5.1.11 unheard of", us},
	{"rcpt", "550 5.4.1 access denied", us},
	{"rcpt", "550 5.4.5 Daily user sending limit exceeded", us},
	{"data", "552 5.2.2 Submission quota exceeded", us},
	{"rcpt", "550 5.7.1 blocked", us},
	{"rcpt", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", us},
	{"rcpt", "530 5.7.0 Authentication required", us},
	{"rcpt", "553 5.7.1 <codes@acme.example>: Sender address rejected: not owned by user app", us},
	{"rcpt", "554 5.7.1 <a@example.com>: Relay access denied", us},
	{"rcpt", "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied", us},
	{"rcpt", "554 Client host rejected: Access denied", us},
	{"data", "554 Message rejected: Email address is not verified.", us}, // the sandbox of Amazon SES
	{"mail", "550 5.1.1 no such sender", us},                             // it has not seen the recipient
	{"mail", "553 Envelope sender mismatch", us},
	{"mail", "550 no", us},
	{"auth", "535 5.7.8 no", us},
	{"hello", "554 5.7.1 no", us},
	{"hello", "550 5.1.1 no", us},
	{"rcpt", "530 Please sign in first", us},
	{"rcpt", "550 relay not permitted", us},
	{"rcpt", "550 Relaying denied", us},
	{"rcpt", "550 unable to RELAY for you", us},
	{"rcpt", "550 client rejected", us},
	{"rcpt", "550 your host is\nrejected", us},
	{"rcpt", "550 rejected: host on a list", us},
	{"rcpt", "550 Sender verify failed", us},
	{"rcpt", "550 Authentication is required for relay", us},
	{"rcpt", "550 your IP is on a block list", us},
	{"data", "550 5.7.26 This mail is unauthenticated (SPF, DKIM)", us},
	{"rcpt", "554 no", us},
	{"rcpt", "503 bad sequence", us},
	{"rcpt", "454 4.7.1 <a@example.com>: Relay access denied", us},
	{"rcpt", "450 4.7.1 Client host rejected: cannot find your hostname", us},
	{"rcpt", "450 4.1.8 <codes@acme.example>: Sender address rejected: Domain not found", us},

	{"rcpt", "450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted", throttle},
	{"rcpt", "451 4.7.1 please come back later", throttle},
	{"rcpt", "451 graylisted", throttle},
	{"rcpt", "450 4.2.0 come back", throttle},
	{"rcpt", "421 4.4.2 idle", throttle},
	{"rcpt", "432 one at a time", throttle},
	{"rcpt", "550 5.2.121 hourly limit", throttle},
	{"rcpt", "451 4.7.650 the address is restricted", us},
	{"rcpt", "450 4.1.1 perhaps nobody", throttle},
	{"rcpt", "550 5.2.1 The user you are trying to contact is receiving mail at a rate that", throttle},
	{"hello", "421 4.3.2 later", throttle},
	{"rcpt", "421 too many", throttle},
	{"auth", "432 4.3.2 Concurrent connections limit exceeded", throttle},
	{"auth", "454 4.7.0 Too many login attempts", throttle},
	{"data", "454 Throttling failure: Maximum sending rate exceeded.", throttle},

	{"rcpt", "451 later", unknown},
	{"rcpt", "550 5.0.0 rejected", unknown},
	{"data", "554 5.3.0 no", unknown},
}

// J10: only a reply that is about the recipient has the class of a recipient.
func TestReply_Class(t *testing.T) {
	for _, c := range replies {
		require.Equal(t, c.want, parse(t, c.stage, c.reply).Class(), "%s: %s", c.stage, c.reply)
	}
}

// Each row decides something: without it some reply has another class.
func TestRules_needed(t *testing.T) {
	all := smtpreply.Rules
	defer func() { smtpreply.Rules = all }()
	for i := range len(all) - 1 {
		smtpreply.Rules = slices.Delete(slices.Clone(all), i, i+1)
		assert.True(t, slices.ContainsFunc(replies, func(c struct {
			stage, reply string
			want         otpevent.Class
		}) bool {
			return parse(t, c.stage, c.reply).Class() != c.want
		}), "%+v", all[i])
	}
}

func TestReply_Greylisted(t *testing.T) {
	for reply, want := range map[string]bool{
		"450 4.2.0 come back": true, "451 4.7.1 come back": true, "450 Greylisted, see the help": true, "451 4.3.0 postgrey is at work": true,
		"451 4.3.0 later": false, "450 4.2.1 too quickly": false, "550 5.7.1 never greylisted": false, "421 4.7.0 later": false,
		"450 4.7.1 Client host rejected: cannot find your hostname": false,
	} {
		require.Equal(t, want, parse(t, "rcpt", reply).Greylisted(), reply)
	}
	require.False(t, parse(t, "mail", "451 4.7.1 later").Greylisted())
}

var update = flag.Bool("update", false, "write docs/smtp-replies.md")

// The table is documented where operators find it.
func TestRules_documented(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# SMTP replies

This is how a ` + "`smtpsender.Sender`" + ` reads a negative reply of a mail server: the first row whose
conditions all hold gives the class of the ` + "`otp.SendError`" + `. An empty field holds for every reply, and
` + "`none`" + ` is a reply without an enhanced status code (RFC 3463) or with one that contradicts it. Only
*recipient* makes a decoy, if the reply is permanent; everything else is an error that the visitor
sees as "try later" and that your operator hears of. *greylist* is the class *throttle* with
` + "`RetryAfter`" + ` of one minute, or of what the text says.

Three different recipients in a row that are refused with the same words and without an enhanced
code are *us*.

<!-- Written by go test ./internal/smtpreply -update. -->

| command | reply | enhanced | words | class | why |
|---|---|---|---|---|---|
`)
	for _, r := range smtpreply.Rules {
		text, class := "", string(r.Class)
		if r.Text != nil {
			text = "`" + strings.ReplaceAll(strings.TrimPrefix(r.Text.String(), "(?is)"), "|", `\|`) + "`"
		}
		if r.Greylist {
			class = "greylist"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Stages, r.Codes, strings.ReplaceAll(r.Enhanced, "*", `\*`), text, class, r.Why)
	}
	const file = "../../docs/smtp-replies.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(written), "run: go test ./internal/smtpreply -update")
}
