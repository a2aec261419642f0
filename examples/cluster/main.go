// Cluster runs an application as three processes behind one address. They share
// only a store, so any of them can check a code that another one sent.
//
//	go run . -store sqlite:///tmp/otp.db
//	go run . -store redis://localhost:6379/0
//	go run . -store postgres://localhost/app
//	go run . -store mysql://root@localhost:3306/app
//
// Open http://localhost:8080. The page shows which process created it, and the
// codes are printed in this terminal.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-mailotp/otp"
)

func main() {
	store := flag.String("store", "sqlite:///tmp/otp-cluster.db", "URL of the store: redis, postgres, mysql or sqlite")
	addr := flag.String("addr", "localhost:8080", "address to listen on")
	node := flag.Int("node", 0, "number of this process; 0 starts the others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *node > 0 {
		err = serveNode(ctx, *node, *store)
	} else {
		err = serveCluster(ctx, *addr, *store, 3)
	}
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// secretEnv passes the secret to the processes, because other users can read a
// command line. In production, get the secret from your secret manager: it must
// be the same after a restart.
const secretEnv = "OTP_SECRET"

// serveCluster starts n processes and forwards requests to each of them in
// turn.
func serveCluster(ctx context.Context, addr, store string, n int) error {
	if os.Getenv(secretEnv) == "" {
		secret := make([]byte, 32)
		rand.Read(secret)
		os.Setenv(secretEnv, base64.StdEncoding.EncodeToString(secret))
	}
	var nodes []*url.URL
	for i := range n {
		node, err := startNode(ctx, i+1, store, os.Stdout)
		if err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return serve(ctx, listener, balance(nodes))
}

// startNode starts this program again and waits until it prints its URL.
// Everything that it prints after that, such as the codes, goes to terminal.
func startNode(ctx context.Context, number int, store string, terminal io.Writer) (*url.URL, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "-node", fmt.Sprint(number), "-store", store)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, errors.Join(fmt.Errorf("process %d did not start", number), cmd.Wait())
	}
	where := lines.Text()
	go func() {
		for lines.Scan() {
			fmt.Fprintln(terminal, lines.Text())
		}
		cmd.Wait()
	}()
	return url.Parse(where)
}

// balance gives each request to the next process.
func balance(nodes []*url.URL) http.Handler {
	var turn atomic.Uint64
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(nodes[turn.Add(1)%uint64(len(nodes))])
		r.Out.Host = r.In.Host // the nodes compare it with the Origin header
		r.SetXForwarded()      // replaces the header of the client
	}}
}

// serveNode is one process of the application.
func serveNode(ctx context.Context, number int, storeURL string) error {
	secret, err := otp.SecretFromEnv(secretEnv)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, storeURL)
	if err != nil {
		return err
	}
	app, err := newApp(number, store, secret)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return serve(ctx, listener, app)
}

// serve serves until ctx ends, and lets requests in progress finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		server.Shutdown(late)
	})
	return server.Serve(listener)
}

// client returns the address of the client as the load balancer saw it. Only
// the balancer can reach this process, and it replaces the header.
func client(r *http.Request) string {
	forwarded := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
	return strings.TrimSpace(forwarded[len(forwarded)-1])
}
