package model

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-mailotp/otp/internal/testkit"
)

// Linearizability means: whatever several clients do at once, there is an order of
// their calls in which a simple specification gives the same answers. In it, each
// call stands between the moment it was made and the moment it was answered.
// porcupine looks for that order.

// linPatience bounds the search for one order. A longer search is a failure:
// histories must be so short that the search takes milliseconds.
const linPatience = 5 * time.Minute

// linForever is the end of a call whose outcome is unknown: it may still take
// effect.
const linForever = int64(1) << 62

// A linHistory is what some clients did at once.
type linHistory struct {
	clock   atomic.Int64 // counts calls and answers: exact, unlike time
	clients [][]porcupine.Operation
}

func newLinHistory(clients int) *linHistory {
	return &linHistory{clients: make([][]porcupine.Operation, clients)}
}

// note makes a call for a client and records it. A client makes one call at a
// time. do returns the input, the output and whether the outcome is known.
func (h *linHistory) note(client int, do func() (input, output any, known bool)) porcupine.Operation {
	op := porcupine.Operation{ClientId: client, Call: h.clock.Add(1)}
	var known bool
	op.Input, op.Output, known = do()
	op.Return = h.clock.Add(1)
	if !known {
		op.Return = linForever
	}
	h.clients[client] = append(h.clients[client], op)
	return op
}

func (h *linHistory) operations() []porcupine.Operation { return slices.Concat(h.clients...) }

// linAtOnce lets n clients work at once, each with its own dice.
func linAtOnce(n int, seed uint64, work func(client int, dice *rand.Rand)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for client := range n {
		dice := rand.New(rand.NewPCG(seed, uint64(client)))
		all.Go(func() {
			<-start
			work(client, dice)
		})
	}
	close(start)
	all.Wait()
}

// linPause lets other clients run, or not.
func linPause(dice *rand.Rand) {
	for range dice.IntN(4) {
		runtime.Gosched()
	}
}

// linAll makes n histories, or by day a fifth of them, and fails at the first that
// has no order.
func linAll(t *testing.T, m porcupine.Model, n int, produce func(seed uint64) []porcupine.Operation) {
	t.Helper()
	n = testkit.Rounds(n/5, n)
	if testing.Short() {
		n /= 10
	}
	count := 0
	base := rand.Uint64()
	for i := range n {
		ops := produce(base + uint64(i))
		count += len(ops)
		if got := porcupine.CheckOperationsTimeout(m, ops, linPatience); got != porcupine.Ok {
			t.Fatalf("history %d of seed %d is %s:\n%s", i, base, got, linShow(ops))
		}
	}
	t.Logf("%d histories, %d operations, seed %d", n, count, base)
}

// linNotAll makes histories of something broken until one has no order.
func linNotAll(t *testing.T, m porcupine.Model, produce func(seed uint64) []porcupine.Operation) {
	t.Helper()
	const n = 500
	for i := range n {
		if porcupine.CheckOperationsTimeout(m, produce(uint64(i)), linPatience) == porcupine.Illegal {
			t.Logf("caught in history %d", i+1)
			return
		}
	}
	t.Fatalf("%d histories of something broken have an order each", n)
}

// linShow writes a history in the order of its calls.
func linShow(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, op := range ops {
		end := fmt.Sprint(op.Return)
		if op.Return == linForever {
			end = "?"
		}
		fmt.Fprintf(&b, "%4d to %4s  client %d  %+v -> %+v\n", op.Call, end, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}
