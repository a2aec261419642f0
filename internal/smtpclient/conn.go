package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/emersion/go-sasl"
)

const (
	// maxReply is the maximum size of a reply with all its lines, in bytes.
	maxReply = 64 << 10

	// trusted is how long an idle connection is taken to be alive. After that,
	// firewalls may have forgotten it, and RSET is sent first, for at most
	// readyWait.
	trusted   = 20 * time.Second
	readyWait = 5 * time.Second

	// quitWait is the time limit for sending QUIT.
	quitWait = 100 * time.Millisecond
)

// Config configures a [Pool].
type Config struct {
	Addr     string      // host:port
	TLS      *tls.Config // nil means clear text, which is allowed only for loopback addresses
	Private  bool        // clear text is also allowed for private addresses
	StartTLS bool        // start in clear text and require STARTTLS; false means TLS from the first byte

	// Dial opens a connection. Nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Hello is the name for EHLO. If it is empty, the local address is used as
	// a literal (RFC 5321 section 4.1.4).
	Hello string

	// Auth, if not nil, returns the client of one authentication. offered are
	// the mechanisms that the server offers, in upper case.
	Auth func(ctx context.Context, offered []string) (sasl.Client, error)

	Plain bool // PIPELINING and CHUNKING are not used

	ConnectTimeout time.Duration // time limit from dialing to AUTH
	MaxConns       int           // maximum number of open connections
	MaxPerConn     int           // maximum number of mails over one connection
	IdleTimeout    time.Duration // how long an idle connection is kept
	Backoff        time.Duration // first pause after a new connection was refused; 0 means no pause
	ProbeAfter     time.Duration // how long StartTLS waits for the greeting before it tries TLS; 0 means that it does not
}

// Envelope has the sender and the recipient of one mail.
type Envelope struct {
	From, To string // addr-specs, parsed by the caller
	UTF8     bool   // one of them is not ASCII
}

// wire is the stream of the conversation. It limits the size of each reply and
// closes without delay.
type wire struct {
	net.Conn          // TCP, or TLS over it
	raw      net.Conn // TCP
	got      int      // bytes of the current reply that have been read
}

func (w *wire) Read(b []byte) (int, error) {
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

// Close closes the TCP connection. It sends no TLS alert, which could block.
func (w *wire) Close() error { return w.raw.Close() }

// guard closes the connection when ctx ends, until stop is called. That
// interrupts every read and write. If stop returns false, the connection is lost.
func (w *wire) guard(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { w.raw.Close() })
}

// conn is one connection after greeting and authentication. It is not safe for
// concurrent use.
type conn struct {
	wire   *wire
	socket *socket // the connection below wire
	hello  string
	in     *bufio.Reader
	out    []byte // a buffer for writes; cleared after each
	offers extensions

	sent    int         // number of transactions started
	carried bool        // the server has accepted a mail over it
	dirty   bool        // a transaction is open and must be reset
	broken  bool        // replies no longer match commands, or have ended
	lost    bool        // its context ended, so it is being closed
	used    time.Time   // when it was last used
	idle    *time.Timer // closes the connection; set while it is idle
}

// newConn returns a connection before the greeting.
func newConn(raw net.Conn, hello string) *conn {
	s := &socket{Conn: raw, look: looker(raw)}
	w := &wire{Conn: s, raw: raw}
	return &conn{wire: w, socket: s, hello: hello, in: bufio.NewReader(w)}
}

// dial connects, secures, greets and authenticates.
func dial(ctx context.Context, cfg *Config) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	raw, err := cfg.connect(ctx)
	if err != nil {
		return nil, newError(ctx, StageConnect, err).at(cfg.Addr)
	}
	c := newConn(raw, cfg.Hello)
	if c.hello == "" {
		c.hello = addressLiteral(raw.LocalAddr())
	}
	probe := startProbe(ctx, cfg, c)
	stop := c.wire.guard(ctx)
	stage, err := c.open(ctx, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if probe.stop() {
		stage, err = StageHello, errSilent
	}
	if err != nil {
		raw.Close()
		return nil, newError(ctx, stage, explained(err, cfg, raw)).at(cfg.Addr)
	}
	return c, nil
}

