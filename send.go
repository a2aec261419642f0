package otp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-mailotp/otp/internal/ledger"
	"github.com/go-mailotp/otp/internal/seal"
)

// open opens a challenge and mails it. With replaces it takes the place of
// one that must still be there.
func (v *Verifier) open(ctx context.Context, key seal.Key, to Address, c ledger.Challenge, replaces *[16]byte) (Challenge, error) {
	c.Nonce = [16]byte{} // of the one that it replaces
	if c.Lane == ledger.Stranger && c.Client != [16]byte{} {
		if err := v.start(ctx, c.Client); err != nil {
			v.observeError(ctx, key, &c, err, "")
			return Challenge{}, err
		}
	}
	c.Decoy = false
	if v.core.admit != nil {
		admitted, err := v.core.admit(ctx, to)
		if err != nil {
			err = fmt.Errorf("otp: Options.Admit: %w", masked(err, Message{To: to}))
			v.observeError(ctx, key, &c, err, "")
			return Challenge{}, err
		}
		c.Decoy = !admitted
	}
	var id string
	id, c.Nonce = v.core.keys.NewID(key)
	c.Reference, c.Guesses, c.Wrong = newReference(), v.core.guesses, 0
	var (
		codes    [2]string // short and strong, made when first needed
		view     Challenge
		reserved ledger.Ms
	)
	err := v.update(ctx, key, fresh, func(l *ledger.Ledger, now ledger.Ms) (bool, error) {
		if replaces != nil {
			verdict, _ := l.Look(now, v.core.rules, *replaces, v.purpose)
			if verdict == ledger.Unknown || verdict == ledger.ClockBack {
				return false, verdictError(verdict)
			}
		}
		c.SentAt, c.Deadline = now, now+ledger.Of(v.options.TTL)
		c.Strong = l.StrongNext(now, v.core.rules, c.Lane)
		generator, code := v.options.Generator, &codes[0]
		if c.Strong {
			generator, code = v.core.strong, &codes[1]
		}
		if *code == "" {
			var err error
			if *code, err = generator.Generate(); err == nil {
				err = checkCode(generator, *code)
			}
			if err != nil {
				return false, fmt.Errorf("otp: the generator: %w", err)
			}
		}
		c.Code = *code
		var wait time.Duration
		if reserved, wait = l.Open(now, v.core.rules, &c); wait > 0 {
			return false, &LimitError{RetryAfter: wait}
		}
		view = v.view(id, l, &c)
		return true, nil
	})
	if err != nil {
		c.Nonce = [16]byte{} // nobody has heard of it
		v.observeError(ctx, key, &c, err, view.Masked)
		return Challenge{}, err
	}
	return v.deliver(ctx, key, to, &c, view, reserved, true)
}

// start charges a client for opening a challenge.
func (v *Verifier) start(ctx context.Context, client seal.Key) error {
	_, err := update(ctx, v.core, client, nil, func(value []byte, st state, _ ledger.Ms) (*ledger.Client, error) {
		if st == lost {
			v.observe(ctx, EventUnknownKey, seal.Key{}, &ledger.Challenge{Client: client}, Event{})
		}
		if st != found {
			return &ledger.Client{}, nil
		}
		return ledger.DecodeClient(value)
	}, func(c *ledger.Client, now ledger.Ms) (bool, error) {
		if wait, ok := c.Start(now, v.core.starts); !ok {
			return false, &LimitError{RetryAfter: wait}
		}
		return true, nil
	})
	return err
}

// deliver mails a reserved send and settles what its failure means.
func (v *Verifier) deliver(ctx context.Context, key seal.Key, to Address, c *ledger.Challenge, view Challenge, reserved ledger.Ms, opened bool) (Challenge, error) {
	if c.Decoy {
		v.observe(ctx, EventDecoy, key, c, Event{Resend: !opened})
		return view, nil
	}
	m := Message{
		ID: rand.Text(), To: to, Code: c.Code, Purpose: c.Purpose, Locale: c.Locale, Reference: c.Reference,
		Vars: c.Vars, SentAt: time.UnixMilli(reserved), ExpiresAt: view.ExpiresAt,
	}
	err := ctx.Err()
	if err != nil {
		err = &SendError{Temporary: true, Err: err}
	} else {
		err = v.core.sender.Send(ctx, m)
	}
	if err == nil {
		v.observe(ctx, EventSent, key, c, Event{Message: m.ID, Resend: !opened})
		return view, nil
	}
	failed := asSendError(err, m)
	v.observe(ctx, EventSendFailed, key, c, Event{Message: m.ID, Resend: !opened, Err: failed})
	switch {
	case failed.MaybeSent:
		return view, failed
	case failed.Temporary:
		v.settle(ctx, key, func(l *ledger.Ledger, now ledger.Ms) {
			l.Refund(now, reserved, c, opened)
			view.ResendAt = time.UnixMilli(l.ResendAt(v.core.rules, c))
		})
		if opened {
			return Challenge{}, failed
		}
	case opened:
		v.settle(ctx, key, func(l *ledger.Ledger, _ ledger.Ms) { l.MakeDecoy(c) })
	}
	return view, failed
}

// settle records what became of a send, also when the request is over. If the
// store fails here, the send stays spent and the code stays unknown to all.
func (v *Verifier) settle(ctx context.Context, key seal.Key, change func(*ledger.Ledger, ledger.Ms)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := v.update(ctx, key, existing, func(l *ledger.Ledger, now ledger.Ms) (bool, error) {
		change(l, now)
		return true, nil
	})
	if err != nil {
		v.observeFailure(ctx, key, err)
	}
}

var errClock = errors.New("otp: the clock is behind the one that sent the code")

// verdictError is the error for a verdict, nil for Right and Live.
func verdictError(verdict ledger.Verdict) error {
	switch verdict {
	case ledger.Right, ledger.Live:
		return nil
	case ledger.ClockBack:
		return errClock
	case ledger.Expired:
		return ErrExpired
	case ledger.Exhausted:
		return ErrExhausted
	case ledger.Escalated:
		return ErrEscalated
	case ledger.Malformed:
		return ErrMalformed
	case ledger.Wrong:
		return ErrCode
	}
	return ErrUnknown
}

// isVerdict reports whether the challenge comes with the error. It compares
// the values: an error of a store that wraps one of ours is no verdict.
func isVerdict(err error) bool {
	switch err {
	case ErrCode, ErrMalformed, ErrExpired, ErrExhausted, ErrEscalated:
		return true
	}
	return false
}
