package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// A bench has the verifiers of the enumerated histories. They are reused: each
// history has an address of its own, of which no cache has heard.
type bench struct {
	t         *testing.T
	now       time.Time
	store     *store
	verifiers [3]*otp.Verifier // of three processes; the last one looks at the result
	addresses int
}

// noon is when histories begin: a whole multiple of every grid of the rules.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T, o otp.Options) *bench {
	b := &bench{t: t}
	b.store = &store{now: func() time.Time { return b.now }, before: func(v visit) fault {
		if v.call.client == nil {
			return none
		}
		return v.call.client.wait(v)
	}}
	o.Now = b.store.now
	o.Observer = deaf
	o.Secrets = [][]byte{[]byte("a secret of at least thirty-two bytes")}
	for i := range b.verifiers {
		v, err := otp.NewVerifier(b.store, otp.SenderFunc(deliver), &o)
		if err != nil {
			t.Fatal(err)
		}
		b.verifiers[i] = v
	}
	return b
}

// deaf is an observer; without one, failures of the store would be logged.
var deaf = otp.ObserverFunc(func(context.Context, otp.Event) {})

// A code is a challenge of a history, with what was said about it.
type code struct {
	name          string
	id, text      string
	strong, known bool
	refused       bool // by the server of the recipient
	decoy         bool
	guesses       int   // that were left when it was opened
	lefts         []int // what wrong guesses were told
	accepted      int
	mustPass      bool // nobody typed it, and nobody else may have ended it
}

// A history is one address, from its starting state on.
type history struct {
	*bench
	scene   scene
	address string
	first   *code // the challenge of the starting state
	device  string
	codes   []*code
	mails   [2]int // in the minute, to strangers and known devices
	over    bool   // the first challenge cannot be passed from the start
	spent   int    // wrong guesses at the first challenge in the starting state
}

func (b *bench) begin(s scene) *history {
	b.addresses++
	b.now, b.store.values = noon, map[string]value{}
	h := &history{bench: b, scene: s, address: fmt.Sprintf("p%d@example.com", b.addresses)}
	s.set(h)
	return h
}

// later lets time pass; the mails of the starting state are then out of their
// minute.
func (h *history) later(d time.Duration) {
	h.now = h.now.Add(d)
	h.mails = [2]int{}
}

func lane(known bool) int {
	if known {
		return 1
	}
	return 0
}

// open opens the first challenge, undisturbed.
func (h *history) open(r otp.Request) *code {
	r.To = h.address
	c := new(call)
	got, err := h.verifiers[0].Send(c.context(), r)
	h.must(err)
	return h.note("first", got, c)
}

func (h *history) must(err error) {
	if err != nil {
		h.t.Fatalf("the starting state: %v", err)
	}
}

// find returns the code with an ID, or nil.
func (h *history) find(id string) *code {
	for _, c := range h.codes {
		if c.id == id {
			return c
		}
	}
	return nil
}

// note notes what a call answered about a challenge.
func (h *history) note(name string, got otp.Challenge, c *call) *code {
	for _, m := range c.mails {
		h.mails[lane(m.Known)]++
	}
	if got.ID == "" {
		return nil
	}
	known := h.find(got.ID)
	if known == nil {
		known = &code{name: name, id: got.ID, strong: got.Strong, known: got.KnownDevice, guesses: got.GuessesLeft}
		// If the store fails after the refusal, the code may stay what it was:
		// nobody has it.
		known.refused, known.decoy, known.text = c.fails != nil, c.fails != nil && !c.faulty, c.mails[0].Code
		h.codes = append(h.codes, known)
	}
	return known
}

// An answer is what one call of a verifier returned.
type answer struct {
	challenge otp.Challenge
	err       error
	call      *call
}

// errKind names an error without what differs from run to run.
func errKind(err error) string {
	var limit *otp.LimitError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errStore):
		return "store failed"
	case errors.As(err, &limit):
		return fmt.Sprintf("limited for %v (%s)", limit.RetryAfter, limit.Scope)
	}
	for _, known := range []error{otp.ErrCode, otp.ErrExpired, otp.ErrExhausted, otp.ErrUnknown, otp.ErrMalformed, otp.ErrSend} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "FAILED: " + err.Error()
}

// take notes an answer and describes it. It checks what must hold of each
// answer by itself.
func (h *history) take(o op, name string, a answer) string {
	kind := errKind(a.err)
	c := h.note(name, a.challenge, a.call)
	var limit *otp.LimitError
	if a.err != nil && (a.challenge.To != (otp.Address{}) || a.challenge.Device != "" || a.challenge.Vars != nil) {
		h.t.Errorf("%s: something was accepted with the error %v", o.name, a.err)
	}
	if a.err != nil && o.opens && c != nil && !errors.As(a.err, &limit) && !errors.Is(a.err, otp.ErrSend) {
		h.t.Errorf("%s: a challenge came with the error %v", o.name, a.err)
	}
	if kind == "store failed" {
		return kind
	}
	out := kind
	if c != nil {
		out += fmt.Sprintf(", %s: %d left", c.name, a.challenge.GuessesLeft)
		if c.strong {
			out += ", strong"
		}
		if c.known {
			out += ", known"
		}
	}
	if o.guesses && c != nil {
		switch {
		case a.err == nil:
			c.accepted++
		case errors.Is(a.err, otp.ErrCode):
			c.lefts = append(c.lefts, a.challenge.GuessesLeft)
		}
	}
	for _, m := range a.call.mails {
		out += ", mailed"
		if c != nil && m.Code != c.text {
			out += " another code"
		}
	}
	return out
}

// probe looks at the result: the state of every challenge, what the next
// requests get, and whether the codes pass.
func (h *history) probe() string {
	var b strings.Builder
	v := h.verifiers[2]
	for _, c := range h.codes {
		got, err := v.Status(context.Background(), c.id)
		fmt.Fprintf(&b, "\n%s: %s", c.name, errKind(err))
		if err == nil {
			fmt.Fprintf(&b, ", %d left, resend at %v", got.GuessesLeft, got.ResendAt.Sub(h.now))
		}
	}
	for _, r := range []otp.Request{{}, {Device: h.device}, {Proven: true}} {
		r.To = h.address
		got, err := v.Send(new(call).context(), r)
		fmt.Fprintf(&b, "\nnext: %s, %d left, strong %t, known %t", errKind(err), got.GuessesLeft, got.Strong, got.KnownDevice)
	}
	for _, c := range h.codes {
		_, err := v.Check(context.Background(), c.id, c.text)
		if err == nil {
			c.accepted++
		}
		fmt.Fprintf(&b, "\nright code of %s: %s", c.name, errKind(err))
	}
	return b.String()
}

// drain makes every wrong guess that is left and counts the verdicts at short
// codes that were not passed.
func (h *history) drain(passed *code) (wrong [2]int) {
	before := h.store.snapshot()
	for _, c := range h.codes {
		n := len(c.lefts)
		if c == h.first {
			n += h.spent
		}
		for {
			_, err := h.verifiers[2].Check(context.Background(), c.id, testkit.WrongCode(c.text))
			if !errors.Is(err, otp.ErrCode) {
				break
			}
			n++
		}
		if !c.strong && c != passed {
			wrong[lane(c.known)] += n
		}
	}
	h.store.values = before
	return wrong
}
