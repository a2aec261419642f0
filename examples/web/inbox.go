package main

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpmail"
)

// inbox is an otp.Sender that keeps the mails and shows them to everybody. It
// is only for this demonstration.
type inbox struct {
	composer *otpmail.Composer
	size     int

	mu    sync.Mutex
	mails []mail // oldest first
}

type mail struct {
	To, Subject, Text, HTML string
	At                      time.Time

	code, reference string // for the tests
}

// newInbox returns an inbox that keeps the last size mails.
func newInbox(size int) (*inbox, error) {
	composer, err := otpmail.New(brand+" <codes@example.com>", nil)
	return &inbox{composer: composer, size: size}, err
}

// Send composes the mail as an smtpsender.Sender does, and keeps it.
func (b *inbox) Send(ctx context.Context, m otp.Message) error {
	composed, err := b.composer.Compose(ctx, m)
	if err != nil {
		return err
	}
	b.keep(mail{
		To: composed.To, Subject: composed.Subject, Text: composed.Text, HTML: composed.HTML, At: m.SentAt,
		code: m.Code, reference: m.Reference,
	})
	return nil
}

func (b *inbox) keep(m mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mails) == b.size {
		b.mails = slices.Delete(b.mails, 0, 1)
	}
	b.mails = append(b.mails, m)
}

// newest returns the mails to an address, or all mails if it is empty, newest
// first.
func (b *inbox) newest(to string) (list []mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range slices.Backward(b.mails) {
		if to == "" || m.To == to {
			list = append(list, m)
		}
	}
	return list
}

// ServeHTTP shows the mails, with everybody's codes, on this machine only. If the
// query has "to", it shows those to one address.
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		http.Error(w, "The inbox is only shown on the machine that runs the example.", http.StatusForbidden)
		return
	}
	// Mails have their own styles and are shown in frames without any
	// permissions.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	show(w, http.StatusOK, "inbox", page{Title: "Inbox", Mails: b.newest(r.URL.Query().Get("to"))})
}
