package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp/internal/testkit"
)

// Redis returns the address of a server for tests that do not disturb others. It
// is the one in OTP_TEST_REDIS, or the one on 127.0.0.1:6379, or else a private
// one; the test is skipped if none can be started. Use unique keys there, and no
// FLUSHALL.
func Redis(t testing.TB) string {
	t.Helper()
	testkit.Long(t)
	if addr := os.Getenv("OTP_TEST_REDIS"); addr != "" {
		return addr
	}
	if _, err := RedisDo("127.0.0.1:6379", "PING"); err == nil {
		return "127.0.0.1:6379"
	}
	return StartRedis(t).Addr
}

// RedisServer is a private server.
type RedisServer struct {
	*Process
	Addr string
	Dir  string // contains its files
	args []string
}

// StartRedis starts a private server with additional configuration, such as
// "--appendonly", "yes"; freePort in it stands for a free port. By default the
// server writes nothing to disk. The test is skipped if neither Redis nor Valkey is
// installed.
func StartRedis(t testing.TB, config ...string) *RedisServer {
	t.Helper()
	config = append([]string{"--port", freePort, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"}, config...)
	for range 5 { // another program may take the port first
		r := &RedisServer{Dir: t.TempDir()}
		for _, arg := range config {
			if arg == freePort {
				arg = strconv.Itoa(FreePort(t))
			}
			r.args = append(r.args, arg)
		}
		r.Addr = "127.0.0.1:" + r.args[1]
		if r.start(t) {
			return r
		}
	}
	t.Fatal("Redis does not start")
	return nil
}

const freePort = "a free port"

// Restart starts the server again with its existing files.
func (r *RedisServer) Restart(t testing.TB) {
	t.Helper()
	if !r.start(t) {
		t.Fatal("Redis does not start again")
	}
}

// start reports whether the server has come up.
func (r *RedisServer) start(t testing.TB) bool {
	t.Helper()
	r.Process = Start(t, r.Dir, redisProgram(t), r.args...)
	ended := false
	Wait(t, "Redis to start", func() error {
		if ended = r.Ended(); ended {
			return nil
		}
		info, err := r.Do("INFO", "server") // LOADING is an error
		if err == nil && !strings.Contains(info, fmt.Sprintf("process_id:%d\r", r.PID())) {
			err = errors.New("another server listens on the port")
		}
		return err
	})
	return !ended
}

// redisProgram is the server in OTP_TEST_REDIS_SERVER, or the one installed.
func redisProgram(t testing.TB) string {
	t.Helper()
	if program := os.Getenv("OTP_TEST_REDIS_SERVER"); program != "" {
		return program
	}
	program := Binary("redis-server", "valkey-server")
	if program == "" {
		testkit.Skip(t, "neither redis-server nor valkey-server is installed")
	}
	return program
}

// Do sends one command and returns the reply; see [RedisDo].
func (r *RedisServer) Do(args ...string) (string, error) { return RedisDo(r.Addr, args...) }

// Must is Do for a command that must not fail.
func (r *RedisServer) Must(t testing.TB, args ...string) string {
	t.Helper()
	answer, err := r.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return answer
}

// RedisDo sends one command over a new connection. It returns a list as lines, and
// a null reply as "".
func RedisDo(addr string, args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	n, _ := strconv.Atoi(rest)
	switch kind {
	case '-':
		return "", errors.New(rest)
	case '$':
		if n < 0 {
			return "", nil
		}
		text := make([]byte, n+2)
		_, err := io.ReadFull(r, text)
		return string(text[:n]), err
	case '*':
		var all []string
		for range n {
			one, err := readReply(r)
			if err != nil {
				return "", err
			}
			all = append(all, one)
		}
		return strings.Join(all, "\n"), nil
	}
	return rest, nil // + and :
}
