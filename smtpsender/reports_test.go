package smtpsender_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// Servers refuse an AUTH command of more than 512 bytes, as a token of Google or
// Microsoft makes it: the response must then wait for the challenge (RFC 4954
// section 4). PHPMailer#3169, angus-mail#201, MailKit#1343.
func TestSender_longToken(t *testing.T) {
	token := strings.Repeat("t", 1500)
	server := smtptest.Script{Extensions: []string{"AUTH XOAUTH2"}, Reply: func(_ int, verb, line string) string {
		switch {
		case verb == "AUTH" && len(line) > 510:
			return "500 5.5.2 Line too long"
		case line == "AUTH XOAUTH2":
			return "334 "
		case !strings.Contains(line, " ") && len(line) > 1000:
			return "235 2.7.0 welcome"
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{
		TLS: smtpsender.InsecureLoopback, Auth: smtpsender.XOAuth2("user", func(context.Context) (string, error) { return token, nil }),
	})
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.Contains(t, server.Lines(0), base64.StdEncoding.EncodeToString([]byte("user=user\x01auth=Bearer "+token+"\x01\x01")))
}

// Some servers offer PLAIN and do not know it: 504 says that the mechanism is
// wrong and not the password. nodemailer#1060, cakephp#14639, yc-software/qm#808.
func TestSender_plainUnknown(t *testing.T) {
	for _, reply := range []string{"504 5.7.4 Unrecognized authentication type", "502 Invalid input"} {
		server := smtptest.Script{Extensions: []string{"AUTH LOGIN PLAIN"}, Reply: func(_ int, verb, line string) string {
			switch {
			case strings.HasPrefix(line, "AUTH PLAIN"):
				return reply
			case line == "AUTH LOGIN", line == "dXNlcg==":
				return "334 UGFzc3dvcmQ6"
			case line == "cGFzc3dvcmQ=":
				return "235 welcome"
			}
			return ""
		}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "password"})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")), reply)
		require.Equal(t, 1, server.Conns())
	}
}

// The words that everybody looks up are still there. nodemailer#1484,
// email-oauth2-proxy#193, MailKit#700.
func TestSender_whyTheLoginIsRefused(t *testing.T) {
	for reply, hint := range map[string]string{
		"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. hunter2!": "SmtpClientAuthentication is disabled",
		"535 5.7.139 Authentication unsuccessful, basic authentication is disabled. hunter2!":                                                                                  "basic authentication is disabled",
		"534-5.7.9 Application-specific password required. For more information, go to\r\n534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor hunter2!":          "Application-specific password required",
		"535-5.7.8 Username and Password not accepted. hunter2!\r\n535 5.7.8 go to https://support.google.com":                                                                 "Username and Password not accepted",
	} {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo("AUTH", reply)}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "hunter2!"})
		e := sendError(t, s.Ping(t.Context()))
		require.NotContains(t, e.Error(), "hunter2!")
		if !strings.Contains(strings.ToLower(e.Error()), strings.ToLower(hint)) {
			t.Errorf("%q lacks %q", e.Error(), hint)
		}
	}
}

// A firewall that swallows the port is the most common trouble, and the error must
// say where it happened. PHPMailer#2634, calcom/cal.diy#12202.
func TestSender_timeoutNamesTheServer(t *testing.T) {
	hole := func(ctx context.Context, _, address string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	s := newSender(t, "smtp.acme.example:587", smtpsender.Options{TLS: smtpsender.StartTLS, Dial: hole, ConnectTimeout: 10 * time.Millisecond})
	e := sendError(t, s.Ping(t.Context()))
	require.ErrorIs(t, e, context.DeadlineExceeded)
	require.ErrorContains(t, e, "smtp.acme.example:587")
}

// Servers, or the proxies before them, offer what does not work. MailKit#709, #587
// and #921, nextcloud/mail#129.
func TestSender_brokenExtensions(t *testing.T) {
	for name, c := range map[string]struct {
		extensions []string
		reply      func(conn int, verb, line string) string
	}{
		"no BDAT":                 {[]string{"PIPELINING", "CHUNKING"}, replyTo("BDAT", "502 5.5.1 BDAT not implemented")},
		"BDAT in the wrong order": {[]string{"PIPELINING", "CHUNKING"}, replyTo("BDAT", "503 5.5.1 bad sequence of commands")},
		"no pipelining":           {[]string{"PIPELINING"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			addr := ""
			if c.reply != nil {
				addr = smtptest.Script{Extensions: c.extensions, Reply: c.reply}.Start(t).Addr
			} else {
				addr = oneAtATime(t)
			}
			s := newSender(t, addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Timeout: 5 * time.Second})
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			require.NoError(t, s.Send(t.Context(), newMessage(t, "b@example.com")))
		})
	}
}

