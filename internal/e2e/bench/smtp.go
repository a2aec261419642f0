package main

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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// sink is the least of a server: it says yes, and answers each read in one write,
// after a delay that stands for the way there and back.
type sink struct {
	addr     string
	offers   string
	delay    time.Duration
	startTLS bool // and not TLS from the first byte
	tls      *tls.Config
	listener net.Listener
}

func startSink(offers string, delay time.Duration, startTLS bool, cert *smtptest.Cert) (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{addr: listener.Addr().String(), offers: offers, delay: delay, startTLS: startTLS, tls: cert.Server(), listener: listener}
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(raw)
		}
	}()
	return s, nil
}

// answer is what is to be said, and when.
type answer struct {
	text string
	due  time.Time
}

func (s *sink) serve(raw net.Conn) {
	defer raw.Close()
	time.Sleep(s.delay) // of TCP's own greeting
	if s.startTLS {
		in := bufio.NewReader(raw)
		for _, said := range []string{"220 sink", "250-sink\r\n250 STARTTLS", "220 go on"} {
			time.Sleep(s.delay)
			io.WriteString(raw, said+"\r\n")
			if said != "220 go on" {
				in.ReadString('\n')
			}
		}
	}
	conn := tls.Server(late{raw, s.delay}, s.tls)
	if conn.Handshake() != nil {
		return
	}
	answers := make(chan answer, 1000)
	var writer sync.WaitGroup
	writer.Go(func() {
		for a := range answers {
			time.Sleep(time.Until(a.due))
			io.WriteString(conn, a.text)
		}
	})
	defer writer.Wait()
	defer close(answers)
	in := bufio.NewReader(conn)
	said := "220 sink\r\n"
	if s.startTLS {
		said = ""
	}
	for {
		if in.Buffered() == 0 && said != "" {
			answers <- answer{said, time.Now().Add(s.delay)}
			said = ""
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, size, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToUpper(verb) {
		case "EHLO":
			said += "250-sink\r\n250-AUTH PLAIN\r\n" + s.offers + "250 8BITMIME\r\n"
		case "AUTH":
			said += "235 welcome\r\n"
		case "DATA":
			answers <- answer{said + "354 go on\r\n", time.Now().Add(s.delay)}
			said = ""
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			said += "250 taken\r\n"
		case "BDAT":
			var n int64
			fmt.Sscan(size, &n)
			if _, err := io.CopyN(io.Discard, in, n); err != nil {
				return
			}
			said += "250 taken\r\n"
		case "QUIT":
			answers <- answer{said + "221 bye\r\n", time.Now().Add(s.delay)}
			return
		default:
			said += "250 fine\r\n"
		}
	}
}

// late delays the flights of the handshake: what is written in answer to something.
type late struct {
	net.Conn
	delay time.Duration
}

func (l late) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == 22 { // a handshake record in clear: TLS 1.3 has one flight of them
		time.Sleep(l.delay)
	}
	return l.Conn.Write(b)
}

// the ways in which a server takes a mail.
var offers = []struct{ name, lines string }{
	{"four flights", ""},
	{"PIPELINING", "250-PIPELINING\r\n"},
	{"CHUNKING", "250-PIPELINING\r\n250-CHUNKING\r\n"},
}

