package model

import (
	"hash/maphash"

	"github.com/anishathalye/porcupine"
)

// These are the limits of the Verifier in a history, small enough to be reached.
const (
	linGuesses = 2 // of each challenge
	linWrong   = 3 // of short codes, in each lane
	linSends   = 5 // in each lane
)

// A linRequest is what a client asks of a Verifier: about a challenge, by its number
// in the history, or about the address, for send, revoke and forget.
type linRequest struct {
	verb      string // send, held, resend, status, revoke or forget; for a Check: right, wrong, shape or foreign
	challenge int
	lane      int // for send and held
	opens     int // the number of the challenge that it opened, 0 for none
}

// A linReply is what a Verifier answers.
type linReply struct {
	verdict string // "" is success
	left    int    // guesses
	strong  bool
	opened  bool // another challenge than was asked about
}

// linUnknown is the verdict of a call that failed: it was made, was not made, or
// will be made.
const linUnknown = "unknown outcome"

// A linAddress is everything that a Verifier remembers about one address.
type linAddress struct {
	challenges [40]struct {
		open           bool
		lane           int
		strong         bool
		guesses, wrong int
	}
	sends, wrong [2]int // by lane
	held         [2]int // guesses of challenges whose ID no client got, by lane
}

// verdict returns the verdict about challenge n without a guess.
func (a *linAddress) verdict(n int) string {
	switch c := a.challenges[n]; {
	case !c.open:
		return "unknown"
	case c.wrong >= c.guesses:
		return "exhausted"
	}
	return ""
}

// reply returns the state of challenge n.
func (a *linAddress) reply(verdict string, n int) linReply {
	c := a.challenges[n]
	return linReply{verdict: verdict, left: c.guesses - c.wrong, strong: c.strong}
}

// open opens challenge n unless the budget of mails is spent. It reserves half of the
// guesses that are left of the lane's budget, rounded up, or the code is strong. Number
// 0 is a challenge whose ID no client got.
func (a *linAddress) open(n, lane int) linReply {
	if a.sends[lane] >= linSends {
		return linReply{verdict: "limited"}
	}
	a.sends[lane]++
	free := linWrong - a.wrong[lane] - a.held[lane]
	for _, c := range a.challenges {
		if c.open && c.lane == lane && !c.strong {
			free -= c.guesses - c.wrong
		}
	}
	strong, guesses := free < linGuesses, linGuesses // half of 3, rounded up, are as many
	if n == 0 {
		if !strong {
			a.held[lane] += guesses
		}
		return linReply{}
	}
	c := &a.challenges[n]
	c.open, c.lane, c.strong, c.guesses = true, lane, strong, guesses
	re := a.reply("", n)
	re.opened = true
	return re
}

// mailAgain mails the code of challenge n again, unless the budget of mails is spent.
func (a *linAddress) mailAgain(n int) bool {
	lane := a.challenges[n].lane
	if a.sends[lane] >= linSends {
		return false
	}
	a.sends[lane]++
	return true
}

// serve is the specification: what a Verifier does and answers, one request at a
// time. It changes a copy of a.
func (a linAddress) serve(in linRequest) (linAddress, linReply) {
	n := in.challenge
	c := &a.challenges[n]
	verdict := a.verdict(n)
	switch {
	case in.verb == "held" && verdict == "" && c.lane == in.lane:
		if !a.mailAgain(n) {
			verdict = "limited"
		}
	case in.verb == "send", in.verb == "held":
		re := a.open(in.opens, in.lane)
		return a, re
	case in.verb == "forget":
		return linAddress{}, linReply{}
	case in.verb == "revoke":
		for n := range a.challenges {
			if a.challenges[n].lane == 1 {
				a.challenges[n].open = false
			}
		}
		a.held[1] = 0
		return a, linReply{}
	case verdict == "unknown" || in.verb == "foreign":
		return a, linReply{verdict: "unknown"}
	case in.verb == "resend" && verdict != "":
		re := a.open(in.opens, c.lane)
		return a, re
	case in.verb == "resend":
		if !a.mailAgain(n) {
			verdict = "limited"
		}
	case verdict != "":
	case in.verb == "right":
		re := a.reply("", n)
		c.open = false
		if !c.strong { // the wrong guesses were typos
			a.wrong[c.lane] = max(0, a.wrong[c.lane]-c.wrong)
		}
		return a, re
	case in.verb == "wrong":
		verdict = "wrong"
		c.wrong++
		if !c.strong {
			a.wrong[c.lane]++
		}
	case in.verb == "shape":
		verdict = "malformed"
	}
	return a, a.reply(verdict, n)
}

// linVerifiers returns serve as a model for porcupine.
func linVerifiers() porcupine.Model {
	seed := maphash.MakeSeed()
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{linAddress{}} },
		Step: func(state, input, output any) []any {
			before, out := state.(linAddress), output.(linReply)
			after, want := before.serve(input.(linRequest))
			if out.verdict == linUnknown {
				return []any{before, after}
			}
			if out != want {
				return nil
			}
			return []any{after}
		},
		Hash: func(state any) uint64 { return maphash.Comparable(seed, state.(linAddress)) },
	}
	return m.ToModel()
}
