package otptest_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
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

// A test server for Playwright or Cypress serves the application together with
// its inbox. Make it a program of its own, so that the program in production
// contains no inbox, and let it listen on a local address only.
func ExampleInbox_ServeHTTP() {
	inbox := &otptest.Inbox{}
	mux := http.NewServeMux()
	mux.Handle("/", newApp(inbox)) // the application sends its mail to the inbox
	mux.Handle("/test/inbox", inbox)
	server := httptest.NewServer(mux) // in a program: http.ListenAndServe("localhost:8080", mux)
	defer server.Close()

	// The application does this, during the test.
	to, err := otp.ParseEmail("ann@example.com")
	if err != nil {
		log.Fatal(err)
	}
	sent := time.Date(2026, 5, 4, 12, 2, 0, 0, time.UTC)
	err = inbox.Send(context.Background(), otp.Message{
		ID: "4K2M6RQ1V0TZB8X3WJ5YHNPD7C", To: to, Code: "042917", Purpose: "login", Locale: "en",
		Reference: "KMPT", SentAt: sent, ExpiresAt: sent.Add(10 * time.Minute),
	})
	if err != nil {
		log.Fatal(err)
	}

	// The test does this, in another process.
	response, err := http.Get(server.URL + "/test/inbox?to=ann@example.com&wait=10s")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.ReplaceAll(string(body), ",", ",\n "))
	// Output:
	// [{"id":"4K2M6RQ1V0TZB8X3WJ5YHNPD7C",
	//  "to":"ann@example.com",
	//  "code":"042917",
	//  "purpose":"login",
	//  "locale":"en",
	//  "reference":"KMPT",
	//  "known":false,
	//  "sent_at":"2026-05-04T12:02:00Z",
	//  "expires_at":"2026-05-04T12:12:00Z"}]
}
