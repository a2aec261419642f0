package smtpsender_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/letter"
	"github.com/go-mailotp/otp/smtpsender"
)

func TestNew_refuses(t *testing.T) { // A9, F1, G1
	auth := func(context.Context) (sasl.Client, error) { return nil, nil }
	const host, from = "smtp.acme.example", "codes@acme.example"
	for name, c := range map[string]struct {
		host, from string
		opts       smtpsender.Options
	}{
		"no host":                  {"", from, smtpsender.Options{}},
		"spaces in host":           {"smtp acme", from, smtpsender.Options{}},
		"line break in host":       {"smtp.acme.example\r\nX", from, smtpsender.Options{}},
		"URL as host":              {"smtps://smtp.acme.example", from, smtpsender.Options{}},
		"empty label":              {"smtp..example", from, smtpsender.Options{}},
		"port 0":                   {host + ":0", from, smtpsender.Options{}},
		"port too large":           {host + ":65536", from, smtpsender.Options{}},
		"port in words":            {host + ":smtp", from, smtpsender.Options{}},
		"signed port":              {host + ":+25", from, smtpsender.Options{}},
		"clear to a name":          {host + ":25", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"clear to an address":      {"192.0.2.1:25", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"clear to any":             {"0.0.0.0:25", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"clear to localhost.":      {"localhost.acme.example:25", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"clear without port":       {"localhost", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback}},
		"clear with TLSConfig":     {"localhost:25", from, smtpsender.Options{TLS: smtpsender.InsecureLoopback, TLSConfig: &tls.Config{}}},
		"TLS mode below":           {host, from, smtpsender.Options{TLS: -1}},
		"TLS mode above":           {host, from, smtpsender.Options{TLS: 4}},
		"private: public address":  {"203.0.113.7:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}},
		"private: public IPv6":     {"[2001:db8::1]:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}},
		"private: any address":     {"0.0.0.0:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}},
		"private without port":     {"mailpit", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}},
		"private with login":       {"mailpit:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork, Username: "user", Password: "password"}},
		"private with Auth":        {"127.0.0.1:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork, Auth: auth}},
		"private with TLSConfig":   {"mailpit:25", from, smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork, TLSConfig: &tls.Config{}}},
		"two dots after the host":  {host + "..", from, smtpsender.Options{}},
		"only a dot":               {".", from, smtpsender.Options{}},
		"IPv6 and port":            {"::1:465", from, smtpsender.Options{}},
		"Bounces with name":        {host, from, smtpsender.Options{Bounces: "Bounces <bounces@acme.example>"}},
		"Bounces without domain":   {host, from, smtpsender.Options{Bounces: "bounces"}},
		"two Bounces":              {host, from, smtpsender.Options{Bounces: "a@acme.example,b@acme.example"}},
		"Bounces with parameter":   {host, from, smtpsender.Options{Bounces: "a@acme.example> SIZE=1"}},
		"line break in Bounces":    {host, from, smtpsender.Options{Bounces: "a@acme.example\r\nRCPT TO:<x@acme.example>"}},
		"TLS 1.1 at most":          {host, from, smtpsender.Options{TLSConfig: &tls.Config{MaxVersion: 0x0302}}},
		"no from":                  {host, "", smtpsender.Options{}},
		"from without address":     {host, "Acme", smtpsender.Options{}},
		"two from":                 {host, "a@acme.example, b@acme.example", smtpsender.Options{}},
		"from with parameter":      {host, "<a@acme.example> SIZE=1", smtpsender.Options{}},
		"line break in from":       {host, "Acme\r\nBcc: x@acme.example <codes@acme.example>", smtpsender.Options{}},
		"line break after from":    {host, from + "\nx", smtpsender.Options{}},
		"NUL in name":              {host, "A\x00cme <codes@acme.example>", smtpsender.Options{}},
		"next line in name":        {host, "A\u0085cme <codes@acme.example>", smtpsender.Options{}},
		"line separator in name":   {host, "A\u2028cme <codes@acme.example>", smtpsender.Options{}},
		"bidi in name":             {host, "A\u202ecme <codes@acme.example>", smtpsender.Options{}},
		"encoded word in name":     {host, "=?utf-8?q?=0D=0A?= <codes@acme.example>", smtpsender.Options{}},
		"user without password":    {host, from, smtpsender.Options{Username: "user"}},
		"password without user":    {host, from, smtpsender.Options{Password: "password"}},
		"two logins":               {host, from, smtpsender.Options{Username: "user", Password: "password", Auth: auth}},
		"NUL in password":          {host, from, smtpsender.Options{Username: "user", Password: "pass\x00word"}},
		"line break in user":       {host, from, smtpsender.Options{Username: "user\r\n", Password: "password"}},
		"line break in HelloName":  {host, from, smtpsender.Options{HelloName: "app.example\r\nMAIL FROM:<>"}},
		"space in HelloName":       {host, from, smtpsender.Options{HelloName: "app example"}},
		"bad literal":              {host, from, smtpsender.Options{HelloName: "[127.0.0.1"}},
		"IPv6 literal without tag": {host, from, smtpsender.Options{HelloName: "[::1]"}},
		"line break in Brand":      {host, from, smtpsender.Options{Brand: "Acme\nBcc: x"}},
		"encoded word in Brand":    {host, from, smtpsender.Options{Brand: "=?utf-8?q?=0D=0A?="}},
		"bidi in Support":          {host, from, smtpsender.Options{Support: "help\u2066"}},
		"bad ReplyTo":              {host, from, smtpsender.Options{ReplyTo: "help"}},
		"line break in ReplyTo":    {host, from, smtpsender.Options{ReplyTo: "Help\n <help@acme.example>"}},
		"line break in Headers":    {host, from, smtpsender.Options{Headers: map[string]string{"X-A": "x\r\nBcc: y"}}},
		"From in Headers":          {host, from, smtpsender.Options{Headers: map[string]string{"FROM": "x@acme.example"}}},
		"negative MaxConns":        {host, from, smtpsender.Options{MaxConns: -1}},
		"negative MaxPerConn":      {host, from, smtpsender.Options{MaxPerConn: -1}},
		"negative IdleTimeout":     {host, from, smtpsender.Options{IdleTimeout: -1}},
		"negative ConnectTimeout":  {host, from, smtpsender.Options{ConnectTimeout: -time.Second}},
		"negative Timeout":         {host, from, smtpsender.Options{Timeout: -1}},
		"letter that fails":        {host, from, smtpsender.Options{Letter: fixedLetter{}}},
		"nil letter":               {host, from, smtpsender.Options{Letter: (*letter.Letter)(nil)}},
		"empty letter":             {host, from, smtpsender.Options{Letter: &letter.Letter{}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := smtpsender.New(c.host, c.from, &c.opts)
			require.Error(t, err)
			require.Nil(t, s)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "password\"")
		})
	}
}

func TestNew_url(t *testing.T) {
	_, err := smtpsender.New("smtps://user:secret@smtp.acme.example", "codes@acme.example", nil)
	require.EqualError(t, err, "smtpsender: host: is a URL, use ParseURL for it") // D1: without the password
}

// A refusal that people meet often names the way out.
func TestNew_wayOut(t *testing.T) { // G5
	loopback := smtpsender.Options{TLS: smtpsender.InsecureLoopback}
	private := smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}
	login := smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork, Username: "user", Password: "secret"}
	for _, c := range []struct {
		host string
		opts smtpsender.Options
		want []string
	}{
		{"mailpit:1025", loopback, []string{"InsecurePrivateNetwork", "smtp+insecure://"}},
		{"203.0.113.7:25", private, []string{"StartTLS (smtp://)", "ImplicitTLS (smtps://)"}},
		{"mailpit:1025", login, []string{"could read the password", "StartTLS or ImplicitTLS", "TLSConfig"}},
		{"smtp.acme.example:smtps", smtpsender.Options{}, []string{"port must be a number", "465"}},
		{"::1:465", smtpsender.Options{}, []string{"[::1]:465"}},
		{"2001:db8::5:25", smtpsender.Options{}, []string{"brackets"}},
		{"fe80::1%eth0:25", smtpsender.Options{}, []string{"brackets"}},
	} {
		_, err := smtpsender.New(c.host, from, &c.opts)
		for _, want := range c.want {
			require.ErrorContains(t, err, want)
		}
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestNew_accepts(t *testing.T) {
	for _, host := range []string{"smtp.acme.example", "smtp.acme.example:2465", "192.0.2.1", "[2001:db8::1]:465", "2001:db8::1", "::1", "1:2:3:4:5:6:7:8", "mail_relay"} {
		for _, from := range []string{"codes@acme.example", "<codes@acme.example>", "Acme <codes@acme.example>", `"Acme, Inc." <codes@acme.example>`, "Größe 🚀 <codes@acme.example>"} {
			s, err := smtpsender.New(host, from, nil)
			require.NoError(t, err, "%s %s", host, from)
			require.NoError(t, s.Close())
		}
	}
	for _, host := range []string{"localhost:25", "LOCALHOST:25", "127.9.9.9:25", "[::1]:25", "[::ffff:127.0.0.1]:25"} {
		_, err := smtpsender.New(host, from, &smtpsender.Options{TLS: smtpsender.InsecureLoopback, HelloName: "[IPv6:::1]"})
		require.NoError(t, err, host)
	}
	for _, host := range []string{"mailpit:1025", "mail.mail.svc.cluster.local.:25", "10.0.0.5:25", "[fd00::5]:25", "[fe80::1%eth0]:25", "192.168.1.1:25", "localhost:25", "[::1]:25"} {
		_, err := smtpsender.New(host, from, &smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork})
		require.NoError(t, err, host)
	}
	for _, bounces := range []string{"bounces@acme.example", "bounces@localhost", "jürgen@acme.example"} {
		_, err := smtpsender.New("smtp.acme.example", from, &smtpsender.Options{Bounces: bounces})
		require.NoError(t, err, bounces)
	}
}

// The dot that ends a fully qualified name is removed.
func TestNew_trailingDot(t *testing.T) {
	for _, host := range []string{"smtp.acme.example.", "smtp.acme.example.:465"} {
		s, err := smtpsender.New(host, from, nil)
		require.NoError(t, err)
		require.Contains(t, s.String(), "{smtp.acme.example:465,")
	}
	cert := smtptest.NewCert(t, "localhost") // without a dot, as all certificates
	server := smtptest.Script{TLS: cert.Server()}.Start(t)
	_, port, err := net.SplitHostPort(server.Addr)
	require.NoError(t, err)
	require.NoError(t, newSender(t, "localhost.:"+port, smtpsender.Options{TLSConfig: cert.Client()}).Ping(t.Context()))
}

func TestNew_longBrand(t *testing.T) { // F2
	server := smtptest.Script{}.Start(t)
	brand := strings.Repeat("🚀é", 1000)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Brand: brand})
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	for _, line := range strings.Split(server.Mails(0)[0], "\r\n") {
		require.LessOrEqual(t, len(line), 78)
	}
	_, err := smtpsender.New(server.Addr, from, &smtpsender.Options{TLS: smtpsender.InsecureLoopback, Brand: strings.Repeat("x", 2000)})
	require.ErrorContains(t, err, "998", "nowhere to fold")
}

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url, host, user, password string
		mode                      smtpsender.TLSMode
	}{
		{"smtps://user:secret@smtp.acme.example:465", "smtp.acme.example:465", "user", "secret", smtpsender.ImplicitTLS},
		{"smtp://user:secret@smtp.acme.example:587", "smtp.acme.example:587", "user", "secret", smtpsender.StartTLS},
		{"smtps://smtp.acme.example", "smtp.acme.example:465", "", "", smtpsender.ImplicitTLS},
		{"smtp://smtp.acme.example", "smtp.acme.example:587", "", "", smtpsender.StartTLS},
		{"SMTPS://u%40acme.example:p%3A%2F%3F%23%5B%5D%40%25%20%C3%A9@h:2465", "h:2465", "u@acme.example", "p:/?#[]@% é", smtpsender.ImplicitTLS},
		{"smtps://u:a:b@h", "h:465", "u", "a:b", smtpsender.ImplicitTLS},
		{"smtps://u:p@[2001:db8::1]:465", "[2001:db8::1]:465", "u", "p", smtpsender.ImplicitTLS},
		{"smtps://u:p@[2001:db8::1]", "[2001:db8::1]:465", "u", "p", smtpsender.ImplicitTLS},
		{"smtps://u:p@h:465/", "h:465", "u", "p", smtpsender.ImplicitTLS},
		{"smtp://h/", "h:587", "", "", smtpsender.StartTLS},
		{"smtps://u:p@h\n", "h:465", "u", "p", smtpsender.ImplicitTLS},
		{" \tsmtps://u:p@h:465/\r\n", "h:465", "u", "p", smtpsender.ImplicitTLS},
		{"smtps://u:p@smtp.acme.example.:465", "smtp.acme.example:465", "u", "p", smtpsender.ImplicitTLS},
		{"smtp://smtp.acme.example./", "smtp.acme.example:587", "", "", smtpsender.StartTLS},
		{"smtp+insecure://mailpit:1025", "mailpit:1025", "", "", smtpsender.InsecurePrivateNetwork},
		{"smtp+insecure://mail.mail.svc.:25/\n", "mail.mail.svc:25", "", "", smtpsender.InsecurePrivateNetwork},
		{"smtp+insecure://10.0.0.5:25", "10.0.0.5:25", "", "", smtpsender.InsecurePrivateNetwork},
		{"smtp+insecure://[fd00::5]:25", "[fd00::5]:25", "", "", smtpsender.InsecurePrivateNetwork},
		{"smtp+insecure://localhost:1025", "localhost:1025", "", "", smtpsender.InsecureLoopback},
		{"SMTP+INSECURE://u:p@LOCALHOST.:1025", "LOCALHOST:1025", "u", "p", smtpsender.InsecureLoopback},
		{"smtp+insecure://u:p@127.0.0.1:25", "127.0.0.1:25", "u", "p", smtpsender.InsecureLoopback},
		{"smtp+insecure://u:p@[::1]:25", "[::1]:25", "u", "p", smtpsender.InsecureLoopback},
	} {
		host, opts, err := smtpsender.ParseURL(c.url)
		require.NoError(t, err, c.url)
		require.Equal(t, c.host, host)
		require.Equal(t, c.user, opts.Username)
		require.Equal(t, c.password, opts.Password)
		require.Equal(t, c.mode, opts.TLS)
		_, err = smtpsender.New(host, from, opts)
		require.NoError(t, err, c.url)
	}
	for _, bad := range []string{
		"", "smtp.acme.example", "smtp.acme.example:465", "//u:secret@h:465", "http://u:secret@h:465", "smtp+tls://u:secret@h",
		"smtps:u:secret@h", "smtps://", "smtps://u:secret@", "smtps://u:secret@:465", "smtps://u:secret@h:", "smtps://u:secret@h:0",
		"smtps://u:secret@h:65536", "smtps://u:secret@h:-1", "smtps://u:secret@h:x", "smtps://u:secret@h:465//", "smtps://u:secret@h:465/x",
		"smtps://u:secret@h:465?", "smtps://u:secret@h:465?tls=no", "smtps://u:secret@h:465#", "smtps://u:secret@h:465#f",
		"smtps://u@h", "smtps://u:@h", "smtps://:secret@h", "smtps://u:secret%zz@h", "smtps://u:sec ret@h o", "smtps://u:secret@h\nx", "smtps://u:secret@h..", "smtps://u:secret@.",
		"smtps://u:secret/x@h", "smtps://u:secret@h_%41.example", "smtps://u:secret@a..b", "smtps://u:secret@[::1", "smtps://u:secret@1:2:3",
		"smtp+insecure://mailpit", "smtp+insecure://localhost", "smtp+insecure://u:secret@mailpit:1025", "smtp+insecure://u:secret@10.0.0.5:25",
		"smtp+insecure://203.0.113.7:25", "smtp+insecure://0.0.0.0:25", "smtp+insecure://u@localhost:25", "smtps+insecure://h:465",
	} {
		host, opts, err := smtpsender.ParseURL(bad)
		require.Error(t, err, bad)
		require.Empty(t, host)
		require.Nil(t, opts)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "u:")
	}
}

