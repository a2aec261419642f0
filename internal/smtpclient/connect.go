package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
)

var (
	errNoConn     = errors.New("Options.Dial returned no connection")
	errNotPrivate = errors.New("smtpsender.InsecurePrivateNetwork allows clear text only for private, link-local and loopback addresses; use smtpsender.StartTLS or ImplicitTLS")
)

// connect opens a connection below TLS and SMTP. Clear text is refused to an
// address that cfg does not allow.
func (cfg *Config) connect(ctx context.Context) (net.Conn, error) {
	if cfg.Dial == nil {
		var dialer net.Dialer
		if cfg.TLS == nil {
			// The address is checked after its name was resolved and before a
			// packet is sent.
			dialer.Control = func(_, address string, _ syscall.RawConn) error { return cfg.allowClear(address) }
		}
		return dialer.DialContext(ctx, "tcp", cfg.Addr)
	}
	raw, err := cfg.Dial(ctx, "tcp", cfg.Addr)
	if err == nil && raw == nil {
		err = errNoConn
	}
	if err != nil {
		return nil, err
	}
	if peer := raw.RemoteAddr(); cfg.TLS == nil && (peer == nil || peer.Network() != "unix") {
		if err := cfg.allowClear(fmt.Sprint(peer)); err != nil {
			raw.Close()
			return nil, err
		}
	}
	if _, ok := raw.(syscall.Conn); !ok {
		raw = foreign{raw}
	}
	return raw, nil
}

// allowClear returns an error unless clear text is allowed for the IP address
// and port.
func (cfg *Config) allowClear(address string) error {
	peer, err := netip.ParseAddrPort(address)
	switch {
	case cfg.Private && (err != nil || !IsPrivate(peer.Addr())):
		return errNotPrivate
	case !cfg.Private && (err != nil || !peer.Addr().Unmap().IsLoopback()):
		return errNotLoopback
	}
	return nil
}

// IsPrivate reports whether addr is a loopback address, a private one (RFC
// 1918, fc00::/7) or a link-local one.
func IsPrivate(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

// foreign is a connection that is not a socket of this system, such as a pipe
// or a stream of a tunnel. It reports a lost connection as a socket does.
type foreign struct{ net.Conn }

func (c foreign) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, asSocket("read", err)
}

func (c foreign) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, asSocket("write", err)
}

func asSocket(op string, err error) error {
	if _, ok := errors.AsType[*net.OpError](err); ok || err == nil || err == io.EOF { //nolint:errorlint // as io.Reader requires
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}
