package otptest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
)

// SenderUnderTest is a sender together with the far end that it sends to: a
// server that the test runs, or a substitute for one.
type SenderUnderTest struct {
	// Sender is the sender to test. It is required.
	Sender otp.Sender

	// Received returns all messages that have arrived at the far end so far.
	// It is required. A message may arrive a little later than Send returns.
	Received func() []Delivery

	// Address returns a different address for each i, to which the sender can
	// send. The default is person0@example.com, person1@example.com and so on.
	Address func(i int) otp.Address

	// Refuse makes the far end reject every message from now on. If possible,
	// its replies should repeat the address and the text of the message. If
	// Refuse is nil, the subtests that need it are skipped.
	Refuse func()

	// Stall makes the far end stop answering from now on, while connections
	// stay open. If Stall is nil, the subtests that need it are skipped.
	Stall func()
}

// Delivery is one message that arrived at the far end.
type Delivery struct {
	// To is the recipient, as the far end received it.
	To string

	// Text is the decoded text that the recipient can read. It contains the
	// code in the same form as [otp.Message].
	Text string
}

// TestSender checks that a sender fulfills the contract of [otp.Sender], with
// one subtest for each sentence. Each subtest calls newSender once; it may use
// t.Cleanup.
//
// A failed Send may return any error. Only a *[otp.SendError] can say that a
// message was not sent, and the suite then checks that it did not arrive; any
// other error counts as "may have been sent".
func TestSender(t *testing.T, newSender func(t *testing.T) SenderUnderTest) {
	t.Helper()
	for _, c := range senderCases {
		t.Run(c.name, func(t *testing.T) {
			s := newSender(t)
			if s.Sender == nil || s.Received == nil {
				t.Fatal("otptest: SenderUnderTest: Sender and Received are required")
			}
			if c.skip(s) {
				t.Skip("the far end cannot do this")
			}
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			report(t, c.rule, c.check(ctx, s))
		})
	}
}

// senderCase is one sentence of the contract.
type senderCase struct {
	name  string
	rule  string
	needs func(s SenderUnderTest) bool // nil if the case needs neither Refuse nor Stall
	run   func(ctx context.Context, e *senderEnv)
}

func (c senderCase) skip(s SenderUnderTest) bool { return c.needs != nil && !c.needs(s) }

// check runs the case on a fresh sender.
func (c senderCase) check(ctx context.Context, s SenderUnderTest) error {
	return bound(ctx, func() error {
		e := &senderEnv{SenderUnderTest: s}
		c.run(ctx, e)
		return e.err
	})
}

// prompt is how soon Send must return after its context has ended.
const prompt = 10 * time.Second

var senderCases = []senderCase{
	{
		name: "delivers", rule: "Send returns nil when the far end has accepted the message: it arrives once, with its code, at its address.",
		run: func(ctx context.Context, e *senderEnv) {
			for i := range 3 {
				m := e.message(i)
				e.sends(ctx, m)
				e.arrives(ctx, m)
			}
		},
	},
	{
		name: "many at once", rule: "Send is safe for concurrent use: each message arrives once, with its own code, at its own address.",
		run: func(ctx context.Context, e *senderEnv) {
			const n = 24
			messages := make([]otp.Message, n)
			errs := make([]error, n)
			var all sync.WaitGroup
			for i := range n {
				messages[i] = e.message(i)
				all.Go(func() { errs[i] = e.Sender.Send(ctx, messages[i]) })
			}
			all.Wait()
			if err := errors.Join(errs...); err != nil {
				e.failf("Send: %v", err)
			}
			e.arrives(ctx, messages...)
		},
	},
	{
		name: "ended context", rule: "Send gives up when ctx ends: if ctx has ended before the call, Send returns an error soon and sends nothing.",
		run: func(ctx context.Context, e *senderEnv) {
			for i, ended := range endedContexts(ctx) {
				e.fails(ended, e.message(i))
			}
			// Another message is sent and arrives. If the first ones had been
			// sent, they would have arrived before it.
			m := e.message(2)
			e.sends(ctx, m)
			e.arrives(ctx, m)
			for i := range 2 {
				if e.err == nil && e.arrived(e.message(i)) > 0 {
					e.failf("a message arrived, though its context had ended before Send")
				}
			}
		},
	},
	{
		name: "silent far end", rule: "Send gives up when ctx ends, even while it waits for the far end.",
		needs: func(s SenderUnderTest) bool { return s.Stall != nil },
		run: func(ctx context.Context, e *senderEnv) {
			// The first message may leave an open connection for the second.
			m := e.message(0)
			e.sends(ctx, m)
			e.Stall()
			ending, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			e.fails(ending, e.message(1))
		},
	},
	{
		name: "refused", rule: "Send returns an error when the far end refuses. Its text contains neither the code nor the whole address, whatever the far end says; a *SendError without MaybeSent means that the message was not sent.",
		needs: func(s SenderUnderTest) bool { return s.Refuse != nil },
		run: func(ctx context.Context, e *senderEnv) {
			e.Refuse()
			e.fails(ctx, e.message(0))
			e.fails(ctx, e.message(1))
		},
	},
	{
		name: "vars not changed", rule: "A Sender does not change m.Vars.",
		run: func(ctx context.Context, e *senderEnv) {
			m := e.message(0)
			m.Vars = map[string]string{"brand": "Example", "amount": "12.00 EUR", "empty": ""}
			before := maps.Clone(m.Vars)
			e.sends(ctx, m)
			e.arrives(ctx, m)
			if !maps.Equal(m.Vars, before) {
				e.failf("m.Vars changed from %v to %v", before, m.Vars)
			}
		},
	},
	{
		name: "vars not kept", rule: "A Sender does not keep m.Vars: the caller may change the map after Send.",
		run: func(ctx context.Context, e *senderEnv) {
			m := e.message(0)
			const later = "changed-after-send"
			m.Vars = map[string]string{"brand": "Example", "amount": "12.00 EUR"}
			e.sends(ctx, m)
			// The race detector reports a sender that still reads the map.
			for name := range m.Vars {
				m.Vars[name] = later
			}
			e.arrives(ctx, m)
			for _, d := range e.Received() {
				if strings.Contains(d.Text, later) {
					e.failf("the mail contains a value that the caller wrote into m.Vars after Send")
				}
			}
		},
	},
}

