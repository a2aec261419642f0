package otphttp

import (
	"net/netip"
	"slices"
	"strings"
)

// client returns who is asking, for otp.Request.Client.
func (x *exchange) client() string {
	if x.h.opts.ClientKey != nil {
		return x.h.opts.ClientKey(x.r)
	}
	trusted := x.h.opts.TrustedProxies
	client := x.r.RemoteAddr
	addr, ok := parseAddr(client)
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