// oneAtATime is a server that offers PIPELINING and says what OpenSMTPD behind an
// nginx proxy says if it is used.
func oneAtATime(t *testing.T) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				in := bufio.NewReader(raw)
				fmt.Fprint(raw, "220 hello\r\n")
				for content := false; ; {
					line, err := in.ReadString('\n')
					verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
					reply := "250 fine\r\n"
					switch {
					case err != nil:
						return
					case content && line != ".\r\n":
						continue
					case content:
						content = false
					case in.Buffered() > 0:
						fmt.Fprint(raw, "500 5.5.1 Invalid command: Pipelining not supported\r\n")
						return
					case verb == "EHLO":
						reply = "250-hello\r\n250 PIPELINING\r\n"
					case verb == "DATA":
						reply, content = "354 go on\r\n", true
					}
					io.WriteString(raw, reply)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// If they are silent, only an option helps. MailKit#921 and #1268,
// Progressiverobot/hmailserver#261.
func TestSender_oneByOne(t *testing.T) {
	server := smtptest.Script{Extensions: []string{"PIPELINING", "CHUNKING"}, Reply: replyTo("BDAT", smtptest.Hang)}.Start(t)
	opts := smtpsender.Options{TLS: smtpsender.InsecureLoopback, Timeout: 5 * time.Second}
	option := reflect.ValueOf(&opts).Elem().FieldByName("OneByOne") // so that this file compiles without it
	require.True(t, option.IsValid(), "there is no such option")
	option.SetBool(true)
	s := newSender(t, server.Addr, opts)
	require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	require.Zero(t, server.Early())
}

// Images without ca-certificates trust nobody. scrutiny#111, statusok#66, dex#503.
func TestSender_noAuthorities(t *testing.T) {
	server := smtptest.Script{TLS: smtptest.NewCert(t, "127.0.0.1").Server()}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{})
	err := s.Ping(t.Context())
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	require.ErrorContains(t, err, "ca-certificates")
}

// The name for EHLO is one that servers take: MailKit#1501, ix-ai/smtp#6.
func TestNew_helloNameIsValid(t *testing.T) {
	for _, name := range []string{"web_1.acme.internal", "acme-.example", "-acme.example", "192.0.2.1"} {
		_, err := smtpsender.New("smtp.acme.example", from, &smtpsender.Options{HelloName: name})
		require.ErrorContains(t, err, "HelloName", name)
	}
}

// A kept connection that a firewall has forgotten costs a moment and no mail.
// nodemailer#576 and #511, chatmail/core#3092.
func TestSender_forgottenConnection(t *testing.T) {
	for _, offers := range []string{"250 hello", "250-hello\r\n250-PIPELINING\r\n250 CHUNKING"} {
		t.Run(offers, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				dial := func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go forgets(far, offers, dials.Add(1) == 1)
					return at{near, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}}, nil
				}
				s := newSender(t, "127.0.0.1:25", smtpsender.Options{TLS: smtpsender.InsecureLoopback, Dial: dial})
				require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
				time.Sleep(50 * time.Second) // less than DefaultIdleTimeout
				require.NoError(t, s.Send(t.Context(), newMessage(t, "b@example.com")))
				require.NoError(t, s.Close())
			})
		})
	}
}

