package bench

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

var pending = flag.Int("pending", 1_000_000, "`challenges` that are pending in BenchmarkPending")

// BenchmarkLogin is Send and the Check of the right code.
func BenchmarkLogin(b *testing.B) {
	compare(b, len(people), oneOrTwo, newBare(b).login(), newFlow(b, memory(), hand, nil).login("library"), floor(), pquerna)
}

// BenchmarkWrong is the Check of a wrong code.
func BenchmarkWrong(b *testing.B) {
	compare(b, len(people), oneOrTwo, newBare(b).wrong(), newFlow(b, memory(), hand, nil).wrong("library"))
}

// BenchmarkRendered is Send with a mail that is rendered and composed.
func BenchmarkRendered(b *testing.B) {
	mail := newMailer(b)
	f := newFlow(b, memory(), func(_ context.Context, m otp.Message) error {
		_, err := mail.compose(m.To.String(), m.Code, m.Reference, m.ID, m.SentAt)
		return err
	}, nil)
	library := way{"library", f.forget, func(i int) error {
		_, err := f.Send(context.Background(), otp.Request{To: people[i]})
		return err
	}}
	compare(b, 256, oneOrTwo, newBare(b).rendered(mail), library)
}

// BenchmarkPending is [BenchmarkLogin] while many challenges are pending,
// against a thousand. It also reports the heap that a pending challenge takes
// and the time of a full garbage collection.
func BenchmarkPending(b *testing.B) {
	few := newFlow(b, memory(), hand, nil)
	few.fill(b, 1000)
	before := heap()
	many := newFlow(b, otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: *pending + len(people)}), hand, nil)
	many.fill(b, *pending)
	size := float64(heap()-before) / float64(*pending)
	start := time.Now()
	runtime.GC()
	collection := float64(time.Since(start)) / float64(time.Millisecond)
	for _, workers := range oneOrTwo {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			pair(b, len(people), workers, few.login("thousand"), many.login("many"))
			b.ReportMetric(size, "B/pending")
			b.ReportMetric(collection, "ms/GC")
		})
	}
}

// heap returns the bytes in use after everything dead is gone.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var (
	oneOrTwo = []int{1, 2} // workers

	// people have one address for each turn of a block.
	people = func() (addresses [1024]string) {
		for i := range addresses {
			addresses[i] = fmt.Sprintf("person%04d@example.org", i)
		}
		return addresses
	}()
)

func memory() otp.Store { return otp.NewMemoryStore(nil) }

// A flow is a verifier and, for each turn of a block, a mailbox.
type flow struct {
	*otp.Verifier
	boxes [len(people)]mailbox
}

// A mailbox is a context that takes the code from the sender.
type mailbox struct {
	context.Context
	code string
}

type mailboxKey struct{}

func (m *mailbox) Value(key any) any {
	if key == (mailboxKey{}) {
		return m
	}
	return m.Context.Value(key)
}

// hand is a sender that only hands over the code.
func hand(ctx context.Context, m otp.Message) error {
	if box, ok := ctx.Value(mailboxKey{}).(*mailbox); ok {
		box.code = m.Code
	}
	return nil
}

func newFlow(b *testing.B, store otp.Store, send otp.SenderFunc, observer otp.Observer) *flow {
	secret := make([]byte, 32)
	rand.Read(secret)
	v, err := otp.NewVerifier(store, send, &otp.Options{
		Secrets: [][]byte{secret}, Observer: observer, StrangerStarts: []otp.Limit{{N: 10_000_000, Per: time.Second}},
	})
	require.NoError(b, err)
	f := &flow{Verifier: v}
	for i := range f.boxes {
		f.boxes[i].Context = context.Background()
	}
	return f
}

// fill makes n challenges for addresses that are not used again.
func (f *flow) fill(b *testing.B, n int) {
	for i := range n {
		_, err := f.Send(context.Background(), otp.Request{To: fmt.Sprintf("somebody%07d@example.org", i)})
		require.NoError(b, err)
	}
}

// forget makes n people new.
func (f *flow) forget(n int) error {
	for _, address := range people[:n] {
		if err := f.Forget(context.Background(), address); err != nil {
			return err
		}
	}
	return nil
}

// send sends a code to a person, and the code is in the box then.
func (f *flow) send(i int) (id string, box *mailbox, err error) {
	box = &f.boxes[i]
	c, err := f.Send(box, otp.Request{To: people[i]})
	return c.ID, box, err
}

func (f *flow) login(name string) way {
	return way{name, f.forget, func(i int) error {
		id, box, err := f.send(i)
		if err != nil {
			return err
		}
		_, err = f.Check(box, id, box.code)
		return err
	}}
}

func (f *flow) wrong(name string) way {
	var ids [len(people)]string
	return way{name, func(n int) error {
		if err := f.forget(n); err != nil {
			return err
		}
		for i := range n {
			id, box, err := f.send(i)
			if err != nil {
				return err
			}
			ids[i], box.code = id, testkit.WrongCode(box.code)
		}
		return nil
	}, func(i int) error {
		if _, err := f.Check(&f.boxes[i], ids[i], f.boxes[i].code); err != otp.ErrCode {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
		return nil
	}}
}

// pquerna makes and checks a time-based code. It keeps nothing, counts nothing
// and accepts a code again: less work than a mailed code is.
var pquerna = way{"pquerna-totp", nil, func(int) error {
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	code, err := totp.GenerateCode(secret, time.Now())
	if err == nil && !totp.Validate(code, secret) {
		err = errBroken
	}
	return err
}}
