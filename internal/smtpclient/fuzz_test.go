package smtpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deaf is a connection to a server that sends its bytes whatever it hears.
type deaf struct {
	net.Conn // nil: for the methods that nobody calls
	says     *bytes.Reader
	atOnce   int // how many bytes a read gives at most
	heard    bytes.Buffer
	closed   bool
}

func (d *deaf) Read(b []byte) (int, error) {
	if d.closed {
		return 0, net.ErrClosed
	}
	return d.says.Read(b[:min(len(b), d.atOnce)])
}

func (d *deaf) Write(b []byte) (int, error) {
	if d.closed {
		return 0, net.ErrClosed
	}
	return d.heard.Write(b)
}

func (d *deaf) Close() error                     { d.closed = true; return nil }
func (d *deaf) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (d *deaf) RemoteAddr() net.Addr             { return d.LocalAddr() }
func (d *deaf) SetDeadline(time.Time) error      { return nil }
func (d *deaf) SetReadDeadline(time.Time) error  { return nil }
func (d *deaf) SetWriteDeadline(time.Time) error { return nil }

// accepted are the replies without which no mail is sent: to DATA and to the
// dot.
var accepted = regexp.MustCompile(`(?s)354.*\n250`)

// No bytes of a server bring a panic, a hang, or a success that the server did
// not state, and none brings a word in clear to one that does not speak TLS.
func FuzzSMTPReplies(f *testing.F) {
	const good = "220 hi\r\n250-hi\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"
	for _, s := range []string{
		good, strings.ReplaceAll(good, "\r\n", "\n"), good + good, "", "\r\n", "220", "220-", "220 hi\r\n", "220 hi\r\n500 what\r\n250 HELO\r\n250 a\r\n250 b\r\n354 c\r\n250 d\r\n",
		"554 5.7.1 no\r\n", "220 \xff\x00\r\n250 \x1b\r\n", "220 a\r\n250 STARTTLS\r\n220 go\r\n", "220 a\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n",
		strings.Replace(good, "354 go", "250 go", 1), strings.Replace(good, "250 ok\r\n354", "550 5.1.1 no\r\n354", 1), strings.TrimSuffix(good, "250 ok\r\n") + "451 4.3.0 later\r\n",
		strings.TrimSuffix(good, "250 ok\r\n") + "251 odd\r\n", "220-{long}", "220 a\r\n250-{long}\r\n250 {long}\r\n",
	} {
		f.Add([]byte(s), uint16(4096), false, false)
		f.Add([]byte(s), uint16(0), true, false)
		f.Add([]byte(s), uint16(7), false, true)
	}
	f.Fuzz(func(t *testing.T, says []byte, atOnce uint16, utf8, startTLS bool) {
		// Written short, so that the fuzzer does not spend its time on making
		// it so.
		says = bytes.Replace(says, []byte("{long}"), bytes.Repeat([]byte("250-x\r\n"), 10000), 3)
		server := &deaf{says: bytes.NewReader(says), atOnce: 1 + int(atOnce)}
		cfg := &Config{StartTLS: startTLS}
		if startTLS {
			cfg.TLS = &tls.Config{ServerName: "mail.acme.example"}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := newConn(server, "app.acme.example")
		stage, err := c.open(ctx, cfg)
		if startTLS {
			require.Error(t, err, "nobody here can shake hands")
			require.NotContains(t, server.heard.String(), "MAIL")
		}
		var sent bool
		if err != nil {
			err = newError(ctx, stage, err)
		} else {
			err = c.send(ctx, Envelope{From: "from@acme.example", To: "to@acme.example", UTF8: utf8}, []byte("Subject: x\r\n\r\n.x\r\n"))
			sent = err == nil
		}
		heard := server.heard.String()
		whole := strings.HasSuffix(heard, "DATA\r\nSubject: x\r\n\r\n..x\r\n.\r\n")
		require.NoError(t, ctx.Err())
		if sent {
			require.Regexp(t, accepted, string(says))
			require.True(t, whole, "%q", heard)
			return
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Error())
		require.False(t, e.MaybeSent && !whole, "without the dot nothing goes out")
		require.False(t, whole && !e.MaybeSent && e.replyCode() == 0, "after the dot only a reply says that nothing went out")
		require.False(t, e.Permanent && e.replyCode()/100 != 5 && !errors.Is(err, ErrNoSMTPUTF8))
		require.NotErrorIs(t, err, io.ErrNoProgress)
	})
}
