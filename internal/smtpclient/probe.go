package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// errSilent is the error of StartTLS at a port for TLS from the first byte. Its
// server waits for the client to speak first.
var errSilent = &modeError{
	errors.New("server sent no greeting"),
	"this port speaks TLS from the first byte: use smtpsender.ImplicitTLS (smtps://)",
}

// modeError means that the port of the server is for another TLS mode.
type modeError struct {
	err  error
	hint string
}

// Error returns the cause, and then the mode to use.
func (e *modeError) Error() string { return e.err.Error() + "; " + e.hint }

// Unwrap returns the cause.
func (e *modeError) Unwrap() error { return e.err }

// explained adds to an error of conn.open which mode the port seems to be for.
func explained(err error, cfg *Config, raw net.Conn) error {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok && !cfg.StartTLS {
		return &modeError{err, "this port does not speak TLS from the first byte: use smtpsender.StartTLS (smtp://)"}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && cfg.TLS.RootCAs == nil {
		return fmt.Errorf("%w; if this is a container, is the package ca-certificates in its image? Options.TLSConfig.RootCAs takes a private authority", err)
	}
	// Clear text is not recommended for other servers: an attacker could have
	// removed the offer.
	peer, _ := netip.ParseAddrPort(fmt.Sprint(raw.RemoteAddr())) // a custom connection may have none
	if errors.Is(err, errNoStartTLS) && IsPrivate(peer.Addr()) {
		return &modeError{err, "for a local server without TLS, use smtpsender.InsecureLoopback or InsecurePrivateNetwork (smtp+insecure://)"}
	}
	return err
}

// probe finds out why a server that should greet in clear text is silent. It is
// the connection of [socket], so that it sees the greeting, and stays that: TLS
// may close the socket at any time. A nil probe does nothing.
type probe struct {
	net.Conn
	timer *time.Timer
	state atomic.Int32 // one of the constants below
}

const (
	probeSilent  = iota // the server has not sent anything
	probeGreeted        // the server has sent something
	probeTLS            // the server has not, and it speaks TLS on another connection
)

// startProbe starts the probe of c, if cfg wants one. ctx must end when c has
// been opened.
func startProbe(ctx context.Context, cfg *Config, c *conn) *probe {
	if !cfg.StartTLS || cfg.ProbeAfter <= 0 {
		return nil
	}
	p := &probe{Conn: c.socket.Conn}
	c.socket.Conn = p
	p.timer = time.AfterFunc(cfg.ProbeAfter, func() { p.run(ctx, cfg) })
	return p
}

// Read reads from the connection and notes that the server is not silent.
func (p *probe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 {
		p.state.CompareAndSwap(probeSilent, probeGreeted)
	}
	return n, err
}

// run tries TLS on a second connection. If that succeeds, it closes the first
// one, which ends the wait for the greeting.
func (p *probe) run(ctx context.Context, cfg *Config) {
	if p.state.Load() != probeSilent {
		return
	}
	raw, err := cfg.connect(ctx)
	if err != nil {
		return
	}
	defer raw.Close()
	err = tls.Client(raw, cfg.TLS).HandshakeContext(ctx)
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); err != nil && !untrusted {
		return
	}
	if p.state.CompareAndSwap(probeSilent, probeTLS) {
		p.Conn.Close()
	}
}

// stop ends the probe and reports whether the port speaks TLS from the first
// byte.
func (p *probe) stop() bool {
	if p == nil {
		return false
	}
	p.timer.Stop()
	return p.state.Load() == probeTLS
}
