package otptest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// postOffice is a far end in memory, and a good sender to it.
type postOffice struct {
	mu        sync.Mutex
	delivered []func() Delivery
	refused   bool
	stalled   bool
}

func (p *postOffice) Send(ctx context.Context, m otp.Message) error {
	if err := ctx.Err(); err != nil {
		return &otp.SendError{Temporary: true, Err: err}
	}
	p.mu.Lock()
	refused, stalled := p.refused, p.stalled
	p.mu.Unlock()
	if stalled {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Minute):
		}
		return &otp.SendError{Temporary: true, Stage: "data", Err: ctx.Err()}
	}
	if refused {
		return &otp.SendError{Stage: "rcpt", Err: errors.New("no such mailbox: " + m.To.Masked())}
	}
	p.deliver(m)
	return nil
}

func (p *postOffice) deliver(m otp.Message) {
	vars := maps.Clone(m.Vars)
	p.deliverLater(func() Delivery { return letterOf(m, vars) })
}

func (p *postOffice) deliverLater(d func() Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivered = append(p.delivered, d)
}

func letterOf(m otp.Message, vars map[string]string) Delivery {
	values := slices.Sorted(maps.Values(vars))
	return Delivery{To: m.To.String(), Text: "Your code is " + m.Code + ". " + strings.Join(values, " ")}
}

func (p *postOffice) received() []Delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Delivery, len(p.delivered))
	for i, d := range p.delivered {
		all[i] = d()
	}
	return all
}

// underTest puts a sender in front of the post office.
func (p *postOffice) underTest(send otp.SenderFunc) SenderUnderTest {
	set := func(flag *bool) func() {
		return func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			*flag = true
		}
	}
	return SenderUnderTest{Sender: send, Received: p.received, Refuse: set(&p.refused), Stall: set(&p.stalled)}
}

func TestSender_postOffice(t *testing.T) {
	TestSender(t, func(*testing.T) SenderUnderTest {
		p := new(postOffice)
		return p.underTest(p.Send)
	})
}

func TestSender_inbox(t *testing.T) {
	TestSender(t, func(t *testing.T) SenderUnderTest {
		var inbox Inbox
		return SenderUnderTest{
			Sender: &inbox,
			Received: func() (all []Delivery) {
				for _, m := range inbox.Messages() {
					all = append(all, Delivery{To: m.To.String(), Text: m.Code})
				}
				return all
			},
			Address: func(i int) otp.Address { return address(t, strings.Repeat("x", i+1)+"@example.org") },
			Refuse:  func() { inbox.FailWith(&otp.SendError{Stage: "rcpt", Err: errors.New("refused")}) },
		}
	})
}

type brokenSend = func(p *postOffice, ctx context.Context, m otp.Message) error

