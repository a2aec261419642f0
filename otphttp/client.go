package otphttp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// client returns who is asking, for otp.Request.Client. A proven request counts for
// no client.
func (x *exchange) client(proven bool) string {
	if x.h.opts.ClientKey != nil {
		return x.h.opts.ClientKey(x.r)
	}
	trusted := x.h.opts.TrustedProxies
	client := x.r.RemoteAddr
	addr, ok := parseAddr(client)
	if len(trusted) == 0 && !proven {
		x.reportProxy(addr, ok)
	}
	if len(trusted) == 0 || ok && !within(trusted, addr) {
		return client
	}
	// Each proxy appends its peer, so the client may have written everything
	// before the last address that is not a proxy's.
	hops := strings.Split(strings.Join(x.r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseAddr(strings.TrimSpace(hop))
		if !ok {
			break
		}
		client = addr.String()
		if !within(trusted, addr) {
			break
		}
	}
	return client
}

// reportProxy reports, once, a proxy that nobody has declared: all visitors share
// one budget then.
func (x *exchange) reportProxy(peer netip.Addr, ok bool) {
	forwarded := x.r.Header.Get("X-Forwarded-For") != "" || x.r.Header.Get("Forwarded") != ""
	if !near(peer, ok) || !forwarded {
		return
	}
	x.reportOnce(&x.h.proxied, fmt.Errorf("otphttp: requests come through a proxy at %.50q, so all visitors count as one client: "+
		"name it in Options.TrustedProxies if it sets X-Forwarded-For, or set Options.ClientKey", x.r.RemoteAddr))
}

// near reports whether a peer is on this machine or network: not ok is a Unix socket.
func near(peer netip.Addr, ok bool) bool {
	return !ok || peer.IsLoopback() || peer.IsPrivate() || peer.IsLinkLocalUnicast()
}

// parseAddr parses an IP address with or without a port.
func parseAddr(s string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
