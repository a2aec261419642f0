package otphttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
	"github.com/go-mailotp/otp/otptest"
)

// pipes is a listener whose connections are pipes, so that they use the fake
// clock of the test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p pipes) dial() net.Conn {
	client, server := net.Pipe()
	p <- server
	return client
}

// idle is a store that counts calls; the hooks count theirs too.
type idle struct {
	otp.Store
	calls *atomic.Int32
}

func (s idle) Load(ctx context.Context, key string) ([]byte, error) {
	s.calls.Add(1)
	return s.Store.Load(ctx, key)
}

// A client that sends one byte a second is answered and disconnected by the
// deadline of the handler, at every step, even if the server has no deadline.
// The handler does not call the store, the sender or the hooks for it.
func TestSlowClient(t *testing.T) {
	for _, path := range []string{"POST /login/start", "POST /login/check", "POST /login/nothing", "PUT /login/start", "GET /login/code", "GET /login/"} {
		for _, head := range []string{"Content-Length: 4000\r\n", "Content-Length: 300000\r\n", "Transfer-Encoding: chunked\r\n"} {
			for _, content := range []string{formContent, "text/plain"} {
				synctest.Test(t, func(t *testing.T) {
					var calls atomic.Int32
					_, listener := slowSite(t, &otptest.Inbox{}, &calls)
					slow := listener.dial()
					defer time.Sleep(time.Minute) // until the server has noticed
					defer slow.Close()
					began := time.Now()
					go func() {
						fmt.Fprintf(slow, "%s HTTP/1.1\r\nHost: example.com\r\nContent-Type: %s\r\n%s\r\n", path, content, head)
						piece := "a"
						if head[0] == 'T' {
							piece = "1\r\na\r\n"
						}
						for {
							if _, err := io.WriteString(slow, piece); err != nil {
								return
							}
							time.Sleep(time.Second)
						}
					}()
					answer, err := http.ReadResponse(bufio.NewReader(slow), nil)
					require.NoError(t, err)
					require.GreaterOrEqual(t, answer.StatusCode, 200)
					require.NotEmpty(t, answer.Header.Get("Content-Security-Policy"))
					_, err = io.Copy(io.Discard, answer.Body)
					require.NoError(t, err)
					slow.SetReadDeadline(time.Now().Add(time.Hour))
					_, err = slow.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF, "%s %s: still open", path, head) // closed, not only answered
					require.LessOrEqual(t, time.Since(began), 11*time.Second, "%s %s", path, head)
					if path[:4] == "POST" {
						require.Zero(t, calls.Load())
					}
				})
			}
		}
	}
}

var secret = []byte("0123456789abcdef0123456789ABCDEF")

func slowSite(t *testing.T, sender otp.Sender, calls *atomic.Int32) (*http.Server, pipes) {
	verifier, err := otp.NewVerifier(idle{otp.NewMemoryStore(nil), calls}, sender, &otp.Options{Secrets: [][]byte{secret}})
	require.NoError(t, err)
	login, err := otphttp.New(verifier, &otphttp.Options{
		OnVerified: func(http.ResponseWriter, *http.Request, otp.Challenge) { calls.Add(1) },
		Purpose:    func(*http.Request) (string, error) { calls.Add(1); return "login", nil },
	})
	require.NoError(t, err)
	server, listener := &http.Server{Handler: login}, make(pipes)
	go server.Serve(listener)
	t.Cleanup(func() {
		close(listener)
		server.Close()
	})
	return server, listener
}

// The deadline applies only to the body: an answer that takes longer arrives
// all the same, and the connection serves the next request.
func TestSlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var end error
		_, listener := slowSite(t, otp.SenderFunc(func(ctx context.Context, _ otp.Message) error {
			select {
			case <-ctx.Done():
				end = ctx.Err()
			case <-time.After(25 * time.Second):
			}
			return nil
		}), &calls)
		conn := listener.dial()
		defer conn.Close()
		in := bufio.NewReader(conn)
		for i := range 2 {
			body := fmt.Sprintf(`{"address":"user%d@example.com"}`, i)
			go fmt.Fprintf(conn, "POST /login/start HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			answer, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusAccepted, answer.StatusCode)
			io.Copy(io.Discard, answer.Body)
			time.Sleep(time.Minute)
		}
		require.NoError(t, end)
		require.NotZero(t, calls.Load())
	})
}

// If a client disconnects while its mail is sent, the mail goes out all the
// same: the visitor may press the button again, or have the page still. J13
func TestClient_disconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		ended := make(chan error, 1)
		_, listener := slowSite(t, otp.SenderFunc(func(ctx context.Context, _ otp.Message) error {
			select {
			case <-ctx.Done():
			case <-time.After(25 * time.Second):
			}
			ended <- ctx.Err()
			return nil
		}), &calls)
		conn := listener.dial()
		body := `{"address":"bob@example.com"}`
		fmt.Fprintf(conn, "POST /login/start HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		synctest.Wait()
		conn.Close()
		require.NoError(t, <-ended)
	})
}
