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
	maxAnswer   = 64 << 10 // read at most this much of a response, to keep its connection
)

// SMSSender is an otp.Sender that uses the HTTP API of a provider of text
// messages. It is safe for concurrent use.
type SMSSender struct {
	endpoint string
	token    string
	client   *http.Client
}

// NewSMSSender returns a sender that posts to endpoint with a bearer token.
// endpoint is an https URL; use http only in tests. If client is nil,
// http.DefaultClient is used.
func NewSMSSender(endpoint, token string, client *http.Client) (*SMSSender, error) {
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || token == "" {
		return nil, errors.New("sms: want an http or https URL without user name, and a token")
	}
	if client == nil {
		client = http.DefaultClient
	}
	direct := *client
	// A redirect would send the code and the token to another server.
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &SMSSender{endpoint, token, &direct}, nil
}

// Format prints the sender without its token.
func (s *SMSSender) Format(f fmt.State, _ rune) { io.WriteString(f, "SMSSender") }

// LogValue returns what Format prints.
func (s *SMSSender) LogValue() slog.Value { return slog.StringValue("SMSSender") }

// Send posts m once. Its error is a *otp.SendError.
func (s *SMSSender) Send(ctx context.Context, m otp.Message) error {
	// Another part of the application may have created the Address.
	if to, err := ParsePhone(m.To.String()); err != nil || to != m.To {
		return &otp.SendError{Stage: "compose", Err: otp.ErrAddress}
	}
	body, err := json.Marshal(map[string]string{
		"to":   m.To.String(),
		"text": fmt.Sprintf("%s is your code, good for %d minutes (%s). Never tell it to anyone.", m.Code, m.Minutes(), m.Reference),
	})
	if err != nil {
		return &otp.SendError{Stage: "compose", Err: errors.New("cannot encode the message")}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	// written is set before the last byte is sent. While it is false, the
	// provider cannot have the whole message. WroteRequest would be too late,
	// because ctx may end between the last byte and the call.
	var written atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	request, err := http.NewRequestWithContext(traced, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return &otp.SendError{Stage: "compose", Err: errors.New("cannot create the request")}
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	// The provider sends one message for each key, so a repeated request is
	// harmless. net/http repeats one if an idle connection turns out to be
	// closed.
	request.Header.Set("Idempotency-Key", m.ID)
	answer, err := s.client.Do(request)
	if err != nil {
		return &otp.SendError{Temporary: true, MaybeSent: written.Load(), Stage: "post", Err: cause(ctx, err)}
	}
	defer answer.Body.Close()
	io.CopyN(io.Discard, answer.Body, maxAnswer) // only the status matters
	return verdict(answer.StatusCode)
}

// verdict returns the error for a status. It leaves out the body of the
// response, because providers repeat the number and the text there.
func verdict(status int) error {
	e := &otp.SendError{Stage: "answer", Err: fmt.Errorf("the provider returned status %d", status)}
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusConflict, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		// The first request is still being processed, or a proxy lost the
		// response.
		e.Temporary, e.MaybeSent = true, true
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusRequestTimeout,
		status == http.StatusTooManyRequests, status/100 == 5:
		// The number is not the cause.
		e.Temporary = true
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		e.Stage = "rcpt" // this number was rejected permanently: see SendError.RefusedRecipient
	case status/100 == 4: // a permanent failure, but perhaps for every number
	default: // a redirect: the endpoint is wrong
		e.Temporary = true
	}
	return e
}

// cause returns err without the URL that net/http adds to it.
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
