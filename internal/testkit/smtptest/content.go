package smtptest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
)

// content reads a mail up to the final dot.
func (s *Server) content(p *peer, in *bufio.Reader) bool {
	var mail strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		mail.WriteString(line)
	}
	s.mu.Lock()
	p.mails = append(p.mails, mail.String())
	s.mu.Unlock()
	return true
}

// chunk reads the only chunk of a mail.
func (s *Server) chunk(p *peer, in *bufio.Reader, line string) bool {
	var size int
	if _, err := fmt.Sscanf(line, "BDAT %d LAST", &size); err != nil {
		return false
	}
	mail := make([]byte, size)
	if _, err := io.ReadFull(in, mail); err != nil {
		return false
	}
	s.mu.Lock()
	p.mails = append(p.mails, string(mail))
	s.mu.Unlock()
	return true
}

// tap returns a reader that records what it reads.
func (s *Server) tap(p *peer, stream net.Conn) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		n, err := stream.Read(b)
		s.mu.Lock()
		p.wire.Write(b[:n])
		s.mu.Unlock()
		return n, err
	})
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
