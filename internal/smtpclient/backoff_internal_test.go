package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff{first: time.Second}
		now := func() int {
			t.Helper()
			wait, _, round := b.next()
			require.Zero(t, wait)
			return round
		}
		early := now()
		b.refused(now())
		b.refused(early) // was begun before
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			wait, over, _ := b.next()
			require.Equal(t, pause*time.Second, wait)
			b.taken(early)
			require.False(t, closed(over))
			time.Sleep(wait)
			round := now()
			wait, _, other := b.next()
			require.Equal(t, pause*time.Second, wait, "one at a time")
			require.Equal(t, round, other)
			b.refused(round)
			b.refused(other) // one that tried, as the first one hung
		}
		_, over, round := b.next()
		require.False(t, closed(over))
		b.taken(round)
		require.True(t, closed(over))
		b.refused(now())
		wait, _, _ := b.next()
		require.Equal(t, time.Second, wait, "from the beginning")

		off := backoff{}
		off.refused(0)
		wait, _, _ = off.next()
		require.Zero(t, wait)
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Only a 421 to a connection on which nothing was begun holds others back.
func TestBackoff_note(t *testing.T) {
	reply := func(stage string, code int) error { return &Error{Stage: stage, Err: &smtp.SMTPError{Code: code}} }
	for _, c := range []struct {
		err           error
		holds, resets bool
	}{
		{nil, false, true},
		{reply(StageHello, 421), true, false},
		{reply(StageTLS, 421), true, false},
		{reply(StageAuth, 421), true, false},
		{reply(StageMail, 421), true, false},
		{reply(StageHello, 450), false, false},
		{reply(StageAuth, 535), false, false},
		{reply(StageRcpt, 421), false, true},
		{reply(StageRcpt, 550), false, true},
		{reply(StageData, 421), false, true},
		{&Error{Stage: StageConnect, Err: errors.New("refused")}, false, false},
		{&Error{Stage: StageRcpt, Err: context.Canceled}, false, false},
	} {
		b := backoff{first: time.Second}
		b.note(0, c.err)
		require.Equal(t, c.holds, b.pause != 0, c.err)
		b = backoff{first: time.Second}
		b.refused(0)
		b.note(1, c.err)
		require.Equal(t, c.resets, b.pause == 0, c.err)
	}
}

// Who has waited longest is served next.
func TestPool_fair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders = 50
		p := NewPool(Config{MaxConns: 3})
		for range 3 {
			require.NoError(t, p.acquire(t.Context()))
		}
		var served []int
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				if err := p.acquire(t.Context()); err != nil {
					t.Error(err)
				}
				served = append(served, i)
			})
			synctest.Wait() // it waits
		}
		for i := range senders {
			p.release()
			synctest.Wait()
			require.Len(t, served, i+1)
			require.Equal(t, i, served[i])
			if i < 3 { // nobody who comes and goes gets in between
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				require.ErrorIs(t, p.acquire(ctx), context.DeadlineExceeded)
				cancel()
			}
		}
		wg.Wait()
	})
}

// New connections wait, longer each time, and one at a time, until the server
// takes one.
func TestPool_pausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(Config{MaxConns: 3, Backoff: time.Second})
		start := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		try := func() error {
			_, round, err := p.turn(t.Context(), true)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(start))
			if len(at) <= 4 {
				err = &Error{Stage: StageHello, Err: &smtp.SMTPError{Code: 421}}
			}
			p.backoff.note(round, err)
			return err
		}
		require.Error(t, try())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for try() != nil {
				}
			})
		}
		wg.Wait()
		want := []time.Duration{0, 1, 3, 7, 15, 15, 15} // the last two follow the one that was taken
		for i := range want {
			want[i] *= time.Second
		}
		require.Equal(t, want, at)
	})
}

// Of a server that allows one connection each sender gets its turn, those too
// who hold a slot and are held back.
func TestPool_turns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders, mails = 12, 100
		p := NewPool(Config{MaxConns: 4, MaxPerConn: 1 << 20, IdleTimeout: time.Minute, Backoff: time.Hour})
		p.keep(takesMails(t))
		p.backoff.refused(0) // so that there is no other connection for an hour
		var mu sync.Mutex
		sent, most := 0, 0
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range mails {
					mu.Lock()
					before := sent
					mu.Unlock()
					if err := p.Send(t.Context(), Envelope{From: "from@acme.example", To: "to@acme.example"}, []byte("x\r\n")); err != nil {
						t.Error(err)
					}
					mu.Lock()
					sent++
					most = max(most, sent-before)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Equal(t, senders*mails, sent)
		require.LessOrEqual(t, most, 2*senders) // without order it is nearly all of them
		p.Close()
	})
}

// takesMails returns a connection to a server that takes a millisecond for each
// reply.
func takesMails(t *testing.T) *conn {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		defer server.Close()
		in := textproto.NewReader(bufio.NewReader(server))
		for {
			line, err := in.ReadLine()
			reply := "250 fine\r\n"
			switch {
			case err != nil || line == "QUIT":
				return
			case line == "DATA":
				io.WriteString(server, "354 go on\r\n")
				in.ReadDotBytes()
			}
			time.Sleep(time.Millisecond)
			io.WriteString(server, reply)
		}
	}()
	c := newConn(client, "app.acme.example")
	c.replies = textproto.NewReader(bufio.NewReader(c.wire))
	return c
}
