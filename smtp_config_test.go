package otp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/letter"
)

func TestNewSMTPSender_refuses(t *testing.T) { // A9, F1, G1
	auth := func(context.Context) (sasl.Client, error) { return nil, nil }
	const host, from = "smtp.acme.example", "codes@acme.example"
	for name, c := range map[string]struct {
		host, from string
		opts       otp.SMTPOptions
	}{
		"no host":                  {"", from, otp.SMTPOptions{}},
		"spaces in host":           {"smtp acme", from, otp.SMTPOptions{}},
		"line break in host":       {"smtp.acme.example\r\nX", from, otp.SMTPOptions{}},
		"URL as host":              {"smtps://smtp.acme.example", from, otp.SMTPOptions{}},
		"empty label":              {"smtp..example", from, otp.SMTPOptions{}},
		"port 0":                   {host + ":0", from, otp.SMTPOptions{}},
		"port too large":           {host + ":65536", from, otp.SMTPOptions{}},
		"port in words":            {host + ":smtp", from, otp.SMTPOptions{}},
		"signed port":              {host + ":+25", from, otp.SMTPOptions{}},
		"clear to a name":          {host + ":25", from, otp.SMTPOptions{TLS: otp.InsecureLoopback}},
		"clear to an address":      {"192.0.2.1:25", from, otp.SMTPOptions{TLS: otp.InsecureLoopback}},
		"clear to any":             {"0.0.0.0:25", from, otp.SMTPOptions{TLS: otp.InsecureLoopback}},
		"clear to localhost.":      {"localhost.acme.example:25", from, otp.SMTPOptions{TLS: otp.InsecureLoopback}},
		"clear without port":       {"localhost", from, otp.SMTPOptions{TLS: otp.InsecureLoopback}},
		"clear with TLSConfig":     {"localhost:25", from, otp.SMTPOptions{TLS: otp.InsecureLoopback, TLSConfig: &tls.Config{}}},
		"TLS mode below":           {host, from, otp.SMTPOptions{TLS: -1}},
		"TLS mode above":           {host, from, otp.SMTPOptions{TLS: 3}},
		"TLS 1.1 at most":          {host, from, otp.SMTPOptions{TLSConfig: &tls.Config{MaxVersion: 0x0302}}},
		"no from":                  {host, "", otp.SMTPOptions{}},
		"from without address":     {host, "Acme", otp.SMTPOptions{}},
		"two from":                 {host, "a@acme.example, b@acme.example", otp.SMTPOptions{}},
		"from with parameter":      {host, "<a@acme.example> SIZE=1", otp.SMTPOptions{}},
		"line break in from":       {host, "Acme\r\nBcc: x@acme.example <codes@acme.example>", otp.SMTPOptions{}},
		"line break after from":    {host, from + "\n", otp.SMTPOptions{}},
		"NUL in name":              {host, "A\x00cme <codes@acme.example>", otp.SMTPOptions{}},
		"next line in name":        {host, "A\u0085cme <codes@acme.example>", otp.SMTPOptions{}},
		"line separator in name":   {host, "A\u2028cme <codes@acme.example>", otp.SMTPOptions{}},
		"bidi in name":             {host, "A\u202ecme <codes@acme.example>", otp.SMTPOptions{}},
		"encoded word in name":     {host, "=?utf-8?q?=0D=0A?= <codes@acme.example>", otp.SMTPOptions{}},
		"user without password":    {host, from, otp.SMTPOptions{Username: "user"}},
		"password without user":    {host, from, otp.SMTPOptions{Password: "password"}},
		"two logins":               {host, from, otp.SMTPOptions{Username: "user", Password: "password", Auth: auth}},
		"NUL in password":          {host, from, otp.SMTPOptions{Username: "user", Password: "pass\x00word"}},
		"line break in user":       {host, from, otp.SMTPOptions{Username: "user\r\n", Password: "password"}},
		"line break in HelloName":  {host, from, otp.SMTPOptions{HelloName: "app.example\r\nMAIL FROM:<>"}},
		"space in HelloName":       {host, from, otp.SMTPOptions{HelloName: "app example"}},
		"bad literal":              {host, from, otp.SMTPOptions{HelloName: "[127.0.0.1"}},
		"IPv6 literal without tag": {host, from, otp.SMTPOptions{HelloName: "[::1]"}},
		"line break in Brand":      {host, from, otp.SMTPOptions{Brand: "Acme\nBcc: x"}},
		"encoded word in Brand":    {host, from, otp.SMTPOptions{Brand: "=?utf-8?q?=0D=0A?="}},
		"bidi in Support":          {host, from, otp.SMTPOptions{Support: "help\u2066"}},
		"bad ReplyTo":              {host, from, otp.SMTPOptions{ReplyTo: "help"}},
		"line break in ReplyTo":    {host, from, otp.SMTPOptions{ReplyTo: "Help\n <help@acme.example>"}},
		"negative MaxConns":        {host, from, otp.SMTPOptions{MaxConns: -1}},
		"negative MaxPerConn":      {host, from, otp.SMTPOptions{MaxPerConn: -1}},
		"negative IdleTimeout":     {host, from, otp.SMTPOptions{IdleTimeout: -1}},
		"negative ConnectTimeout":  {host, from, otp.SMTPOptions{ConnectTimeout: -time.Second}},
		"negative Timeout":         {host, from, otp.SMTPOptions{Timeout: -1}},
		"letter that fails":        {host, from, otp.SMTPOptions{Letter: fixedLetter{}}},
		"nil letter":               {host, from, otp.SMTPOptions{Letter: (*letter.Letter)(nil)}},
		"empty letter":             {host, from, otp.SMTPOptions{Letter: &letter.Letter{}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := otp.NewSMTPSender(c.host, c.from, &c.opts)
			require.Error(t, err)
			require.Nil(t, s)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "password\"")
		})
	}
}

