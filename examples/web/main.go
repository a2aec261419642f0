// Web is a small application with everything that mailed codes are for: sign-up,
// sign-in, change of address and the confirmation of a payment, by the pages of
// package otphttp.
//
//	go run ./examples/web
//
// Open http://localhost:8080; its mail is at /inbox.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/redisstore"
	"github.com/go-mailotp/otp/relay"
	"github.com/go-mailotp/otp/smtpsender"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, then lets requests finish and mails go out.
func run(ctx context.Context, addr string) error {
	c := config{now: time.Now}
	var err error
	if c.store, c.secret, err = openStore(ctx, os.Getenv("OTP_REDIS_URL"), os.Getenv("OTP_SECRET")); err != nil {
		return err
	}
	sender, inbox, err := newSender(os.Getenv("OTP_SMTP_URL"), os.Getenv("OTP_FROM"))
	if err != nil {
		return err
	}
	if inbox != nil {
		c.inbox = inbox
	}
	if c.queue, err = relay.NewQueue(sender, &relay.QueueOptions{Observe: logFailures}); err != nil {
		return err
	}
	if c.proxies, err = parseProxies(os.Getenv("OTP_PROXIES")); err != nil {
		return err
	}
	a, err := newApp(c)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: a, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 30 * time.Second}
	fmt.Printf("http://%s\n", addr)
	if inbox != nil {
		fmt.Printf("http://%s/inbox has the mail\n", addr)
	}
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

// openStore keeps the ledgers in Redis if there is a URL, else in memory, where they
// end with the program. The secret is base64 of 32 random bytes (openssl rand -base64 32).
func openStore(ctx context.Context, redisURL, secret64 string) (otp.Store, []byte, error) {
	if redisURL == "" {
		secret := make([]byte, 32)
		rand.Read(secret)
		return otp.NewMemoryStore(nil), secret, nil
	}
	secret, err := base64.StdEncoding.DecodeString(secret64)
	if err != nil || len(secret) < 32 {
		return nil, nil, errors.New("OTP_REDIS_URL needs OTP_SECRET, 32 bytes in base64: openssl rand -base64 32")
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		return nil, nil, errors.New("OTP_REDIS_URL is no Redis URL") // the error would show the password
	}
	opts.ContextTimeoutEnabled = true
	store, err := redisstore.New(redis.NewClient(opts), nil)
	if err != nil {
		return nil, nil, err
	}
	if err := store.Ping(ctx); errors.Is(err, redisstore.ErrEviction) {
		log.Print(err) // good enough to try it out
	} else if err != nil {
		return nil, nil, err
	}
	return store, secret, nil
}

// newSender mails for real if it is told how, else catches the mail.
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

func logFailures(r relay.Report) {
	if r.Outcome != relay.Sent {
		log.Printf("mail %s to %s: %s after %d attempts: %v", r.Message, r.Masked, r.Outcome, r.Attempts, r.Err)
	}
}

// parseProxies reads networks with commas between them, such as
// "10.0.0.0/8,127.0.0.1/32": only those may say who the client is.
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
