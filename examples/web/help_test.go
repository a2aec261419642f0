package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/relay"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// rig is the application on a server. The application thinks that it is behind
// a proxy.
type rig struct {
	t      *testing.T
	app    *app
	server *httptest.Server
	clock  *testkit.Clock
	visits atomic.Int64 // number of visitors
	sender otp.Sender
	gate   atomic.Pointer[chan struct{}]
}

func start(t *testing.T) *rig {
	t.Helper()
	inbox, err := newInbox(50)
	require.NoError(t, err)
	return startWith(t, otp.NewMemoryStore(nil), inbox, inbox)
}

func startWith(t *testing.T, store otp.Store, sender otp.Sender, inbox *inbox) *rig {
	t.Helper()
	g := &rig{t: t, sender: sender, clock: testkit.NewClockAt(time.Now())} // the queue's clock is the real one
	queue, err := relay.NewQueue(g, nil)
	require.NoError(t, err)
	c := config{
		store: store, secret: []byte("a secret of thirty-two bytes, OK"), queue: queue, proxies: loopback, inbox: inbox,
		now: g.clock.Now,
	}
	g.app, err = newApp(c)
	require.NoError(t, err)
	g.server = httptest.NewTLSServer(g.app)
	t.Cleanup(func() {
		g.server.Close()
		require.NoError(t, queue.Close(context.Background()))
	})
	return g
}

// mail waits for the queue and returns the newest mail to an address.
func (g *rig) mail(to string) mail {
	g.t.Helper()
	g.awaitQueue()
	mails := g.app.inbox.newest(to)
	require.NotEmpty(g.t, mails, "no mail to %s", to)
	return mails[0]
}

// awaitQueue waits until the queue is empty.
func (g *rig) awaitQueue() {
	require.Eventually(g.t, func() bool { return g.app.queue.Len() == 0 }, 5*time.Second, time.Millisecond)
}

// visitor is a browser with its own cookies and IP address.
type visitor struct {
	*rig
	client *http.Client
	ip     string
}

func (g *rig) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(g.t, err)
	return &visitor{g, &http.Client{Transport: g.server.Client().Transport, Jar: jar}, fmt.Sprintf("192.0.2.%d", g.visits.Add(1))}
}

// answer is a response with its body and the path after redirects.
type answer struct {
	*http.Response
	path, body string
}

func (v *visitor) do(method, path string, form url.Values) answer {
	v.t.Helper()
	r, err := http.NewRequest(method, v.server.URL+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("X-Forwarded-For", v.ip)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.server.URL)
	}
	res, err := v.client.Do(r)
	require.NoError(v.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(v.t, err)
	require.Equal(v.t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	require.Contains(v.t, res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	return answer{res, res.Request.URL.Path, string(body)}
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.do(http.MethodGet, path, nil) }

func (v *visitor) post(path string, pairs ...string) answer {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return v.do(http.MethodPost, path, form)
}

// session returns the ID of the visitor's session, or "" if there is none.
func (v *visitor) session() string {
	u, err := url.Parse(v.server.URL)
	require.NoError(v.t, err)
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == sessionCookie {
			return c.Value
		}
	}
	return ""
}

// dead checks that a session ID is no longer valid.
func (g *rig) dead(id string) {
	g.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: sessionCookie, Value: id})
	w := httptest.NewRecorder()
	g.app.ServeHTTP(w, r)
	require.NotContains(g.t, w.Body.String(), "signed in")
}

// enter goes through the pages at path: it asks for a code for address, types a
// wrong code and then the correct one. It returns the last answer.
func (v *visitor) enter(path, address string) answer {
	v.t.Helper()
	m := v.ask(path, address)
	before := v.session()
	page := v.post(path+"check", "reference", m.reference, "code", testkit.WrongCode(m.code))
	require.Equal(v.t, http.StatusOK, page.StatusCode) // the code page again
	require.Contains(v.t, page.body, "That code is not right.")
	require.Equal(v.t, before, v.session())
	return v.post(path+"check", "reference", m.reference, "code", m.code)
}

// ask moves the clock by a minute, so that the budget allows a mail, and asks
// for a code.
func (v *visitor) ask(path, address string) mail {
	v.t.Helper()
	v.clock.Add(time.Minute)
	require.Equal(v.t, http.StatusOK, v.get(path).StatusCode)
	page := v.post(path+"start", "address", address)
	require.Equal(v.t, path+"code", page.path)
	m := v.mail(address)
	require.Contains(v.t, page.body, m.reference)
	require.NotContains(v.t, page.body, m.code)
	return m
}

// member returns a visitor who has signed up.
func (g *rig) member(address string) *visitor {
	g.t.Helper()
	v := g.visitor()
	require.Contains(g.t, v.enter("/signup/", address).body, "signed in as <strong>"+address)
	return v
}

// fill fills the queue with mails that wait until open is closed.
func (g *rig) fill(open chan struct{}) {
	to, err := otp.ParseEmail("stuck@example.com")
	require.NoError(g.t, err)
	g.gate.Store(&open)
	for !g.app.queue.Full(false) {
		require.NoError(g.t, g.app.queue.Send(g.t.Context(), otp.Message{To: to, Code: "042137", ExpiresAt: time.Now().Add(time.Hour)}))
	}
}

// Send delivers a mail, or waits if fill was called.
func (g *rig) Send(ctx context.Context, m otp.Message) error {
	if gate := g.gate.Load(); gate != nil {
		<-*gate
		return nil
	}
	return g.sender.Send(ctx, m)
}