// senderEnv is the environment of a case: the sender and the checks.
type senderEnv struct {
	failure
	SenderUnderTest
}

// message returns a different message for each i.
func (e *senderEnv) message(i int) otp.Message {
	to, err := otp.ParseEmail(fmt.Sprintf("person%d@example.com", i))
	if e.Address != nil {
		to, err = e.Address(i), nil
	}
	if err != nil {
		e.failf("ParseEmail: %v", err)
	}
	now := time.Now()
	return otp.Message{
		ID:        rand.Text(),
		To:        to,
		Code:      fmt.Sprintf("%08d", 31415926+7919*i),
		Purpose:   "login",
		Locale:    "en",
		Reference: fmt.Sprintf("REF%d", i),
		SentAt:    now,
		ExpiresAt: now.Add(10 * time.Minute),
	}
}

// sends checks that Send succeeds.
func (e *senderEnv) sends(ctx context.Context, m otp.Message) {
	if e.err != nil {
		return
	}
	if err := e.Sender.Send(ctx, m); err != nil {
		e.failf("Send: %v", err)
	}
}

// fails checks that Send fails soon, with an error that the contract allows.
func (e *senderEnv) fails(ctx context.Context, m otp.Message) {
	if e.err != nil {
		return
	}
	began := time.Now()
	err := e.Sender.Send(ctx, m)
	took := time.Since(began)
	var failure *otp.SendError
	switch {
	case err == nil:
		e.failf("Send returned nil")
	case took > prompt:
		e.failf("Send took %v", took)
	case errors.As(err, &failure) && failure == nil:
		e.failf("Send returned a nil *otp.SendError")
	case failure != nil && !failure.MaybeSent && e.arrived(m) > 0:
		e.failf("the message arrived, but the error says that it was not sent: %v", err)
	}
	e.clean(err, m)
	if failure != nil {
		e.clean(failure.Err, m)
	}
}

// clean checks that the text of err contains no secret.
func (e *senderEnv) clean(err error, m otp.Message) {
	if err == nil {
		return
	}
	text := fmt.Sprintf("%v %+v", err, err)
	if strings.Contains(text, m.Code) {
		e.failf("the text of the error (%T) contains the code", err)
	}
	if strings.Contains(strings.ToLower(text), strings.ToLower(m.To.String())) {
		e.failf("the text of the error (%T) contains the whole address", err)
	}
}

// arrives waits until each message has arrived. It checks that each arrived
// once, and that no other message has the same address or the same code.
func (e *senderEnv) arrives(ctx context.Context, messages ...otp.Message) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for e.err == nil && e.missing(messages) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.failf("%d of %d messages that were sent have not arrived", e.missing(messages), len(messages))
		}
	}
	for _, m := range messages {
		if n := e.arrived(m); e.err == nil && n != 1 {
			e.failf("a message arrived %d times, want once", n)
		}
	}
	for _, d := range e.Received() {
		for _, m := range messages {
			if to, code := d.To == m.To.String(), strings.Contains(d.Text, m.Code); to != code {
				e.failf("a message to %s arrived at %s: right address %v, right code %v", m.To, d.To, to, code)
			}
		}
	}
}

// missing counts the messages that have not arrived.
func (e *senderEnv) missing(messages []otp.Message) (n int) {
	for _, m := range messages {
		if e.arrived(m) == 0 {
			n++
		}
	}
	return n
}

// arrived counts how often a message with m's code has arrived.
func (e *senderEnv) arrived(m otp.Message) (n int) {
	for _, d := range e.Received() {
		if strings.Contains(d.Text, m.Code) {
			n++
		}
	}
	return n
}
