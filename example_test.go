package otp_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// The flow, from the address to the proof.
func Example() {
	ctx := context.Background()
	inbox := &otptest.Inbox{} // in an application, a *smtpsender.Sender
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	if err != nil {
		log.Fatal(err)
	}

	challenge, err := verifier.Send(ctx, otp.Request{To: "bob@example.com", Client: "192.0.2.1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent to", challenge.Masked)

	typed := inbox.Code("bob@example.com") // what the person reads in the mail
	challenge, err = verifier.Check(ctx, challenge.ID, typed)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("proven:", challenge.To.String())
	// Output:
	// sent to b***@example.com
	// proven: bob@example.com
}

// What a handler does with each answer.
func ExampleVerifier_Check() {
	ctx := context.Background()
	inbox := &otptest.Inbox{}
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	challenge, _ := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	code := inbox.Code("bob@example.com")

	for _, typed := range []string{"12345", "not " + code, testkit.WrongCode(code), code} {
		answer, err := verifier.Check(ctx, challenge.ID, typed)
		switch {
		case err == nil:
			fmt.Println("welcome")
		case errors.Is(err, otp.ErrMalformed):
			fmt.Println("that is not a code: copy it from the mail")
		case errors.Is(err, otp.ErrCode) && answer.GuessesLeft > 0:
			fmt.Println("wrong, guesses left:", answer.GuessesLeft)
		case errors.Is(err, otp.ErrCode), otp.NeedsResend(err):
			fmt.Println("offer a new code")
		case errors.Is(err, otp.ErrUnknown):
			fmt.Println("start again")
		default:
			fmt.Println("not verified, and the reason belongs in the log")
		}
	}
	// Output:
	// that is not a code: copy it from the mail
	// that is not a code: copy it from the mail
	// wrong, guesses left: 4
	// welcome
}

// A code that is good for one payment and nothing else.
func ExampleVerifier_For() {
	ctx := context.Background()
	inbox := &otptest.Inbox{}
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)

	pay := verifier.For("pay:inv-42:99.00EUR")
	challenge, _ := pay.Send(ctx, otp.Request{
		To:     "bob@example.com",
		Proven: true, // Bob is signed in, so strangers cannot use up his mails
		Vars:   map[string]string{"amount": "99.00 EUR"},
	})
	code := inbox.Code("bob@example.com")

	_, err := verifier.Check(ctx, challenge.ID, code)
	fmt.Println("as a login:", err)
	_, err = verifier.For("pay:inv-43:99.00EUR").Check(ctx, challenge.ID, code)
	fmt.Println("for another invoice:", err)
	answer, err := pay.Check(ctx, challenge.ID, code)
	fmt.Println("for this one:", err, answer.Purpose)
	// Output:
	// as a login: otp: no such challenge
	// for another invoice: otp: no such challenge
	// for this one: <nil> pay:inv-42:99.00EUR
}

// Asking again too soon says how long to wait.
func ExampleVerifier_Resend() {
	ctx := context.Background()
	now := time.Now()
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), &otptest.Inbox{}, &otp.Options{
		Now: func() time.Time { return now },
	})
	challenge, _ := verifier.Send(ctx, otp.Request{To: "bob@example.com"})

	_, err := verifier.Resend(ctx, challenge.ID)
	var limit *otp.LimitError
	if errors.As(err, &limit) {
		fmt.Println("wait", limit.RetryAfter)
	}

	now = now.Add(time.Minute)
	first := challenge.ID
	again, err := verifier.Resend(ctx, challenge.ID)
	if again.ID != "" {
		challenge = again // it may have a new ID: keep that one from now on
	}
	fmt.Println(err, "- the same code again:", challenge.ID == first)

	now = now.Add(10 * time.Minute)
	fresh, err := verifier.Resend(ctx, challenge.ID)
	fmt.Println(err, "- the same code again:", fresh.ID == first)
	// Output:
	// wait 1m0s
	// <nil> - the same code again: true
	// <nil> - the same code again: false
}

// What a page needs after a reload, without sending or counting anything.
func ExampleVerifier_Status() {
	ctx := context.Background()
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), &otptest.Inbox{}, nil)
	challenge, _ := verifier.Send(ctx, otp.Request{To: "bob@example.com"})

	status, err := verifier.Status(ctx, challenge.ID)
	fmt.Println(err, status.Masked, status.GuessesLeft)
	// Output: <nil> b***@example.com 5
}

