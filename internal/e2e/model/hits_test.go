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
	"Send: fine", "Send: bad address", "Send: limited", "Send: send: temporary", "Send: send: permanent", "Send: send: maybe",
	"Resend: fine", "Resend: unknown", "Resend: limited", "Resend: failure of the system",
	"Resend: send: temporary", "Resend: send: permanent", "Resend: send: maybe",
	"Check: fine", "Check: unknown", "Check: failure of the system", "Check: expired", "Check: exhausted", "Check: escalated",
	"Check: malformed", "Check: wrong",
	"Status: fine", "Status: unknown", "Status: failure of the system", "Status: expired", "Status: exhausted", "Status: escalated",
	"Forget: fine", "Forget: bad address",

	"right: strong", "wrong: the right code of a decoy", "malformed: the other kind of code",
	"unknown: gone", "unknown: another purpose", "unknown: an hour over", "unknown: lost", "clock back",
	"known lane", "token: taken", "token: forged", "token: too old", "token: another address", "token: another namespace",
	"limited: client", "limited: sends", "limited: resend", "limited: live", "limited: size", "dropped: dead",
	"a budget of a hundred: mailed", "a budget of a hundred: guessed", "a budget of a hundred: started", "a hundred events",
	"mailed again", "renewed: fine", "renewed: expired", "renewed: exhausted", "renewed: escalated", "renewed: no longer there",
	"Admit fails", "decoy: not admitted", "decoy: refused for good", "refund", "refund refused",
	"clock repair", "a refusal that is written: check", "a refusal that is written: send", "a refusal that is written: resend",
	"a refusal that is written: client", "dropped by the store", "trouble: denied", "trouble: late", "trouble: overtaken", "opened already",
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