func TestNewSMTPSender_url(t *testing.T) {
	_, err := otp.NewSMTPSender("smtps://user:secret@smtp.acme.example", "codes@acme.example", nil)
	require.EqualError(t, err, "otp: smtp sender: host: a URL, which is for ParseSMTPURL") // D1: without the password
}

func TestNewSMTPSender_accepts(t *testing.T) {
	for _, host := range []string{"smtp.acme.example", "smtp.acme.example:2465", "192.0.2.1", "[2001:db8::1]:465", "2001:db8::1", "mail_relay"} {
		for _, from := range []string{"codes@acme.example", "<codes@acme.example>", "Acme <codes@acme.example>", `"Acme, Inc." <codes@acme.example>`, "Größe 🚀 <codes@acme.example>"} {
			s, err := otp.NewSMTPSender(host, from, nil)
			require.NoError(t, err, "%s %s", host, from)
			require.NoError(t, s.Close())
		}
	}
	for _, host := range []string{"localhost:25", "LOCALHOST:25", "127.9.9.9:25", "[::1]:25", "[::ffff:127.0.0.1]:25"} {
		_, err := otp.NewSMTPSender(host, smtpFrom, &otp.SMTPOptions{TLS: otp.InsecureLoopback, HelloName: "[IPv6:::1]"})
		require.NoError(t, err, host)
	}
}

func TestNewSMTPSender_longBrand(t *testing.T) { // F2
	server := smtptest.Script{}.Start(t)
	brand := strings.Repeat("🚀é", 1000)
	s := smtpSender(t, server.Addr, otp.SMTPOptions{TLS: otp.InsecureLoopback, Brand: brand})
	require.NoError(t, s.Send(t.Context(), smtpMessage(t, "a@example.com")))
	for _, line := range strings.Split(server.Mails(0)[0], "\r\n") {
		require.LessOrEqual(t, len(line), 78)
	}
	_, err := otp.NewSMTPSender(server.Addr, smtpFrom, &otp.SMTPOptions{TLS: otp.InsecureLoopback, Brand: strings.Repeat("x", 2000)})
	require.ErrorContains(t, err, "998", "nowhere to fold")
}

