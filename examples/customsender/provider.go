package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// provider stands in for a provider of short messages.
type provider struct {
	token string

	mu      sync.Mutex
	phones  []sms           // what has arrived
	seen    map[string]bool // idempotency keys
	status  int             // the answer from now on; 0 is to take messages
	stalled bool
}

type sms struct{ To, Text string }

// behave sets the answer to what comes from now on.
func (p *provider) behave(status int, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.stalled = status, stalled
}

// received returns what has arrived.
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
	status, stalled := p.take(r.Header.Get("Idempotency-Key"), message)
	if stalled {
		<-r.Context().Done() // until the client goes
		return
	}
	// A provider's answer repeats what it got.
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"to": %q, "text": %q}`, message.To, message.Text)
}

// take decides on a message.
func (p *provider) take(key string, message sms) (status int, stalled bool) {
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
