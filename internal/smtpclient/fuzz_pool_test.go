package smtpclient_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// moody is a server that does at each stage what its plan says, and knows what
// became of each mail. It works under the lock of the smtptest server.
type moody struct {
	plan  []byte // a row of moods for each transaction: a mood for each stage
	words string // said in place of a reply
	clear bool   // no TLS is wanted
	once  bool   // a mail is written whole, before any answer

	healed  bool
	rows    map[int]int // of connections
	secure  map[int]bool
	odd     map[int]bool // connections whose replies are out of step, perhaps
	sending map[int]*fate
	mails   map[int]*fate
	open    map[int]bool // connections in a transaction
	wrong   string       // what should not have been said
}

// fate is what a server did with one mail.
type fate struct {
	odd     bool
	nobody  bool // sender or recipient was refused: what follows reaches nobody
	goOns   int  // replies 354
	dots    int
	dot     string // the reply to the last
	refused bool   // for good
}

// stages are the columns of a plan. The last is for everything else: answers to
// challenges, and what is no command.
var stages = []string{smtptest.Connect, smtptest.Handshake, "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", smtptest.Dot, "RSET", "QUIT", "BDAT", ""}

// The moods; all other bytes are what a good server does.
const (
	drops byte = 1 + iota
	hangs
	closes
	tempers
	refuses
	speaks
	adds
	asks
	moods
)

var mailFrom = regexp.MustCompile(`^MAIL FROM:<from([0-9]+)@`)

func (m *moody) reply(n int, verb, line string) (reply string) {
	switch verb {
	case smtptest.Connect, smtptest.Handshake:
		if m.rows[n] == 0 {
			m.rows[n] = n
		}
		m.secure[n] = m.secure[n] || verb == smtptest.Handshake
	case "MAIL":
		m.rows[n]++
		if found := mailFrom.FindStringSubmatch(line); found != nil {
			i, _ := strconv.Atoi(found[1])
			m.sending[n] = m.mails[i]
		}
	}
	if (verb == "AUTH" || verb == "MAIL") && !m.secure[n] && !m.clear {
		m.wrong = "in clear: " + line
	}
	if verb == "MAIL" && m.open[n] && !m.odd[n] {
		m.wrong = "a transaction in a transaction" // RFC 5321 section 4.1.4
	}
	column := slices.Index(stages, verb)
	if column < 0 {
		column = len(stages) - 1
		reply = "235 after a challenge"
	}
	mood := byte(0)
	if place := (m.rows[n]-1)*len(stages) + column; place < len(m.plan) && !m.healed {
		mood = m.plan[place]
	}
	switch mood {
	case drops:
		reply = smtptest.Drop
	case hangs:
		reply = smtptest.Hang
	case closes:
		reply = "421 4.3.2 bye"
	case tempers:
		reply = "450-4.2.0 later\r\n450 4.2.0 much"
	case refuses:
		reply = "550 5.1.1 no"
	case speaks:
		reply, m.odd[n] = m.words, true
	case adds:
		reply, m.odd[n] = "250 fine\r\n"+m.words, true
	case asks:
		reply, m.odd[n] = "334 UGFzc3dvcmQ6", m.odd[n] || verb != "AUTH"
	}
	switch verb {
	case "MAIL":
		m.open[n] = reply == ""
	case "EHLO", "RSET", "BDAT", smtptest.Dot:
		m.open[n] = m.open[n] && reply != ""
	}
	f := m.sending[n]
	if f == nil {
		return reply
	}
	f.odd = f.odd || m.odd[n]
	refused := strings.HasPrefix(reply, "4") || strings.HasPrefix(reply, "5")
	if verb == "MAIL" {
		f.nobody = false
	}
	if f.nobody {
		return reply
	}
	switch verb {
	case "MAIL", "RCPT":
		f.nobody = refused
		f.refused = f.refused || strings.HasPrefix(reply, "5")
	case "DATA":
		if reply == "" {
			f.goOns++
		}
		f.refused = f.refused || strings.HasPrefix(reply, "5")
	case smtptest.Dot, "BDAT":
		f.refused = f.refused || strings.HasPrefix(reply, "5")
		f.dots++
		f.dot = reply
	}
	return reply
}

// The bits of a shape.
type shape uint16

func (s shape) sends() int      { return 1 + int(s%8) }
func (s shape) workers() int    { return 1 + int(s>>3%4) }
func (s shape) conns() int      { return 1 + int(s>>5%3) }
func (s shape) tls() bool       { return s>>7%4 == 1 || s.startTLS() }
func (s shape) startTLS() bool  { return s>>7%4 == 2 }
func (s shape) plain() bool     { return s>>9%4 == 1 }
func (s shape) login() bool     { return s>>9%4 == 2 }
func (s shape) shortIdle() bool { return s>>11%2 == 1 }
func (s shape) endsEarly() bool { return s>>12%4 == 1 }
func (s shape) offers() string {
	return []string{"", "PIPELINING", "PIPELINING CHUNKING", "CHUNKING"}[s>>14]
}

