package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff{first: time.Second, open: 1}
		now := func() int {
			t.Helper()
			wait, _, round, _ := b.next()
			require.Zero(t, wait)
			return round
		}
		early := now()
		b.refused(now(), nil)
		b.refused(early, nil) // was begun before
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			wait, over, _, _ := b.next()
			require.Equal(t, pause*time.Second, wait)
			b.taken(early)
			require.False(t, closed(over))
			time.Sleep(wait)
			round := now()
			wait, _, other, _ := b.next()
			require.Equal(t, pause*time.Second, wait, "one at a time")
			require.Equal(t, round, other)
			b.refused(round, nil)
			b.refused(other, nil) // one that tried, as the first one hung
		}
		_, over, round, _ := b.next()
		require.False(t, closed(over))
		b.taken(round)
		require.True(t, closed(over))
		b.refused(now(), nil)
		wait, _, _, _ := b.next()
		require.Equal(t, time.Second, wait, "from the beginning")

		off := backoff{}
		off.refused(0, nil)
		wait, _, _, _ = off.next()
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

// A refusal of a new connection holds others back, and a rejected login tells
// them at once.
func TestBackoff_note(t *testing.T) {
	reply := func(stage, text string) error {
		code, rest, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(code)
		require.NoError(t, err)
		return &Error{Stage: stage, Err: refusal(n, rest)}
	}
	const nothing, taken, holds, tells = "nothing", "taken", "holds back", "tells"
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, taken},
		{reply(StageHello, "421 x"), holds}, {reply(StageTLS, "421 x"), holds}, {reply(StageAuth, "421 x"), holds}, {reply(StageMail, "421 x"), holds},
		{reply(StageHello, "450 x"), holds}, {reply(StageTLS, "454 TLS not available"), holds},
		{reply(StageHello, "554 no service"), tells},
		{reply(StageAuth, "535 5.7.8 wrong"), tells}, {reply(StageAuth, "454 4.7.0 too many logins"), tells},
		{reply(StageAuth, "432 4.3.2 too many at once"), holds}, {reply(StageAuth, "454 4.4.5 congested"), holds},
		{&Error{Stage: StageAuth, Err: errNoAuth}, tells}, {&Error{Stage: StageAuth, Err: io.EOF}, nothing}, {&Error{Stage: StageAuth, Err: context.Canceled}, nothing},
		{reply(StageMail, "432 4.3.2 too many at once"), holds}, {reply(StageData, "451 4.3.2 busy"), holds},
		{reply(StageMail, "553 not yours"), taken}, {reply(StageMail, "451 later"), taken},
		{reply(StageRcpt, "421 x"), taken}, {reply(StageRcpt, "550 x"), taken}, {reply(StageData, "421 x"), taken},
		{&Error{Stage: StageConnect, Err: errors.New("refused")}, nothing},
		{&Error{Stage: StageRcpt, Err: context.Canceled}, nothing},
	} {
		b := backoff{first: time.Second, trying: 1}
		b.note(0, c.err)
		require.Equal(t, c.want == holds || c.want == tells, b.pause != 0, c.err)
		require.Equal(t, c.want == tells, b.refusal != nil, c.err)
		b = backoff{first: time.Second, trying: 1}
		b.refused(0, nil)
		b.note(1, c.err)
		require.Equal(t, c.want == taken, b.pause == 0, c.err)
	}
}

// While no connection is open, one is opened first, and its result decides about
// the others.
func TestBackoff_oneFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff{first: time.Second}
		wait, _, round, _ := b.next()
		require.Zero(t, wait)
		wait, changed, _, _ := b.next()
		require.NotZero(t, wait)
		require.False(t, closed(changed))
		b.opened()
		require.True(t, closed(changed))
		wait, _, second, _ := b.next()
		require.Zero(t, wait, "the server takes connections")
		b.note(round, nil)
		b.note(second, nil)
		b.closed()

		_, _, round, _ = b.next()
		_, changed, _, _ = b.next()
		rejected := &Error{Stage: StageAuth, Err: refusal(535, "5.7.8 wrong")}
		b.note(round, rejected)
		require.True(t, closed(changed))
		wait, _, _, refusal := b.next()
		require.Equal(t, time.Second, wait)
		require.Equal(t, error(rejected), refusal)
		time.Sleep(wait)
		wait, _, round, _ = b.next()
		require.Zero(t, wait, "it is tried again")
		wait, _, _, refusal = b.next()
		require.Equal(t, time.Second, wait)
		require.Equal(t, error(rejected), refusal)
		b.opened()
		_, _, _, refusal = b.next()
		require.NoError(t, refusal, "there is a connection to wait for")
		b.note(round, nil)

		// A network that is down is no refusal: the others try side by side.
		b = backoff{first: time.Second}
		_, _, round, _ = b.next()
		b.note(round, &Error{Stage: StageConnect, Err: context.DeadlineExceeded})
		for range 3 {
			wait, _, _, _ = b.next()
			require.Zero(t, wait)
		}
	})
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
				err = &Error{Stage: StageHello, Err: refusal(421, "4.3.2 busy")}
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
		p.backoff.refused(0, nil) // so that there is no other connection for an hour
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
	return c
}