// brokenSenders are the senders that the suite must tell from good ones, each
// with the cases that must fail it.
var brokenSenders = []struct {
	name     string
	send     brokenSend
	caughtBy []string
}{
	{
		"drops mails", func(*postOffice, context.Context, otp.Message) error { return nil },
		[]string{"delivers", "many at once", "ended context", "refused"},
	},
	{
		"sends twice", func(p *postOffice, ctx context.Context, m otp.Message) error {
			_ = p.Send(ctx, m)
			return p.Send(ctx, m)
		},
		[]string{"delivers", "many at once"},
	},
	{
		"mangles the code", func(p *postOffice, ctx context.Context, m otp.Message) error {
			m.Code = strings.TrimLeft(m.Code, "3")
			return p.Send(ctx, m)
		},
		[]string{"delivers"},
	},
	{
		"sends to the wrong address", func(p *postOffice, ctx context.Context, m otp.Message) error {
			m.To = otp.Address{}
			return p.Send(ctx, m)
		},
		[]string{"delivers"},
	},
	{
		"mixes concurrent mails", func() brokenSend {
			var mu sync.Mutex
			var code string
			return func(p *postOffice, ctx context.Context, m otp.Message) error {
				mu.Lock()
				code = m.Code
				mu.Unlock()
				<-time.After(time.Millisecond)
				mu.Lock()
				m.Code = code
				mu.Unlock()
				return p.Send(ctx, m)
			}
		}(),
		[]string{"many at once"},
	},
	{
		"one at a time", func() brokenSend {
			var busy sync.Mutex
			return func(p *postOffice, ctx context.Context, m otp.Message) error {
				if !busy.TryLock() {
					return &otp.SendError{Temporary: true}
				}
				defer busy.Unlock()
				<-time.After(time.Millisecond)
				return p.Send(ctx, m)
			}
		}(),
		[]string{"many at once"},
	},
	{
		"ignores the context", func(p *postOffice, ctx context.Context, m otp.Message) error {
			return p.Send(context.WithoutCancel(ctx), m)
		},
		[]string{"ended context", "silent far end"},
	},
	{
		"looks at the context only before", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if ctx.Err() != nil {
				return p.Send(ctx, m)
			}
			return p.Send(context.WithoutCancel(ctx), m)
		},
		[]string{"silent far end"},
	},
	{
		"slow to give up", func(p *postOffice, ctx context.Context, m otp.Message) error {
			err := p.Send(ctx, m)
			if ctx.Err() != nil {
				<-time.After(prompt + time.Second)
			}
			return err
		},
		[]string{"ended context", "silent far end"},
	},
	{
		"sends and then looks at the context", func(p *postOffice, ctx context.Context, m otp.Message) error {
			_ = p.Send(context.WithoutCancel(ctx), m)
			if ctx.Err() != nil {
				return &otp.SendError{MaybeSent: true, Err: ctx.Err()}
			}
			return nil
		},
		[]string{"ended context"},
	},
	{
		"denies a mail that went out", func(p *postOffice, ctx context.Context, m otp.Message) error {
			err := p.Send(ctx, m)
			if err != nil {
				p.deliver(m)
			}
			return err
		},
		[]string{"ended context", "refused", "silent far end"},
	},
	{
		"tells the code in a plain error", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if err := p.Send(ctx, m); err != nil {
				return errors.New("could not send " + m.Code)
			}
			return nil
		},
		[]string{"ended context", "refused", "silent far end"},
	},
	{
		"hides failures", func(p *postOffice, ctx context.Context, m otp.Message) error {
			_ = p.Send(ctx, m)
			return nil
		},
		[]string{"ended context", "refused", "silent far end"},
	},
	{
		"tells the code", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if err := p.Send(ctx, m); err != nil {
				return &otp.SendError{Err: errors.New("could not send " + m.Code)}
			}
			return nil
		},
		[]string{"ended context", "refused", "silent far end"},
	},
	{
		"tells the address", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if err := p.Send(ctx, m); err != nil {
				return &otp.SendError{Err: errors.New("550 <" + strings.ToUpper(m.To.String()) + "> unknown")}
			}
			return nil
		},
		[]string{"refused"},
	},
	{
		"changes vars", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if m.Vars != nil {
				m.Vars["code"] = m.Code
			}
			return p.Send(ctx, m)
		},
		[]string{"vars not changed"},
	},
	{
		"keeps vars", func(p *postOffice, ctx context.Context, m otp.Message) error {
			if err := ctx.Err(); err != nil {
				return p.Send(ctx, m)
			}
			p.deliverLater(func() Delivery { return letterOf(m, m.Vars) })
			return nil
		},
		[]string{"vars not kept"},
	},
}

func TestSenderCases_brokenSenders(t *testing.T) {
	named := map[string]bool{}
	for _, broken := range brokenSenders {
		t.Run(broken.name, func(t *testing.T) {
			var failed []string
			for _, c := range senderCases {
				synctest.Test(t, func(t *testing.T) {
					p := new(postOffice)
					s := p.underTest(func(ctx context.Context, m otp.Message) error { return broken.send(p, ctx, m) })
					ctx, cancel := context.WithTimeout(t.Context(), 3*prompt)
					defer cancel()
					if err := c.check(ctx, s); err != nil {
						failed = append(failed, c.name)
					}
					<-time.After(time.Hour) // whoever still hangs in Send comes back
				})
			}
			require.NotEmpty(t, broken.caughtBy)
			require.Subset(t, failed, broken.caughtBy)
			t.Logf("caught by %q", failed)
		})
		for _, name := range broken.caughtBy {
			named[name] = true
		}
	}
	for _, c := range senderCases {
		require.True(t, named[c.name], "no broken sender shows that the case %q works", c.name)
		require.Regexp(t, `^[A-Z].*\.$`, c.rule, c.name)
	}
}

// A plain error is within the contract. It counts as "may have gone out", so it
// is also right for a message that did.
func TestSender_plainErrors(t *testing.T) {
	for name, delivers := range map[string]bool{"not sent": false, "sent": true} {
		t.Run(name, func(t *testing.T) {
			TestSender(t, func(*testing.T) SenderUnderTest {
				p := new(postOffice)
				return p.underTest(func(ctx context.Context, m otp.Message) error {
					ended := ctx.Err() != nil
					err := p.Send(ctx, m)
					switch {
					case err == nil:
						return nil
					case delivers && !ended:
						p.deliver(m)
					}
					return errors.New("it did not work")
				})
			})
		})
	}
}

// What the far end cannot do is left out, and nothing else is.
func TestSenderCases_skipped(t *testing.T) {
	var skipped []string
	for _, c := range senderCases {
		require.False(t, c.skip(new(postOffice).underTest(nil)), c.name)
		if c.skip(SenderUnderTest{}) {
			skipped = append(skipped, c.name)
		}
	}
	require.Equal(t, []string{"silent far end", "refused"}, skipped)
}
