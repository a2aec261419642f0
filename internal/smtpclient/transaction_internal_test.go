package smtpclient

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reply is taken at a glance only where readReply would take it too, and what
// comes after it is left alone.
func FuzzSimpleReply(f *testing.F) {
	good := map[string]int{"250 ok\r\n": 250, "250 ok\n250 x\r\n": 250, "250 \n": 250, "251 on\r\n": 25, "354 go\r\n": 354, "220 2.0.0 x\r\n": 2}
	for reply, want := range good {
		require.Equal(f, bytes.IndexByte([]byte(reply), '\n')+1, simple([]byte(reply), want), "%q", reply)
		f.Add([]byte(reply), want)
	}
	for _, reply := range []string{
		"", "\n", "\r\n", "2\r\n", "25\r\n", "250\r\n", "250\n", "250-a\r\n250 b\r\n", "250 ok", "251 on\r\n", "550 no\r\n", "25 x ok\r\n", "25x ok\r\n",
		"+25 ok\r\n", "-25 ok\r\n", "025 ok\r\n", "2_5 ok\r\n", "000 ok\r\n", "   250 ok\r\n", "999 odd\r\n", "250\tok\r\n", "\x00\r\n",
	} {
		f.Add([]byte(reply), 250)
		f.Add([]byte(reply), 25)
		f.Add([]byte(reply), 2)
	}
	f.Fuzz(func(t *testing.T, said []byte, want int) {
		if want != 2 && want != 25 && want != 250 && want != 354 {
			return // not asked for
		}
		n := simple(said, want)
		if n == 0 {
			return
		}
		in := bufio.NewReader(bytes.NewReader(said[:n]))
		r, err := readReply(in)
		require.NoError(t, err)
		require.NoError(t, r.err(want))
		require.Zero(t, in.Buffered())
	})
}

// What was written is not kept: a code is in it.
func TestWrite_keepsNothing(t *testing.T) {
	for _, offer := range []extensions{{}, {pipelining: true}, {pipelining: true, chunking: true}} {
		server := &deaf{says: bytes.NewReader([]byte("250 a\r\n250 b\r\n354 c\r\n250 d\r\n")), atOnce: 4096}
		if offer.chunking {
			server.says = bytes.NewReader([]byte("250 a\r\n250 b\r\n250 c\r\n"))
		}
		c := newConn(server, "app.acme.example")
		c.offers = offer
		require.NoError(t, c.send(t.Context(), Envelope{From: "from@acme.example", To: "to@acme.example"}, []byte("Subject: 739164\r\n\r\n.739164\r\n")))
		require.Contains(t, server.heard.String(), "739164\r\n")
		require.NotZero(t, cap(c.out))
		require.Equal(t, make([]byte, cap(c.out)), c.out[:cap(c.out)])
	}
}
