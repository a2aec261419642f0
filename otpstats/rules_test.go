package otpstats

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// scene is a watch that a test shows events by the minute.
type scene struct {
	*watch
	hashes *month
}

func (s *scene) hash() otp.Hash { return s.hashes.hash() }

func newScene(t *testing.T, rules Rules) *scene {
	rules, err := rules.filled()
	require.NoError(t, err)
	s := &scene{newWatch(rules), newMonth(1)}
	s.watch.minute = 1000
	return s
}

// see shows n events of a minute. Those without an address have one each.
func (s *scene) see(minute int64, n int, k kind, e event) {
	for range n {
		e := e
		e.kind, e.time, e.times = k, minute*60_000, 1
		if e.address == (otp.Hash{}) {
			e.address = s.hash()
		}
		if e.client == (otp.Hash{}) {
			e.client = s.hash()
		}
		s.advance(e.time)
		s.feed(&e)
	}
}

// anomalies returns the minutes in which anomalies began and ended, until a minute.
func (s *scene) anomalies(until int64) (began, ended []int64) {
	for s.minute < until {
		s.advance((s.minute + 1) * 60_000)
	}
	for _, n := range s.news {
		if n.begins {
			began = append(began, n.Since.Unix()/60)
		} else {
			ended = append(ended, n.Until.Unix()/60)
		}
	}
	return began, ended
}

// The borders of what a client or an address may do: how many, in how long, and whether they answer.
func TestRules_spread(t *testing.T) {
	one := otp.Hash{9}
	for name, kind := range map[string]struct {
		event event
		limit int
		rules func(SpreadRule) Rules
	}{
		"client":  {event{client: one}, 20, func(r SpreadRule) Rules { return Rules{Clients: r} }},
		"address": {event{address: one}, 8, func(r SpreadRule) Rules { return Rules{Addresses: r} }},
	} {
		for what, test := range map[string]struct {
			rule  SpreadRule
			first int // at minute 1001
			next  int // at later
			later int64
			right int // of the first
			began []int64
			ended []int64
		}{
			"one less":      {first: kind.limit - 1, later: 1002},
			"as many":       {first: kind.limit, later: 1002, began: []int64{1002}, ended: []int64{1091}},
			"own limit":     {rule: SpreadRule{Limit: 5}, first: 5, later: 1002, began: []int64{1002}, ended: []int64{1091}},
			"in the window": {first: kind.limit - 1, next: 1, later: 1060, began: []int64{1061}, ended: []int64{1091}},
			"out of it":     {first: kind.limit - 1, next: 1, later: 1061},
			"own window":    {rule: SpreadRule{Window: 10 * time.Minute}, first: kind.limit - 1, next: 1, later: 1011},
			"lasts":         {rule: SpreadRule{Limit: 6}, first: 2, next: 4, later: 1031, began: []int64{1032}, ended: []int64{1121}},
			"one is right":  {first: kind.limit, right: 1, later: 1002},
			"off":           {rule: SpreadRule{Off: true}, first: kind.limit, later: 1002},
		} {
			s := newScene(t, kind.rules(test.rule))
			for i := range test.first {
				e := kind.event
				if e.address == (otp.Hash{}) {
					e.address = s.hash()
				} else {
					e.client = s.hash()
				}
				s.see(1001, 1, kindAsked, e)
				if i < test.right {
					s.see(1001, 1, kindVerified, e)
				}
			}
			s.see(test.later, test.next, kindAsked, kind.event)
			began, ended := s.anomalies(1200)
			require.Equal(t, test.began, began, "%s: %s", name, what)
			require.Equal(t, test.ended, ended, "%s: %s", name, what)
			require.Empty(t, s.clients, what)
			require.Empty(t, s.addresses, what)
		}
	}
}

// The borders of guessing: how many addresses, in how long, beside how many that got it right.
func TestRules_guessing(t *testing.T) {
	for name, test := range map[string]struct {
		rule     GuessingRule
		unsolved int   // at minute 1001
		solved   int   // at minute 1001
		one      int64 // when one more is guessed at; 0 for never
		told     bool
	}{
		"one less":       {unsolved: 19},
		"as many":        {unsolved: 20, told: true},
		"own number":     {rule: GuessingRule{MinAddresses: 30}, unsolved: 29},
		"in the window":  {unsolved: 19, one: 1010, told: true},
		"out of it":      {unsolved: 19, one: 1011},
		"own window":     {rule: GuessingRule{Window: time.Minute}, unsolved: 19, one: 1002},
		"usual":          {unsolved: 44, solved: 100},
		"unusual":        {unsolved: 45, solved: 100, told: true},
		"by chance":      {rule: GuessingRule{Factor: 1.5}, unsolved: 31, solved: 100},
		"hardly by that": {rule: GuessingRule{Factor: 1.5}, unsolved: 32, solved: 100, told: true},
		"off":            {rule: GuessingRule{Off: true}, unsolved: 100},
	} {
		s := newScene(t, Rules{Guessing: test.rule})
		s.see(1001, test.unsolved, kindWrong, event{wrongs: 1})
		for range test.solved {
			e := event{address: s.hash(), wrongs: 1}
			s.see(1001, 1, kindWrong, e)
			s.see(1001, 1, kindVerified, e)
		}
		if test.one > 0 {
			s.see(test.one, 1, kindWrong, event{wrongs: 1})
		}
		began, _ := s.anomalies(1100)
		require.Equal(t, test.told, len(began) == 1, name)
	}
}

