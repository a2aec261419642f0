package smtptest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// The verbs that [Script.Reply] is asked about besides the commands.
const (
	Connect   = "CONNECT"   // before the greeting
	Handshake = "HANDSHAKE" // before the TLS handshake
	Dot       = "."         // after the content
)

// What [Script.Reply] may return in place of a reply.
const (
	Hang  = "\x00hang"  // send nothing more, but keep reading
	Drop  = "\x00drop"  // close the connection
	Stall = "\x00stall" // for DATA: reply 354 and stop reading
)

// Script is a server that replies as the test wants.
type Script struct {
	// TLS is used from the first byte, or after STARTTLS. Nil means clear text.
	TLS *tls.Config

	// StartTLS offers STARTTLS instead of using TLS from the first byte.
	StartTLS bool

	// Extensions are the lines of the reply to EHLO.
	Extensions []string

	// Hold delays the replies to MAIL and RCPT until DATA or BDAT arrives. A
	// client that waits for one of them waits forever.
	Hold bool

	// Reply returns the reply to verb on connection number n, counted from 1,
	// without the last CRLF. An empty reply, or a nil Reply, means what a good
	// server replies. Calls do not overlap.
	Reply func(n int, verb, line string) string
}

// Server is a running [Script].
type Server struct {
	Addr string

	script   Script
	listener net.Listener
	wg       sync.WaitGroup
	once     sync.Once
	stop     chan struct{} // closed by Close

	mu    sync.Mutex
	cond  *sync.Cond
	conns []*peer
	open  int
}

// peer records what arrived on one connection.
type peer struct {
	raw   net.Conn
	wire  bytes.Buffer // as received, after TLS
	verbs []string
	lines []string
	mails []string // as received, with dot stuffing, without the end
	early int      // number of replies for which the client did not wait
	held  string   // delayed replies
}

// Start runs the script until the test ends.
func (s Script) Start(t testing.TB) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Addr: listener.Addr().String(), script: s, listener: listener, stop: make(chan struct{})}
	server.cond = sync.NewCond(&server.mu)
	server.wg.Go(server.accept)
	t.Cleanup(server.Close)
	return server
}

// Close stops the server and closes all connections. It may be called twice.
func (s *Server) Close() {
	s.once.Do(func() { close(s.stop) })
	s.listener.Close()
	s.DropAll()
	s.wg.Wait()
}

// DropAll closes all connections and keeps listening.
func (s *Server) DropAll() {
	s.mu.Lock()
	for _, p := range s.conns {
		p.raw.Close()
	}
	s.mu.Unlock()
}

// Do calls f while Reply is not running.
func (s *Server) Do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Conns returns the number of connections that were accepted.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Open returns the number of open connections.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Lines returns the commands on connection n, counted from 1, or on all
// connections if n is 0.
func (s *Server) Lines(n int) []string {
	return collect(s, n, func(p *peer) []string { return p.lines })
}

// Mails returns the contents that arrived on connection n, or on all
// connections if n is 0.
func (s *Server) Mails(n int) []string {
	return collect(s, n, func(p *peer) []string { return p.mails })
}

// Wire returns everything that arrived on connection n, or on all connections
// if n is 0.
func (s *Server) Wire(n int) string {
	return strings.Join(collect(s, n, func(p *peer) []string { return []string{p.wire.String()} }), "")
}

// Early returns the number of replies for which the client did not wait before
// it sent the next command.
func (s *Server) Early() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	early := 0
	for _, p := range s.conns {
		early += p.early
	}
	return early
}

// Count returns how often verb arrived on all connections.
func (s *Server) Count(verb string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count(verb)
}

func (s *Server) count(verb string) int {
	count := 0
	for _, p := range s.conns {
		for _, v := range p.verbs {
			if v == verb {
				count++
			}
		}
	}
	return count
}

func collect(s *Server, n int, of func(*peer) []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for i, p := range s.conns {
		if n == 0 || n == i+1 {
			all = append(all, of(p)...)
		}
	}
	return all
}

// Await waits until verb has arrived count times.
func (s *Server) Await(t testing.TB, verb string, count int) {
	t.Helper()
	s.await(t, verb, func() bool { return s.count(verb) >= count })
}