// open prepares a new connection for sending mail. It returns the stage that it
// reached.
func (c *conn) open(ctx context.Context, cfg *Config) (stage string, err error) {
	if cfg.TLS != nil && !cfg.StartTLS {
		if err := c.secure(ctx, cfg.TLS); err != nil {
			return StageTLS, err
		}
	}
	greeting, err := readReply(c.in)
	if err == nil {
		err = greeting.err(220)
	}
	if err == nil {
		err = c.greet()
	}
	if err != nil {
		return StageHello, err
	}
	if cfg.StartTLS {
		if stage, err := c.startTLS(ctx, cfg.TLS); err != nil {
			return stage, err
		}
	}
	if cfg.Auth == nil {
		return StageHello, nil
	}
	return StageAuth, c.login(ctx, cfg)
}

// secure performs the TLS handshake.
func (c *conn) secure(ctx context.Context, cfg *tls.Config) error {
	secure := tls.Client(c.socket, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	c.wire.Conn = secure
	return nil
}

// greet says EHLO, or HELO to a server that does not know it (RFC 5321 section
// 3.2).
func (c *conn) greet() error {
	c.offers = extensions{}
	r, err := c.ask("EHLO " + c.hello)
	if err != nil {
		return err
	}
	if r.code == 500 || r.code == 502 {
		if r, err = c.ask("HELO " + c.hello); err != nil {
			return err
		}
		return r.err(250)
	}
	if err := r.err(250); err != nil {
		return err
	}
	c.offers = parseExtensions(r.text)
	return nil
}

// startTLS requests TLS in clear text and greets the server again: nothing from
// before is kept (RFC 3207 section 4.2).
func (c *conn) startTLS(ctx context.Context, cfg *tls.Config) (stage string, err error) {
	if !c.offers.startTLS {
		return StageTLS, errNoStartTLS
	}
	r, err := c.ask("STARTTLS")
	if err == nil {
		err = r.err(220)
	}
	if err == nil && c.in.Buffered() > 0 {
		err = errInjected
	}
	if err == nil {
		err = c.secure(ctx, cfg)
	}
	if err != nil {
		return StageTLS, err
	}
	return StageHello, c.greet()
}

// send performs one transaction with one recipient.
func (c *conn) send(ctx context.Context, env Envelope, content []byte) error {
	stop := c.wire.guard(ctx)
	stage, contentSent, err := c.transact(env, content)
	c.lost = !stop()
	if err == nil {
		c.carried = true
		return nil
	}
	e := newError(ctx, stage, err)
	e.contentSent = contentSent
	// Only a reply shows whether the server received the final dot.
	e.MaybeSent = contentSent && stage == stageDot && e.replyCode() == 0
	if stage == stageDot {
		e.Stage = StageData
	}
	return e
}

// stageDot is the part of [StageData] that starts with the final dot.
const stageDot = "dot"

// ready reports whether an idle connection can be used, as far as that is
// visible without a round trip: the server must not have sent anything. It
// first resets a transaction that was rejected.
func (c *conn) ready(ctx context.Context) bool {
	if c.in.Buffered() > 0 || c.spoke() {
		return false
	}
	if !c.dirty && time.Since(c.used) < trusted {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	stop := c.wire.guard(ctx)
	err := c.write(append(c.out[:0], "RSET\r\n"...))
	if err == nil {
		err, _ = c.read(250)
	}
	c.lost = !stop()
	c.dirty = false
	return err == nil && !c.lost && c.in.Buffered() == 0
}

// spoke reports whether the server sent something or closed the connection: a
// farewell or an extra reply, on the socket or in the data that TLS read
// together with the last reply. It does not wait.
func (c *conn) spoke() bool {
	c.socket.looking, c.socket.heard = true, false
	_, err := c.wire.Conn.Read(c.socket.one[:])
	c.socket.looking = false
	return c.socket.heard || !errors.Is(err, os.ErrDeadlineExceeded)
}

// socket is a TCP connection that can be read without waiting.
type socket struct {
	net.Conn
	looking bool    // Read does not wait and returns os.ErrDeadlineExceeded, which TLS does not keep, if there is no data
	heard   bool    // such a Read returned bytes, perhaps only part of a TLS record
	one     [1]byte // the buffer of spoke
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

// quit sends QUIT and closes the connection. It does not wait for the reply,
// which would not matter.
func (c *conn) quit() {
	c.wire.raw.SetDeadline(time.Now().Add(quitWait))
	if _, err := c.wire.Conn.Write([]byte("QUIT\r\n")); err == nil {
		c.wire.Conn.Close() // sends the TLS alert close_notify
	}
	c.wire.raw.Close()
}

// addressLiteral returns the EHLO name of a host without a name.
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