// Who was right before may be guessed at now.
func TestRules_guessingAgain(t *testing.T) {
	s := newScene(t, Rules{})
	var all []event
	for range 20 {
		all = append(all, event{address: s.hash(), wrongs: 1})
		s.see(1001, 1, kindVerified, all[len(all)-1])
	}
	for _, e := range all {
		s.see(1020, 1, kindWrong, e)
	}
	began, _ := s.anomalies(1100)
	require.Equal(t, []int64{1021}, began)
}

// An attack that goes on does not become usual, and half of it is not its end.
func TestRules_attackLasts(t *testing.T) {
	for name, show := range map[string]func(s *scene, minute int64, each int){
		"guessing": func(s *scene, minute int64, each int) {
			s.see(minute, each, kindWrong, event{wrongs: 1})
			s.see(minute, 1, kindVerified, event{})
		},
		"strong codes": func(s *scene, minute int64, each int) { s.see(minute, each, kindSent, event{strong: true}) },
	} {
		s := newScene(t, Rules{})
		for minute := int64(1001); minute < 1400; minute++ {
			each := 5
			if minute > 1300 {
				each = 1 + int(minute%2)
			}
			show(s, minute, each)
		}
		began, ended := s.anomalies(1400)
		require.Len(t, began, 1, name)
		require.Empty(t, ended, name)
		_, ended = s.anomalies(1500)
		require.Len(t, ended, 1, name)
		require.InDelta(t, 1437, ended[0], 4, name)
	}
}

// The borders of strong codes: how many, in how long, and above how many times
// their usual share of all mails.
func TestRules_strong(t *testing.T) {
	for name, test := range map[string]struct {
		rule  StrongRule
		past  float64 // the usual share
		first int     // strong ones at minute 1001
		mails int     // others at minute 1001
		next  int     // strong ones at later
		later int64
		told  bool
	}{
		"one less":       {first: 19},
		"as many":        {first: 20, told: true},
		"own number":     {rule: StrongRule{Min: 5}, first: 5, told: true},
		"in the window":  {first: 19, next: 1, later: 1010, told: true},
		"out of it":      {first: 19, next: 1, later: 1011},
		"one minute":     {rule: StrongRule{Window: time.Minute}, first: 20, told: true},
		"large share":    {first: 30, mails: 570, told: true},
		"small share":    {first: 30, mails: 571},
		"usual":          {past: .1, first: 49, mails: 51},
		"unusual":        {past: .1, first: 50, mails: 50, told: true},
		"own factor":     {rule: StrongRule{Factor: 2}, past: .1, first: 40, mails: 60, told: true},
		"by chance":      {rule: StrongRule{Factor: 1.5}, past: .1, first: 28, mails: 72},
		"hardly by that": {rule: StrongRule{Factor: 1.5}, past: .1, first: 29, mails: 71, told: true},
		"off":            {rule: StrongRule{Off: true}, first: 100},
	} {
		s := newScene(t, Rules{Strong: test.rule})
		if test.past > 0 {
			s.pastMails, s.pastStrong = 1e6, test.past*1e6
		}
		s.see(1001, test.first, kindSent, event{strong: true})
		s.see(1001, test.mails, kindSent, event{})
		s.see(test.later, test.next, kindSent, event{strong: true})
		began, _ := s.anomalies(1100)
		require.Equal(t, test.told, len(began) == 1, name)
		if test.told {
			a := s.news[0].Anomaly
			require.Equal(t, StrongCodes, a.Kind, name)
			require.EqualValues(t, test.first+test.next, a.Count, name)
			require.InDelta(t, float64(a.Count)/float64(int(a.Count)+test.mails), a.Seen, 1e-9, name)
		}
	}
	usual := newScene(t, Rules{})
	for minute := range int64(24 * 60) {
		usual.see(1001+minute, 1, kindSent, event{strong: true})
		usual.see(1001+minute, 9, kindSent, event{})
	}
	require.InDelta(t, .1, (usual.pastStrong+1)/(usual.pastMails+100), .01)
	usual.see(2441, 30, kindSent, event{strong: true})
	usual.see(2441, 70, kindSent, event{})
	began, _ := usual.anomalies(2500)
	require.Empty(t, began)
	again := newScene(t, Rules{})
	again.see(1001, 20, kindSent, event{strong: true})
	again.see(1001+2*span, 20, kindSent, event{strong: true})
	began, _ = again.anomalies(1200)
	require.Equal(t, []int64{1002, 1002 + 2*span}, began)
	resent := newScene(t, Rules{})
	resent.see(1001, 50, kindSent, event{strong: true, resend: true})
	began, _ = resent.anomalies(1100)
	require.Empty(t, began, "the same code again says nothing new")
}

