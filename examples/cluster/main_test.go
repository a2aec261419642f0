package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
)

// TestMain lets the test binary act as the processes of the cluster.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-node" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A code that one process sent is accepted by another one, and only once.
func TestCluster(t *testing.T) {
	t.Setenv(secretEnv, base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	printed, terminal := io.Pipe()
	defer printed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	store := "sqlite://" + filepath.Join(t.TempDir(), "otp.db")
	var nodes []*url.URL
	for i := range 3 {
		node, err := startNode(ctx, i+1, store, terminal)
		require.NoError(t, err)
		nodes = append(nodes, node)
	}
	defer func() { // a process that outlives this one keeps its output open
		cancel()
		for _, node := range nodes {
			require.Eventually(t, func() bool {
				conn, err := net.Dial("tcp", node.Host)
				if err == nil {
					conn.Close()
				}
				return err != nil
			}, 10*time.Second, 10*time.Millisecond)
		}
	}()
	front := httptest.NewTLSServer(balance(nodes)) // the cookie is Secure
	defer front.Close()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := front.Client()
	browser.Jar = jar
	post := func(path, name, value string) (status int, page string) {
		t.Helper()
		answer, err := browser.PostForm(front.URL+path, url.Values{name: {value}})
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	made := regexp.MustCompile(`Made by process (\d)`)

	status, asked := post("/send", "email", "bob@example.com")
	require.Equal(t, http.StatusOK, status, asked)
	code := ""
	for lines := bufio.NewScanner(printed); code == "" && lines.Scan(); {
		code = regexp.MustCompile(`\b\d{6}\b`).FindString(lines.Text())
	}
	status, _ = post("/check", "code", "12")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	status, page := post("/send", "email", "bob@example.com")
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Contains(t, page, `action="/check"`, "the code that was mailed can still be typed")
	status, page = post("/check", "code", testkit.WrongCode(code))
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, page, "Guesses left: 4")

	post("/", "", "") // one more turn, so that another process gets the code
	status, page = post("/check", "code", code)
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "Proven: bob@example.com")
	require.NotEqual(t, made.FindStringSubmatch(asked)[1], made.FindStringSubmatch(page)[1])
	status, _ = post("/check", "code", code)
	require.Equal(t, http.StatusUnprocessableEntity, status, "used")
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		jar, err := cookiejar.New(nil) // another browser, which holds no challenge
		require.NoError(t, err)
		browser.Jar = jar
		status, page = post("/send", "email", "bob@example.com")
		require.Equal(t, want, status, "the processes share one budget")
	}
	require.Contains(t, page, `action="/send"`)
}
