package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// BenchmarkSMTP sends one mail over TLS to a server on loopback: over the
// library's warm connections, against the bare transaction on an open one; and
// by net/smtp, which connects for each mail, against the library. The last is
// repeated at a distance of 20 ms.
func BenchmarkSMTP(b *testing.B) {
	content, err := newMailer(b).compose("bob@example.org", "739164", "BCDF", "LETTERSANDDIGITS", time.Now())
	require.NoError(b, err)
	for _, offers := range []string{"", "PIPELINING", "PIPELINING CHUNKING"} {
		b.Run("offers="+strings.ReplaceAll(offers, " ", "+"), func(b *testing.B) {
			near := newSink(b, offers, 0)
			library := near.library(b, content)
			compare(b, 32, []int{1, 8}, near.bare(content), library)
			compare(b, 32, []int{1, 8}, library, near.netSMTP(content))
			far := newSink(b, offers, 20*time.Millisecond)
			w := far.netSMTP(content)
			w.name += "-at-20ms"
			compare(b, 16, []int{8}, far.library(b, content), w)
		})
	}
}

const from, to = "login@example.com", "bob@example.org"

// A sink accepts every mail, over TLS at once or after STARTTLS, and answers
// each read in one write, after a delay.
type sink struct {
	offers             string // extensions, in the answer to EHLO
	delay              time.Duration
	server, client     *tls.Config
	implicit, starttls string // addresses
}

func newSink(b *testing.B, offers string, delay time.Duration) *sink {
	cert := smtptest.NewCert(b, "127.0.0.1")
	s := &sink{offers: offers, delay: delay, server: cert.Server(), client: cert.Client()}
	s.client.ServerName = "127.0.0.1"
	s.implicit, s.starttls = s.listen(b, false), s.listen(b, true)
	return s
}

func (s *sink) listen(b *testing.B, starttls bool) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, starttls)
		}
	}()
	return listener.Addr().String()
}

func (s *sink) serve(near net.Conn, starttls bool) {
	time.Sleep(s.delay) // TCP's own handshake
	conn := distant(near, s.delay)
	defer conn.Close()
	stream := conn
	if !starttls {
		stream = tls.Server(conn, s.server)
	}
	in, out := bufio.NewReader(stream), bufio.NewWriter(stream)
	out.WriteString("220 sink\r\n")
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		reply := "250 fine\r\n"
		switch verb, size, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "EHLO":
			reply = "250-sink\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n"
			for _, extension := range strings.Fields(s.offers) {
				reply += "250-" + extension + "\r\n"
			}
			reply += "250 8BITMIME\r\n"
		case "AUTH":
			reply = "235 welcome\r\n"
		case "STARTTLS":
			out.WriteString("220 go on\r\n")
			out.Flush()
			stream = tls.Server(conn, s.server)
			in, out, reply = bufio.NewReader(stream), bufio.NewWriter(stream), ""
		case "DATA":
			out.WriteString("354 go on\r\n")
			out.Flush()
			io.Copy(io.Discard, textproto.NewReader(in).DotReader())
		case "BDAT":
			var n int64
			fmt.Sscan(size, &n)
			io.CopyN(io.Discard, in, n)
		case "QUIT":
			out.WriteString("221 bye\r\n")
			out.Flush()
			return
		}
		out.WriteString(reply)
	}
}

// far is a connection whose other end gets what is written after a delay.
type far struct {
	net.Conn
	delay time.Duration
	late  chan written
}

type written struct {
	bytes []byte
	due   time.Time
}

func distant(conn net.Conn, delay time.Duration) net.Conn {
	if delay == 0 {
		return conn
	}
	f := &far{conn, delay, make(chan written, 1000)}
	go func() {
		defer conn.Close()
		for w := range f.late {
			time.Sleep(time.Until(w.due))
			conn.Write(w.bytes)
		}
	}()
	return f
}