// A device that has proven the address keeps a token, and from then on has
// budgets of its own, which strangers who ask for the address cannot spend.
func ExampleRequest_device() {
	ctx := context.Background()
	inbox := &otptest.Inbox{}
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	challenge, _ := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	proven, _ := verifier.Check(ctx, challenge.ID, inbox.Code("bob@example.com"))

	verifier.Send(ctx, otp.Request{To: "bob@example.com"}) // somebody asks, and again
	_, err := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	fmt.Println("a stranger:", errors.Is(err, otp.ErrLimited))
	_, err = verifier.Send(ctx, otp.Request{To: "bob@example.com", Device: proven.Device})
	fmt.Println("Bob's device:", err)
	// Output:
	// a stranger: true
	// Bob's device: <nil>
}

// Secrets, a rotation of them, and a longer life for codes that only prove an
// address.
func ExampleOptions() {
	old := []byte("an old secret: 32 random bytes..")
	fresh := []byte("a fresh secret: 32 random bytes.")
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.NewLogSender(os.Stderr), &otp.Options{
		Secrets:     [][]byte{fresh, old}, // the first seals, all open
		IndexSecret: old,                  // does not rotate
		Purposes: map[string]otp.PurposeOptions{
			"confirm-address": {TTL: 24 * time.Hour},
		},
		Sends: []otp.Limit{{N: 1, Per: 30 * time.Second}, {N: 5, Per: time.Hour}},
	})
	fmt.Println(verifier, err)
	// Output: Verifier{Purpose: login} <nil>
}

// Mail only to those who have an account, without telling who that is.
func ExampleOptions_admit() {
	ctx := context.Background()
	accounts := map[string]bool{"bob@example.com": true}
	inbox := &otptest.Inbox{}
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
		Admit: func(ctx context.Context, to otp.Address) (bool, error) {
			return accounts[to.Key()], nil
		},
	})

	for _, to := range []string{"bob@example.com", "eve@example.com"} {
		challenge, err := verifier.Send(ctx, otp.Request{To: to})
		_, wrong := verifier.Check(ctx, challenge.ID, "000000")
		fmt.Println(err, wrong)
	}
	fmt.Println("mails:", inbox.Len())
	// Output:
	// <nil> otp: wrong code
	// <nil> otp: wrong code
	// mails: 1
}

// Everything that happens, without secrets.
func ExampleObserverFunc() {
	ctx := context.Background()
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), &otptest.Inbox{}, &otp.Options{
		Observer: otp.ObserverFunc(func(_ context.Context, e otp.Event) {
			fmt.Println(e.Kind, e.Purpose, e.Masked)
		}),
	})
	verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	verifier.Send(ctx, otp.Request{To: "bob@example.com"})
	// Output:
	// asked login b***@example.com
	// sent login b***@example.com
	// asked login b***@example.com
	// limited login b***@example.com
}

// A sender that is no mail: a text message to a phone.
func ExampleSenderFunc() {
	sms := otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		// Call the provider here, and report what became of the message:
		// &otp.SendError{Temporary: true, Err: err} if it was certainly not sent and a
		// retry can help, &otp.SendError{Stage: "rcpt", Err: err} if there is no such recipient.
		fmt.Println("to", m.To.Masked(), "a code of", len(m.Code))
		return nil
	})
	phone := func(s string) (otp.Address, error) { return otp.NewAddress(s, s) }
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), sms, &otp.Options{ParseAddress: phone})
	_, err := verifier.Send(context.Background(), otp.Request{To: "+4915112345678"})
	fmt.Println(err)
	// Output:
	// to ***78 a code of 6
	// <nil>
}

// registerStore is a store of your own: a register with compare-and-swap and
// expiry. This one is a map; yours asks an engine, in one atomic step.
type registerStore struct {
	mu     sync.Mutex
	values map[string]register
}

type register struct {
	value []byte
	until time.Time
}

// live is the value under key, nil if there is none or its time is over.
func (s *registerStore) live(key string) []byte {
	if r := s.values[key]; time.Now().Before(r.until) {
		return r.value
	}
	return nil
}

func (s *registerStore) Load(ctx context.Context, key string) ([]byte, error) {
	if err := cmp.Or(ctx.Err(), otp.CheckKey(key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.live(key)), nil
}

func (s *registerStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if err := cmp.Or(ctx.Err(), otp.CheckSwap(key, old, new, ttl)); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.live(key), old) { // both nil: no value wanted, none there
		return false, nil
	}
	s.values[key] = register{bytes.Clone(new), time.Now().Add(ttl)}
	return true, nil
}