// What should not happen at all is an anomaly at once, and once while it lasts.
func TestRules_counted(t *testing.T) {
	for kind, test := range map[kind]struct {
		name   AnomalyKind
		window int64
		rules  func(CountRule) Rules
	}{
		kindLost:    {EventsLost, 10, func(r CountRule) Rules { return Rules{Lost: r} }},
		kindCrowded: {Crowded, 60, func(r CountRule) Rules { return Rules{Crowded: r} }},
		kindEvicted: {Evicted, 10, func(r CountRule) Rules { return Rules{Evicted: r} }},
	} {
		s := newScene(t, Rules{})
		s.see(1001, 1, kind, event{})
		began, ended := s.anomalies(1200)
		require.Equal(t, []int64{1002}, began, test.name)
		require.Equal(t, []int64{1001 + test.window + 30}, ended, test.name)
		require.Equal(t, Anomaly{Kind: test.name, Since: s.news[0].Since, Count: 1, Seen: 1, Usual: 1}, s.news[0].Anomaly)

		s = newScene(t, Rules{})
		s.see(1001, 3, kind, event{})
		s.see(1061, 1, kind, event{})
		began, _ = s.anomalies(1200)
		if test.name == Crowded { // which is emitted once an hour
			require.Len(t, began, 1)
		} else {
			require.Len(t, began, 2)
			require.EqualValues(t, 3, s.news[0].Count)
		}

		for rule, told := range map[CountRule]bool{{Min: 5}: false, {Min: 4}: true, {Off: true}: false, {Window: time.Minute}: true} {
			s = newScene(t, test.rules(rule))
			s.see(1001, 4, kind, event{})
			began, _ = s.anomalies(1100)
			require.Equal(t, told, len(began) == 1, "%s: %+v", test.name, rule)
		}
	}
}

// Which mails without an answer tell of their domain.
func TestRules_deliveryCounts(t *testing.T) {
	late := event{domain: "post.example", age: quick.Milliseconds()}
	flooder := otp.Hash{9}
	for name, test := range map[string]struct {
		told bool
		show func(s *scene, minute int64)
	}{
		"lost":       {true, func(s *scene, minute int64) { s.see(minute, 1, kindSent, event{domain: "post.example"}) }},
		"resent":     {false, func(s *scene, minute int64) { s.see(minute, 1, kindSent, event{domain: "post.example", resend: true}) }},
		"strong":     {false, func(s *scene, minute int64) { s.see(minute, 1, kindSent, event{domain: "post.example", strong: true}) }},
		"of others":  {false, func(s *scene, minute int64) { s.see(minute, 1, kindSent, event{domain: Other}) }},
		"of no name": {false, func(s *scene, minute int64) { s.see(minute, 1, kindSent, event{}) }},
		"guessed at": {false, func(s *scene, minute int64) { guessedAt(s, minute, 3) }},
		"guessed at, strong": {true, func(s *scene, minute int64) {
			s.see(minute, 1, kindSent, event{domain: "post.example"})
			s.see(minute, 3, kindWrong, event{domain: "post.example", strong: true, wrongs: 1})
		}},
		"guessed at, decoys": {true, func(s *scene, minute int64) {
			s.see(minute, 1, kindSent, event{domain: "post.example"})
			s.see(minute, 3, kindWrong, event{domain: "post.example", decoy: true, wrongs: 1})
		}},
		"one of each": {true, func(s *scene, minute int64) { guessedAt(s, minute, 2); s.see(minute, 1, kindSent, late) }},
		"of a flood": {false, func(s *scene, minute int64) {
			for range 2 {
				e := event{domain: "post.example", address: s.hash(), client: flooder}
				s.see(minute, 1, kindAsked, e)
				if minute > 1620 {
					s.see(minute, 1, kindSent, e)
				}
			}
		}},
		"right and slow": {true, func(s *scene, minute int64) {
			e := event{domain: "post.example", address: s.hash(), client: s.hash()}
			s.see(minute, 1, kindSent, e)
			e.age = quick.Milliseconds()
			s.seeOpened(minute, kindVerified, e)
		}},
		"guessed and slow": {true, func(s *scene, minute int64) {
			guessedAt(s, minute, 1)
			s.seeOpened(minute, kindVerified, event{domain: "post.example", age: quick.Milliseconds(), wrongs: 1})
		}},
		"lost, and strong ones answered": {true, func(s *scene, minute int64) {
			s.see(minute, 1, kindSent, event{domain: "post.example"})
			s.see(minute, 1, kindVerified, event{domain: "post.example", strong: true})
		}},
		"lost, and old ones guessed at": {true, func(s *scene, minute int64) {
			s.see(minute, 1, kindSent, event{domain: "post.example"})
			s.see(minute, 1, kindWrong, event{domain: "post.example", age: span * 60_000, wrongs: 1})
		}},
	} {
		s := newScene(t, Rules{Clients: SpreadRule{Limit: 10}, Guessing: GuessingRule{Off: true}})
		for minute := int64(1001); minute < 1700; minute++ {
			e := event{domain: "post.example", address: s.hash(), client: s.hash()}
			s.see(minute, 1, kindSent, e)
			if minute%11 > 0 {
				s.see(minute, 1, kindVerified, e)
			}
			if minute > 1600 {
				test.show(s, minute)
			}
		}
		s.anomalies(1700)
		found := 0
		for _, n := range s.news {
			if n.Kind == DeliveryFalling {
				require.True(t, n.begins, name)
				require.Equal(t, "post.example", n.Subject, name)
				found++
			}
		}
		require.Equal(t, test.told, found == 1, "%s: %+v", name, s.news)
	}
}

