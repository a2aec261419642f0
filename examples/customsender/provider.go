package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// provider is a stand-in for a provider of text messages.
type provider struct {
	token   string
	waiting chan struct{} // receives a value when a client waits in vain; may be nil

	mu      sync.Mutex
	phones  []sms           // the messages that were accepted
	seen    map[string]bool // idempotency keys
	status  int             // the status to respond with; 0 accepts messages
	stalled bool            // do not respond
}

type sms struct{ To, Text string }

// behave sets the response to all later requests.
func (p *provider) behave(status int, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.stalled = status, stalled
}

// received returns the messages that were accepted.
func (p *provider) received() []sms {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sms(nil), p.phones...)
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var message sms
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4096))
	switch {
	case r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+p.token:
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	case err != nil || json.Unmarshal(body, &message) != nil || message.To == "" || message.Text == "":
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	status, stalled := p.accept(r.Header.Get("Idempotency-Key"), message)
	if stalled {
		select {
		case p.waiting <- struct{}{}:
		default:
		}
		<-r.Context().Done() // until the client gives up
		return
	}
	// Like that of many providers, the response repeats the message.
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"to": %q, "text": %q}`, message.To, message.Text)
}

// accept stores a message, or returns the status that was set.
func (p *provider) accept(key string, message sms) (status int, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != 0 || p.stalled {
		return p.status, p.stalled
	}
	if !p.seen[key] {
		p.phones = append(p.phones, message)
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[key] = true
	return http.StatusAccepted, false
}
