package otpstats_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/otpstats"
)

// happening is an event or a call of Mail.
type happening struct {
	otp.Event
	app               string
	message, provider string // of a report
	outcome           otpevent.Outcome
}

type appKey struct{}

func appOf(ctx context.Context) string { app, _ := ctx.Value(appKey{}).(string); return app }

func (h *happening) tell(s *otpstats.Stats) {
	if h.outcome != "" {
		s.Mail(h.message, h.provider, h.outcome)
		return
	}
	s.Observe(context.WithValue(context.Background(), appKey{}, h.app), h.Event)
}

// maker makes random traffic.
type maker struct {
	*rand.Rand
	n   uint64
	all []happening
}

func newMaker(seed uint64) *maker { return &maker{Rand: rand.New(rand.NewPCG(seed, 1))} }

func (m *maker) one(of ...string) string { return of[m.IntN(len(of))] }

// hash returns a new hash.
func (m *maker) hash() (h otp.Hash) {
	m.n++
	binary.BigEndian.PutUint64(h[:], m.n)
	binary.BigEndian.PutUint64(h[8:], m.Uint64())
	return h
}

func numbered(what byte, n int) (h otp.Hash) {
	h[0], h[15] = what, 1
	binary.BigEndian.PutUint64(h[4:], uint64(n))
	return h
}

// challenge makes all happenings of one challenge.
func (m *maker) challenge(at time.Time) {
	h := happening{app: m.one("web", "ios", "", "android"), Event: otp.Event{
		Time: at, Purpose: m.one("login", "login", "signup", "pay"), Domain: m.one("a.example", "b.example", "c.example"),
		Locale: m.one("en", "en-GB", "de-DE", "pt_BR", "", "x!"), AddressHash: numbered('a', m.IntN(500)), ClientHash: numbered('c', m.IntN(300)),
	}}
	add := func(kind otpevent.Kind, at time.Time, f func(*happening)) {
		x := h
		x.Kind, x.Time = kind, at
		if x.ChallengeHash != (otp.Hash{}) {
			x.Age = at.Sub(h.Time)
		}
		if f != nil {
			f(&x)
		}
		m.all = append(m.all, x)
	}
	add(otpevent.Asked, at, nil)
	if m.IntN(12) == 0 {
		add(otpevent.Limited, at, func(x *happening) { x.Scope = m.one("address", "client", "all", "") })
		if m.IntN(3) == 0 {
			add(otpevent.Unknown, at, nil)
		}
		return
	}
	h.ChallengeHash, h.Strong = m.hash(), m.IntN(6) == 0
	id := fmt.Sprint("mail", m.n)
	switch m.IntN(14) {
	case 0:
		add(otpevent.Decoy, at, nil)
	case 1:
		add(otpevent.SendFailed, at, func(x *happening) { x.Message = id })
		if m.IntN(2) == 0 {
			return
		}
	default:
		provider := m.one("one", "two", "")
		report := func(at time.Time, outcome otpevent.Outcome) {
			m.all = append(m.all, happening{Event: otp.Event{Time: at}, message: id, provider: provider, outcome: outcome})
		}
		sentAt := at.Add(time.Duration(m.IntN(900)) * time.Millisecond)
		if m.IntN(6) == 0 {
			report(at, otpevent.MailFailed)
		}
		outcome := otpevent.MailSent
		if m.IntN(10) == 0 {
			outcome = otpevent.MailRefused
		}
		switch m.IntN(3) {
		case 0:
			report(at, outcome)
		case 1:
			defer report(sentAt.Add(time.Duration(m.IntN(40))*time.Second), outcome)
		}
		add(otpevent.Sent, sentAt, func(x *happening) { x.Message = id; x.Age = sentAt.Sub(at) })
	}
	later := at
	step := func(most int) time.Time {
		later = later.Add(time.Duration(1+m.IntN(most)) * time.Second)
		return later
	}
	for range m.IntN(4) / 2 {
		add(otpevent.Asked, step(90), nil)
		add(otpevent.Sent, later, func(x *happening) { x.Resend, x.Message = true, fmt.Sprint(id, later.Unix()) })
	}
	if m.IntN(5) == 0 {
		return
	}
	wrongs := max(0, m.IntN(9)-5)
	for i := range wrongs {
		add(otpevent.Wrong, step(40), func(x *happening) { x.WrongGuesses = i + 1 })
	}
	kind := otpevent.Kind(m.one("verified", "verified", "verified", "verified", "verified", "expired", "exhausted", "malformed", ""))
	if kind != "" {
		add(kind, step(300), func(x *happening) { x.WrongGuesses = wrongs })
	}
}

// traffic makes n challenges from a time on, sorted by time.
func (m *maker) traffic(from time.Time, length time.Duration, n int) []happening {
	for range n {
		m.challenge(from.Add(time.Duration(m.Int64N(int64(length)))).Truncate(time.Millisecond))
	}
	slices.SortStableFunc(m.all, func(a, b happening) int { return a.Time.Compare(b.Time) })
	return m.all
}
