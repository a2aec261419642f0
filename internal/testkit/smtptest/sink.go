package smtptest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is what a [Sink] received in one transaction.
type Mail struct {
	From, To string
	UTF8     bool   // MAIL said SMTPUTF8
	User     string // who logged in
	TLS      bool
	Data     []byte
}

// Sink is a real SMTP server that accepts and keeps every mail.
type Sink struct {
	// TLS is used from the first byte, or after STARTTLS. Nil means clear text.
	TLS      *tls.Config
	StartTLS bool

	// Users maps user names to passwords, or to tokens for OAUTHBEARER. If it
	// is nil, the server does not offer AUTH.
	Users map[string]string

	// Mechanisms are the offered mechanisms: PLAIN, LOGIN, OAUTHBEARER or
	// XOAUTH2. Nil means PLAIN.
	Mechanisms []string

	// UTF8 offers SMTPUTF8.
	UTF8 bool

	Addr string // set by Start

	// Refuse, if not nil, may return an error to reject a recipient.
	Refuse func(to string) error

	// Stall, if not nil, returns a channel. While it is open, replies to MAIL
	// wait until it is closed, and then reject the mail.
	Stall func() <-chan struct{}

	mu    sync.Mutex
	mails []Mail
	conns int
}

// Start runs the sink until the test ends.
func (s *Sink) Start(t testing.TB) *Sink {
	t.Helper()
	stop, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// Listen runs the sink until stop is called, for examples, which have no test.
func (s *Sink) Listen() (stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Addr = listener.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		_, secure := c.TLSConnectionState()
		return &session{sink: s, secure: secure}, nil
	}))
	server.Domain = "sink.test"
	server.AllowInsecureAuth = s.TLS == nil
	server.EnableSMTPUTF8 = s.UTF8
	server.ErrorLog = log.New(io.Discard, "", 0)
	if s.TLS != nil && s.StartTLS {
		server.TLSConfig = s.TLS
	} else if s.TLS != nil {
		listener = tls.NewListener(listener, s.TLS)
	}
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(listener) })
	return func() {
		listener.Close() // the server does not know it yet if Serve has not begun
		server.Close()
		wg.Wait()
	}, nil
}

// Mails returns the mails that were received.
func (s *Sink) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.mails...)
}

// Conns returns the number of connections.
func (s *Sink) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// session is one connection to a Sink.
type session struct {
	sink   *Sink
	secure bool
	user   string
	mail   Mail
}

func (c *session) AuthMechanisms() []string {
	switch {
	case c.sink.Users == nil:
		return nil
	case c.sink.Mechanisms == nil:
		return []string{sasl.Plain}
	}
	return c.sink.Mechanisms
}

func (c *session) Auth(mechanism string) (sasl.Server, error) {
	login := func(user, password string) error {
		if want, ok := c.sink.Users[user]; !ok || want != password {
			return smtp.ErrAuthFailed
		}
		c.user = user
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return login(user, password) }), nil
	case sasl.Login:
		return &loginServer{login: login}, nil
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			if login(o.Username, o.Token) != nil {
				return &sasl.OAuthBearerError{Status: "invalid_token"}
			}
			return nil
		}), nil
	case "XOAUTH2":
		return xoauth2Server(login), nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (c *session) Mail(from string, opts *smtp.MailOptions) error {
	if c.sink.Users != nil && c.user == "" {
		return smtp.ErrAuthRequired
	}
	if c.sink.Stall != nil {
		select {
		case <-c.sink.Stall():
		default:
			<-c.sink.Stall()
			// The client is gone, and the server may have closed the session
			// that its other commands would be given to.
			return smtp.ErrServerClosed
		}
	}
	c.mail = Mail{From: from, UTF8: opts.UTF8, User: c.user, TLS: c.secure}
	return nil
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if c.sink.Refuse != nil {
		if err := c.sink.Refuse(to); err != nil {
			return err
		}
	}
	c.mail.To = to
	return nil
}

func (c *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.mail.Data = data
	c.sink.mu.Lock()
	c.sink.mails = append(c.sink.mails, c.mail)
	c.sink.mu.Unlock()
	return nil
}

func (c *session) Reset()        {}
func (c *session) Logout() error { return nil }

// loginServer implements the server side of AUTH LOGIN, which go-sasl does not
// have.
type loginServer struct {
	login func(user, password string) error
	user  []byte
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case l.user == nil:
		l.user = response
		return []byte("Password:"), false, nil
	}
	return nil, true, l.login(string(l.user), string(response))
}

// xoauth2Server accepts "user=U^Aauth=Bearer T^A^A".
type xoauth2Server func(user, token string) error

func (login xoauth2Server) Next(response []byte) (challenge []byte, done bool, err error) {
	fields := bytes.Split(response, []byte{1})
	if len(fields) != 4 {
		return nil, true, errors.New("bad XOAUTH2 response")
	}
	user, _ := bytes.CutPrefix(fields[0], []byte("user="))
	token, _ := bytes.CutPrefix(fields[1], []byte("auth=Bearer "))
	return nil, true, login(string(user), string(token))
}