// The store of the README keeps the contract, too.
func TestRegisterStore(t *testing.T) {
	t.Parallel() // it waits in real time, since this store has no clock to move
	otptest.TestStore(t, func(*testing.T) otp.Store { return &registerStore{values: map[string]register{}} })
}

// A store of your own goes in as it is; otptest.TestStore holds it to its contract.
func ExampleStore() {
	store := &registerStore{values: map[string]register{}}
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(store, inbox, &otp.Options{
		Secrets: [][]byte{[]byte("32 random bytes that outlive you")},
	})
	if err != nil {
		log.Fatal(err)
	}
	challenge, _ := verifier.Send(context.Background(), otp.Request{To: "bob@example.com"})
	_, err = verifier.Check(context.Background(), challenge.ID, inbox.Code("bob@example.com"))
	fmt.Println(err)
	// Output: <nil>
}

func ExampleParseEmail() {
	for _, typed := range []string{
		"Mike@EXAMPLE.org",
		"ann@bücher.example ",
		"Ann <ann@example.org>",
		"ann@example",
	} {
		address, err := otp.ParseEmail(typed)
		if errors.Is(err, otp.ErrAddress) {
			fmt.Println(err)
			continue
		}
		fmt.Println(address.String())
	}
	// Output:
	// Mike@example.org
	// ann@xn--bcher-kva.example
	// otp: invalid address: it has a space
	// otp: invalid address: the domain has no dot
}