func TestParseSMTPURL(t *testing.T) {
	for _, c := range []struct {
		url, host, user, password string
		mode                      otp.TLSMode
	}{
		{"smtps://user:secret@smtp.acme.example:465", "smtp.acme.example:465", "user", "secret", otp.TLSImplicit},
		{"smtp://user:secret@smtp.acme.example:587", "smtp.acme.example:587", "user", "secret", otp.StartTLSRequired},
		{"smtps://smtp.acme.example", "smtp.acme.example:465", "", "", otp.TLSImplicit},
		{"smtp://smtp.acme.example", "smtp.acme.example:587", "", "", otp.StartTLSRequired},
		{"SMTPS://u%40acme.example:p%3A%2F%3F%23%5B%5D%40%25%20%C3%A9@h:2465", "h:2465", "u@acme.example", "p:/?#[]@% é", otp.TLSImplicit},
		{"smtps://u:a:b@h", "h:465", "u", "a:b", otp.TLSImplicit},
		{"smtps://u:p@[2001:db8::1]:465", "[2001:db8::1]:465", "u", "p", otp.TLSImplicit},
		{"smtps://u:p@[2001:db8::1]", "[2001:db8::1]:465", "u", "p", otp.TLSImplicit},
	} {
		host, opts, err := otp.ParseSMTPURL(c.url)
		require.NoError(t, err, c.url)
		require.Equal(t, c.host, host)
		require.Equal(t, c.user, opts.Username)
		require.Equal(t, c.password, opts.Password)
		require.Equal(t, c.mode, opts.TLS)
		_, err = otp.NewSMTPSender(host, smtpFrom, opts)
		require.NoError(t, err, c.url)
	}
	for _, bad := range []string{
		"", "smtp.acme.example", "smtp.acme.example:465", "//u:secret@h:465", "http://u:secret@h:465", "smtp+tls://u:secret@h",
		"smtps:u:secret@h", "smtps://", "smtps://u:secret@", "smtps://u:secret@:465", "smtps://u:secret@h:", "smtps://u:secret@h:0",
		"smtps://u:secret@h:65536", "smtps://u:secret@h:-1", "smtps://u:secret@h:x", "smtps://u:secret@h:465/", "smtps://u:secret@h:465/x",
		"smtps://u:secret@h:465?", "smtps://u:secret@h:465?tls=no", "smtps://u:secret@h:465#", "smtps://u:secret@h:465#f",
		"smtps://u@h", "smtps://u:@h", "smtps://:secret@h", "smtps://u:secret%zz@h", "smtps://u:sec ret@h o", "smtps://u:secret@h\n",
		"smtps://u:secret/x@h", "smtps://u:secret@h_%41.example", "smtps://u:secret@a..b", "smtps://u:secret@[::1", "smtps://u:secret@1:2:3",
	} {
		host, opts, err := otp.ParseSMTPURL(bad)
		require.Error(t, err, bad)
		require.Empty(t, host)
		require.Nil(t, opts)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, err.Error(), "u:")
	}
}

func TestSMTP_printsNoSecret(t *testing.T) { // D1, D2
	opts := otp.SMTPOptions{Username: "user-secret", Password: "pass-secret", Brand: "Acme", TLSConfig: &tls.Config{ServerName: "tls-secret"}}
	s, err := otp.NewSMTPSender("smtp.acme.example", smtpFrom, &opts)
	require.NoError(t, err)
	data := letter.Data{Code: "code-secret", Brand: "Acme", Vars: map[string]string{"a": "var-secret"}}
	mail := letter.Mail{Subject: "sub-secret", Text: "text-secret", HTML: "html-secret"}
	type holder struct{ s *otp.SMTPSender }
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
	require.Contains(t, fmt.Sprint(s), "smtp.acme.example:465")
}
