package model

import (
	"time"

	"github.com/go-mailotp/otp"
)

// A setup has the options of a verifier twice, for the verifier and for the model.
type setup struct {
	fewCodes bool
	name     string
	options  otp.Options
	policy   policy
}

// GoString returns the name, for rapid.
func (s setup) GoString() string { return s.name }

// purposes are used with every setup. Only some setups have Options for them.
var purposes = []string{"login", "change:user-17", "pay:inv-42:99.00EUR", "slow"}

// setups spell out for the model what the verifier takes by default.
var setups = []setup{
	{
		name: "defaults",
		policy: policy{
			ttl:     lives(10*time.Minute, 10*time.Minute, 10*time.Minute),
			short:   shapes(sixDigits, sixDigits),
			guesses: 5,
			mails:   []otp.Limit{{N: 1, Per: time.Minute}, {N: 5, Per: time.Hour}, {N: 10, Per: 24 * time.Hour}},
			wrongs:  []otp.Limit{{N: 10, Per: 24 * time.Hour}, {N: 30, Per: 30 * 24 * time.Hour}},
			starts:  []otp.Limit{{N: 10, Per: time.Minute}, {N: 60, Per: time.Hour}},
		},
	},
	{
		name: "another namespace",
		options: otp.Options{
			Namespace: "other",
			Sends:     []otp.Limit{{N: 2, Per: time.Minute}},
		},
		policy: policy{
			namespace: "other",
			ttl:       lives(10*time.Minute, 10*time.Minute, 10*time.Minute),
			short:     shapes(sixDigits, sixDigits),
			guesses:   5,
			mails:     []otp.Limit{{N: 2, Per: time.Minute}},
			wrongs:    []otp.Limit{{N: 10, Per: 24 * time.Hour}, {N: 30, Per: 30 * 24 * time.Hour}},
			starts:    []otp.Limit{{N: 10, Per: time.Minute}, {N: 60, Per: time.Hour}},
		},
	},
	{
		name: "tight",
		options: otp.Options{
			TTL:          2 * time.Minute,
			Guesses:      2,
			Purposes:     map[string]otp.PurposeOptions{"change": {TTL: 59 * time.Second, Generator: otp.Letters(8)}, "slow": {TTL: time.Hour}},
			Sends:        []otp.Limit{{N: 1, Per: 10 * time.Second}, {N: 3, Per: 10 * time.Minute}, {N: 6, Per: 24 * time.Hour}},
			WrongGuesses: []otp.Limit{{N: 3, Per: time.Hour}, {N: 5, Per: 30 * 24 * time.Hour}},
			ClientStarts: []otp.Limit{{N: 2, Per: 10 * time.Second}, {N: 4, Per: time.Hour}},
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(2*time.Minute, 59*time.Second, time.Hour),
			short:     shapes(sixDigits, eightLetters),
			guesses:   2,
			mails:     []otp.Limit{{N: 1, Per: 10 * time.Second}, {N: 3, Per: 10 * time.Minute}, {N: 6, Per: 24 * time.Hour}},
			wrongs:    []otp.Limit{{N: 3, Per: time.Hour}, {N: 5, Per: 30 * 24 * time.Hour}},
			starts:    []otp.Limit{{N: 2, Per: 10 * time.Second}, {N: 4, Per: time.Hour}},
		},
	},
	{
		name:     "loose",
		fewCodes: true,
		options: otp.Options{
			Guesses:      10,
			Purposes:     map[string]otp.PurposeOptions{"slow": {TTL: 24 * time.Hour}},
			Sends:        []otp.Limit{{N: 100, Per: 24 * time.Hour}},
			WrongGuesses: []otp.Limit{{N: 100, Per: 12 * time.Hour}},
			ClientStarts: []otp.Limit{{N: 100, Per: time.Hour}},
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(10*time.Minute, 10*time.Minute, 24*time.Hour),
			short:     shapes(sixDigits, sixDigits),
			guesses:   10,
			mails:     []otp.Limit{{N: 100, Per: 24 * time.Hour}},
			wrongs:    []otp.Limit{{N: 100, Per: 12 * time.Hour}},
			starts:    []otp.Limit{{N: 100, Per: time.Hour}},
		},
	},
	{
		// A refunded mail counts in a window of a minute, and not in one a little longer.
		name: "refunds",
		options: otp.Options{
			Guesses:  1,
			Purposes: map[string]otp.PurposeOptions{"slow": {TTL: 24 * time.Hour}},
			Sends:    []otp.Limit{{N: 6, Per: time.Minute}, {N: 3, Per: time.Minute + time.Millisecond}, {N: 20, Per: 24 * time.Hour}},
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(10*time.Minute, 10*time.Minute, 24*time.Hour),
			short:     shapes(sixDigits, sixDigits),
			guesses:   1,
			mails:     []otp.Limit{{N: 6, Per: time.Minute}, {N: 3, Per: time.Minute + time.Millisecond}, {N: 20, Per: 24 * time.Hour}},
			wrongs:    []otp.Limit{{N: 10, Per: 24 * time.Hour}, {N: 30, Per: 30 * 24 * time.Hour}},
			starts:    []otp.Limit{{N: 10, Per: time.Minute}, {N: 60, Per: time.Hour}},
		},
	},
}

func lives(ordinary, change, slow time.Duration) map[string]time.Duration {
	return map[string]time.Duration{"login": ordinary, "pay": ordinary, "change": change, "slow": slow}
}

func shapes(ordinary, change shape) map[string]shape {
	return map[string]shape{"login": ordinary, "pay": ordinary, "slow": ordinary, "change": change}
}

// fewCodes generates only ten codes, in turn, so that challenges often have the same
// code, also where one of them is a decoy. It is not random, or a failure could not
// be repeated.
type fewCodes struct{ made int }

// Generate implements otp.Generator.
func (g *fewCodes) Generate() (string, error) {
	g.made++
	return "00000" + string(rune('0'+g.made*g.made%10)), nil
}

// Normalize implements otp.Generator.
func (*fewCodes) Normalize(input string) (string, bool) { return sixDigits.read(input) }
