package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-mailotp/otp"
)

const (
	sendTimeout = 10 * time.Second
	maxAnswer   = 64 << 10 // what is read of an answer, so that its connection can be used again
)

// SMSSender is an otp.Sender over the HTTP API of a provider of short messages.
// It is safe for concurrent use.
type SMSSender struct {
	endpoint string
	token    string
	client   *http.Client
}

// NewSMSSender returns a sender that posts to endpoint, an https URL (http only
// for a test), with a bearer token. A nil client is http.DefaultClient.
func NewSMSSender(endpoint, token string, client *http.Client) (*SMSSender, error) {
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || token == "" {
		return nil, errors.New("sms: want an http or https URL without a login, and a token")
	}
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	// A redirect would take the code and the token elsewhere.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &SMSSender{endpoint, token, &own}, nil
}

// Format prints the sender without its token.
func (s *SMSSender) Format(f fmt.State, _ rune) { io.WriteString(f, "SMSSender") }

// LogValue logs what Format prints.
func (s *SMSSender) LogValue() slog.Value { return slog.StringValue("SMSSender") }

// Send posts m once. Its error is a *otp.SendError.
func (s *SMSSender) Send(ctx context.Context, m otp.Message) error {
	// Another part of the app may have made the Address.
	if to, err := ParsePhone(m.To.String()); err != nil || to != m.To {
		return &otp.SendError{Stage: "compose", Err: otp.ErrAddress}
	}
	body, err := json.Marshal(map[string]string{
		"to":   m.To.String(),
		"text": fmt.Sprintf("%s is your code, good for %d minutes (%s). Never tell it to anyone.", m.Code, m.Minutes(), m.Reference),
	})
	if err != nil {
		return &otp.SendError{Stage: "compose", Err: errors.New("no JSON can be made of the message")}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	// Set before the last byte leaves: as long as it is not, the provider cannot
	// have the whole message. WroteRequest would come after, and ctx may end between.
	var written atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return &otp.SendError{Stage: "compose", Err: errors.New("no request can be made")}
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	// The provider sends once for each key, so a repeat is harmless: net/http
	// makes one itself when a kept connection turns out to be closed.
	request.Header.Set("Idempotency-Key", m.ID)
	answer, err := s.client.Do(request)
	if err != nil {
		return &otp.SendError{Temporary: true, MaybeSent: written.Load(), Stage: "post", Err: cause(ctx, err)}
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, maxAnswer) // the status has said it all
	return verdict(answer.StatusCode)
}

// verdict says what a status means for the message. The answer's words are left
// out: providers repeat the number and the text in them.
func verdict(status int) error {
	e := &otp.SendError{Stage: "answer", Err: fmt.Errorf("the provider answered %d", status)}
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusConflict, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		// The first try is still under way, or a proxy does not know.
		e.Temporary, e.MaybeSent = true, true
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusRequestTimeout,
		status == http.StatusTooManyRequests, status/100 == 5:
		// Nothing that this number could be blamed for.
		e.Temporary = true
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		e.Stage = "rcpt" // this number was refused for good: see SendError.RefusedRecipient
	case status/100 == 4: // refused for good, but perhaps every number
	default: // a redirect: the endpoint is wrong
		e.Temporary = true
	}
	return e
}

// cause is err without the URL that net/http puts before it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
