package otptest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// TableStore stands for your own store.
type TableStore struct{ otp.Store }

func NewTableStore(*testing.T) *TableStore { return &TableStore{otp.NewMemoryStore(nil)} }

// This is all that the test of your own store needs. Each subtest gets a new
// store, for example one on an empty table.
func ExampleTestStore() {
	test := func(t *testing.T) { // func TestTableStore(t *testing.T)
		otptest.TestStore(t, func(t *testing.T) otp.Store {
			return NewTableStore(t)
		})
	}
	_ = test
}

// SteppedStore is a store with the method Advance: the suite moves its clock
// instead of waiting.
type SteppedStore struct {
	otp.Store
	now time.Time
}

func (s *SteppedStore) Advance(d time.Duration) { s.now = s.now.Add(d) }

// A store whose clock can be moved is tested without waiting.
func ExampleTestStore_advance() {
	test := func(t *testing.T) { // func TestSteppedStore(t *testing.T)
		otptest.TestStore(t, func(t *testing.T) otp.Store {
			s := &SteppedStore{now: time.Now()}
			s.Store = otp.NewMemoryStore(&otp.MemoryOptions{Now: func() time.Time { return s.now }})
			return s
		})
	}
	_ = test
}

// A sender is tested together with the far end that it sends to.
func ExampleTestSender() {
	test := func(t *testing.T) { // func TestMySender(t *testing.T)
		otptest.TestSender(t, func(t *testing.T) otptest.SenderUnderTest {
			var inbox otptest.Inbox
			return otptest.SenderUnderTest{
				Sender: &inbox,
				Received: func() (all []otptest.Delivery) {
					for _, m := range inbox.Messages() {
						all = append(all, otptest.Delivery{To: m.To.String(), Text: m.Code})
					}
					return all
				},
			}
		})
	}
	_ = test
}

// The test of an application reads the code as a person would read the mail.
func ExampleInbox() {
	var inbox otptest.Inbox // give &inbox to otp.NewVerifier

	to, err := otp.ParseEmail("ann@example.com")
	if err != nil {
		panic(err)
	}
	if err := inbox.Send(context.Background(), otp.Message{To: to, Code: "042917"}); err != nil {
		panic(err)
	}
	fmt.Println(inbox.Len(), inbox.Code("ann@example.com"))
	// Output: 1 042917
}
