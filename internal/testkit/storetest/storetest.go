// Package storetest tests real stores together with real verifiers: it checks the
// guarantees of package otp that otptest.TestStore cannot check, because that suite
// uses one store and no codes. The package imports only the standard library and
// this module.
package storetest

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// Secret is the secret of all verifiers in these tests.
const Secret = "a secret that only tests may know, of more than 32 bytes"

// guesses is how many wrong guesses the first challenge of an address allows;
// budget is how many the address allows in a day, which the first short challenges
// reserve: 5, 3 and 2.
const (
	guesses = 5
	budget  = 10
	short   = 3
)

// Parallel lets n parallel tests of this program run at once, where the default is
// one for each processor: tests of stores mostly wait for servers. TestMain calls
// it before m.Run.
func Parallel(n int) {
	flag.Parse()
	flag.Set("test.parallel", strconv.Itoa(n))
}

// NewVerifier returns a verifier that uses store and sends to inbox. An address may
// get a hundred mails at once.
func NewVerifier(t testing.TB, store otp.Store, inbox *otptest.Inbox) *otp.Verifier {
	t.Helper()
	v, err := otp.NewVerifier(store, inbox, &otp.Options{
		Secrets: [][]byte{[]byte(Secret)},
		Sends:   []otp.Limit{{N: 100, Per: time.Millisecond}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ask sends a code to an address and returns the challenge's ID and the code.
func ask(t testing.TB, v *otp.Verifier, inbox *otptest.Inbox, to string) (id, code string) {
	t.Helper()
	ch, err := v.Send(t.Context(), otp.Request{To: to})
	if err != nil {
		t.Fatal(err)
	}
	return ch.ID, inbox.Code(to)
}

func newAddress() string { return rand.Text() + "@example.com" }

// together runs f n times at once and returns how often it gave each error.
func together(n int, f func(i int) error) map[string]int {
	var mu sync.Mutex
	count := map[string]int{}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			name := verdict(f(i))
			mu.Lock()
			defer mu.Unlock()
			count[name]++
		})
	}
	close(start)
	wg.Wait()
	return count
}

// verdict names the result of a Check.
func verdict(err error) string {
	for name, known := range map[string]error{
		"right": nil, "wrong": otp.ErrCode, "exhausted": otp.ErrExhausted, "unknown": otp.ErrUnknown,
	} {
		if errors.Is(err, known) {
			return name
		}
	}
	return fmt.Sprint("failed: ", err)
}

func expect(t testing.TB, got, want map[string]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// stalls measures how long this process is not scheduled: no call can return in
// that time. The returned function ends the measurement and returns the longest
// such time.
func stalls() func() time.Duration {
	const beat = 10 * time.Millisecond
	stop, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		var most time.Duration
		last := time.Now()
		for {
			select {
			case <-ticker.C:
				most = max(most, time.Since(last)-beat)
				last = time.Now()
			case <-stop:
				longest <- max(most, time.Since(last)-beat)
				return
			}
		}
	}()
	return func() time.Duration { close(stop); return <-longest }
}
