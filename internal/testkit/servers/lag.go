package servers

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Lag is a network connection that delays everything in both directions and that
// can be cut.
type Lag struct {
	Addr  string
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

// StartLag starts a listener that forwards to target with a delay of d.
func StartLag(t testing.TB, target string, d time.Duration) *Lag {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Lag{Addr: l.Addr().String()}
	t.Cleanup(func() { l.Close(); w.Cut() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", target)
			if err != nil || !w.keep(a, b) {
				a.Close()
				continue
			}
			go carry(a, b, d)
			go carry(b, a, d)
		}
	}()
	return w
}

// Cut closes all connections at once. Data in transit is lost.
func (w *Lag) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, c := range w.conns {
		c.Close()
	}
}

func (w *Lag) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	w.conns = append(w.conns, conns...)
	return true
}

// carry copies data from one end to the other, each piece after a delay of d.
func carry(from, to net.Conn, d time.Duration) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	way := make(chan piece, 10_000)
	go func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				return
			}
		}
	}()
	defer from.Close()
	defer close(way)
	for {
		buffer := make([]byte, 16<<10)
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		way <- piece{buffer[:n], time.Now().Add(d)}
	}
}
