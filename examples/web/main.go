// Web is a small application that uses mailed codes for sign-up, sign-in, a
// change of address and the confirmation of a payment. Package otphttp serves
// the pages for the codes.
//
//	go run ./examples/web
//
// It prints the address to open, usually http://localhost:8080. The mail is at
// /inbox.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/relay"
	"github.com/go-mailotp/otp/smtpsender"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on; if the port is taken, the next free one is used")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, then lets running requests finish and waiting
// mails go out. It writes to out where it serves.
func run(ctx context.Context, addr string, out io.Writer) error {
	// Ledgers, accounts and sessions are all in memory and end with the
	// program. examples/cluster shows the stores that outlive it; they need a
	// secret that does too.
	c := config{now: time.Now, store: otp.NewMemoryStore(nil), secret: make([]byte, 32)}
	rand.Read(c.secret)
	sender, inbox, err := newSender(os.Getenv("OTP_SMTP_URL"), os.Getenv("OTP_FROM"))
	if err != nil {
		return err
	}
	if inbox != nil {
		c.inbox = inbox
	}
	if c.queue, err = relay.NewQueue(sender, &relay.QueueOptions{OnReport: logFailures}); err != nil {
		return err
	}
	if c.proxies, err = parseProxies(os.Getenv("OTP_PROXIES")); err != nil {
		return err
	}
	a, err := newApp(c)
	if err != nil {
		return err
	}
	listener, err := listen(addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 30 * time.Second}
	announce(out, addr, listener.Addr(), inbox != nil)
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		done <- errors.Join(server.Shutdown(late), c.queue.Close(late))
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// listen listens on addr or, if its port is taken, on the next free port.
func listen(addr string) (net.Listener, error) {
	const tries = 100
	listener, err := net.Listen("tcp", addr)
	host, wanted, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(wanted)
	for i := 1; isTaken(err) && i < tries; i++ {
		next, nextErr := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port+i)))
		if nextErr == nil {
			return next, nil
		}
		if !isTaken(nextErr) {
			break // no such port, or one that needs permission
		}
	}
	return listener, err
}

// isTaken reports whether another program listens on the port.
func isTaken(err error) bool {
	const windows = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windows)
}

// announce prints where the application is, which may not be where it was asked
// to listen.
func announce(out io.Writer, asked string, actual net.Addr, inbox bool) {
	host, wanted, _ := net.SplitHostPort(asked)
	_, port, _ := net.SplitHostPort(actual.String())
	if port != wanted && wanted != "0" {
		fmt.Fprintf(out, "port %s is taken, so this is port %s\n", wanted, port)
	}
	if host == "" {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintln(out, url)
	if inbox {
		fmt.Fprintf(out, "%s/inbox shows the mail\n", url)
	}
}

// newSender returns a sender that mails for real if the environment names a
// server, and otherwise an inbox that catches the mail.
func newSender(smtpURL, from string) (otp.Sender, *inbox, error) {
	if (smtpURL == "") != (from == "") {
		return nil, nil, errors.New("set both OTP_SMTP_URL and OTP_FROM, or neither")
	}
	if smtpURL == "" {
		inbox, err := newInbox(50)
		return inbox, inbox, err
	}
	host, opts, err := smtpsender.ParseURL(smtpURL)
	if err != nil {
		return nil, nil, err
	}
	opts.Brand = brand
	sender, err := smtpsender.New(host, from, opts)
	return sender, nil, err
}

func logFailures(_ context.Context, r relay.Report) {
	if r.Outcome != otpevent.MailSent {
		log.Printf("mail %s to %s: %s after %d attempts: %v", r.Message, r.Masked, r.Outcome, r.Attempts, r.Err)
	}
}

// parseProxies reads networks separated by commas, such as
// "10.0.0.0/8,127.0.0.1/32". Only proxies in them may say who the client is.
func parseProxies(list string) (networks []netip.Prefix, err error) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		network, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("OTP_PROXIES: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}