// atSMTP compares sending over kept connections with the bare transaction on one, on
// loopback, and with connecting for each mail, also at a distance.
func atSMTP(w io.Writer, blocks int) error {
	content, err := sampleMail()
	if err != nil {
		return err
	}
	for _, offer := range offers {
		err := compareSMTP(w, "Sending over TLS on loopback, "+offer.name, offer.lines, 0, blocks, []int{1, 8}, content)
		if err == nil {
			err = compareSMTP(w, "Sending over TLS at 20 ms, "+offer.name, offer.lines, 20*time.Millisecond, max(1, blocks/6), []int{8}, content)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sampleMail() ([]byte, error) {
	mail, err := newMailer()
	if err != nil {
		return nil, err
	}
	return mail.bytes("bob@example.org", "739164", "BCDF", "LETTERSANDDIGITS", time.Now(), 10)
}

const smtpTitle = "Sending"

func compareSMTP(w io.Writer, title, lines string, delay time.Duration, blocks int, workers []int, content []byte) error {
	cert, err := smtptest.MakeCert(time.Now().Add(time.Hour), "127.0.0.1")
	if err != nil {
		return err
	}
	server, err := startSink(lines, delay, false, cert)
	if err != nil {
		return err
	}
	defer server.listener.Close()
	submission, err := startSink(lines, delay, true, cert)
	if err != nil {
		return err
	}
	defer submission.listener.Close()
	trust := cert.Client()
	trust.ServerName = "127.0.0.1"
	size := 32
	if delay > 0 {
		size = 8
	}
	var list []*variant
	if delay == 0 {
		bare, err := bareSMTP(server.addr, trust, lines, content)
		if err != nil {
			return err
		}
		bare.size = size
		list = append(list, bare)
	}
	pool := smtpclient.NewPool(smtpclient.Config{
		Addr: server.addr, TLS: trust, Hello: "bench.example.org", ConnectTimeout: 10 * time.Second,
		MaxConns: 8, IdleTimeout: time.Minute,
		MaxPerConn: math.MaxInt, // a warm send is what is measured; by default 1 in 100 is not
	})
	defer pool.Close()
	envelope := smtpclient.Envelope{From: "login@example.com", To: "bob@example.org"}
	list = append(list,
		&variant{name: "library: over its pool", size: size, run: func(int, int) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return pool.Send(ctx, envelope, content)
		}},
		&variant{name: "net/smtp, a connection for each mail: STARTTLS, AUTH", size: min(size, 8), run: func(int, int) error {
			return byNetSMTP(submission.addr, trust, content)
		}},
	)
	return table(w, title, blocks, workers, list...)
}

// byNetSMTP is smtp.SendMail, which takes no roots.
func byNetSMTP(addr string, trust *tls.Config, content []byte) error {
	client, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.StartTLS(trust); err != nil {
		return err
	}
	if err := client.Auth(smtp.PlainAuth("", "user", "password", "127.0.0.1")); err != nil {
		return err
	}
	if err := client.Mail("login@example.com"); err != nil {
		return err
	}
	if err := client.Rcpt("bob@example.org"); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(content); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return err
	}
	return client.Quit()
}

// bareSMTP puts the commands and the content of a mail together, writes them and
// reads the replies, on connections that are open already. It starts from where
// Pool.Send does: no two mails are the same, so that no flight is made beforehand,
// and none waits for ever. That the dots are doubled already is in its favour.
func bareSMTP(addr string, trust *tls.Config, lines string, content []byte) (*variant, error) {
	const from, to = "login@example.com", "bob@example.org"
	var stuffed bytes.Buffer
	w := textproto.NewWriter(bufio.NewWriter(&stuffed)).DotWriter()
	w.Write(content)
	w.Close()
	mail := func(b []byte) []byte { return append(append(append(b, "MAIL FROM:<"...), from...), ">\r\n"...) }
	rcpt := func(b []byte) []byte { return append(append(append(b, "RCPT TO:<"...), to...), ">\r\n"...) }
	data := func(b []byte) []byte { return append(b, "DATA\r\n"...) }
	dotted := func(b []byte) []byte { return append(b, stuffed.Bytes()...) }
	type flight struct {
		append  func(b []byte) []byte
		replies int
	}
	var flights []flight
	switch {
	case strings.Contains(lines, "CHUNKING"):
		flights = []flight{{func(b []byte) []byte {
			b = strconv.AppendInt(append(rcpt(mail(b)), "BDAT "...), int64(len(content)), 10)
			return append(append(b, " LAST\r\n"...), content...)
		}, 3}}
	case strings.Contains(lines, "PIPELINING"):
		flights = []flight{{func(b []byte) []byte { return data(rcpt(mail(b))) }, 3}, {dotted, 1}}
	default:
		flights = []flight{{mail, 1}, {rcpt, 1}, {data, 1}, {dotted, 1}}
	}
	type open struct {
		conn net.Conn
		in   *bufio.Reader
		out  []byte
	}
	var mu sync.Mutex
	var free []open
	take := func() (open, error) {
		mu.Lock()
		defer mu.Unlock()
		if n := len(free); n > 0 {
			o := free[n-1]
			free = free[:n-1]
			return o, nil
		}
		conn, err := tls.Dial("tcp", addr, trust)
		if err != nil {
			return open{}, err
		}
		o := open{conn, bufio.NewReader(conn), nil}
		o.in.ReadString('\n')
		fmt.Fprintf(conn, "EHLO bench.example.org\r\n")
		for line := ""; !strings.HasPrefix(line, "250 "); {
			if line, err = o.in.ReadString('\n'); err != nil {
				return o, err
			}
		}
		return o, nil
	}
	return &variant{name: "bare: the transaction on an open connection", run: func(int, int) error {
		o, err := take()
		if err != nil {
			return err
		}
		o.conn.SetDeadline(time.Now().Add(time.Minute))
		for _, flight := range flights {
			o.out = flight.append(o.out[:0])
			if _, err := o.conn.Write(o.out); err != nil {
				return err
			}
			for range flight.replies {
				line, err := o.in.ReadString('\n')
				if err != nil || line[0] != '2' && line[0] != '3' {
					return wanted(false, err)
				}
			}
		}
		mu.Lock()
		free = append(free, o)
		mu.Unlock()
		return nil
	}}, nil
}
