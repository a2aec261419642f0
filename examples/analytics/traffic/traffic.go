// Package traffic simulates people who ask for codes and type them, with a real
// otp.Verifier on a simulated clock. So its Observer receives only what can
// really happen: rate limits, resends, strong codes. At one mail provider there
// can be an outage, and somebody can guess.
package traffic

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// Options configure [Play]. All fields but Outage and Attack are required.
type Options struct {
	// Start is when the traffic begins.
	Start time.Time
	// End is when it ends.
	End time.Time
	// PerDay is the number of people who ask for a code on an ordinary day.
	PerDay int
	// Seed selects the traffic: the same seed simulates the same traffic.
	Seed uint64
	// Observer receives the events.
	Observer otp.Observer
	// Mail is called with the outcome of a mail at a provider: sent or failed.
	Mail func(message, provider string, outcome otpevent.Outcome)
	// Minute is called at the end of each simulated minute, after everything
	// that happens in it.
	Minute func(now time.Time) error
	// Outage is when the mail provider of OutageDomain begins to deliver late,
	// for OutageLength. Zero means never.
	Outage time.Time
	// Attack is when somebody begins to guess at many addresses, for
	// AttackLength. Zero means never.
	Attack time.Time
}

// The incidents.
const (
	OutageDomain = "outlook.com"
	OutageLength = 4*time.Hour + 20*time.Minute
	AttackLength = 2*time.Hour + 30*time.Minute
)

// App returns the client app of a request from its context. Use it as
// otpstats.Options.App.
func App(ctx context.Context) string {
	app, _ := ctx.Value(appKey{}).(string)
	return app
}

type appKey struct{}

// world is the simulation: the clock and what will happen, in order.
type world struct {
	Options
	now      time.Time
	rng      *rand.Rand
	verifier *otp.Verifier
	todo     agenda
	mailed   otp.Message   // the last mail
	late     time.Duration // of the last mail
}

// Play simulates the traffic. It ends early with the error of Minute or of ctx.
func Play(ctx context.Context, o Options) error {
	w := &world{Options: o, now: o.Start, rng: rand.New(rand.NewPCG(o.Seed, 2))}
	clock := func() time.Time { return w.now }
	var err error
	w.verifier, err = otp.NewVerifier(otp.NewMemoryStore(&otp.MemoryOptions{Now: clock}), otp.SenderFunc(w.send), &otp.Options{
		Now: clock, Observer: o.Observer, Admit: w.admit,
	})
	if err != nil {
		return err
	}
	if !o.Attack.IsZero() {
		w.at(o.Attack, w.attack)
	}
	for next := o.Start; next.Before(o.End); next = next.Add(time.Minute) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for range w.poisson(float64(o.PerDay) * rush(next) / (24 * 60)) {
			w.at(next.Add(w.within(time.Minute)), w.arrive)
		}
		for len(w.todo) > 0 && w.todo[0].at.Before(next.Add(time.Minute)) {
			task := heap.Pop(&w.todo).(task)
			w.now = task.at
			task.do()
		}
		w.now = next.Add(time.Minute)
		if err := o.Minute(w.now); err != nil {
			return err
		}
	}
	return nil
}

// admit finds an account for nearly everybody.
func (w *world) admit(_ context.Context, to otp.Address) (bool, error) {
	return to.String()[0] != 'z', nil // names of strangers begin with z
}

// send sends the mail with one of two providers: the second if the first fails.
func (w *world) send(_ context.Context, m otp.Message) error {
	w.mailed = m
	w.late = time.Duration(w.lognormal(6, 0.7) * float64(time.Second))
	if w.chance(0.015) {
		w.late = time.Minute + w.within(7*time.Minute) // greylisted
	}
	if m.To.Domain() == OutageDomain && w.outage() && w.chance(0.9) {
		w.late = 20*time.Minute + w.within(50*time.Minute) // accepted, but delivered late
	}
	provider := "north"
	if w.chance(0.02) {
		w.Mail(m.ID, provider, otpevent.MailFailed)
		provider = "south"
	}
	if w.chance(0.001) {
		w.Mail(m.ID, provider, otpevent.MailFailed)
		return &otp.SendError{Temporary: true, Stage: "connect", Err: errors.New("connection refused")}
	}
	w.Mail(m.ID, provider, otpevent.MailSent)
	return nil
}

func (w *world) outage() bool {
	since := w.now.Sub(w.Outage)
	return !w.Outage.IsZero() && since >= 0 && since < OutageLength
}

// rush returns how many people come at a time of the week, relative to the
// average.
func rush(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60
	day := 0.25 + 0.95*math.Exp(-math.Pow((hour-10.5)/3.2, 2)) + 1.05*math.Exp(-math.Pow((hour-19.5)/2.8, 2))
	if weekday := t.Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		day *= 0.72
	}
	return day / 0.64
}

// task is something that will happen.
type task struct {
	at time.Time
	do func()
}

func (w *world) at(t time.Time, do func()) { heap.Push(&w.todo, task{t, do}) }

func (w *world) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// agenda is a heap of tasks, the earliest first.
type agenda []task

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(t any)        { *a = append(*a, t.(task)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) within(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// lognormal returns a random number with the given median.
func (w *world) lognormal(median, sigma float64) float64 {
	return median * math.Exp(sigma*w.rng.NormFloat64())
}

func (w *world) poisson(mean float64) int {
	n, p, limit := 0, w.rng.Float64(), math.Exp(-mean)
	for ; p > limit; n++ {
		p *= w.rng.Float64()
	}
	return n
}

// pick chooses a value at random, by weight.
func pick[T any](w *world, list []weighted[T]) T {
	sum := 0.0
	for _, e := range list {
		sum += e.weight
	}
	at := w.rng.Float64() * sum
	for _, e := range list {
		if at -= e.weight; at < 0 {
			return e.value
		}
	}
	return list[0].value
}

type weighted[T any] struct {
	value  T
	weight float64
}

func (w *world) ip() string {
	return fmt.Sprintf("198.%d.%d.%d", 18+w.rng.IntN(2), w.rng.IntN(256), 1+w.rng.IntN(254))
}