func (f *far) Write(b []byte) (int, error) {
	f.late <- written{bytes.Clone(b), time.Now().Add(f.delay)}
	return len(b), nil
}

func (f *far) Close() error { close(f.late); return nil }

func (s *sink) library(b *testing.B, content []byte) way {
	pool := smtpclient.NewPool(smtpclient.Config{
		Addr: s.implicit, TLS: s.client, Hello: "bench.example.org", ConnectTimeout: 10 * time.Second,
		MaxConns: 8, IdleTimeout: time.Minute,
		MaxPerConn: math.MaxInt, // a new connection is not what is measured here
	})
	b.Cleanup(func() { pool.Close() })
	return way{"library", nil, func(int) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return pool.Send(ctx, smtpclient.Envelope{From: from, To: to}, content)
	}}
}

// netSMTP is smtp.SendMail, which takes no certificates of its caller.
func (s *sink) netSMTP(content []byte) way {
	return way{"net-smtp", nil, func(int) error {
		client, err := smtp.Dial(s.starttls)
		if err != nil {
			return err
		}
		defer client.Close()
		for _, step := range []func() error{
			func() error { return client.StartTLS(s.client) },
			func() error { return client.Auth(smtp.PlainAuth("", "user", "password", "127.0.0.1")) },
			func() error { return client.Mail(from) },
			func() error { return client.Rcpt(to) },
			func() error {
				data, err := client.Data()
				if err != nil {
					return err
				}
				data.Write(content)
				return data.Close()
			},
			client.Quit,
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}}
}

// bare puts the commands of a mail together, writes them in as few flights as
// the server allows and reads the replies, on open connections. That the dots
// are doubled beforehand is in its favour.
func (s *sink) bare(content []byte) way {
	var dotted bytes.Buffer
	w := textproto.NewWriter(bufio.NewWriter(&dotted)).DotWriter()
	w.Write(content)
	w.Close()
	mail, rcpt := []string{"MAIL FROM:<", from, ">\r\n"}, []string{"RCPT TO:<", to, ">\r\n"}
	type flight struct {
		texts   []string
		replies int
	}
	var flights []flight
	switch body := dotted.String(); {
	case strings.Contains(s.offers, "CHUNKING"):
		bdat := fmt.Sprintf("BDAT %d LAST\r\n", len(content))
		flights = []flight{{append(append(mail, rcpt...), bdat, string(content)), 3}}
	case strings.Contains(s.offers, "PIPELINING"):
		flights = []flight{{append(append(mail, rcpt...), "DATA\r\n"), 3}, {[]string{body}, 1}}
	default:
		flights = []flight{{mail, 1}, {rcpt, 1}, {[]string{"DATA\r\n"}, 1}, {[]string{body}, 1}}
	}
	type open struct {
		net.Conn
		in  *textproto.Reader
		out []byte
	}
	free := make(chan *open, 8)
	take := func() (*open, error) {
		select {
		case o := <-free:
			return o, nil
		default:
		}
		conn, err := tls.Dial("tcp", s.implicit, s.client)
		if err != nil {
			return nil, err
		}
		o := &open{Conn: conn, in: textproto.NewReader(bufio.NewReader(conn))}
		fmt.Fprintf(conn, "EHLO bench.example.org\r\n")
		if _, _, err = o.in.ReadResponse(220); err == nil {
			_, _, err = o.in.ReadResponse(250)
		}
		return o, err
	}
	return way{"bare", nil, func(int) error {
		o, err := take()
		if err != nil {
			return err
		}
		o.SetDeadline(time.Now().Add(time.Minute))
		for _, f := range flights {
			o.out = o.out[:0]
			for _, text := range f.texts {
				o.out = append(o.out, text...)
			}
			if _, err := o.Write(o.out); err != nil {
				return err
			}
			for range f.replies {
				line, err := o.in.ReadLineBytes()
				if err != nil || line[0] != '2' && line[0] != '3' {
					return made(false, err)
				}
			}
		}
		free <- o
		return nil
	}}
}
