package redisstore_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/internal/testkit/storetest"
	"github.com/go-mailotp/otp/otptest"
	"github.com/go-mailotp/otp/redisstore"
)

// It needs a server, so TestExample runs it.
func Example() {
	ctx := context.Background()
	secret := []byte("32 random bytes, kept out of Redis")
	sender := new(otptest.Inbox) // in a program an smtpsender.Sender

	client := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDR")})
	defer client.Close()
	store, err := redisstore.New(client, nil)
	if err != nil {
		log.Fatal(err) // a client that reads from replicas, say
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

// A Cluster, with TLS and a user that may do what the store does and no more.
func ExampleNew_cluster() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:     []string{"redis-1:6379", "redis-2:6379"},
		Username:  "codes",
		Password:  os.Getenv("REDIS_PASSWORD"),
		TLSConfig: &tls.Config{ServerName: "redis.internal"},
	})
	store, err := redisstore.New(client, &redisstore.Options{Prefix: "acme-codes:"})
	fmt.Println(store != nil, err)
	// Output: true <nil>
}

// Sentinel.
func ExampleNew_sentinel() {
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:    "main",
		SentinelAddrs: []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
	})
	store, err := redisstore.New(client, nil)
	fmt.Println(store != nil, err)
	// Output: true <nil>
}