// Whatever a server says, leaves unsaid or drops, at every stage and with
// several sends at once through one pool: each send returns in time, with
// success only if the server took the mail, else with an error that tells what
// is known of it; no mail is written twice; the pool is as good as before, and
// nothing is left open.
func FuzzPool(f *testing.F) {
	cert := smtptest.NewCert(f, "127.0.0.1")
	words := []string{"", "250 ok", "354 go\r\n250 ok", "550 no\r\n220 hi", "nonsense", "250-a\r\n250-b"}
	for stage := range stages {
		for mood := drops; mood < moods; mood++ {
			i := stage*int(moods) + int(mood)
			row := make([]byte, len(stages))
			row[stage] = mood
			patience := uint8(i % 10)
			if stage > 5 && (mood == drops || mood == tempers) {
				patience = 255
			}
			f.Add(slices.Repeat(row, i%2+1), []byte(words[i%len(words)]), uint16(i*2741+i<<13), patience)
		}
	}
	f.Fuzz(func(t *testing.T, plan, words []byte, bits uint16, patience uint8) {
		if len(words) > 1000 {
			return
		}
		s := shape(bits)
		m := &moody{
			plan: plan, words: string(words), clear: !s.tls(), once: s.offers() == "PIPELINING CHUNKING",
			rows: map[int]int{}, secure: map[int]bool{}, odd: map[int]bool{}, sending: map[int]*fate{}, mails: map[int]*fate{}, open: map[int]bool{},
		}
		for i := range s.sends() + 1 {
			m.mails[i] = &fate{}
		}
		timeout := time.Duration(4+patience%32) * time.Millisecond
		if patience > 250 { // longer than the pauses before retries
			timeout = 700 * time.Millisecond
		}
		script := smtptest.Script{StartTLS: s.startTLS(), Extensions: append(strings.Fields(s.offers()), "AUTH PLAIN LOGIN"), Reply: m.reply}
		if s.tls() {
			script.TLS = cert.Server()
		}
		server := script.Start(t)
		pool := newPool(t, server.Addr, func(c *smtpclient.Config) {
			c.MaxConns, c.StartTLS = s.conns(), s.startTLS()
			if s.tls() {
				c.TLS = cert.Client()
				c.TLS.ServerName = "127.0.0.1"
			}
			if s.shortIdle() {
				c.IdleTimeout = time.Millisecond
			}
			if s.plain() || s.login() {
				c.Auth = func(context.Context, []string) (sasl.Client, error) {
					if s.plain() {
						return sasl.NewPlainClient("", "user", "password"), nil
					}
					return sasl.NewLoginClient("user", "password"), nil
				}
			}
		})
		send := func(i int, timeout time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			start := time.Now()
			env := smtpclient.Envelope{From: fmt.Sprintf("from%d@acme.example", i), To: "to@acme.example"}
			err := pool.Send(ctx, env, fmt.Appendf(nil, "Subject: %d\r\n\r\n.x\r\n", i))
			if took := time.Since(start); took > timeout+time.Minute {
				t.Errorf("a send of %v took %v", timeout, took)
			}
			return err
		}
		errs := make([]error, s.sends()+1)
		var all sync.WaitGroup
		for w := range s.workers() {
			all.Go(func() {
				for i := w; i < s.sends(); i += s.workers() {
					if s.endsEarly() && i == s.sends()/2 {
						pool.Close()
					}
					errs[i] = send(i, timeout)
				}
			})
		}
		all.Wait()
		if s.endsEarly() {
			errs = errs[:s.sends()]
		} else {
			last := s.sends()
			server.Do(func() { m.healed = true })
			errs[last] = send(last, time.Minute)
			require.True(t, errs[last] == nil || len(m.odd) > 0, "a good server and an unhappy pool: %v", errs[last])
		}
		pool.Close()
		server.AwaitOpen(t, 0)
		server.Close()
		require.Empty(t, m.wrong)
		for i, err := range errs {
			m.judge(t, i, err)
		}
		nothingRuns(t)
	})
}

// judge holds what a send returned against what the server did.
func (m *moody) judge(t *testing.T, i int, err error) {
	f := m.mails[i]
	what := fmt.Sprintf("mail %d: %v; %+v", i, err, *f)
	if err == nil {
		require.True(t, f.odd || f.dots == 1 && f.dot == "", what)
		return
	}
	var e *smtpclient.Error
	require.ErrorAs(t, err, &e, what)
	require.NotEmpty(t, err.Error())
	require.Contains(t, []string{"connect", "tls", "hello", "auth", "mail", "rcpt", "data"}, e.Stage, what)
	aboutMail := slices.Contains([]string{"mail", "rcpt", "data"}, e.Stage)
	require.False(t, e.Permanent && (e.MaybeSent || !aboutMail), what)
	require.False(t, e.MaybeSent && e.Stage != smtpclient.StageData, what)
	if f.odd {
		return // what was an answer to what is not known
	}
	over := errors.Is(err, context.DeadlineExceeded)
	answered := strings.HasPrefix(f.dot, "4") || strings.HasPrefix(f.dot, "5")
	require.LessOrEqual(t, f.dots, 1, "written twice: "+what)
	require.True(t, f.dots == 0 || answered || e.MaybeSent, "the server has it: "+what)
	require.False(t, e.MaybeSent && f.goOns == 0 && !m.once, "nothing was written: "+what)
	require.False(t, e.MaybeSent && answered && !over, "it was refused: "+what)
	require.False(t, e.Permanent && !f.refused, what)
	require.True(t, !f.refused || e.Permanent || over, what)
}

// nothingRuns waits until no goroutine is in the code under test.
func nothingRuns(t *testing.T) {
	stacks := make([]byte, 1<<20)
	for late := time.Now().Add(time.Minute); ; runtime.Gosched() {
		running := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(running, "internal/smtpclient.") {
			return
		}
		require.True(t, time.Now().Before(late), running)
	}
}
