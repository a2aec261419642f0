package otphttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// clientOf returns the client of a request as the handler sees it.
func clientOf(t *testing.T, opts otphttp.Options, peer string, forwarded ...string) string {
	client := ""
	opts.Prepare = func(_ *http.Request, request *otp.Request) error {
		client = request.Client
		return otphttp.ErrForbidden
	}
	s := newSite(t, opts, nil)
	r := request(http.MethodPost, "/login/start", formContent, "address=a@example.com")
	r.RemoteAddr = peer
	if forwarded != nil {
		r.Header["X-Forwarded-For"] = forwarded
	}
	for _, name := range []string{"X-Real-Ip", "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Forwarded"} {
		r.Header.Set(name, "203.0.113.99")
	}
	s.do(r)
	return client
}

// C12: the client is the peer, or the last address in X-Forwarded-For that is
// not a trusted proxy's. Nothing that the client writes itself counts.
func TestClient_forwarded(t *testing.T) {
	networks := func(list ...string) (prefixes []netip.Prefix) {
		for _, s := range list {
			prefixes = append(prefixes, netip.MustParsePrefix(s))
		}
		return prefixes
	}
	proxies := networks("10.0.0.0/8", "fd00::/8", "192.0.2.7/32")
	for name, c := range map[string]struct {
		trusted   []netip.Prefix
		peer      string
		forwarded []string
		want      string
	}{
		"no proxies":             {nil, "198.51.100.1:1234", []string{"203.0.113.1"}, "198.51.100.1:1234"},
		"no proxies, private":    {nil, "10.0.0.1:1234", []string{"203.0.113.1"}, "10.0.0.1:1234"},
		"peer is a stranger":     {proxies, "198.51.100.1:1234", []string{"203.0.113.1"}, "198.51.100.1:1234"},
		"one proxy":              {proxies, "10.0.0.1:1234", []string{"203.0.113.1"}, "203.0.113.1"},
		"two proxies":            {proxies, "10.0.0.1:1234", []string{"203.0.113.1, 10.9.9.9"}, "203.0.113.1"},
		"forged in front":        {proxies, "10.0.0.1:1234", []string{"8.8.8.8, 203.0.113.1"}, "203.0.113.1"},
		"forged proxy in front":  {proxies, "10.0.0.1:1234", []string{"8.8.8.8, 10.1.1.1, 203.0.113.1, 10.9.9.9"}, "203.0.113.1"},
		"forged line in front":   {proxies, "10.0.0.1:1234", []string{"8.8.8.8", "203.0.113.1"}, "203.0.113.1"},
		"lines, last ours":       {proxies, "10.0.0.1:1234", []string{"8.8.8.8, 203.0.113.1", "10.9.9.9"}, "203.0.113.1"},
		"junk in front":          {proxies, "10.0.0.1:1234", []string{"<script>, 203.0.113.1"}, "203.0.113.1"},
		"junk at the end":        {proxies, "10.0.0.1:1234", []string{"203.0.113.1, unknown"}, "10.0.0.1:1234"},
		"junk before a proxy":    {proxies, "10.0.0.1:1234", []string{"8.8.8.8, _hidden, 10.9.9.9"}, "10.9.9.9"},
		"empty at the end":       {proxies, "10.0.0.1:1234", []string{"203.0.113.1,"}, "10.0.0.1:1234"},
		"empty line at the end":  {proxies, "10.0.0.1:1234", []string{"203.0.113.1", ""}, "10.0.0.1:1234"},
		"none":                   {proxies, "10.0.0.1:1234", nil, "10.0.0.1:1234"},
		"blanks":                 {proxies, "10.0.0.1:1234", []string{"  203.0.113.1\t ,  10.9.9.9 "}, "203.0.113.1"},
		"all are proxies":        {proxies, "10.0.0.1:1234", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		"port":                   {proxies, "10.0.0.1:1234", []string{"203.0.113.1:5555"}, "203.0.113.1"},
		"IPv6":                   {proxies, "[fd00::1]:1234", []string{"2001:db8:1:2::3"}, "2001:db8:1:2::3"},
		"IPv6, brackets":         {proxies, "[fd00::1]:1234", []string{"[2001:db8:1:2::3]"}, "2001:db8:1:2::3"},
		"IPv6, brackets, port":   {proxies, "[fd00::1]:1234", []string{"[2001:db8:1:2::3]:5555"}, "2001:db8:1:2::3"},
		"IPv6, zone":             {proxies, "[fd00::1%eth0]:1234", []string{"2001:db8:1:2::3"}, "2001:db8:1:2::3"},
		"mapped peer":            {proxies, "[::ffff:10.0.0.1]:1234", []string{"203.0.113.1"}, "203.0.113.1"},
		"mapped proxy in line":   {proxies, "10.0.0.1:1234", []string{"203.0.113.1, ::ffff:10.9.9.9"}, "203.0.113.1"},
		"mapped client":          {proxies, "10.0.0.1:1234", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		"mapped stranger as our": {proxies, "[::ffff:198.51.100.1]:1", []string{"203.0.113.1"}, "[::ffff:198.51.100.1]:1"},
		"neighbour of a proxy":   {proxies, "192.0.2.8:1234", []string{"203.0.113.1"}, "192.0.2.8:1234"},
		"Unix socket":            {proxies, "@", []string{"8.8.8.8, 203.0.113.1"}, "203.0.113.1"},
		"Unix socket, no proxy":  {nil, "@", []string{"203.0.113.1"}, "@"},
		"leading zeros":          {proxies, "10.0.0.1:1234", []string{"203.0.113.001"}, "10.0.0.1:1234"},
		"host name":              {proxies, "10.0.0.1:1234", []string{"good.example"}, "10.0.0.1:1234"},
		"very long":              {proxies, "10.0.0.1:1234", []string{strings.Repeat("8.8.8.8,", 1000) + "203.0.113.1"}, "203.0.113.1"},
	} {
		require.Equal(t, c.want, clientOf(t, otphttp.Options{TrustedProxies: c.trusted}, c.peer, c.forwarded...), name)
	}
	own := otphttp.Options{TrustedProxies: proxies, ClientKey: func(r *http.Request) string { return "tenant-7" }}
	require.Equal(t, "tenant-7", clientOf(t, own, "10.0.0.1:1234", "203.0.113.1"))
}

// C12, C4, J5: all starts of a client are counted together, whatever its headers
// say. One /56 of IPv6 counts as one client, and so do an IPv4 address and its
// IPv6-mapped form.
func TestClient_budget(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, c := range map[string]struct {
		trusted   []netip.Prefix
		peer      func(i int) string
		forwarded func(i int) string
		shared    bool
	}{
		"rotating header":       {nil, func(int) string { return "198.51.100.1:1" }, func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }, true},
		"rotating, behind ours": {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string { return fmt.Sprintf("203.0.113.%d, 198.51.100.1", i) }, true},
		"rotating junk":         {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string { return fmt.Sprintf("203.0.113.%d, x%d", i, i) }, true},
		"ports":                 {nil, func(i int) string { return fmt.Sprintf("198.51.100.1:%d", 1000+i) }, nil, true},
		"ports behind ours":     {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string { return fmt.Sprintf("198.51.100.1:%d", 1000+i) }, true},
		"/56":                   {nil, func(i int) string { return fmt.Sprintf("[2001:db8:1:2%02x::%d]:1", i, i) }, nil, true},
		"/56 behind ours":       {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string { return fmt.Sprintf("2001:db8:1:2%02x:%d::", i, i) }, true},
		"mapped and not": {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string {
			return []string{"198.51.100.1", "::ffff:198.51.100.1", "[::ffff:c633:6401]:80"}[i%3]
		}, true},
		"strangers": {proxies, func(int) string { return "10.0.0.1:1" }, func(i int) string { return fmt.Sprintf("203.0.113.%d", i) }, false},
		"networks":  {nil, func(i int) string { return fmt.Sprintf("[2001:db8:1:%x00::1]:1", i) }, nil, false},
	} {
		s := newSite(t, otphttp.Options{TrustedProxies: c.trusted}, &otp.Options{ClientStarts: []otp.Limit{{N: 10, Per: time.Minute}}})
		limited := 0
		for i := range 15 {
			r := httptest.NewRequest(http.MethodPost, "/login/start", strings.NewReader(fmt.Sprintf(`{"address":"user%d@example.com"}`, i)))
			r.Header.Set("Content-Type", jsonContent)
			r.RemoteAddr = c.peer(i)
			if c.forwarded != nil {
				r.Header.Set("X-Forwarded-For", c.forwarded(i))
			}
			if answer, _ := s.do(r); answer.StatusCode == http.StatusTooManyRequests {
				limited++
			}
		}
		want := 0
		if c.shared {
			want = 5
		}
		require.Equal(t, want, limited, name)
		require.Equal(t, 15-want, s.inbox.Len(), name)
	}
}

// J14: a proxy that nobody has declared is told of, once, since all visitors share
// one budget.
func TestClient_undeclaredProxy(t *testing.T) {
	for name, test := range map[string]struct {
		peer, header string
		opts         otphttp.Options
		want         int
	}{
		"loopback":           {"127.0.0.1:4711", "X-Forwarded-For", otphttp.Options{}, 1},
		"private":            {"10.0.0.5:80", "X-Forwarded-For", otphttp.Options{}, 1},
		"private, IPv6":      {"[fd00::5]:80", "Forwarded", otphttp.Options{}, 1},
		"socket":             {"@", "X-Forwarded-For", otphttp.Options{}, 1},
		"no header":          {"10.0.0.5:80", "X-Other", otphttp.Options{}, 0},
		"written by clients": {"203.0.113.7:80", "X-Forwarded-For", otphttp.Options{}, 0},
		"declared":           {"10.0.0.5:80", "X-Forwarded-For", otphttp.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}}, 0},
		"another way":        {"10.0.0.5:80", "X-Forwarded-For", otphttp.Options{ClientKey: func(*http.Request) string { return "" }}, 0},
	} {
		s := newSite(t, test.opts, nil)
		for i := range 3 {
			r := request(http.MethodPost, "/login/start", formContent, fmt.Sprintf("address=a%d@example.com", i))
			r.RemoteAddr = test.peer
			r.Header.Set(test.header, "203.0.113.99")
			s.do(r)
		}
		require.Len(t, s.errors, test.want, name)
		if test.want > 0 {
			require.ErrorContains(t, s.errors[0], "Options.TrustedProxies", name)
			require.ErrorContains(t, s.errors[0], test.peer, name)
		}
	}
}
