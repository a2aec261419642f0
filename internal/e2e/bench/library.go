package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/mimemsg"
	"github.com/go-mailotp/otp/letter"
)

// The turns of a worker in a block: some 10 ms of work.
const (
	turns     = 1024
	mailTurns = 256
)

// addresses makes n addresses for each worker.
func addresses(name string, n int) (list [maxWorkers][]string) {
	for w := range list {
		list[w] = make([]string, n)
		for i := range list[w] {
			list[w][i] = fmt.Sprintf("%s.%d.%06d@example.org", name, w, i)
		}
	}
	return list
}

// each calls f for every address.
func each(list [maxWorkers][]string, f func(string) error) error {
	for _, part := range list {
		for _, address := range part {
			if err := f(address); err != nil {
				return err
			}
		}
	}
	return nil
}

// mailbox is a context that takes the code from the sender.
type mailbox struct {
	context.Context
	code string
}

// hand is a sender that does nothing but hand over the code.
func hand(ctx context.Context, m otp.Message) error {
	if box, ok := ctx.(*mailbox); ok {
		box.code = m.Code
	}
	return nil
}

// flow is a verifier with a store of its own and a mailbox for each worker.
type flow struct {
	*otp.Verifier
	boxes [maxWorkers]mailbox
}

func newFlow(store otp.Store, send otp.SenderFunc, observer otp.Observer) (*flow, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	v, err := otp.NewVerifier(store, send, &otp.Options{Secrets: [][]byte{secret}, Observer: observer})
	f := &flow{Verifier: v}
	for w := range f.boxes {
		f.boxes[w].Context = context.Background()
	}
	return f, err
}

func (f *flow) forget(address string) error { return f.Forget(context.Background(), address) }

// sendCheck is a whole login.
func (f *flow) sendCheck(worker int, address string) error {
	box := &f.boxes[worker]
	c, err := f.Send(box, otp.Request{To: address})
	if err != nil {
		return err
	}
	_, err = f.Check(box, c.ID, box.code)
	return err
}

func librarySendCheck(name string, store otp.Store) (*variant, error) {
	f, err := newFlow(store, hand, nil)
	if err != nil {
		return nil, err
	}
	return f.variant(name), nil
}

// variant is sendCheck for addresses that are new in every block.
func (f *flow) variant(name string) *variant {
	to := addresses("person", turns)
	return &variant{
		name: name, size: turns,
		prepare: func() error { return each(to, f.forget) },
		run:     func(worker, i int) error { return f.sendCheck(worker, to[worker][i]) },
	}
}

func libraryWrong(store otp.Store, observer otp.Observer) (*variant, error) {
	f, err := newFlow(store, hand, observer)
	if err != nil {
		return nil, err
	}
	to := addresses("person", turns)
	var sent [maxWorkers][turns]struct{ id, guess string }
	return &variant{
		name: "library: Check, wrong", size: turns,
		prepare: func() error {
			if err := each(to, f.forget); err != nil {
				return err
			}
			for w := range to {
				for i, address := range to[w] {
					c, err := f.Send(&f.boxes[w], otp.Request{To: address})
					if err != nil {
						return err
					}
					wrong := []byte(f.boxes[w].code)
					wrong[0] = '0' + (wrong[0]-'0'+1)%10
					sent[w][i].id, sent[w][i].guess = c.ID, string(wrong)
				}
			}
			return nil
		},
		run: func(worker, i int) error {
			s := &sent[worker][i]
			if _, err := f.Check(&f.boxes[worker], s.id, s.guess); err != otp.ErrCode {
				return fmt.Errorf("%w: %w", errBroken, err)
			}
			return nil
		},
	}, nil
}

func libraryMail(store otp.Store) (*variant, error) {
	mail, err := newMailer()
	if err != nil {
		return nil, err
	}
	f, err := newFlow(store, func(_ context.Context, m otp.Message) error {
		return mail.write(m.To.String(), m.Code, m.Reference, m.ID, m.SentAt, m.Minutes())
	}, nil)
	if err != nil {
		return nil, err
	}
	to := addresses("person", mailTurns)
	return &variant{
		name: "library: Send with a rendered mail", size: mailTurns,
		prepare: func() error { return each(to, f.forget) },
		run: func(worker, i int) error {
			_, err := f.Send(context.Background(), otp.Request{To: to[worker][i]})
			return err
		},
	}, nil
}

// mailer makes the bytes of a mail as the SMTP sender does.
type mailer struct{ letter *letter.Letter }

func newMailer() (*mailer, error) {
	l, err := letter.New(nil)
	return &mailer{l}, err
}

func (w *mailer) write(to, code, reference, id string, now time.Time, minutes int) error {
	_, err := w.bytes(to, code, reference, id, now, minutes)
	return err
}

func (w *mailer) bytes(to, code, reference, id string, now time.Time, minutes int) ([]byte, error) {
	words, err := w.letter.Render(letter.Data{
		Code: code, Kind: "login", Reference: reference, Brand: "Example", Minutes: minutes,
	})
	if err != nil {
		return nil, err
	}
	m := mimemsg.Message{
		From: mimemsg.Mailbox{Name: "Example", Addr: "login@example.com"}, To: to, ID: id, Date: now,
		Subject: words.Subject, Text: words.Text, HTML: words.HTML,
	}
	return m.Bytes()
}

// sizes are the lengths of ledgers before they are sealed.
type sizes struct{ sent, checked, wrong int }

// ledgerSizes watches a store for the lengths.
func ledgerSizes() (s sizes, err error) {
	const sealed = 4 + 12 + 16 // fingerprint, nonce and tag
	store := &watched{MemoryStore: otp.NewMemoryStore(nil)}
	f, err := newFlow(store, hand, nil)
	if err != nil {
		return s, err
	}
	box := &f.boxes[0]
	c, err := f.Send(box, otp.Request{To: addresses("person", 1)[0][0]})
	if err != nil {
		return s, err
	}
	s.sent = store.last - sealed
	wrong := []byte(box.code)
	wrong[0] = '0' + (wrong[0]-'0'+1)%10
	if _, err := f.Check(box, c.ID, string(wrong)); err != otp.ErrCode {
		return s, fmt.Errorf("%w: %w", errBroken, err)
	}
	s.wrong = store.last - sealed
	_, err = f.Check(box, c.ID, box.code)
	s.checked = store.last - sealed
	return s, err
}

// watched is a store that remembers how long the last value was.
type watched struct {
	*otp.MemoryStore
	last int
}

func (s *watched) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.last = len(new)
	return s.MemoryStore.CompareAndSwap(ctx, key, old, new, ttl)
}
