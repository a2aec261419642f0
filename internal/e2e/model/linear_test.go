// Package model holds tests that need more than the root module may require.
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
)

// Linearizability: whatever several clients do at once, there is an order, one
// call after the other and none before it was made or after it was answered, in
// which a simple specification gives the same answers. porcupine looks for it.

// linPatience bounds the search for one order. What takes longer counts as a
// failure: histories must be so short that it never does.
const linPatience = 20 * time.Second

// linForever is the end of a call whose outcome is unknown: it may still take
// effect.
const linForever = int64(1) << 62

// linHistory is what some clients did at once.
type linHistory struct {
	clock   atomic.Int64 // counts calls and answers: exact, unlike time
	clients [][]porcupine.Operation
}

func newLinHistory(clients int) *linHistory {
	return &linHistory{clients: make([][]porcupine.Operation, clients)}
}

// note makes a call for a client, who makes one at a time, and keeps it. do
// returns what went in, what came out and whether the outcome is known.
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

// linAtOnce lets n clients work at once, each with dice of its own.
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

// linPause lets others run in between, or not.
func linPause(dice *rand.Rand) {
	for range dice.IntN(4) {
		runtime.Gosched()
	}
}

// linAll makes n histories and fails at the first that has no order.
func linAll(t *testing.T, m porcupine.Model, n int, produce func(seed uint64) []porcupine.Operation) {
	t.Helper()
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
