package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	// maxReply is the longest reply that is read, in bytes, all lines of it.
	maxReply = 64 << 10

	// quitWait bounds saying goodbye.
	quitWait = 100 * time.Millisecond
)

// Config says how to reach and greet the server.
type Config struct {
	Addr     string      // host:port
	TLS      *tls.Config // nil is clear text: loopback addresses only
	StartTLS bool        // begin in clear and require STARTTLS; false is TLS from the first byte

	// Hello is the EHLO name; empty takes the local address as a literal
	// (RFC 5321 section 4.1.4).
	Hello string

	// Auth, if not nil, makes the client of one authentication. offered
	// tells whether the server offers a mechanism.
	Auth func(ctx context.Context, offered func(mechanism string) bool) (sasl.Client, error)

	ConnectTimeout time.Duration // dial to AUTH
	MaxConns       int           // open connections
	MaxPerConn     int           // mails over one connection
	IdleTimeout    time.Duration // how long an unused connection is kept
	Backoff        time.Duration // first pause after a 421 to a new connection; 0 is none
}

// Envelope is where one mail comes from and goes to.
type Envelope struct {
	From, To string // addr-specs, parsed by the caller
	UTF8     bool   // one of them is not ASCII
}

// wire is the stream under a go-smtp client. It bounds each reply, lets the
// client read a greeting that is long gone, and closes at once.
type wire struct {
	net.Conn          // TCP, or TLS over it
	raw      net.Conn // TCP
	greeting string   // what to read before the peer's bytes
	got      int      // bytes of the reply that is being read
}

func (w *wire) Read(b []byte) (int, error) {
	if w.greeting != "" {
		n := copy(b, w.greeting)
		w.greeting = w.greeting[n:]
		return n, nil
	}
	if w.got >= maxReply {
		return 0, errReplyTooLong
	}
	n, err := w.Conn.Read(b[:min(len(b), maxReply-w.got)])
	w.got += n
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	w.got = 0
	return w.Conn.Write(b)
}

// Close drops the connection. TLS is not told: its alert could block.
func (w *wire) Close() error { return w.raw.Close() }

// guard makes ctx rule the connection until stop is called: its end closes the
// connection, whatever is being read or written. Deadlines would not do: go-smtp
// sets its own for each command and none while content is written. A false stop
// means that the connection is lost.
func (w *wire) guard(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { w.raw.Close() })
}

// conn is one connection, greeted and authenticated. Not for concurrent use.
type conn struct {
	wire    *wire
	socket  *socket // under the wire
	hello   string
	replies *textproto.Reader
	out     []byte // room for what is written, empty in between

	pipelining, chunking, utf8 bool // what the server offers

	sent   int         // transactions begun
	dirty  bool        // a transaction is open that must be reset
	broken bool        // the replies are out of step, or over
	lost   bool        // the context that ruled it ended: it is being closed
	idle   *time.Timer // closes it; set while it is in the pool
}

// newConn returns one that has done nothing yet.
func newConn(raw net.Conn, hello string) *conn {
	s := &socket{Conn: raw, look: looker(raw)}
	return &conn{wire: &wire{Conn: s, raw: raw}, socket: s, hello: hello}
}

// dial connects, secures, greets and authenticates.
func dial(ctx context.Context, cfg *Config) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	var dialer net.Dialer
	if cfg.TLS == nil {
		dialer.Control = loopbackOnly
	}
	raw, err := dialer.DialContext(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, newError(ctx, StageConnect, err)
	}
	c := newConn(raw, cfg.Hello)
	if c.hello == "" {
		c.hello = addressLiteral(raw.LocalAddr())
	}
	stop := c.wire.guard(ctx)
	stage, err := c.open(ctx, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, newError(ctx, stage, err)
	}
	return c, nil
}

// open brings a fresh TCP connection to where mail can be sent. It returns the
// stage that it reached.
func (c *conn) open(ctx context.Context, cfg *Config) (stage string, err error) {
	if cfg.StartTLS {
		if stage, err := c.startTLS(); err != nil {
			return stage, err
		}
		// go-smtp wants to read a greeting, and the server's is long gone.
		c.wire.greeting = "220 \r\n"
	}
	if cfg.TLS != nil {
		secure := tls.Client(c.socket, cfg.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return StageTLS, err
		}
		c.wire.Conn = secure
	}
	client := smtp.NewClient(c.wire)
	if err := client.Hello(c.hello); err != nil {
		return StageHello, err
	}
	c.pipelining, _ = client.Extension("PIPELINING")
	c.chunking, _ = client.Extension("CHUNKING")
	c.utf8, _ = client.Extension("SMTPUTF8")
	c.replies = textproto.NewReader(bufio.NewReader(c.wire))
	if cfg.Auth == nil {
		return StageHello, nil
	}
	if offered, _ := client.Extension("AUTH"); !offered {
		return StageAuth, errNoAuth
	}
	mechanism, err := cfg.Auth(ctx, client.SupportsAuth)
	if err != nil {
		return StageAuth, err
	}
	return StageAuth, client.Auth(mechanismOf{mechanism})
}

