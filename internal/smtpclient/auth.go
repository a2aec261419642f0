package smtpclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// login performs one SASL exchange (RFC 4954 section 4).
func (c *conn) login(ctx context.Context, cfg *Config) error {
	if !c.offers.auth {
		return errNoAuth
	}
	err := c.authenticate(ctx, cfg, c.offers.mechanisms)
	if unknown, ok := errors.AsType[*unknownPlain](err); ok {
		if !slices.Contains(c.offers.mechanisms, sasl.Login) {
			return unknown.SMTPError
		}
		return c.authenticate(ctx, cfg, []string{sasl.Login})
	}
	return err
}

// unknownPlain means that the server offers PLAIN and does not know it.
type unknownPlain struct{ *smtp.SMTPError }

// maxCommand is the maximum length of a command with its CRLF (RFC 5321 section
// 4.5.3.1.4).
const maxCommand = 512

// authenticate tries one of the mechanisms.
func (c *conn) authenticate(ctx context.Context, cfg *Config, offered []string) error {
	client, err := cfg.Auth(ctx, offered)
	if err != nil {
		return err
	}
	mechanism, response, err := client.Start()
	if err != nil {
		return err
	}
	command := "AUTH " + mechanism
	held := false // the response waits for the challenge (RFC 4954 section 4)
	switch {
	case len(command)+1+base64.StdEncoding.EncodedLen(len(response))+2 > maxCommand:
		held = true
	case response != nil && len(response) == 0:
		command += " ="
	case response != nil:
		command += " " + base64.StdEncoding.EncodeToString(response)
	}
	_, ours := client.(own)
	for {
		r, err := c.ask(command)
		if err != nil {
			return err
		}
		if r.code != 334 {
			err := r.err(235)
			if refused, ok := errors.AsType[*smtp.SMTPError](err); ok && ours && mechanism == sasl.Plain && (r.code == 502 || r.code == 504) {
				return &unknownPlain{refused} // says nothing of the password (RFC 4954 section 4)
			}
			return err
		}
		if held {
			held = false
			command = base64.StdEncoding.EncodeToString(response)
			continue
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.text))
		if err != nil && ours {
			challenge, err = nil, nil // a prompt that is not encoded, as some servers send it
		}
		if err == nil {
			response, err = client.Next(challenge)
		}
		if err != nil {
			if _, cancelled := c.ask("*"); cancelled != nil {
				return cancelled
			}
			if ours {
				return &ownError{err}
			}
			return &authError{err}
		}
		command = base64.StdEncoding.EncodeToString(response)
	}
}

// ask sends a command and reads the reply to it.
func (c *conn) ask(command string) (reply, error) {
	if err := c.write(append(append(c.out[:0], command...), "\r\n"...)); err != nil {
		return reply{}, err
	}
	return readReply(c.in)
}

// own is a mechanism of this package. It takes any challenge, and its errors are
// safe to show.
type own interface {
	sasl.Client
	own()
}

// ownError is an error of such a mechanism.
type ownError struct{ error }

// Unwrap returns the cause.
func (e *ownError) Unwrap() error { return e.error }

// authError is the error of another SASL mechanism without its text, which may
// contain text of the server that repeats the password.
type authError struct{ err error }

// Error omits the text of the cause.
func (e *authError) Error() string {
	return "authentication failed (the mechanism's text is omitted, since it may repeat the password)"
}

// Unwrap returns the cause.
func (e *authError) Unwrap() error { return e.err }

// Format prints the result of Error for every verb.
func (e *authError) Format(f fmt.State, _ rune) { io.WriteString(f, e.Error()) }

// Login returns the client for a user name and a password. It uses PLAIN or, if
// only that is offered, LOGIN.
func Login(username, password string, offered []string) (sasl.Client, error) {
	switch {
	case slices.Contains(offered, sasl.Plain):
		return &script{mechanism: sasl.Plain, first: []byte("\x00" + username + "\x00" + password)}, nil // RFC 4616
	case slices.Contains(offered, sasl.Login):
		return &script{mechanism: sasl.Login, then: []string{username, password}}, nil
	}
	return nil, fmt.Errorf("server offers AUTH %s, but neither PLAIN nor LOGIN", strings.Join(offered, " "))
}

// script is a mechanism whose client says the same, whatever it is asked: the
// prompts of LOGIN differ between servers and languages and are to be ignored
// (draft-murchison-sasl-login-00 section 2).
type script struct {
	mechanism string
	first     []byte // with AUTH; nil for mechanisms that begin with a challenge
	then      []string
	asked     bool // again for first, since the server has ignored it
}

func (*script) own() {}

// Start returns the initial response.
func (s *script) Start() (mechanism string, first []byte, err error) {
	return s.mechanism, s.first, nil
}

// Next returns the next line.
func (s *script) Next([]byte) ([]byte, error) {
	switch {
	case s.first != nil && !s.asked:
		s.asked = true
		return s.first, nil
	case len(s.then) > 0:
		line := s.then[0]
		s.then = s.then[1:]
		return []byte(line), nil
	}
	return nil, errors.New("server asks for more than AUTH " + s.mechanism + " has")
}

// XOAuth2 returns the client of XOAUTH2, which Google and Microsoft use.
func XOAuth2(username, token string) sasl.Client {
	return &bearer{"XOAUTH2", []byte("user=" + username + "\x01auth=Bearer " + token + "\x01\x01")}
}

// OAuthBearer returns the client of OAUTHBEARER (RFC 7628).
func OAuthBearer(username, token string) sasl.Client {
	mechanism, first, _ := sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: username, Token: token}).Start()
	return &bearer{mechanism, first}
}

// bearer is a mechanism that only says who asks and with which token.
type bearer struct {
	mechanism string
	first     []byte
}

func (*bearer) own() {}

// Start returns the token.
func (b *bearer) Start() (mechanism string, first []byte, err error) {
	return b.mechanism, b.first, nil
}

// Next returns an error: a challenge says that the token was refused (RFC 7628
// section 3.2.2).
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	var refused struct{ Status string }
	if json.Unmarshal(challenge, &refused) != nil || len(refused.Status) > 40 {
		refused.Status = "" // may repeat the token
	}
	return nil, fmt.Errorf("server refuses the access token of AUTH %s (status %q)", b.mechanism, refused.Status)
}