// guessedAt is a mail at whose code somebody guesses.
func guessedAt(s *scene, minute int64, times int) {
	e := event{domain: "post.example", address: s.hash(), client: s.hash()}
	s.see(minute, 1, kindSent, e)
	for range times {
		e.wrongs++
		s.see(minute, 1, kindWrong, e)
	}
}

// seeOpened shows an event, of the age that it has, of a challenge opened in a minute.
func (s *scene) seeOpened(minute int64, k kind, e event) {
	e.kind, e.time, e.times = k, minute*60_000+e.age, 1
	s.feed(&e)
}

// An anomaly of a domain without mail ends after a day.
func TestRules_deliveryUnknown(t *testing.T) {
	began, ended := delivered(t, DeliveryRule{}, 700, 1, func(mail int64) bool { return mail >= 600 })
	require.Len(t, began, 1)
	require.Empty(t, ended)
	s := newScene(t, Rules{})
	s.domains["post.example"] = &domain{}
	s.domains["post.example"].past.sent, s.domains["post.example"].past.quick = 2000, 1900
	s.see(1001, 20, kindSent, event{domain: "post.example"})
	began, ended = s.anomalies(2400)
	require.Equal(t, []int64{1005}, began)
	require.Empty(t, ended)
	_, ended = s.anomalies(2600)
	require.Equal(t, []int64{1064 + 24*60 - 1 + 30}, ended)
}

// What is usual of a domain counts half after a week.
func TestRules_pastFades(t *testing.T) {
	s, d := newScene(t, Rules{}), &domain{}
	d.past.sent, d.past.quick = 1000, 800
	s.domains["post.example"] = d
	s.anomalies(1000 + 7*24*60)
	require.InDelta(t, 500, d.past.sent, 0.1)
	require.InDelta(t, 400, d.past.quick, 0.1)
}

// New domains of each day do not fill the memory for ever.
func TestWatch_domains(t *testing.T) {
	s := newScene(t, Rules{})
	for n := range 3 * slotsOf[Domain] {
		s.see(1001, 1, kindSent, event{domain: strconv.Itoa(n)})
	}
	require.Len(t, s.domains, 2*slotsOf[Domain])
}

// Forget leaves nothing of the address with the rules, in the queue of what is to be told neither.
func TestWatch_forget(t *testing.T) {
	s := newScene(t, Rules{})
	gone, stays := otp.Hash{7}, otp.Hash{8}
	client := s.hash()
	for _, h := range []otp.Hash{gone, stays} {
		s.see(1001, 10, kindAsked, event{address: h})
		s.see(1001, 1, kindAsked, event{address: h, client: client})
		s.see(1001, 1, kindWrong, event{address: h})
	}
	s.anomalies(1003)
	require.Len(t, s.news, 2)
	s.forget(gone)
	require.Len(t, s.news, 1)
	require.Equal(t, stays.String(), s.news[0].Subject)
	require.Len(t, s.active, 1)
	require.NotContains(t, s.people, gone)
	require.NotContains(t, s.addresses, gone)
	require.NotContains(t, s.clients[client], gone)
	require.Contains(t, s.people, stays)
	require.Contains(t, s.clients[client], stays)
}
