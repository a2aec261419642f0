package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// open opens a store that is closed with the test.
func open(t *testing.T, path string) *BoltStore {
	t.Helper()
	s, err := OpenBoltStore(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// movable is a store whose clock the conformance suite can move.
type movable struct {
	*BoltStore
	ahead *atomic.Int64
}

func (m movable) Advance(d time.Duration) { m.ahead.Add(int64(d)) }

func newMovable(t *testing.T) movable {
	m := movable{open(t, filepath.Join(t.TempDir(), "codes.db")), new(atomic.Int64)}
	m.now = func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }
	return m
}

func TestBoltStore(t *testing.T) {
	otptest.TestStore(t, func(t *testing.T) otp.Store { return newMovable(t) })
}

func TestBoltStore_durable(t *testing.T) {
	if db := open(t, filepath.Join(t.TempDir(), "codes.db")).db; db.NoSync || db.NoGrowSync {
		t.Error("an acknowledged swap may be lost when the machine fails")
	}
}

var secret = []byte("a secret of 32 bytes, or some more")

// newVerifier returns a verifier over s and the inbox that it mails to.
func newVerifier(t *testing.T, s otp.Store, inbox *otptest.Inbox) *otp.Verifier {
	t.Helper()
	v, err := otp.NewVerifier(s, inbox, &otp.Options{Secrets: [][]byte{secret}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// send opens a challenge and returns its ID, its code and a wrong code.
func send(t *testing.T, v *otp.Verifier, inbox *otptest.Inbox) (id, code, wrong string) {
	t.Helper()
	challenge, err := v.Send(t.Context(), otp.Request{To: "ann@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	messages := inbox.Messages()
	code = messages[len(messages)-1].Code
	if wrong = "000000"; code == wrong {
		wrong = "000001"
	}
	return challenge.ID, code, wrong
}

func TestBoltStore_oneOfHundred(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "codes.db"))
	var inbox otptest.Inbox
	verifiers := []*otp.Verifier{newVerifier(t, store, &inbox), newVerifier(t, store, &inbox)}
	id, code, _ := send(t, verifiers[0], &inbox)
	var passed atomic.Int32
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range 100 {
		all.Go(func() {
			<-start
			_, err := verifiers[i%2].Check(t.Context(), id, code)
			switch {
			case err == nil:
				passed.Add(1)
			case !errors.Is(err, otp.ErrUnknown):
				t.Errorf("a lost race gave %v", err)
			}
		})
	}
	close(start)
	all.Wait()
	if n := passed.Load(); n != 1 {
		t.Errorf("the code was accepted %d times", n)
	}
}

func TestBoltStore_restart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "codes.db")
	var inbox otptest.Inbox
	var id, code, wrong string
	reopened := func(use func(*otp.Verifier)) {
		store := open(t, path)
		use(newVerifier(t, store, &inbox))
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	reopened(func(v *otp.Verifier) { id, code, wrong = send(t, v, &inbox) })
	for left := 5 - 1; left > 0; left-- {
		reopened(func(v *otp.Verifier) {
			c, err := v.Check(t.Context(), id, wrong)
			if !errors.Is(err, otp.ErrCode) || c.GuessesLeft != left {
				t.Fatalf("after a restart: %v, %d guesses left, want %d", err, c.GuessesLeft, left)
			}
		})
	}
	reopened(func(v *otp.Verifier) {
		if _, err := v.Send(t.Context(), otp.Request{To: "Ann@example.com"}); !errors.Is(err, otp.ErrLimited) {
			t.Fatalf("a second mail after a restart: %v", err)
		}
	})
	reopened(func(v *otp.Verifier) {
		if _, err := v.Check(t.Context(), id, code); err != nil {
			t.Fatal(err)
		}
	})
	reopened(func(v *otp.Verifier) {
		if _, err := v.Check(t.Context(), id, code); !errors.Is(err, otp.ErrUnknown) {
			t.Fatalf("a used code after a restart: %v", err)
		}
	})
}

// Calls return when their context ends, even if the disk does not answer.
func TestBoltStore_hangingDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "codes.db"))
	if ok, err := s.CompareAndSwap(t.Context(), "k", nil, []byte("one"), time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	tx, err := s.db.Begin(true) // blocks all other writes
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	next := []byte("two")
	for range 3 { // the first waits for bbolt, the others for its slot
		ok, err := s.CompareAndSwap(ctx, "k", []byte("one"), next, time.Hour)
		if ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(ok, err)
		}
	}
	copy(next, "xxx") // the caller owns it again
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	// The first swap was made after all, which is why the call had to return an error.
	ok, err := s.CompareAndSwap(t.Context(), "k", []byte("two"), []byte("three"), time.Hour)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestBoltStore_purge(t *testing.T) {
	s := newMovable(t)
	for i := range 20 {
		ttl := time.Minute
		if i%4 == 0 {
			ttl = time.Hour
		}
		if ok, err := s.CompareAndSwap(t.Context(), fmt.Sprintf("k%02d", i), nil, []byte("v"), ttl); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	s.Advance(2 * time.Minute)
	count := func() (n int) {
		err := s.db.View(func(tx *bbolt.Tx) error { n = tx.Bucket(bucket).Stats().KeyN; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, want := range []int{14, 8, 5, 5} { // 8 entries a call, 6 of them dead; then the last 4; then from the start
		if err := s.Purge(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != want {
			t.Fatalf("%d entries are left, want %d", n, want)
		}
	}
	if value, err := s.Load(t.Context(), "k04"); string(value) != "v" || err != nil {
		t.Errorf("a live entry: %q, %v", value, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Purge(ended, 8); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
