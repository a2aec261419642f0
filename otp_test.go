package otp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otpevent"
)

// rig is a verifier with everything around it that a test looks at.
type rig struct {
	*otp.Verifier
	t     *testing.T
	clock *testkit.Clock
	store otp.Store

	mu     sync.Mutex
	mails  []otp.Message
	events []otp.Event
	fail   func(otp.Message) error // what the sender says; nil for success
}

// newRig makes a rig; opts gets clock, observer and a secret where it has none.
func newRig(t *testing.T, opts otp.Options) *rig {
	c := testkit.NewClock()
	return newRigOn(t, opts, c, otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now}))
}

func newRigOn(t *testing.T, opts otp.Options, c *testkit.Clock, store otp.Store) *rig {
	t.Helper()
	r := &rig{t: t, clock: c, store: store}
	if opts.Now == nil {
		opts.Now = c.Now
	}
	if opts.Secrets == nil {
		opts.Secrets = [][]byte{secret("A")}
	}
	if opts.Observer == nil {
		opts.Observer = r
	}
	v, err := otp.NewVerifier(store, rigSender{r}, &opts)
	require.NoError(t, err)
	r.Verifier = v
	return r
}

// secret makes a secret of 32 bytes from a name.
func secret(name string) []byte {
	return []byte(fmt.Sprintf("%-32s", "secret "+name))
}

// rigSender is the rig as a Sender.
type rigSender struct{ *rig }

func (r *rig) Observe(_ context.Context, e otp.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r rigSender) Send(_ context.Context, m otp.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		if err := r.fail(m); err != nil {
			return err
		}
	}
	r.mails = append(r.mails, m)
	return nil
}

// kinds are the kinds of the events so far, which it forgets.
func (r *rig) kinds() []otpevent.Kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []otpevent.Kind
	for _, e := range r.events {
		out = append(out, e.Kind)
	}
	r.events = nil
	return out
}

// last is the newest mail.
func (r *rig) last() otp.Message {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(r.t, r.mails, "no mail was sent")
	return r.mails[len(r.mails)-1]
}

func (r *rig) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mails)
}

// ask opens a challenge and returns it with its code.
func (r *rig) ask(req otp.Request) (otp.Challenge, string) {
	r.t.Helper()
	ch, err := r.Send(ctx, req)
	require.NoError(r.t, err)
	return ch, r.last().Code
}

// askAll opens n challenges for one address, as far apart as Sends wants.
func (r *rig) askAll(n int, req otp.Request) (ids, codes []string) {
	r.t.Helper()
	for range n {
		ch, code := r.ask(req)
		ids, codes = append(ids, ch.ID), append(codes, code)
		r.clock.Add(time.Millisecond)
	}
	return ids, codes
}

var ctx = context.Background()

const bob = "bob@example.com"

// wide takes the brakes off sending, for tests of something else.
var wide = []otp.Limit{{N: 100, Per: time.Second}}

// device gets a device token for an address.
func (r *rig) device(to string) string {
	r.t.Helper()
	ch, code := r.ask(otp.Request{To: to})
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(r.t, err)
	r.clock.Add(time.Second)
	return got.Device
}

func (r *rig) messageFor() otp.Message {
	r.clock.Add(time.Minute)
	r.ask(otp.Request{To: bob})
	return r.last()
}

// keyOf is the store key of a challenge's ledger: the ID's first 16 bytes.
func keyOf(t *testing.T, id string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(id)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(raw[:16])
}

// recordingStore keeps a copy of all that is written.
type recordingStore struct {
	otp.Store
	mu     sync.Mutex
	keys   []string
	values [][]byte
}