// forgets is a server that answers for half a minute, or for ever.
func forgets(raw net.Conn, offers string, soon bool) {
	defer raw.Close()
	start := time.Now()
	in := bufio.NewReader(raw)
	io.WriteString(raw, "220 hello\r\n")
	for content := false; ; {
		line, err := in.ReadString('\n')
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		reply := "250 fine"
		switch {
		case err != nil:
			return
		case soon && time.Since(start) > 30*time.Second, content && verb != ".":
			continue
		case content:
			content = false
		case verb == "EHLO":
			reply = offers
		case verb == "DATA":
			reply, content = "354 go on", true
		case verb == "BDAT":
			size, _ := strconv.Atoi(strings.TrimSuffix(rest, " LAST"))
			io.CopyN(io.Discard, in, int64(size))
		}
		io.WriteString(raw, reply+"\r\n")
	}
}

// The greylister says when: mailcow#4443, postal#238.
func TestSender_greylistedFor(t *testing.T) {
	for reply, want := range map[string]time.Duration{
		"450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted for 300 seconds":        5 * time.Minute,
		"451 4.7.1 Greylisting in action, please come back in 00:05:00":                            5 * time.Minute,
		"450 4.7.1 Greylisted, please try again in 10 minutes":                                     10 * time.Minute,
		"450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey.x": time.Minute,
		"451 4.7.1 Greylisted, come back in 999999999999999999999999 hours":                        time.Minute,
	} {
		server := smtptest.Script{Reply: replyTo("RCPT", reply)}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		e := sendError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		if e.RetryAfter != want {
			t.Errorf("%q: %v, want %v", reply, e.RetryAfter, want)
		}
	}
}

// A server that is known to greet is not asked with TLS again, which it would
// take for an attack (Exim: "input sent without waiting for greeting").
// thunderbird-android#1329, testssl.sh#218.
func TestSender_probesOnce(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	var slow atomic.Bool
	server := smtptest.Script{TLS: cert.Server(), StartTLS: true, Reply: func(n int, verb, _ string) string {
		if verb == smtptest.Connect && slow.Load() {
			time.Sleep(3 * time.Second)
		}
		return ""
	}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.StartTLS, TLSConfig: cert.Client()})
	require.NoError(t, s.Ping(t.Context()))
	slow.Store(true)
	require.NoError(t, s.Ping(t.Context()))
	require.Equal(t, 2, server.Conns())
}

// What is well already.
func TestSender_moreGoodOnes(t *testing.T) {
	t.Run("RSET or QUIT refused or unanswered after the mail", func(t *testing.T) { // go-mail#551, #463, offen#835, PHPMailer#2830
		for _, reply := range []string{"502 Unimplemented (#5.5.1)", smtptest.Drop, smtptest.Hang} {
			server := smtptest.Script{Reply: func(_ int, verb, _ string) string {
				if verb == "RSET" || verb == "QUIT" {
					return reply
				}
				return ""
			}}.Start(t)
			s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, MaxPerConn: 1})
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
			require.NoError(t, s.Close())
		}
	})
	t.Run("421 to EHLO is told and no HELO follows", func(t *testing.T) { // PHPMailer#2189
		server := smtptest.Script{Reply: replyTo("EHLO", "421 Your HELO/EHLO is not matching your DNS configuration")}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
		require.ErrorContains(t, s.Ping(t.Context()), "421: Your HELO/EHLO is not matching")
		require.Zero(t, server.Count("HELO"))
	})
	t.Run("no EHLO after AUTH, no parameters without need", func(t *testing.T) { // MailKit#162, go-mail#545
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN", "SMTPUTF8", "8BITMIME", "SIZE 1", "DSN"}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: "password"})
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		lines := server.Lines(0)
		require.Equal(t, 1, server.Count("EHLO"))
		require.Equal(t, "MAIL FROM:<codes@acme.example>", lines[2])
		require.Equal(t, "RCPT TO:<a@example.com>", lines[3])
	})
	t.Run("EXTERNAL", func(t *testing.T) { // sent with "=", RFC 4954
		server := smtptest.Script{Extensions: []string{"AUTH EXTERNAL"}}.Start(t)
		s := newSender(t, server.Addr, smtpsender.Options{
			TLS: smtpsender.InsecureLoopback, Auth: func(context.Context) (sasl.Client, error) { return sasl.NewExternalClient(""), nil },
		})
		require.NoError(t, s.Ping(t.Context()))
		require.Equal(t, "AUTH EXTERNAL =", server.Lines(0)[1])
	})
}