// AwaitOpen waits until exactly count connections are open. A connection counts
// as open until the server has read everything that the client wrote to it:
// once the client has closed it and AwaitOpen has returned, [Server.Mails] and
// the others are complete.
func (s *Server) AwaitOpen(t testing.TB, count int) {
	t.Helper()
	s.await(t, "open connections", func() bool { return s.open == count })
}

// await waits until ok, which is called with the lock held.
func (s *Server) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	const patience = time.Minute // a busy machine may need seconds
	late := time.Now().Add(patience)
	wake := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cond.Broadcast()
	})
	defer wake.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok() {
		if !time.Now().Before(late) {
			t.Fatalf("smtptest: no %s after a minute; %d connections, %d open", what, len(s.conns), s.open)
		}
		s.cond.Wait()
	}
}

func (s *Server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		p := &peer{raw: raw}
		s.mu.Lock()
		s.conns = append(s.conns, p)
		s.open++
		n := len(s.conns)
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(p, n)
			raw.Close()
			s.mu.Lock()
			s.open--
			s.cond.Broadcast()
			s.mu.Unlock()
		})
	}
}

// serve plays the script on one connection.
func (s *Server) serve(p *peer, n int) {
	var stream net.Conn = p.raw
	secure := func() bool {
		reply, ok := s.say(p, p.raw, n, Handshake, "") // words go out in clear
		if !ok || reply != "" {
			return false
		}
		conn := tls.Server(p.raw, s.script.TLS)
		stream = conn
		return conn.Handshake() == nil
	}
	if s.script.TLS != nil && !s.script.StartTLS && !secure() {
		return
	}
	in := bufio.NewReader(s.tap(p, stream))
	if _, ok := s.say(p, stream, n, Connect, ""); !ok {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if verb == "BDAT" && !s.chunk(p, in, line) {
			return
		}
		if in.Buffered() > 0 {
			s.mu.Lock()
			p.early++
			s.mu.Unlock()
		}
		reply, ok := s.say(p, stream, n, verb, line)
		switch {
		case !ok || verb == "QUIT":
			return
		case verb == "STARTTLS" && strings.HasPrefix(reply, "220"):
			if !secure() {
				return
			}
			in = bufio.NewReader(s.tap(p, stream))
		case verb == "DATA" && strings.HasPrefix(reply, "354"):
			if !s.content(p, in) {
				return
			}
			if _, ok := s.say(p, stream, n, Dot, ""); !ok {
				return
			}
		}
	}
}

// say records a command and replies. If it returns false, the connection ends.
func (s *Server) say(p *peer, stream net.Conn, n int, verb, line string) (reply string, ok bool) {
	s.mu.Lock()
	p.verbs = append(p.verbs, verb)
	if line != "" {
		p.lines = append(p.lines, line)
	}
	if s.script.Reply != nil {
		reply = s.script.Reply(n, verb, line)
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	switch reply {
	case Drop:
		return "", false
	case Hang:
		io.Copy(io.Discard, p.raw)
		return "", false
	case Stall:
		p.raw.(*net.TCPConn).SetReadBuffer(4096)
		io.WriteString(stream, "354 go on\r\n")
		<-s.stop
		return "", false
	case "":
		if verb == Handshake {
			return "", true
		}
		reply = s.good(verb, stream)
	}
	p.held += reply + "\r\n"
	if s.script.Hold && (verb == "MAIL" || verb == "RCPT") {
		return reply, true
	}
	_, err := io.WriteString(stream, p.held)
	p.held = ""
	return reply, err == nil
}

// good returns the reply of a server that accepts everything.
func (s *Server) good(verb string, stream net.Conn) string {
	switch verb {
	case Connect:
		return "220 smtptest"
	case "EHLO":
		lines := append([]string{"smtptest"}, s.script.Extensions...)
		if _, secure := stream.(*tls.Conn); s.script.StartTLS && !secure {
			lines = append(lines, "STARTTLS")
		}
		for i := range lines[:len(lines)-1] {
			lines[i] = "250-" + lines[i]
		}
		lines[len(lines)-1] = "250 " + lines[len(lines)-1]
		return strings.Join(lines, "\r\n")
	case "STARTTLS":
		return "220 go on"
	case "AUTH":
		return "235 welcome"
	case "DATA":
		return "354 go on"
	case "QUIT":
		return "221 bye"
	}
	return "250 fine"
}
