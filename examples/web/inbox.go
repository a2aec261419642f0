package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/letter"
)

// inbox is an otp.Sender that shows the mails to everybody who looks: only for this
// demonstration.
type inbox struct {
	letters *letter.Letter
	size    int

	mu    sync.Mutex
	mails []mail // oldest first
}

type mail struct {
	To, Subject, Text, HTML string
	At                      time.Time

	code, reference string // what the tests read
}

// newInbox keeps the last size mails.
func newInbox(size int) (*inbox, error) {
	letters, err := letter.New(nil)
	return &inbox{letters: letters, size: size}, err
}

// Send writes the mail as an smtpsender.Sender would.
func (b *inbox) Send(_ context.Context, m otp.Message) error {
	kind, _, _ := strings.Cut(m.Purpose, ":")
	rendered, err := b.letters.Render(letter.Data{
		Code: m.Code, Kind: kind, Locale: m.Locale, Reference: m.Reference,
		Brand: brand, Minutes: m.Minutes(), Vars: m.Vars,
	})
	if err != nil {
		return &otp.SendError{Stage: "compose", Err: err}
	}
	b.keep(mail{
		To: m.To.String(), Subject: rendered.Subject, Text: rendered.Text, HTML: rendered.HTML, At: m.SentAt,
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

// newest are the mails to an address, or to everybody if that is empty, newest first.
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

// ServeHTTP shows them, those to one address if the query has "to".
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Mails have styles of their own, and stand in frames that can do nothing.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	show(w, http.StatusOK, "inbox", page{Title: "Inbox", Mails: b.newest(r.URL.Query().Get("to"))})
}