// After a refused recipient some servers read the chunk that came in the same
// flight as commands. go-smtp#315.
func TestSender_chunkReadAsCommands(t *testing.T) {
	sink := (&smtptest.Sink{Refuse: func(to string) error {
		if strings.HasPrefix(to, "gone@") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no"}
		}
		return nil
	}}).Start(t)
	s := newSender(t, sink.Addr, smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	for range 5 {
		require.Error(t, s.Send(t.Context(), newMessage(t, "gone@example.com")))
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
	}
	require.Len(t, sink.Mails(), 5)
	t.Log("connections", sink.Conns())
}

// chunkAsCommands is a server that offers CHUNKING and, after a refused
// recipient, reads the chunk as commands.
func chunkAsCommands(raw net.Conn, taken *atomic.Int32) {
	defer raw.Close()
	in := bufio.NewReader(raw)
	io.WriteString(raw, "220 hello\r\n")
	for refused := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		reply := "500 5.5.2 unrecognized"
		switch {
		case verb == "EHLO":
			reply = "250-hello\r\n250-PIPELINING\r\n250 CHUNKING"
		case verb == "RCPT" && strings.Contains(rest, "gone@"):
			refused, reply = true, "550 5.1.1 no such user"
		case verb == "MAIL", verb == "RCPT", verb == "RSET":
			refused, reply = false, "250 fine"
		case verb == "BDAT" && refused:
			reply = "503 5.5.1 no recipients"
		case verb == "BDAT":
			size, _ := strconv.Atoi(strings.TrimSuffix(rest, " LAST"))
			io.CopyN(io.Discard, in, int64(size))
			taken.Add(1)
			reply = "250 taken"
		}
		io.WriteString(raw, reply+"\r\n")
	}
}

func TestSender_chunkReadAsCommandsByScript(t *testing.T) { // go-smtp#315
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	var taken atomic.Int32
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go chunkAsCommands(raw, &taken)
		}
	}()
	s := newSender(t, listener.Addr().String(), smtpsender.Options{TLS: smtpsender.InsecureLoopback})
	for i := range int32(20) {
		require.True(t, sendError(t, s.Send(t.Context(), newMessage(t, "gone@example.com"))).RefusedRecipient())
		require.NoError(t, s.Send(t.Context(), newMessage(t, "a@example.com")))
		require.Equal(t, i+1, taken.Load())
	}
}

// Go no longer offers the key exchange of old servers; TLSConfig can, and then
// the mail goes. go-simple-mail#100.
func TestSender_oldCiphers(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	old := []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	server := smtptest.Script{TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, CipherSuites: old, MaxVersion: tls.VersionTLS12}}.Start(t)
	s := newSender(t, server.Addr, smtpsender.Options{TLSConfig: &tls.Config{RootCAs: roots}})
	t.Log(s.Ping(t.Context()))
	s = newSender(t, server.Addr, smtpsender.Options{TLSConfig: &tls.Config{RootCAs: roots, CipherSuites: old}})
	require.NoError(t, s.Ping(t.Context()))
}

// A real aiosmtpd reads a long login only if it comes after the challenge: then it
// says 535 to this wrong password, and not 500.
func TestSender_longLoginAiosmtpd(t *testing.T) {
	server := servers.StartAiosmtpd(t)
	s := newSender(t, server.TLS, smtpsender.Options{TLSConfig: server.Client, Username: "user", Password: strings.Repeat("p", 600)})
	var reply *smtp.SMTPError
	require.ErrorAs(t, s.Ping(t.Context()), &reply)
	require.Equal(t, 535, reply.Code)
}