// Each refusal names what is wrong, or how to write it, and repeats nothing.
func TestParseURL_wayOut(t *testing.T) { // D1
	for raw, want := range map[string]string{
		"smtps://u:secret@smtp.acme.example:smtps": "port must be a number from 1 to 65535, such as 465",
		"smtps://smtp.acme.example:smtps/":         "port must be a number from 1 to 65535, such as 465",
		"smtps://u:secret@h:99999":                 "port must be a number from 1 to 65535, such as 465",
		"smtps://u:secret@::1:465":                 "brackets, as in [::1]:465",
		"smtps://u:secret@h:":                      "needs a port",
		"smtp+insecure://mailpit":                  "needs a port",
		"smtps://u:secret@h:465/x":                 "must end after the port",
		"smtps://u:1/secret@h":                     "%2F",
		"smtps://u:secret/x@h":                     "percent-encoded",
		"smtps://u:secret%zz@h":                    "percent-encoded",
		"smtps://u:sec ret@h":                      "percent-encoded",
		"smtps://u@h":                              "both user and password, or neither",
		"http://u:secret@h":                        "smtps, smtp (STARTTLS) or smtp+insecure",
		"u:secret@h:465":                           "smtps://user:password@host:port",
		"smtps://u:secret@a..b":                    "neither a host name nor an IP address",
		"smtp+insecure://u:secret@mailpit:1025":    "use smtp:// or smtps://",
		"smtp+insecure://203.0.113.7:25":           "use StartTLS (smtp://) or ImplicitTLS (smtps://)",
	} {
		_, _, err := smtpsender.ParseURL(raw)
		require.ErrorContains(t, err, "smtpsender: URL: ")
		require.ErrorContains(t, err, want, raw)
		for _, part := range []string{"secret", "sec ", "ret@", "acme.example", "u:", "203.0.113.7"} {
			require.NotContains(t, err.Error(), part, raw)
		}
	}
}

