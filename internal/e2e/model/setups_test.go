package model

import (
	"time"

	"github.com/go-mailotp/otp"
)

// A setup has the options of a verifier twice, for the verifier and for the model.
type setup struct {
	fewCodes bool
	wide     bool // one address can have many mails
	name     string
	options  otp.Options
	policy   policy
}

// GoString returns the name, for rapid.
func (s setup) GoString() string { return s.name }

// purposes are used with every setup. Only some setups have Options for them.
var purposes = []string{"login", "change:user-17", "pay:inv-42:99.00EUR", "slow"}

// These are the defaults, and limits that are hardly in the way.
var (
	usualMails  = []otp.Limit{{N: 1, Per: time.Minute}, {N: 5, Per: time.Hour}, {N: 10, Per: 24 * time.Hour}}
	usualWrongs = []otp.Limit{{N: 10, Per: 24 * time.Hour}, {N: 30, Per: 30 * 24 * time.Hour}}
	usualStarts = []otp.Limit{{N: 30, Per: time.Minute}, {N: 300, Per: time.Hour}}

	manyMails  = []otp.Limit{{N: 90, Per: 24 * time.Hour}}
	manyStarts = []otp.Limit{{N: 10_000, Per: time.Hour}}
)

// spans are lives of codes with which several can have one deadline.
var spans = map[string]otp.PurposeOptions{"change": {TTL: 9 * time.Minute}, "pay": {TTL: 8 * time.Minute}, "slow": {TTL: 24 * time.Hour}}

// setups spell out for the model what the verifier takes by default.
var setups = []setup{
	{
		name:    "defaults",
		options: otp.Options{ClientStarts: usualStarts},
		policy: policy{
			ttl: lives(10*time.Minute, 10*time.Minute, 10*time.Minute, 10*time.Minute), short: shapes(sixDigits, sixDigits),
			guesses: 5, mails: usualMails, wrongs: usualWrongs, starts: usualStarts,
		},
	},
	{
		name: "another namespace",
		options: otp.Options{
			Namespace: "other", ClientStarts: usualStarts,
			Sends: []otp.Limit{{N: 2, Per: time.Minute}},
		},
		policy: policy{
			namespace: "other",
			ttl:       lives(10*time.Minute, 10*time.Minute, 10*time.Minute, 10*time.Minute), short: shapes(sixDigits, sixDigits),
			guesses: 5, mails: []otp.Limit{{N: 2, Per: time.Minute}}, wrongs: usualWrongs, starts: usualStarts,
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
			ttl:       lives(2*time.Minute, 59*time.Second, 2*time.Minute, time.Hour),
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
		wide:     true,
		options: otp.Options{
			Guesses:      10,
			Purposes:     map[string]otp.PurposeOptions{"slow": {TTL: 24 * time.Hour}},
			Sends:        []otp.Limit{{N: 100, Per: 24 * time.Hour}},
			WrongGuesses: []otp.Limit{{N: 100, Per: 12 * time.Hour}},
			ClientStarts: []otp.Limit{{N: 100, Per: time.Hour}},
		},
		policy: policy{
			asksAdmit: true,
			custom:    true,
			ttl:       lives(10*time.Minute, 10*time.Minute, 10*time.Minute, 24*time.Hour),
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
		wide: true,
		options: otp.Options{
			Guesses:      1,
			Purposes:     map[string]otp.PurposeOptions{"slow": {TTL: 24 * time.Hour}},
			Sends:        []otp.Limit{{N: 6, Per: time.Minute}, {N: 3, Per: time.Minute + time.Millisecond}, {N: 20, Per: 24 * time.Hour}},
			ClientStarts: usualStarts,
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(10*time.Minute, 10*time.Minute, 10*time.Minute, 24*time.Hour),
			short:     shapes(sixDigits, sixDigits),
			guesses:   1,
			mails:     []otp.Limit{{N: 6, Per: time.Minute}, {N: 3, Per: time.Minute + time.Millisecond}, {N: 20, Per: 24 * time.Hour}},
			wrongs:    usualWrongs,
			starts:    usualStarts,
		},
	},
	{
		name: "wide",
		wide: true,
		options: otp.Options{
			Purposes: spans, Sends: manyMails, ClientStarts: manyStarts,
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(10*time.Minute, 9*time.Minute, 8*time.Minute, 24*time.Hour), short: shapes(sixDigits, sixDigits),
			guesses: 5, mails: manyMails, wrongs: usualWrongs, starts: manyStarts,
		},
	},
	{
		name: "wide, eight digits",
		wide: true,
		options: otp.Options{
			Generator: otp.Digits(8), Guesses: 10,
			Purposes: spans, Sends: manyMails, ClientStarts: manyStarts,
		},
		policy: policy{
			ttl: lives(10*time.Minute, 9*time.Minute, 8*time.Minute, 24*time.Hour), short: shapes(eightDigits, eightDigits),
			guesses: 10, mails: manyMails, wrongs: usualWrongs, starts: manyStarts,
		},
	},
	{
		name: "six letters",
		options: otp.Options{
			Generator: otp.Letters(6), Guesses: 2, Purposes: spans,
			Sends:        []otp.Limit{{N: 1, Per: 30 * time.Second}, {N: 30, Per: time.Hour}},
			ClientStarts: usualStarts,
		},
		policy: policy{
			asksAdmit: true,
			ttl:       lives(10*time.Minute, 9*time.Minute, 8*time.Minute, 24*time.Hour), short: shapes(sixLetters, sixLetters),
			guesses: 2, mails: []otp.Limit{{N: 1, Per: 30 * time.Second}, {N: 30, Per: time.Hour}}, wrongs: usualWrongs, starts: usualStarts,
		},
	},
	fewGuesses("other guesses", 3),
	fewGuesses("one guess", 1),
	fewGuesses("two guesses", 2), // half of two is one: a long life then leaves one guess for others
}

// fewGuesses is a setup with n wrong guesses in an hour.
func fewGuesses(name string, n int) setup {
	wrongs := []otp.Limit{{N: n, Per: time.Hour}}
	return setup{
		name:    name,
		wide:    true,
		options: otp.Options{WrongGuesses: wrongs, Purposes: spans, Sends: manyMails, ClientStarts: manyStarts},
		policy: policy{
			ttl: lives(10*time.Minute, 9*time.Minute, 8*time.Minute, 24*time.Hour), short: shapes(sixDigits, sixDigits),
			guesses: 5, mails: manyMails, wrongs: wrongs, starts: manyStarts,
		},
	}
}

func lives(login, change, pay, slow time.Duration) map[string]time.Duration {
	return map[string]time.Duration{"login": login, "pay": pay, "change": change, "slow": slow}
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