// mechanismOf is the client of a login as go-smtp needs it.
type mechanismOf struct{ sasl.Client }

// Next answers a challenge. To go-smtp nil is no answer but the end, as if the
// server had let us in; it is an empty line (RFC 4954 section 4).
func (m mechanismOf) Next(challenge []byte) ([]byte, error) {
	response, err := m.Client.Next(challenge)
	if err != nil {
		return nil, &authError{err}
	}
	return append([]byte{}, response...), nil
}

// startTLS asks for TLS in clear text. go-smtp could, but calls itself
// localhost when it does. Nothing that the server says here is kept
// (RFC 3207 section 4.2).
func (c *conn) startTLS() (stage string, err error) {
	text := textproto.NewConn(c.wire)
	if _, _, err := text.ReadResponse(220); err != nil {
		return StageHello, err
	}
	if err := text.PrintfLine("EHLO %s", c.hello); err != nil {
		return StageHello, err
	}
	_, extensions, err := text.ReadResponse(250)
	if err != nil {
		return StageHello, err
	}
	offered := false
	for line := range strings.Lines(extensions) {
		offered = offered || strings.EqualFold(strings.TrimSpace(line), "STARTTLS")
	}
	if !offered {
		return StageTLS, errNoStartTLS
	}
	if err := text.PrintfLine("STARTTLS"); err != nil {
		return StageTLS, err
	}
	if _, _, err := text.ReadResponse(220); err != nil {
		return StageTLS, err
	}
	if text.R.Buffered() > 0 {
		return StageTLS, errInjected
	}
	return StageTLS, nil
}

// send does one transaction with one recipient.
func (c *conn) send(ctx context.Context, env Envelope, content []byte) error {
	stop := c.wire.guard(ctx)
	stage, contentSent, err := c.transact(env, content)
	c.lost = !stop()
	if err == nil {
		return nil
	}
	e := newError(ctx, stage, err)
	e.contentSent = contentSent
	// Whether the server has the final dot is only known from its reply.
	e.MaybeSent = contentSent && stage == stageDot && e.replyCode() == 0
	if stage == stageDot {
		e.Stage = StageData
	}
	return e
}

// stageDot is the part of [StageData] from the final dot on.
const stageDot = "dot"

// ready reports whether a kept connection can be used, as far as can be seen
// without a flight: nothing is to be heard on one that waits. A transaction that
// was refused is ended first.
func (c *conn) ready(ctx context.Context) bool {
	if c.replies.R.Buffered() > 0 || c.spoke() {
		return false
	}
	if !c.dirty {
		return true
	}
	stop := c.wire.guard(ctx)
	err := c.write(append(c.out[:0], "RSET\r\n"...))
	if err == nil {
		err, _ = c.read(250)
	}
	c.lost = !stop()
	c.dirty = false
	return err == nil && !c.lost && c.replies.R.Buffered() == 0
}

// spoke reports whether there is something to be heard, on the socket or in
// what TLS took from it together with the last reply: a farewell, a reply too
// many, or the end. It does not wait.
func (c *conn) spoke() bool {
	c.socket.looking, c.socket.heard = true, false
	_, err := c.wire.Conn.Read(c.socket.one[:])
	c.socket.looking = false
	return c.socket.heard || !errors.Is(err, os.ErrDeadlineExceeded)
}

// socket is a TCP connection that can be read without waiting.
type socket struct {
	net.Conn
	looking bool    // Read does not wait: os.ErrDeadlineExceeded says that there is nothing, and TLS forgets that one
	heard   bool    // such a Read had bytes, if only half a record of TLS
	one     [1]byte // where spoke reads to
	look    func(b []byte) (int, error)
}

func (s *socket) Read(b []byte) (int, error) {
	if !s.looking {
		return s.Conn.Read(b)
	}
	n, err := s.look(b)
	s.heard = s.heard || n > 0
	return n, err
}

// quit says goodbye and closes, without waiting for an answer that changes
// nothing.
func (c *conn) quit() {
	c.wire.raw.SetDeadline(time.Now().Add(quitWait))
	if _, err := c.wire.Conn.Write([]byte("QUIT\r\n")); err == nil {
		c.wire.Conn.Close() // with TLS's own goodbye
	}
	c.wire.raw.Close()
}

// loopbackOnly refuses to connect to any other host, whatever its name
// resolved to.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return errNotLoopback
	}
	return nil
}

// addressLiteral is the EHLO name of a host without a name.
func addressLiteral(local net.Addr) string {
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return "[127.0.0.1]"
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is4() {
		return fmt.Sprintf("[%s]", ip)
	}
	return fmt.Sprintf("[IPv6:%s]", ip)
}