// An intranet has domains without a dot, and its server takes any name.
func ExampleEmailParser() {
	store, inbox := otp.NewMemoryStore(nil), &otptest.Inbox{}

	verifier, err := otp.NewVerifier(store, inbox, &otp.Options{
		ParseAddress: otp.EmailParser(otp.EmailOptions{UTF8: true, Dotless: true}),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, typed := range []string{"admin@localhost", "jürgen@bücher.example"} {
		challenge, err := verifier.Send(context.Background(), otp.Request{To: typed})
		fmt.Println(challenge.Masked, err)
	}
	// Output:
	// a***@localhost <nil>
	// j***@xn--bcher-kva.example <nil>
}

// The database has a unique index on the key.
func ExampleAddress_Key() {
	accounts := map[string]string{} // names by key

	signedUp, _ := otp.ParseEmail("Bob@example.com")
	accounts[signedUp.Key()] = "Bob"

	for _, typed := range []string{"bob@EXAMPLE.com", "bob+shop@example.com"} {
		address, _ := otp.ParseEmail(typed)
		name, found := accounts[address.Key()]
		fmt.Printf("%s %q %v\n", address.Key(), name, found)
	}
	// Output:
	// bob@example.com "Bob" true
	// bob+shop@example.com "" false
}

// A test site gives each tag a budget of its own: qa+1@example.com and
// qa+2@example.com are counted apart.
func ExampleOptions_parseAddress() {
	ctx := context.Background()

	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
		ParseAddress: func(typed string) (otp.Address, error) {
			a, err := otp.ParseEmail(typed)
			if err != nil {
				return otp.Address{}, err
			}
			return otp.NewAddress(a.String(), a.Key())
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, to := range []string{"qa+1@example.com", "qa+2@example.com", "QA+2@example.com"} {
		_, err := verifier.Send(ctx, otp.Request{To: to})
		fmt.Println(errors.Is(err, otp.ErrLimited))
	}
	// Output:
	// false
	// false
	// true
}

// fixedCode is a Generator for one account that strangers must be able to use,
// such as that of an app store's reviewers.
type fixedCode struct {
	otp.Generator // reads what is typed
	code          string
}

func (f fixedCode) Generate() (string, error) { return f.code, nil }

// A fixed code for the reviewers of an app store, who cannot read mail.
func ExampleOptions_purposes() {
	ctx := context.Background()
	store, mailer := otp.NewMemoryStore(nil), &otptest.Inbox{}
	os.Setenv("OTP_REVIEW_CODE", "831940275618")

	sender := otp.SenderFunc(func(ctx context.Context, m otp.Message) error {
		if m.Purpose == "review" {
			return nil // there is no mailbox
		}
		return mailer.Send(ctx, m)
	})
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Purposes: map[string]otp.PurposeOptions{
			"review": {Generator: fixedCode{otp.Digits(12), os.Getenv("OTP_REVIEW_CODE")}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	forAddress := func(typed string) *otp.Verifier {
		if a, err := otp.ParseEmail(typed); err == nil && a.Key() == "review@example.com" {
			return verifier.For("review")
		}
		return verifier
	}

	challenge, err := forAddress("review@example.com").Send(ctx, otp.Request{To: "review@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	answer, err := forAddress("review@example.com").Check(ctx, challenge.ID, "831940275618")
	fmt.Println(answer.To.String(), err)
	// Output: review@example.com <nil>
}

func ExampleAddress_Masked() {
	address, err := otp.ParseEmail("ann.lee@example.org")
	if err != nil {
		panic(err)
	}
	fmt.Println(address.Masked())
	fmt.Printf("%v %+v %q\n", address, address, address) // logs show no more
	fmt.Println(address.String())
	// Output:
	// a***@example.org
	// a***@example.org a***@example.org "a***@example.org"
	// ann.lee@example.org
}

func ExampleNewAddress() {
	// Any spelling of the number is counted as the same one.
	address, err := otp.NewAddress("+49 151 23456", "+4915123456")
	if err != nil {
		panic(err)
	}
	fmt.Println(address.String(), "is shown as", address.Masked())
	// Output:
	// +49 151 23456 is shown as ***56
}

func ExampleDigits() {
	g := otp.Digits(6)
	for _, typed := range []string{"042 137", "０４２１３７\n", "42137", "Your code is 042 137"} {
		code, ok := g.Normalize(typed)
		fmt.Printf("%q %v\n", code, ok)
	}
	// Output:
	// "042137" true
	// "042137" true
	// "" false
	// "" false
}

func ExampleLetters() {
	g := otp.Letters(14)
	code, ok := g.Normalize("b7kmo-xq2l-9dtzi")
	fmt.Println(code, ok)
	// Output:
	// B7KM0XQ219DTZ1 true
}

// A MemoryStore serves one process. A Verifier calls the store by itself; the
// calls here show what a store is.
func ExampleNewMemoryStore() {
	store := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 50_000})

	ctx := context.Background()
	created, err := store.CompareAndSwap(ctx, "key", nil, []byte("first"), time.Hour)
	fmt.Println(created, err)

	// Of all that swap the same value exactly one succeeds.
	swapped, err := store.CompareAndSwap(ctx, "key", []byte("first"), []byte("second"), time.Hour)
	fmt.Println(swapped, err)
	swapped, err = store.CompareAndSwap(ctx, "key", []byte("first"), []byte("third"), time.Hour)
	fmt.Println(swapped, err)

	value, err := store.Load(ctx, "key")
	fmt.Printf("%s %v\n", value, err)
	fmt.Println(store)
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// second <nil>
	// MemoryStore{Len: 1, Cap: 50000}
}

// A handler that asks for a code. The challenge stands even if err says that
// the mail may have gone out, or that the server rejected the recipient.
func ExampleVerifier_Send() {
	inbox := &otptest.Inbox{}
	verifier, _ := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)

	start := func(ctx context.Context, r *http.Request) error {
		held := ""
		if c, err := r.Cookie("challenge"); err == nil {
			held = c.Value
		}
		challenge, err := verifier.Send(ctx, otp.Request{
			To:     r.PostFormValue("email"),
			Client: r.RemoteAddr, // behind a proxy: the address that your proxy reports
			Locale: r.Header.Get("Accept-Language"),
			Held:   []string{held}, // the ID that this visitor has already, if any
		})
		if challenge.ID == "" {
			return err // no mail was sent: show why
		}
		fmt.Println("sent to", challenge.Masked)
		return nil
	}
	for _, typed := range []string{"bob", "bob@example.com"} {
		form := url.Values{"email": {typed}}
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := start(r.Context(), r); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// otp: invalid address: the @ is missing
	// sent to b***@example.com
}

// A store that several processes share, or that outlives them, needs a secret
// that does too.
func ExampleNewVerifier() {
	store := &registerStore{values: map[string]register{}}
	sender := otp.NewLogSender(os.Stderr)
	secret := []byte("32 random bytes that outlive you")

	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Secrets: [][]byte{secret}, // 32 random bytes, kept outside the store
	})
	fmt.Println(verifier, err)
	// Output: Verifier{Purpose: login} <nil>
}

// Secrets from the environment.
func ExampleSecretFromEnv() {
	store := &registerStore{values: map[string]register{}}
	sender := otp.NewLogSender(os.Stderr)
	os.Setenv("OTP_SECRET", "9f0c1d4a57e86b2390ad7cf1e2485b6d3c0f9182a7b4e5d60c1f2e3d4a5b6c70")
	os.Setenv("OTP_INDEX_SECRET", "short")

	secret, err := otp.SecretFromEnv("OTP_SECRET") // openssl rand -hex 32
	if err != nil {
		log.Fatal(err)
	}
	index, err := otp.SecretFromEnv("OTP_INDEX_SECRET") // another one
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Secrets:     [][]byte{secret},
		IndexSecret: index,
	})
	fmt.Println(verifier, err)
	// Output:
	// otp: environment variable OTP_INDEX_SECRET: neither hex nor base64; openssl rand -hex 32 makes a secret
}

// Secrets derived from the one secret that an application has.
func ExampleOptions_secrets() {
	store := &registerStore{values: map[string]register{}}
	sender := otp.NewLogSender(os.Stderr)
	os.Setenv("APP_SECRET", "9f0c1d4a57e86b2390ad7cf1e2485b6d3c0f9182a7b4e5d60c1f2e3d4a5b6c70")

	app := []byte(os.Getenv("APP_SECRET")) // 32 random bytes or more, in any encoding
	secret, err := hkdf.Key(sha256.New, app, nil, "example.com otp secret 1", 32)
	if err != nil {
		log.Fatal(err)
	}
	index, err := hkdf.Key(sha256.New, app, nil, "example.com otp index", 32)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Secrets:     [][]byte{secret},
		IndexSecret: index,
	})
	fmt.Println(verifier, err)
	// Output: Verifier{Purpose: login} <nil>
}

