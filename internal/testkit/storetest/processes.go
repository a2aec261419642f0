package storetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// childEnv is set for a test program that is a child of Processes. Its value says
// how to open the store.
const childEnv = "OTP_TEST_CHILD"

// Child is for TestMain. If this program is a child of [Processes], Child opens a
// store as the parent says, makes the guesses that the parent asks for, and exits.
func Child(open func(how string) (otp.Store, error)) {
	how, ok := os.LookupEnv(childEnv)
	if !ok {
		return
	}
	if err := runChild(open, how); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// task is perChild guesses at once, in turn for each of the challenges.
type task struct{ IDs, Codes []string }

const perChild = 50

func runChild(open func(string) (otp.Store, error), how string) error {
	store, err := open(how)
	if err != nil {
		return err
	}
	v, err := otp.NewVerifier(store, new(otptest.Inbox), &otp.Options{Secrets: [][]byte{[]byte(Secret)}})
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var task task
		if err := in.Decode(&task); err != nil {
			return nil // the parent has ended
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		count := together(perChild, func(i int) error {
			_, err := v.Check(ctx, task.IDs[i%len(task.IDs)], task.Codes[i%len(task.Codes)])
			return err
		})
		cancel()
		if err := out.Encode(count); err != nil {
			return err
		}
	}
}

// Processes lets two processes guess (four in nightly runs), each with 50 guesses at
// once. The processes are this test program, whose TestMain must call [Child]; how
// tells them how to open the store.
func Processes(t *testing.T, store otp.Store, how string, rounds int) {
	inbox := new(otptest.Inbox)
	v := NewVerifier(t, store, inbox)
	var children []*child
	for range testkit.Rounds(2, 4) {
		children = append(children, startChild(t, how))
	}
	total := perChild * len(children)
	all := func(task task) map[string]int {
		for _, c := range children {
			c.send(t, task)
		}
		sum := map[string]int{}
		for _, c := range children {
			for name, n := range c.receive(t) {
				sum[name] += n
			}
		}
		return sum
	}
	t.Run("wrong guesses", func(t *testing.T) { // B1
		for range rounds {
			id, code := ask(t, v, inbox, newAddress())
			expect(t, all(task{[]string{id}, []string{testkit.WrongCode(code)}}), map[string]int{"wrong": guesses, "exhausted": total - guesses})
		}
	})
	t.Run("right guesses", func(t *testing.T) { // B2
		for range rounds {
			id, code := ask(t, v, inbox, newAddress())
			expect(t, all(task{[]string{id}, []string{code}}), map[string]int{"right": 1, "unknown": total - 1})
		}
	})
	t.Run("budget of an address", func(t *testing.T) { // B1, B3
		for range rounds {
			to := newAddress()
			var task task
			for range short {
				id, code := ask(t, v, inbox, to)
				task.IDs, task.Codes = append(task.IDs, id), append(task.Codes, testkit.WrongCode(code))
			}
			expect(t, all(task), map[string]int{"wrong": budget, "exhausted": total - budget})
		}
	})
}

type child struct {
	in  *json.Encoder
	out *json.Decoder
}

func startChild(t *testing.T, how string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+how)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("a child ended with", err)
		}
	})
	return &child{json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

func (c *child) send(t *testing.T, task task) {
	if err := c.in.Encode(task); err != nil {
		t.Fatal(err)
	}
}

func (c *child) receive(t *testing.T) (count map[string]int) {
	if err := c.out.Decode(&count); err != nil {
		t.Fatal(err)
	}
	return count
}
