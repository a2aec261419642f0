package rueidisstore_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/redis/rueidis"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/rueidisstore"
)

// It needs a server, so TestExample runs it.
func Example() {
	ctx := context.Background()
	secret := []byte("32 random bytes, kept out of Redis")
	sender := new(otptest.Inbox) // in a program an smtpsender.Sender

	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{os.Getenv("REDIS_ADDR")}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store, err := rueidisstore.New(client, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Ping(ctx); err != nil {
		log.Fatal(err) // a server that evicts, a replica, missing rights
	}
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{Secrets: [][]byte{secret}})
	if err != nil {
		log.Fatal(err)
	}

	challenge, err := verifier.Send(ctx, otp.Request{To: "ann@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := verifier.Check(ctx, challenge.ID, sender.Code("ann@example.com"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("proven:", answer.To.String())
	if err := verifier.Forget(ctx, "ann@example.com"); err != nil {
		log.Fatal(err)
	}
}

func TestExample(t *testing.T) {
	t.Setenv("REDIS_ADDR", servers.StartRedis(t).Addr)
	storetest.README(t, Example, "proven: ann@example.com\n")
}

// A Cluster or Sentinel, with TLS and a user that may do what the store does and
// no more. A rueidis client connects at once, so nothing is printed here.
func ExampleNew() {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"redis-1:6379", "redis-2:6379"}, // with Sentinel: the Sentinels
		// Sentinel: rueidis.SentinelOption{MasterSet: "main"},
		Username:  "codes",
		Password:  os.Getenv("REDIS_PASSWORD"),
		TLSConfig: &tls.Config{ServerName: "redis.internal"},
	})
	if err != nil {
		log.Fatal(err)
	}
	store, err := rueidisstore.New(client, &rueidisstore.Options{Prefix: "acme-codes:"})
	fmt.Println(store != nil, err)
}
