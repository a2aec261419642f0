package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An entry of a sequence is a call, or a phantom: the change of a call whose
// answer nobody got.
type entry struct {
	client  int
	phantom bool
}

// serial reports whether the calls, one after the other in some order, answer
// the same and leave the same behind. The order must agree with the history: a
// call that ended before another one began comes first. A call whose store
// failed was made or was not made. If a store denied a swap that it made, and
// somebody else made the next one, the call may have been made twice.
func (e *enumeration) serial(ops []op, s *scheduler, out []string, all string) bool {
	for _, o := range ops {
		if o.fails != nil { // its failure is recorded in a second change
			return true
		}
	}
	profile := make([]string, len(ops))
	for i := range ops {
		switch {
		case out[i] == "store failed" && s.clients[i].overtaken:
			profile[i] = "unknown, twice"
		case out[i] == "store failed":
			profile[i] = "unknown"
		case s.clients[i].overtaken:
			profile[i] = "twice"
		}
	}
	key := strings.Join(profile, ",")
	list, ok := e.references[key]
	if !ok {
		list = e.sequences(ops, profile)
		e.references[key] = list
	}
	return slices.ContainsFunc(list, func(r reference) bool { return r.out == all && agrees(r.order, s) })
}

func agrees(order []int, s *scheduler) bool {
	for n, i := range order {
		for _, j := range order[n+1:] {
			if i != j && s.clients[j].last <= s.clients[i].first {
				return false
			}
		}
	}
	return true
}

// sequences runs the calls one after the other, in all orders.
func (e *enumeration) sequences(ops []op, profile []string) (list []reference) {
	for pick := new(choices); ; {
		var left []entry
		for i, p := range profile {
			switch p {
			case "":
				left = append(left, entry{i, false})
			case "twice":
				left = append(left, entry{i, false})
				if pick.pick(2) == 1 {
					left = append(left, entry{i, true})
				}
			case "unknown":
				if pick.pick(2) == 1 {
					left = append(left, entry{i, true})
				}
			case "unknown, twice":
				for range pick.pick(3) {
					left = append(left, entry{i, true})
				}
			}
		}
		var order []entry
		for len(left) > 0 {
			n := pick.pick(len(left))
			order = append(order, left[n])
			left = slices.Delete(left, n, n+1)
		}
		list = append(list, e.sequence(ops, order))
		if !pick.next() {
			return list
		}
	}
}

func (e *enumeration) sequence(ops []op, order []entry) reference {
	h := e.begin(e.scene)
	answers := make([]answer, len(ops))
	for i := range ops {
		answers[i] = answer{err: errStore, call: new(call)}
	}
	var r reference
	for _, en := range order {
		r.order = append(r.order, en.client)
		k := &call{fails: ops[en.client].fails}
		got, err := ops[en.client].run(h, e.verifiers[0], k)
		if errors.Is(err, errStore) {
			e.t.Fatal("a call failed without a fault")
		}
		if !en.phantom {
			answers[en.client] = answer{got, err, k}
		}
	}
	out := make([]string, len(ops))
	for i, o := range ops {
		out[i] = h.take(o, fmt.Sprintf("that of %d", i+1), answers[i])
	}
	r.out = strings.Join(out, "\n") + h.probe()
	return r
}
