package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/relay"
)

var (
	loadFor     = flag.Duration("duration", 3*time.Second, "how long TestLoad runs")
	loadClients = flag.Int("clients", 200, "how many people sign in at once in TestLoad, repeatedly")
)

// If many people sign in at once, there is no server error, nobody gets in
// without the code that was mailed to the address, and memory grows only by
// what the store keeps.
func TestLoad(t *testing.T) { // B2
	testkit.Long(t)
	store := &timedStore{Store: otp.NewMemoryStore(nil)}
	before := runtime.NumGoroutine()

	inbox, err := newInbox(10 * *loadClients)
	require.NoError(t, err)
	l := &load{t: t, inbox: inbox, delivered: map[string]string{}, arrivals: map[string]chan struct{}{}}
	queue, err := relay.NewQueue(otp.SenderFunc(l.deliver), nil)
	require.NoError(t, err)
	l.app, err = newApp(config{store: store, secret: []byte(rand.Text() + rand.Text()), queue: queue, proxies: loopback, inbox: inbox, now: time.Now})
	require.NoError(t, err)
	log.SetOutput(io.Discard) // the server logs clients that disconnect at the end
	defer log.SetOutput(os.Stderr)
	server := httptest.NewServer(l)
	l.url, l.transport = server.URL, &http.Transport{MaxIdleConns: 2 * *loadClients, MaxIdleConnsPerHost: 2 * *loadClients}

	ctx, cancel := context.WithTimeout(t.Context(), *loadFor)
	defer cancel()
	began := time.Now()
	var people sync.WaitGroup
	for n := range *loadClients {
		people.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				l.signIn(fmt.Sprintf("u%dx%d@example.com", n, round), round)
			}
		})
	}
	time.AfterFunc(*loadFor/4, func() {
		store.atQuarter.Store(store.held.Load())
		l.quarter.Store(heap())
	})
	people.Wait()
	took := time.Since(began)
	atEnd := heap()
	l.transport.CloseIdleConnections()
	server.Close()
	require.NoError(t, queue.Close(context.WithoutCancel(ctx)))

	total := len(l.starts) + len(l.checks) + l.others
	t.Logf("%d clients, %v: %d sign-ins, %d requests, %.0f a second", *loadClients, took.Round(time.Millisecond), l.signedIn, total, float64(total)/took.Seconds())
	t.Logf("start p50 %v p99 %v, check p50 %v p99 %v", quantile(l.starts, .5), quantile(l.starts, .99), quantile(l.checks, .5), quantile(l.checks, .99))
	spent, calls := store.spent.Load(), store.calls.Load()
	t.Logf("store: %d calls, %v each, %.0f %% of the time in handlers of start and check",
		calls, time.Duration(spent/max(1, calls)), 100*float64(spent)/float64(l.served.Load()))
	t.Logf("heap after a collection: %.1f MB at a quarter, %.1f MB at the end", mb(l.quarter.Load()), mb(atEnd))
	require.NotZero(t, l.signedIn)
	require.Equal(t, l.used, l.signedIn, "each sign-in used up one mail")
	stored := store.held.Load() - store.atQuarter.Load()
	require.Less(t, int64(atEnd), int64(l.quarter.Load())*3/2+16<<20+2*stored)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 }, 10*time.Second, 10*time.Millisecond, "goroutines are left")
}

// load is what all people share, and the server in front of the application.
type load struct {
	t         *testing.T
	app       *app
	inbox     *inbox
	url       string
	transport *http.Transport
	quarter   atomic.Uint64
	served    atomic.Int64 // time in handlers that may use the store, in ns
	clients   atomic.Uint32

	mu             sync.Mutex
	delivered      map[string]string        // code by address, until it is used
	arrivals       map[string]chan struct{} // by address, closed on arrival
	starts, checks []time.Duration
	others         int
	signedIn, used int
}

func (l *load) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	l.app.ServeHTTP(w, r)
	if step := path.Base(r.URL.Path); step == "start" || step == "check" {
		l.served.Add(int64(time.Since(began)))
	}
}

// deliver puts the mail into the inbox and records its arrival.
func (l *load) deliver(ctx context.Context, m otp.Message) error {
	err := l.inbox.Send(ctx, m)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[m.To.String()] = m.Code
	close(l.arrivals[m.To.String()])
	return err
}

