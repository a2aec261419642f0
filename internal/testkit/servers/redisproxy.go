package servers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// RedisProxy forwards connections of clients to a server. It records the commands
// and can delay or lose their replies.
type RedisProxy struct {
	Addr     string
	target   string
	mu       sync.Mutex
	commands []string
	lose     string
	delay    time.Duration
	release  chan struct{} // closed by the next Delay
	conns    []net.Conn
}

// StartRedisProxy starts a proxy for the server at target.
func StartRedisProxy(t testing.TB, target string) *RedisProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &RedisProxy{Addr: l.Addr().String(), target: target, release: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.Delay(0)
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

// setup are commands that a client sends for itself when it connects.
var setup = []string{"HELLO", "CLIENT", "PING", "AUTH", "SELECT", "COMMAND", "CLUSTER", "READONLY"}

// Commands returns the names of the commands since its last call, without those
// that clients send to set up a connection.
func (p *RedisProxy) Commands() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.commands
	p.commands = nil
	return all
}

// LoseAnswer lets the next command of this name reach the server, and closes its
// connection instead of forwarding the reply.
func (p *RedisProxy) LoseAnswer(command string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = command
}

// Delay delays each reply by d from now on. It forwards the replies that are
// already delayed.
func (p *RedisProxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
	close(p.release)
	p.release = make(chan struct{})
}

// serve forwards one connection. Clients may pipeline commands; their replies are
// forwarded one at a time.
func (p *RedisProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	in, out := bufio.NewReader(client), bufio.NewReader(server)
	for {
		raw, name, err := readCommand(in)
		if err != nil {
			return
		}
		lose, delay, release := p.note(name)
		if _, err := server.Write(raw); err != nil {
			return
		}
		answer, err := copyReply(out, nil)
		if err != nil || lose {
			return
		}
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-release:
			}
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func (p *RedisProxy) note(name string) (lose bool, delay time.Duration, release <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(setup, name) {
		return false, 0, nil
	}
	p.commands = append(p.commands, name)
	if lose = p.lose == name; lose {
		p.lose = ""
	}
	return lose, p.delay, p.release
}

// readCommand reads one command and returns its bytes and its name.
func readCommand(r *bufio.Reader) (raw []byte, name string, err error) {
	raw, err = copyReply(r, nil)
	if err != nil {
		return nil, "", err
	}
	parts := strings.SplitN(string(raw), "\r\n", 4)
	if len(parts) < 4 || raw[0] != '*' {
		return nil, "", fmt.Errorf("not a command: %.20q", raw)
	}
	return raw, strings.ToUpper(parts[2]), nil
}

// copyReply reads one value of RESP2 or RESP3 and appends its bytes to raw.
func copyReply(r *bufio.Reader, raw []byte) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	raw = append(raw, line...)
	n, _ := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			text := make([]byte, n+2)
			if _, err := io.ReadFull(r, text); err != nil {
				return nil, err
			}
			raw = append(raw, text...)
		}
	case '%', '|':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			if raw, err = copyReply(r, raw); err != nil {
				return nil, err
			}
		}
	}
	return raw, nil
}
