// Package storetest holds real stores, with real verifiers over them, to the
// promise of package otp: what otptest.TestStore cannot see, since it knows one
// store and no codes. Standard library only.
package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// Secret is what all verifiers of these tests seal with.
const Secret = "a secret that only tests may know, of more than 32 bytes"

// guesses is what a challenge takes; budget is what an address takes in a day.
const (
	guesses = 5
	budget  = 10
)

// NewVerifier returns a verifier over store that mails to inbox. An address may
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

// ask opens a challenge for an address that nobody has used and returns its code.
func ask(t testing.TB, v *otp.Verifier, inbox *otptest.Inbox, to string) (id, code string) {
	t.Helper()
	ch, err := v.Send(t.Context(), otp.Request{To: to})
	if err != nil {
		t.Fatal(err)
	}
	return ch.ID, inbox.Code(to)
}

func newAddress() string { return rand.Text() + "@example.com" }

// wrong is a code, and not this one.
func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

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

// verdict names what a Check returned.
func verdict(err error) string {
	for name, known := range map[string]error{
		"right": nil, "wrong": otp.ErrCode, "exhausted": otp.ErrExhausted, "escalated": otp.ErrEscalated, "unknown": otp.ErrUnknown,
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

// stalls watches how long the machine stands still, and returns a function that
// ends the watch and tells the longest time: nobody can return while it does.
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