func TestOptions_printsNoSecret(t *testing.T) { // D1, D2
	opts := smtpsender.Options{Username: "user-secret", Password: "pass-secret", Brand: "Acme", Bounces: "bounces@acme.example", TLSConfig: &tls.Config{ServerName: "tls-secret"}}
	s, err := smtpsender.New("smtp.acme.example", from, &opts)
	require.NoError(t, err)
	data := letter.Data{Code: "code-secret", Brand: "Acme", Vars: map[string]string{"a": "var-secret"}}
	mail := letter.Mail{Subject: "sub-secret", Text: "text-secret", HTML: "html-secret"}
	type holder struct{ s *smtpsender.Sender }
	for _, v := range []any{opts, &opts, s, *s, holder{s}, data, &data, mail, &mail, []any{opts, s, data, mail}, map[string]any{"k": opts}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		out := log.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			out += fmt.Sprintf(verb, v)
		}
		if _, ok := v.(holder); !ok {
			b, err := json.Marshal(v)
			require.NoError(t, err)
			out += string(b)
		}
		require.NotContains(t, out, "secret")
		require.NotContains(t, out, fmt.Sprintf("%x", "secret"))
	}
	require.Contains(t, fmt.Sprint(opts), "Acme")
	require.Contains(t, fmt.Sprint(opts), "bounces@acme.example")
	require.Contains(t, fmt.Sprint(smtpsender.Options{TLS: smtpsender.InsecurePrivateNetwork}), "TLS: InsecurePrivateNetwork, Login: false, Dial: false")
	require.Contains(t, fmt.Sprint(s), "smtp.acme.example:465")
}
