package sim

import (
	"fmt"
	"strings"
)

// choices enumerates the leaves of a tree of decisions, depth first. A run asks
// pick at each decision; next prepares the run of the next leaf.
type choices struct {
	taken, sizes []int
	at           int
}

// pick returns one of n alternatives.
func (c *choices) pick(n int) int {
	if c.at == len(c.taken) {
		c.taken, c.sizes = append(c.taken, 0), append(c.sizes, n)
	}
	if c.sizes[c.at] != n {
		panic(fmt.Sprintf("decision %d has %d alternatives, and had %d: the run is not deterministic", c.at, n, c.sizes[c.at]))
	}
	c.at++
	return c.taken[c.at-1]
}

// next moves on to the next leaf and returns false after the last one.
func (c *choices) next() bool {
	if c.at != len(c.taken) {
		panic("a run made fewer decisions than before: it is not deterministic")
	}
	c.at = 0
	for n := len(c.taken) - 1; n >= 0; n-- {
		if c.taken[n]++; c.taken[n] < c.sizes[n] {
			return true
		}
		c.taken, c.sizes = c.taken[:n], c.sizes[:n]
	}
	return false
}

// A client is a goroutine that makes one call of a verifier. It waits before
// each call of the store until the scheduler lets it go on.
type client struct {
	s       *scheduler
	n       int
	resume  chan fault
	waiting visit // what it is about to do
	done    bool
	first   int // the step at which it went on for the first time
	last    int // the number of steps when it was done
	faults  []fault

	denied    bool // and it has not looked again since
	overtaken bool // somebody else made a swap before it looked again
}

// A scheduler runs clients one at a time. In all of one history at most
// maxFaults calls of the store go wrong.
type scheduler struct {
	clients   []*client
	stopped   chan *client // it waits or is done
	steps     []string
	maxFaults int
}

// run runs one history: the decisions are which client goes on and which fault
// it meets.
func (s *scheduler) run(pick *choices, programs ...func(*client)) {
	s.stopped = make(chan *client)
	for n, program := range programs {
		c := &client{s: s, n: n, resume: make(chan fault), first: -1}
		s.clients = append(s.clients, c)
		go func() {
			program(c)
			c.done = true
			s.stopped <- c
		}()
		<-s.stopped
	}
	for faults := 0; ; {
		type option struct {
			c *client
			f fault
		}
		var options []option
		for _, c := range s.clients {
			if c.done {
				continue
			}
			options = append(options, option{c, none})
			if faults < s.maxFaults {
				options = append(options, option{c, failed})
				if c.waiting.swap {
					options = append(options, option{c, lost}, option{c, denied})
				}
			}
		}
		if len(options) == 0 {
			return
		}
		o := options[pick.pick(len(options))]
		if o.f != none {
			faults++
			o.c.faults = append(o.c.faults, o.f)
		}
		for _, c := range s.clients {
			c.overtaken = c.overtaken || c.denied && c != o.c && o.c.waiting.swap
		}
		o.c.denied = o.f == denied
		if o.c.first < 0 {
			o.c.first = len(s.steps)
		}
		s.steps = append(s.steps, fmt.Sprintf("%d:%v%v", o.c.n+1, o.c.waiting, o.f))
		o.c.resume <- o.f
		<-s.stopped
		o.c.last = len(s.steps)
	}
}

// wait is called by the store before each call.
func (c *client) wait(v visit) fault {
	c.waiting = v
	c.s.stopped <- c
	return <-c.resume
}

func (s *scheduler) String() string { return strings.Join(s.steps, " ") }