// Several observers.
func ExampleMultiObserver() {
	store, sender := otp.NewMemoryStore(nil), &otptest.Inbox{}
	secrets := [][]byte{[]byte("32 random bytes that outlive you")}
	stats := otp.ObserverFunc(func(_ context.Context, e otp.Event) { fmt.Println(e.Kind) })

	verifier, err := otp.NewVerifier(store, sender, &otp.Options{
		Secrets:  secrets,
		Observer: otp.MultiObserver(otp.NewLogObserver(nil), stats), // nil is slog.Default()
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}

// A test keeps the mails and moves the clock.
func ExampleOptions_now() {
	ctx := context.Background()

	inbox := &otptest.Inbox{}
	now := time.Now()
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, &otp.Options{
		Now: func() time.Time { return now }, // so that the test can move the clock
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		challenge, err := verifier.Send(ctx, otp.Request{To: "bob@example.com"})
		if err != nil {
			log.Fatal(err)
		}
		answer, err := verifier.Check(ctx, challenge.ID, inbox.Code("bob@example.com"))
		fmt.Println(answer.To.String(), err)
		now = now.Add(time.Minute) // else the second mail would be too early
	}
	// Output:
	// bob@example.com <nil>
	// bob@example.com <nil>
}

// A code after a password, on pages of your own. Whoever needs another code types
// the password again.
func ExampleRequest_password() {
	inbox := &otptest.Inbox{}
	verifier, err := otp.NewVerifier(otp.NewMemoryStore(nil), inbox, nil)
	if err != nil {
		log.Fatal(err)
	}
	user := struct{ Address string }{"bob@example.com"}
	var held string                                 // from a cookie
	afterPassword := verifier.For("login:password") // a purpose that nothing else has

	send := func() (otp.Challenge, error) {
		challenge, err := afterPassword.Send(ctx, otp.Request{
			To:        user.Address,
			Proven:    true, // the password was right
			NoRenewal: true, // another code takes the password again
			Held:      []string{held},
		})
		if challenge.ID == "" {
			return challenge, err // no mail was sent: show why
		}
		return challenge, nil // show the page for the code
	}
	check := func(id, typed string) string {
		answer, err := afterPassword.Check(ctx, id, typed)
		switch {
		case err == nil:
			return "signed in: " + answer.To.String()
		case errors.Is(err, otp.ErrCode) && answer.GuessesLeft > 0, errors.Is(err, otp.ErrMalformed):
			return "the page for the code, and what was wrong"
		case errors.Is(err, otp.ErrCode), otp.NeedsResend(err), errors.Is(err, otp.ErrUnknown):
			return "the page for the password"
		default:
			return "not verified, and the reason belongs in the log"
		}
	}

	challenge, err := send()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(check(challenge.ID, "hello"))
	fmt.Println(check(challenge.ID, inbox.Code("bob@example.com")))
	fmt.Println(check(challenge.ID, inbox.Code("bob@example.com")))
	// Output:
	// the page for the code, and what was wrong
	// signed in: bob@example.com
	// the page for the password
}
