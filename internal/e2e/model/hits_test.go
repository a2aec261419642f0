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

// enough checks reach every branch, each some ten times or more.
const enough = 1000

// TestMain sets what is not set on the command line. rapid's seed is a new one in
// each run; a failure says how to repeat it.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(enough), "rapid.nofailfile": "true"} {
		if !set[name] {
			flag.Set(name, value)
		}
	}
	os.Exit(m.Run())
}

// hits counts how often the model came through a branch.
var hits = map[string]int{}

func hit(branch string) { hits[branch]++ }

// branches must all be hit in a whole run, or the test no longer tests them.
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

// checkHits fails a run that missed a branch, unless it was asked to be a short one.
func checkHits(t *testing.T) {
	checks, err := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	if checks < enough || testing.Short() {
		t.Logf("after %d checks nothing is said of branches that were missed", checks)
		return
	}
	var lines []string
	for branch, n := range hits {
		lines = append(lines, fmt.Sprintf("%8d %s", n, branch))
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
	for _, branch := range branches {
		if hits[branch] == 0 {
			t.Errorf("never happened: %s", branch)
		}
	}
}
