package model

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRules makes up to so many batches of so many random checks. All of them hit
// the rarest branch some thirty times.
const (
	batches = 10
	checks  = 200
)

// TestMain sets the flags of rapid that the command line leaves out. rapid takes a
// new seed in each run and says how to repeat a failure.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(checks), "rapid.nofailfile": "true"} {
		if !set[name] {
			flag.Set(name, value)
		}
	}
	os.Exit(m.Run())
}

// hits counts how often each branch of the model was hit.
var hits = map[string]int{}

func hit(branch string) { hits[branch]++ }

// branches must all be hit, or the test no longer tests them.
var branches = []string{
	"Send: fine", "Send: bad address", "Send: limited", "Send: not sent", "Send: failure of the system",
	"Resend: fine", "Resend: unknown", "Resend: limited", "Resend: not sent", "Resend: failure of the system",
	"Check: fine", "Check: unknown", "Check: failure of the system", "Check: expired", "Check: exhausted",
	"Check: malformed", "Check: wrong",
	"Status: fine", "Status: unknown", "Status: failure of the system", "Status: expired", "Status: exhausted",
	"Forget: fine", "Forget: bad address", "RevokeDevices: fine", "RevokeDevices: bad address", "KnownDevice: found",

	"strong: lost", "strong: no guesses are free", "short: long life", "short: fewer guesses", "net",
	"right: strong", "right: known lane", "wrong: the right code of a decoy", "typo forgiven",
	"passed: mail", "passed: a refunded mail", "refund: of a passed mail",
	"malformed: another shape", "malformed: long", "a code of another verifier's shape",
	"unknown: gone", "unknown: another purpose", "unknown: an hour over", "unknown: lost", "clock back",
	"known lane", "token: taken", "token: forged", "token: too old", "token: another address", "token: another namespace", "token: revoked",
	"revoked: a challenge", "revoked: lost", "forgotten: lost", "forgotten: but for revoked devices",
	"limited: client", "limited: exact", "limited: in minutes", "limited: live", "limited: size", "dropped: dead",
	"a budget of a hundred: mailed", "a budget of a hundred: started", "a hundred events",
	"mailed again", "renewed: fine", "renewed: expired", "renewed: exhausted", "renewed: no longer there", "renewed: in the other lane",
	"held: taken", "held: another address", "held: another spelling", "held: gone", "held: another purpose", "held: another lane", "held: other vars",
	"held: not to be mailed again", "held: limited", "held: decoy", "held: Admit says something else",
	"Admit fails", "decoy: not admitted", "overdue", "overdue: decoy", "refund", "refund refused",
	"opened: maybe", "opened: recipient", "opened: failure", "again: maybe", "again: recipient", "again: failure",
	"clock repair", "a refusal that is written: check", "a refusal that is written: send", "a refusal that is written: open",
	"a refusal that is written: resend", "a refusal that is written: client", "a refusal that is written: somebody else's", "clock repair: revoked devices",
	"dropped by the store", "trouble: denied", "trouble: late", "trouble: overtaken", "opened already", "refused by what was loaded before",
}

// missed returns the branches that were never hit.
func missed() (list []string) {
	for _, branch := range branches {
		if hits[branch] == 0 {
			list = append(list, branch)
		}
	}
	return list
}

func logHits(t *testing.T) {
	t.Helper()
	var lines []string
	for branch, n := range hits {
		lines = append(lines, fmt.Sprintf("%8d %s", n, branch))
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
}