func (s *recordingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	s.keys = append(s.keys, key)
	s.values = append(s.values, bytes.Clone(new))
	s.mu.Unlock()
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

// together runs f n times at once and returns how often it gave each error.
func together(n int, f func(i int) error) map[error]int {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	count := map[error]int{}
	for _, err := range errs {
		count[err]++
	}
	return count
}

// countingStore counts its calls.
type countingStore struct {
	otp.Store
	mu           sync.Mutex
	loads, swaps int
}

func (s *countingStore) calls() [2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [2]int{s.loads, s.swaps}
}

func (s *countingStore) Load(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	s.loads++
	s.mu.Unlock()
	return s.Store.Load(ctx, key)
}

func (s *countingStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	s.swaps++
	s.mu.Unlock()
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

func always(err error) func(otp.Message) error { return func(otp.Message) error { return err } }

// faultyStore fails at the call whose number is at, counted from 1.
type faultyStore struct {
	otp.Store
	at    int64
	apply bool // a failing swap is made all the same
	n     atomic.Int64
}

var errDown = errors.New("store is down")

func (s *faultyStore) Load(ctx context.Context, key string) ([]byte, error) {
	if s.n.Add(1) == s.at {
		return nil, errDown
	}
	return s.Store.Load(ctx, key)
}

func (s *faultyStore) CompareAndSwap(ctx context.Context, key string, old, new []byte, ttl time.Duration) (bool, error) {
	if s.n.Add(1) == s.at {
		if s.apply {
			s.Store.CompareAndSwap(ctx, key, old, new, ttl)
		}
		return false, errDown
	}
	return s.Store.CompareAndSwap(ctx, key, old, new, ttl)
}

func TestFlow(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, err := r.Send(ctx, otp.Request{
		To: "Bob@EXAMPLE.com", Locale: "de", Client: "192.0.2.1:4711", Vars: map[string]string{"tenant": "blue"},
	})
	require.NoError(t, err)
	start := r.clock.Now()
	require.Len(t, ch.ID, 64)
	require.Equal(t, "B***@example.com", ch.Masked)
	require.Equal(t, "login", ch.Purpose)
	require.Len(t, ch.Reference, 4)
	require.Zero(t, ch.To)
	require.Nil(t, ch.Vars)
	require.Empty(t, ch.Device)
	require.False(t, ch.Strong)
	require.Equal(t, 5, ch.GuessesLeft)
	require.True(t, ch.SentAt.Equal(start))
	require.True(t, ch.ExpiresAt.Equal(start.Add(10*time.Minute)))
	require.True(t, ch.ResendAt.Equal(start.Add(time.Minute)))

	m := r.last()
	require.Equal(t, "Bob@example.com", m.To.String()) // E6, E7
	require.Regexp(t, `^\d{6}$`, m.Code)
	require.Equal(t, "login", m.Purpose)
	require.Equal(t, "de", m.Locale)
	require.Equal(t, ch.Reference, m.Reference)
	require.Equal(t, map[string]string{"tenant": "blue"}, m.Vars)
	require.True(t, m.ExpiresAt.Equal(ch.ExpiresAt))
	require.Equal(t, 10, m.Minutes())
	require.NotContains(t, ch.ID, m.ID)
	require.Len(t, m.ID, 26)

	status, err := r.Status(ctx, ch.ID)
	require.NoError(t, err)
	require.Equal(t, ch, status)

	got, err := r.Check(ctx, ch.ID, testkit.WrongCode(m.Code))
	require.ErrorIs(t, err, otp.ErrCode)
	require.Equal(t, 4, got.GuessesLeft)
	require.Equal(t, ch.ID, got.ID)
	require.Zero(t, got.To)
	require.Nil(t, got.Vars)
	require.Empty(t, got.Device)

	got, err = r.Check(ctx, ch.ID, m.Code[:3]+" "+m.Code[3:])
	require.NoError(t, err)
	require.Equal(t, m.To, got.To) // B13: the address that was mailed
	require.Equal(t, "login", got.Purpose)
	require.Equal(t, map[string]string{"tenant": "blue"}, got.Vars)
	require.NotEmpty(t, got.Device)

	_, err = r.Check(ctx, ch.ID, m.Code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	_, err = r.Status(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrUnknown)
	_, err = r.Resend(ctx, ch.ID)
	require.ErrorIs(t, err, otp.ErrUnknown)

	// D5
	require.Equal(t, []otpevent.Kind{
		otpevent.Asked, otpevent.Sent, otpevent.Wrong, otpevent.Verified,
		otpevent.Unknown, otpevent.Unknown, otpevent.Unknown,
	}, r.kinds())
}

// A7: nothing but the whole code is right, in any state of the challenge.
func TestCheck_exactMatchOnly(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	ch, code := r.ask(otp.Request{To: bob})
	used, usedCode := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, used.ID, usedCode)
	require.NoError(t, err)
	foreign := newRig(t, otp.Options{Secrets: [][]byte{secret("B")}})
	unknown, _ := foreign.ask(otp.Request{To: bob})
	for _, input := range []string{"", " ", "0", code[:5], code + "0", "0" + code, "null", "undefined", "\x00" + code, code + "\x00", code[:5] + "x"} {
		for name, id := range map[string]string{"live": ch.ID, "used": used.ID, "forged": unknown.ID, "empty": "", "short": ch.ID[:63], "long": ch.ID + "A"} {
			_, err := r.Check(ctx, id, input)
			require.Error(t, err, "%s %q", name, input)
			if id == ch.ID {
				require.ErrorIs(t, err, otp.ErrMalformed, "%q", input)
			}
		}
	}
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	require.Equal(t, bob, got.To.String())
}

// A1: no code, no challenge, no mail.
func TestSend_generatorFails(t *testing.T) {
	g := &brokenGenerator{Generator: otp.Digits(6)}
	r := newRig(t, otp.Options{Generator: g})
	g.err = errors.New("no randomness")
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, g.err)
	require.Zero(t, ch)
	require.Zero(t, r.sent())
	require.Zero(t, r.store.(*otp.MemoryStore).Len())
	require.Equal(t, []otpevent.Kind{otpevent.Asked, otpevent.Failed}, r.kinds())
}

type brokenGenerator struct {
	otp.Generator
	err error
}

func (g *brokenGenerator) Generate() (string, error) {
	if g.err != nil {
		return "", g.err
	}
	return g.Generator.Generate()
}

// fixedGenerator gives the codes of a list.
type fixedGenerator struct {
	otp.Generator
	codes []string
}

func (g *fixedGenerator) Generate() (string, error) {
	code := g.codes[0]
	if len(g.codes) > 1 {
		g.codes = g.codes[1:]
	}
	return code, nil
}

// A3: a code is a string and keeps its zeros.
func TestCheck_leadingZeros(t *testing.T) {
	r := newRig(t, otp.Options{Generator: &fixedGenerator{otp.Digits(6), []string{"000042"}}})
	ch, code := r.ask(otp.Request{To: bob})
	require.Equal(t, "000042", code)
	_, err := r.Check(ctx, ch.ID, "42")
	require.ErrorIs(t, err, otp.ErrMalformed)
	_, err = r.Check(ctx, ch.ID, "000042")
	require.NoError(t, err)
}

// B7: what is too long for a code, and what is no ID, costs no store work. Any
// other input costs a load.
func TestCheck_refusedWithoutStore(t *testing.T) {
	c := testkit.NewClock()
	store := &countingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	r := newRigOn(t, otp.Options{}, c, store)
	ch, code := r.ask(otp.Request{To: bob})
	before := store.calls()
	for _, input := range []string{"12345", "abc", strings.Repeat(" ", 57) + code + "0"} {
		got, err := r.Check(ctx, ch.ID, input)
		require.ErrorIs(t, err, otp.ErrMalformed)
		require.Equal(t, ch, got)
	}
	require.Equal(t, [2]int{before[0] + 3, before[1]}, store.calls())
	before = store.calls()
	for _, input := range []string{strings.Repeat("1", 1<<20), strings.Repeat(" ", 59) + code} {
		got, err := r.Check(ctx, ch.ID, input)
		require.ErrorIs(t, err, otp.ErrMalformed)
		require.Zero(t, got)
	}
	forged := []byte(ch.ID)
	for i := range forged {
		was := forged[i]
		forged[i] = 'A'
		if was == 'A' {
			forged[i] = 'B'
		}
		_, err := r.Check(ctx, string(forged), code)
		require.ErrorIs(t, err, otp.ErrUnknown)
		_, err = r.Resend(ctx, string(forged))
		require.ErrorIs(t, err, otp.ErrUnknown)
		_, err = r.Status(ctx, string(forged))
		require.ErrorIs(t, err, otp.ErrUnknown)
		forged[i] = was
	}
	_, err := r.Check(ctx, ch.ID[:32]+"\n"+ch.ID[33:], code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	require.Equal(t, before, store.calls())
}

// C6, E1: one address, and an error that does not repeat it.
func TestSend_badAddress(t *testing.T) {
	r := newRig(t, otp.Options{})
	for _, to := range []string{"", "a", "a,b@example.com", "a@example.com,b@example.com", "a b@example.com", "a@exam\nple.com", `"a> NOTIFY=NEVER"@example.com`, "<a@example.com>"} {
		_, err := r.Send(ctx, otp.Request{To: to})
		require.ErrorIs(t, err, otp.ErrAddress, "%q", to)
		if len(to) > 1 {
			require.NotContains(t, err.Error(), to)
		}
	}
	require.Zero(t, r.sent())
	require.Empty(t, r.kinds())
	require.ErrorIs(t, r.Forget(ctx, "nobody"), otp.ErrAddress)
}

// Rule 13: everything a caller passes is bounded.
func TestRequest_bounds(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	for name, req := range map[string]otp.Request{
		"vars too long":      {To: bob, Vars: map[string]string{"k": strings.Repeat("v", 512)}},
		"vars line break":    {To: bob, Vars: map[string]string{"k": "a\r\nBcc: b"}},
		"vars separator":     {To: bob, Vars: map[string]string{"k": "a\u2028b"}},
		"vars name":          {To: bob, Vars: map[string]string{"k\n": "a"}},
		"vars invalid UTF-8": {To: bob, Vars: map[string]string{"k": "\xff"}},
		"client":             {To: bob, Client: strings.Repeat("c", 129)},
	} {
		_, err := r.Send(ctx, req)
		require.Error(t, err, name)
		require.Zero(t, r.sent(), name)
	}
	for name, purpose := range map[string]string{
		"empty": "", "long": strings.Repeat("p", 129), "line break": "a\nb", "colon first": ":x", "invalid": "\xff",
	} {
		v := r.For(purpose)
		_, err := v.Send(ctx, otp.Request{To: bob})
		require.Error(t, err, name)
		ch, code := r.ask(otp.Request{To: bob})
		for _, call := range []func() error{
			func() error { _, err := v.Check(ctx, ch.ID, code); return err },
			func() error { _, err := v.Resend(ctx, ch.ID); return err },
			func() error { _, err := v.Status(ctx, ch.ID); return err },
		} {
			require.Error(t, call(), name)
		}
	}
	_, err := r.Send(ctx, otp.Request{To: bob, Vars: map[string]string{"k": strings.Repeat("v", 511)}, Client: strings.Repeat("c", 128)})
	require.NoError(t, err)
	_, err = r.For(strings.Repeat("p", 128)).Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
}

func TestSend_locale(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	for header, want := range map[string]string{
		"":                                   "",
		"de":                                 "de",
		"pt-br":                              "pt-BR",
		"fr;q=0.5, de-AT, en;q=0.7":          "de-AT,en,fr",
		"xx-invalid!!, tr":                   "tr",
		"*":                                  "",
		"de;q=0":                             "",
		"\r\nBcc: x":                         "",
		strings.Repeat("en-GB,", 1000):       "en-GB",
		"zh-Hant-TW,zh-Hans-CN,sr-Latn-RS,x": "zh-Hant-TW,zh-Hans-CN,sr-Latn-RS",
	} {
		r.ask(otp.Request{To: bob, Locale: header})
		require.Equal(t, want, r.last().Locale, "%.40q", header)
		require.LessOrEqual(t, len(r.last().Locale), 35)
	}
}

// lenientGenerator takes whatever is typed for its code.
type lenientGenerator struct {
	otp.Generator
	longest int
}

func (g *lenientGenerator) Normalize(input string) (string, bool) {
	g.longest = max(g.longest, len(input))
	return "123456", true
}

// B7: no generator sees more than 64 bytes.
func TestCheck_longInput(t *testing.T) {
	g := &lenientGenerator{Generator: &fixedGenerator{otp.Digits(6), []string{"123456"}}}
	r := newRig(t, otp.Options{Generator: g})
	ch, _ := r.ask(otp.Request{To: bob})
	_, err := r.Check(ctx, ch.ID, strings.Repeat("x", 65))
	require.ErrorIs(t, err, otp.ErrMalformed)
	_, err = r.Check(ctx, ch.ID, strings.Repeat("x", 64))
	require.NoError(t, err)
	require.Equal(t, 64, g.longest)
}

// An Options.ParseAddress that does not stand by its answers is found out: at
// once, and before a code is used up.
func TestParseAddress_unstable(t *testing.T) {
	suffix := ""
	r := newRig(t, otp.Options{Sends: wide, ParseAddress: func(s string) (otp.Address, error) {
		return otp.NewAddress(s, s+suffix)
	}})
	ch, code := r.ask(otp.Request{To: "+4915112345678"})
	suffix = "x" // the next release folds otherwise
	got, err := r.Check(ctx, ch.ID, code)
	require.ErrorContains(t, err, "ParseAddress")
	require.Zero(t, got)
	_, err = r.Resend(ctx, ch.ID)
	require.ErrorContains(t, err, "ParseAddress")
	suffix = "" // nothing is used up, not even where the clock has to be repaired
	r.clock.Add(5 * time.Minute)
	r.ask(otp.Request{To: "+4915112345678"})
	r.clock.Add(-4 * time.Minute)
	suffix = "x"
	_, err = r.Check(ctx, ch.ID, code)
	require.ErrorContains(t, err, "ParseAddress")
	suffix = ""
	got, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	require.Equal(t, "+4915112345678", got.To.String())
	require.Equal(t, "***78", got.Masked)

	for name, parse := range map[string]func(string) (otp.Address, error){
		"refuses its own": func(s string) (otp.Address, error) {
			if strings.HasPrefix(s, "ok:") {
				return otp.Address{}, otp.ErrAddress
			}
			return otp.NewAddress("ok:"+s, s)
		},
		"changes its own": func(s string) (otp.Address, error) { return otp.NewAddress("x"+s, s) },
		"gives none":      func(string) (otp.Address, error) { return otp.Address{}, nil },
	} {
		r := newRig(t, otp.Options{ParseAddress: parse})
		_, err := r.Send(ctx, otp.Request{To: "a"})
		require.ErrorContains(t, err, "ParseAddress", name)
		require.Zero(t, r.sent())
	}
}

// B13, B15: a code is good for its whole purpose and nothing else.
func TestPurpose_isWhole(t *testing.T) {
	r := newRig(t, otp.Options{Sends: wide})
	purposes := []string{"pay:inv-42:99.00EUR", "pay:inv-42:98.00EUR", "pay:inv-4", "pay", "Pay:inv-42:99.00EUR", "login"}
	for _, made := range purposes {
		ch, err := r.For(made).Send(ctx, otp.Request{To: bob})
		require.NoError(t, err)
		code := r.last().Code
		for _, asked := range purposes {
			if asked == made {
				continue
			}
			v := r.For(asked)
			_, err := v.Check(ctx, ch.ID, code)
			require.ErrorIs(t, err, otp.ErrUnknown)
			_, err = v.Resend(ctx, ch.ID)
			require.ErrorIs(t, err, otp.ErrUnknown)
			_, err = v.Status(ctx, ch.ID)
			require.ErrorIs(t, err, otp.ErrUnknown)
		}
		got, err := r.For(made).Check(ctx, ch.ID, code)
		require.NoError(t, err)
		require.Equal(t, made, got.Purpose)
		r.clock.Add(time.Second)
	}
}

// Forget frees everything, for all spellings and purposes.
func TestForget(t *testing.T) {
	r := newRig(t, otp.Options{})
	pay, err := r.For("pay").Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	code := r.last().Code
	require.Equal(t, 1, r.store.(*otp.MemoryStore).Len())
	require.NoError(t, r.Forget(ctx, "BOB+x@example.com"))
	require.Zero(t, r.store.(*otp.MemoryStore).Len())
	require.NoError(t, r.Forget(ctx, bob), "nothing there is no error")
	_, err = r.For("pay").Check(ctx, pay.ID, code)
	require.ErrorIs(t, err, otp.ErrUnknown)
	r.ask(otp.Request{To: bob})
	require.Contains(t, r.kinds(), otpevent.Forgotten)
}

// The locale that a sender sees is short and made of language tags, whatever the
// browser sent.
func FuzzLocale(f *testing.F) {
	for _, header := range []string{"", "de", "de-CH, fr;q=0.9, en;q=0.8, *;q=0.5", "*", "en;q=0", "en;q=NaN", "AA,AA;q=2", "en;q=1e9", "zh-Hant-TW-u-co-phonebk-x-a-very-long-private-use", "x-only", "i-klingon", "und, mul", ",,,;;;=", "\x00\n\xff", strings.Repeat("de,", 400), strings.Repeat("a", 600)} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		seen := "unset"
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), otp.SenderFunc(func(_ context.Context, m otp.Message) error {
			seen = m.Locale
			return nil
		}), nil)
		require.NoError(t, err)
		_, err = v.Send(t.Context(), otp.Request{To: "a@acme.example", Locale: header})
		require.NoError(t, err, "no header is the person's fault")
		require.LessOrEqual(t, len(seen), 35)
		if seen == "" {
			return
		}
		for tag := range strings.SplitSeq(seen, ",") {
			_, err := language.Parse(tag)
			require.NoError(t, err, "%q of %q", tag, seen)
		}
		first := seen
		_, err = v.Send(t.Context(), otp.Request{To: "b@acme.example", Locale: first})
		require.NoError(t, err)
		require.Equal(t, first, seen, "what came out goes in again")
	})
}
