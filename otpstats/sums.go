package otpstats

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/go-mailotp/otp"
)

// Strangers can cause some kinds of event as often as they like: guesses that
// are not codes, IDs of challenges that do not exist, requests beyond a budget.
// Such events cost no row each. They are added up in memory before they are
// written, and need no place in the queue, which is for the kinds that the
// budgets of package otp limit.
func (k kind) addedUp() bool {
	switch k {
	case kindAsked, kindLimited, kindMalformed, kindExpired, kindExhausted, kindUnknown, kindRevoked:
		return true
	}
	return k.perMinute()
}

// perMinute reports whether the table of events has one row for all events of
// the kind in a batch and a minute: the rules need their number, and nothing
// else of them.
func (k kind) perMinute() bool {
	switch k {
	case kindFailed, kindLeft, kindClockBack, kindUnknownKey, kindCrowded, kindEvicted, kindLost:
		return true
	}
	return false
}

// each reports whether the event has a row of its own in the table of events.
func (e *event) each() bool {
	switch e.kind {
	case kindSent, kindSendFailed, kindSendLeft, kindRefused, kindDecoy, kindVerified, kindWrong:
		return true
	case kindAsked: // who asked for whom; see sums.pair
		return e.address != otp.Hash{} && e.client != otp.Hash{}
	}
	return false
}

// sums has events that are added up, until the writer takes them. Its memory is
// bounded. It is safe for concurrent use.
type sums struct {
	most                  int // elements of each list and map
	perClient, perAddress int64

	mu    sync.Mutex
	list  []event // in the order in which they began
	index map[sumKey]int

	// Who asked for whom in this minute.
	minute              int64
	pairs               map[[2]otp.Hash]struct{}
	ofClient, ofAddress map[otp.Hash]int64
}

// sumKey says which events are added up. Those about a challenge have its hash,
// since they change its state.
type sumKey struct {
	kind                           kind
	resend                         bool
	scope                          scopeOf
	minute                         int64
	challenge                      otp.Hash
	purpose, language, domain, app string
}

func newSums(o *Options) *sums {
	return &sums{
		// The rules remember twice their limit; more would tell them nothing.
		most: o.Queue, perClient: 2 * o.Rules.Clients.Limit, perAddress: 2 * o.Rules.Addresses.Limit,
		index: map[sumKey]int{}, pairs: map[[2]otp.Hash]struct{}{}, ofClient: map[otp.Hash]int64{}, ofAddress: map[otp.Hash]int64{},
	}
}

// add adds one event.
func (s *sums) add(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kind == kindAsked {
		s.pair(&e)
		e.resend = e.challenge != otp.Hash{}
	}
	switch e.kind {
	case kindMalformed, kindExpired, kindExhausted:
	default:
		e.address, e.client, e.challenge, e.age = otp.Hash{}, otp.Hash{}, otp.Hash{}, 0
	}
	key := sumKey{e.kind, e.resend, e.scope, e.time / 60000, e.challenge, e.purpose, e.language, e.domain, e.app}
	i, known := s.index[key]
	if !known && len(s.list) >= s.most { // count at least how many there are
		e = event{kind: e.kind, resend: e.resend, scope: e.scope, time: e.time, times: 1, purpose: Other, language: Other, domain: Other, app: Other}
		key = sumKey{e.kind, e.resend, e.scope, e.time / 60000, e.challenge, e.purpose, e.language, e.domain, e.app}
		i, known = s.index[key]
	}
	if known {
		s.list[i].times++
		return
	}
	s.index[key] = len(s.list)
	s.list = append(s.list, e)
}

// pair adds an event for the rules about clients and addresses, which does not
// count otherwise: the first time in a minute that a client asks for an
// address. Like the rules, it ignores the rest of a client with very many
// addresses, so that one client cannot cost more rows than that.
func (s *sums) pair(e *event) {
	if !e.each() {
		return
	}
	if minute := e.time / 60000; minute != s.minute {
		s.minute = minute
		clear(s.pairs)
		clear(s.ofClient)
		clear(s.ofAddress)
	}
	p := [2]otp.Hash{e.address, e.client}
	if _, known := s.pairs[p]; known || len(s.pairs) >= s.most || len(s.list) >= s.most ||
		s.ofClient[e.client] >= s.perClient || s.ofAddress[e.address] >= s.perAddress {
		return
	}
	s.pairs[p] = struct{}{}
	s.ofClient[e.client]++
	s.ofAddress[e.address]++
	s.list = append(s.list, *e)
	s.list[len(s.list)-1].times = 0
}

// take returns all sums and forgets them.
func (s *sums) take() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	clear(s.index)
	return list
}

// merge returns the events of a batch and sums in the order in which they
// happened. The batch keeps its order.
func merge(batch, sums []event) []event {
	if len(sums) == 0 {
		return batch
	}
	slices.SortStableFunc(sums, func(a, b event) int { return cmp.Compare(a.time, b.time) })
	all := make([]event, 0, len(batch)+len(sums))
	for _, e := range batch {
		before := e.time
		if e.kind == kindForgotten { // of all that was observed so far
			before = math.MaxInt64
		}
		for len(sums) > 0 && sums[0].time <= before {
			all, sums = append(all, sums[0]), sums[1:]
		}
		all = append(all, e)
	}
	return append(all, sums...)
}

// times is how many observed events the list stands for.
func times(list []event) (n int64) {
	for i := range list {
		if list[i].kind != kindLost {
			n += list[i].times
		}
	}
	return n
}