// signIn is one person, from the page to the sign-out. Each has a different
// address and client IP, so that no rate limit applies.
func (l *load) signIn(address string, round int) {
	user, err := otp.ParseEmail(address)
	if err != nil {
		panic(err)
	}
	u := l.app.accounts.add(user)
	defer l.forget(u)
	ip := l.clients.Add(1)
	p := &person{load: l, ip: fmt.Sprintf("10.%d.%d.%d", byte(ip>>16), byte(ip>>8), byte(ip)), cookies: map[string]string{}}
	arrival := make(chan struct{})
	l.mu.Lock()
	l.arrivals[address] = arrival
	l.mu.Unlock()
	status, _, _ := p.post(&l.starts, "/login/start", "address", address)
	if status != http.StatusSeeOther {
		l.t.Errorf("start: %d", status)
		return
	}
	select {
	case <-arrival:
	case <-time.After(20 * time.Second):
		l.t.Error("no mail")
		return
	}
	m := l.inbox.newest(address)[0]
	check := func(code string) string {
		status, where, session := p.post(&l.checks, "/login/check", "reference", m.reference, "code", code)
		if status != http.StatusSeeOther && status != http.StatusNotFound {
			l.t.Errorf("check: %d", status)
		}
		if session != "" && (where != "/" || code != m.code) {
			l.t.Error("a session without the code")
		}
		return session
	}
	switch round % 4 {
	case 0:
		check(testkit.WrongCode(m.code))
	case 1:
		p.guess("no-" + address)
	}
	// Some people press the button twice, but one code opens only one session.
	sessions := make([]string, 1+round%8/7)
	var tries sync.WaitGroup
	for i := range sessions {
		tries.Go(func() { sessions[i] = check(m.code) })
	}
	tries.Wait()
	sessions = slices.DeleteFunc(sessions, func(s string) bool { return s == "" })
	if len(sessions) != 1 {
		l.t.Errorf("one code opened %d sessions", len(sessions))
		return
	}
	l.mu.Lock()
	l.signedIn++
	if l.delivered[address] == m.code {
		l.used++
	}
	delete(l.delivered, address)
	delete(l.arrivals, address)
	l.mu.Unlock()
	p.cookies[sessionCookie] = sessions[0]
	if status, _, _ := p.post(nil, "/logout"); status != http.StatusSeeOther {
		l.t.Errorf("logout: %d", status)
	}
}

// guess is somebody without an account, who gets no mail.
func (p *person) guess(address string) {
	if status, _, _ := p.post(&p.starts, "/login/start", "address", address); status != http.StatusSeeOther {
		p.t.Errorf("start without an account: %d", status)
	}
	status, where, session := p.post(&p.checks, "/login/check", "code", "042137") // the newest challenge
	if status != http.StatusSeeOther || !strings.HasPrefix(where, "code?") || session != "" {
		p.t.Errorf("a guess without an account: %d", status)
	}
}

// forget deletes an account; the application has no page for this.
func (l *load) forget(u user) {
	a := l.app.accounts
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.users, u.id)
	delete(a.ids, u.address.String())
	delete(a.invoices, "inv-"+strings.TrimPrefix(u.id, "user-"))
}

// person is a browser. It keeps Secure cookies although nothing is encrypted,
// since the test does not measure TLS.
type person struct {
	*load
	ip      string
	mu      sync.Mutex
	cookies map[string]string
}

// post sends a form and returns the status, the redirect and the new session.
func (p *person) post(times *[]time.Duration, path string, pairs ...string) (status int, where, session string) {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("X-Forwarded-For", p.ip)
	p.mu.Lock()
	for name, value := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	p.mu.Unlock()
	began := time.Now()
	res, err := p.transport.RoundTrip(r)
	if err != nil {
		p.t.Error(err)
		return 0, "", ""
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	took := time.Since(began)
	if res.StatusCode >= 500 {
		p.t.Errorf("%s: %s", path, res.Status)
	}
	p.mu.Lock()
	for _, c := range res.Cookies() {
		if c.Name == sessionCookie {
			session = c.Value
		} else if c.MaxAge > 0 {
			p.cookies[c.Name] = c.Value
		}
	}
	p.mu.Unlock()
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	if times != nil {
		*times = append(*times, took)
	} else {
		p.others++
	}
	return res.StatusCode, res.Header.Get("Location"), session
}

// timedStore measures the calls of another store and what it holds.
type timedStore struct {
	otp.Store
	spent, calls    atomic.Int64
	held, atQuarter atomic.Int64 // in bytes, approximately
}

func (s *timedStore) note(began time.Time) {
	s.spent.Add(int64(time.Since(began)))
	s.calls.Add(1)
}

func (s *timedStore) Load(ctx context.Context, key string) ([]byte, error) {
	defer s.note(time.Now())
	return s.Store.Load(ctx, key)
}

func (s *timedStore) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	defer s.note(time.Now())
	ok, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if ok {
		s.held.Add(int64(len(value) - len(old)))
		if old == nil {
			s.held.Add(int64(len(key)) + 256) // and an entry of the map
		}
	}
	return ok, err
}

// heap returns the bytes in use after a garbage collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func mb(n uint64) float64 { return float64(n) / (1 << 20) }

func quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}
