package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

const (
	alice = "alice@example.com"
	anna  = "anna@example.com" // looks the same as alice when masked
)

func TestSignUpInOut(t *testing.T) { // C9, C15
	g := start(t)
	v := g.visitor()
	require.Contains(t, v.get("/").body, "Create an account")
	require.Empty(t, v.session())
	require.Contains(t, v.enter("/signup/", alice).body, "signed in as <strong>"+alice)
	require.Contains(t, g.mail(alice).HTML, "Acme")
	first := v.session()
	require.NotEmpty(t, first)

	require.Contains(t, v.post("/logout").body, "Create an account")
	require.Empty(t, v.session())
	g.dead(first)

	require.Contains(t, v.enter("/login/", alice).body, "signed in as <strong>"+alice)
	second := v.session()
	require.NotEqual(t, first, second)
	require.Contains(t, v.get("/").body, "inv-1", "the same account as before")

	v.enter("/login/", alice) // again, without signing out
	require.NotEqual(t, second, v.session())
	g.dead(second)

	g.clock.Add(sessionLife + time.Second)
	require.NotContains(t, v.get("/").body, "signed in")
}

// Who signed up as Bob@ signs in as bob@, and cannot sign up a second time.
func TestLogin_case(t *testing.T) {
	g := start(t)
	require.Contains(t, g.visitor().enter("/signup/", "Bob@example.com").body, "signed in as <strong>Bob@example.com")
	v := g.visitor()
	g.clock.Add(time.Minute)
	require.Contains(t, v.enter("/login/", "bob@example.com").body, "signed in as <strong>Bob@example.com")
	require.Contains(t, v.get("/").body, "inv-1", "the same account")
	g.visitor().post("/signup/start", "address", "BOB@example.com")
	g.awaitQueue()
	require.Empty(t, g.app.inbox.newest("BOB@example.com"))
}

func TestLogin_next(t *testing.T) {
	g := start(t)
	g.member(alice)
	v := g.visitor()
	page := v.get("/pay/inv-1/")
	require.Equal(t, "/login/", page.path)
	require.Contains(t, page.body, `name="next" value="/pay/inv-1/"`)
	m := v.ask("/login/", alice)
	page = v.post("/login/check", "reference", m.reference, "code", m.code, "next", "/pay/inv-1/")
	require.Equal(t, "/pay/inv-1/", page.path)
}

func TestEmail(t *testing.T) { // C15
	g := start(t)
	v := g.member(alice)
	elsewhere := g.visitor()
	elsewhere.enter("/login/", alice)
	old, other := v.session(), elsewhere.session()

	const fresh = "alice@example.net"
	require.Contains(t, v.enter("/email/", fresh).body, "signed in as <strong>"+fresh)
	require.Contains(t, g.mail(fresh).Text, "change")
	require.NotEqual(t, old, v.session())
	g.dead(old)
	g.dead(other)
	notice := g.app.inbox.newest(alice)[0]
	require.Contains(t, notice.Subject, "was changed")
	require.Empty(t, notice.code)
	require.NotContains(t, notice.Text, fresh, "masked")

	stranger := g.visitor() // the old address no longer opens the account
	stranger.post("/login/start", "address", alice)
	g.awaitQueue()
	require.Equal(t, notice, g.app.inbox.newest(alice)[0])
	stranger.enter("/signup/", alice)
	require.Contains(t, stranger.get("/").body, "inv-2", "another account")
}

func TestEmail_taken(t *testing.T) {
	g := start(t)
	g.member(anna)
	v := g.member(alice)
	g.clock.Add(time.Minute)
	page := v.post("/email/start", "address", anna)
	require.Equal(t, "/email/code", page.path, "a decoy")
	require.Contains(t, page.body, anna)
	g.awaitQueue()
	require.Len(t, g.app.inbox.newest(anna), 1, "only the mail of the sign-up")

	// The address has no account when the code is mailed, but has one when it
	// is typed.
	const both = "both@example.com"
	m := v.ask("/email/", both)
	g.member(both)
	before := v.session()
	page = v.post("/email/check", "reference", m.reference, "code", m.code)
	require.Equal(t, http.StatusConflict, page.StatusCode)
	require.Contains(t, page.body, "cannot be used")
	require.Equal(t, before, v.session())
	require.Contains(t, v.get("/").body, alice)
}

// A code for one account does not change another one, and changing the address
// requires a recent sign-in.
func TestEmail_whose(t *testing.T) {
	g := start(t)
	v := g.member(alice)
	m := v.ask("/email/", "new@example.com")
	v.post("/logout")
	require.Equal(t, http.StatusForbidden, v.post("/email/check", "reference", m.reference, "code", m.code).StatusCode)
	v.enter("/signup/", anna)
	page := v.post("/email/check", "reference", m.reference, "code", m.code)
	require.Equal(t, http.StatusNotFound, page.StatusCode)
	require.Contains(t, v.get("/").body, anna)

	require.Equal(t, "/email/", v.get("/email/").path)
	g.clock.Add(recent + time.Second)
	require.Equal(t, "/login/", v.get("/email/").path)
	require.Equal(t, http.StatusForbidden, v.post("/email/start", "address", "new@example.com").StatusCode)
	require.Contains(t, v.get("/").body, anna, "still signed in")
}

func TestPay(t *testing.T) { // C15
	g := start(t)
	v := g.member(alice)
	before := v.session()
	require.Contains(t, v.get("/pay/inv-1/").body, "a***@example.com")
	m := v.ask("/pay/inv-1/", alice)
	require.Contains(t, m.Text, "99.00 EUR")
	v.post("/pay/inv-1/check", "reference", m.reference, "code", testkit.WrongCode(m.code))
	page := v.post("/pay/inv-1/check", "reference", m.reference, "code", m.code)
	require.Contains(t, page.body, "Paid")
	require.NotEqual(t, before, v.session())
	g.dead(before)
	require.Equal(t, http.StatusForbidden, v.get("/pay/inv-1/").StatusCode, "already paid")

	require.Equal(t, http.StatusForbidden, g.member(anna).get("/pay/inv-1/").StatusCode, "another user's invoice")
	require.Equal(t, http.StatusForbidden, g.visitor().post("/pay/inv-2/start").StatusCode)
}

func TestPay_changed(t *testing.T) {
	g := start(t)
	v := g.member(alice)
	m := v.ask("/pay/inv-1/", alice)
	cost := func(cents int) {
		g.app.accounts.mu.Lock()
		defer g.app.accounts.mu.Unlock()
		i := g.app.accounts.invoices["inv-1"]
		i.cents = cents
		g.app.accounts.invoices["inv-1"] = i
	}
	cost(9901)
	page := v.post("/pay/inv-1/check", "reference", m.reference, "code", m.code)
	require.Equal(t, http.StatusNotFound, page.StatusCode)
	require.NotContains(t, v.get("/").body, "Paid")

	// The same holds if it changes between the check and the payment.
	require.ErrorIs(t, g.app.accounts.pay("inv-1", otp.Challenge{To: g.app.accounts.users["user-1"].address, Purpose: "pay:inv-1:99.00EUR"}), errNotFound)
	cost(9900)
	require.ErrorIs(t, g.app.accounts.pay("inv-1", otp.Challenge{Purpose: "pay:inv-1:99.00EUR"}), errNotFound)
	require.Contains(t, v.post("/pay/inv-1/check", "reference", m.reference, "code", m.code).body, "Paid")
}

// C1, C2: neither sign-in nor sign-up shows who has an account, from the first
// page to the last guess.
func TestNoEnumeration(t *testing.T) {
	g := start(t)
	for path, addresses := range map[string][]string{"/login/": {alice, anna}, "/signup/": {"bob@example.com", "bea@example.com"}} {
		g.member(addresses[0])
		g.clock.Add(time.Minute)
		var seen [2][]string
		for i, address := range addresses {
			v := g.visitor()
			note := func(a answer) {
				for _, name := range []string{"Date", "Content-Length"} {
					a.Header.Del(name)
				}
				a.Header["Set-Cookie"] = []string{cookieValue.ReplaceAllString(strings.Join(a.Header.Values("Set-Cookie"), "\n"), "=…")}
				text := strings.ReplaceAll(a.Status+"\n"+a.path+"\n"+headerText(a.Header)+a.body, address, "…") // as it was typed
				seen[i] = append(seen[i], reference.ReplaceAllString(text, "…"))
			}
			page := v.post(path+"start", "address", address)
			note(page)
			ref := reference.FindString(page.Request.URL.RawQuery + ">")
			require.NotEmpty(t, ref)
			ref = strings.Trim(ref, "=&>")
			for range 7 {
				note(v.post(path+"check", "reference", ref, "code", "000000"))
			}
			note(v.post(path+"resend", "reference", ref))
			note(v.post(path+"start", "address", address))
		}
		require.Len(t, seen[0], 10)
		for n := range seen[0] {
			require.Equal(t, seen[0][n], seen[1][n], path)
		}
		require.Contains(t, seen[0][5], "Too many wrong tries")
		g.awaitQueue()
		if path == "/signup/" {
			require.Len(t, g.app.inbox.newest(addresses[0]), 1, "only the mail of the sign-up")
		} else {
			require.Empty(t, g.app.inbox.newest(addresses[1]))
		}
	}
}

var (
	reference   = regexp.MustCompile(`[=>"][B-Z]{4}[&<">]`)
	cookieValue = regexp.MustCompile(`=[A-Z]{4}\.[A-Za-z0-9_-]+`)
)

func headerText(h http.Header) string {
	var b strings.Builder
	h.Write(&b)
	return b.String()
}

// C3: a full queue refuses all strangers alike. J3: it has a place for a known
// device.
func TestFullQueue(t *testing.T) {
	g := start(t)
	member := g.member(alice)
	g.clock.Add(time.Minute)
	open := make(chan struct{})
	t.Cleanup(func() { close(open) })
	g.fill(open)
	for _, address := range []string{alice, anna} {
		page := g.visitor().post("/login/start", "address", address)
		require.Equal(t, http.StatusServiceUnavailable, page.StatusCode)
		require.Equal(t, "60", page.Header.Get("Retry-After"))
	}
	require.Equal(t, "/login/code", member.post("/login/start", "address", alice).path)
}

// C8: forms on other sites change nothing.
func TestCrossSite(t *testing.T) {
	g := start(t)
	v := g.member(alice)
	before := v.session()
	for _, path := range []string{"/logout", "/pay/inv-1/start", "/email/start", "/login/start"} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("address=alice%40example.com"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: before})
		w := httptest.NewRecorder()
		g.app.ServeHTTP(w, r)
		require.Equal(t, http.StatusForbidden, w.Code, path)
	}
	g.awaitQueue()
	require.Len(t, g.app.inbox.newest(""), 1)
	require.Contains(t, v.get("/").body, "signed in")
}

func TestInbox(t *testing.T) {
	g := start(t)
	v := g.member(alice)
	here := func(path string) string {
		answer, err := v.client.Get(g.server.URL + path)
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Contains(t, here("/inbox"), `<iframe sandbox srcdoc="&lt;!DOCTYPE html&gt;`)
	require.Contains(t, here("/inbox"), g.mail(alice).code)
	require.NotContains(t, here("/inbox?to=anna@example.com"), "iframe")
	require.Equal(t, http.StatusForbidden, v.get("/inbox").StatusCode, "through a proxy")
	for _, peer := range []string{"192.0.2.1:80", "10.0.0.1:80", "[2001:db8::1]:80", "@"} {
		r := httptest.NewRequest(http.MethodGet, "/inbox", nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		g.app.ServeHTTP(w, r)
		require.Equal(t, http.StatusForbidden, w.Code, peer)
		require.NotContains(t, w.Body.String(), "iframe")
	}
	for range 60 {
		g.app.inbox.keep(mail{})
	}
	require.Len(t, g.app.inbox.newest(""), 50)
}

// The program starts, answers where it says that it is, and shuts down cleanly.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", write)
		write.Close()
	}()
	lines := bufio.NewScanner(read)
	require.True(t, lines.Scan())
	url := lines.Text()
	require.True(t, lines.Scan())
	require.Equal(t, url+"/inbox shows the mail", lines.Text())
	answer, err := http.Get(url + "/inbox")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	stop()
	require.NoError(t, <-ended)
	require.False(t, lines.Scan(), lines.Text())
}

// TestMain lets the test binary act as the program.
func TestMain(m *testing.M) {
	if os.Getenv("OTP_EXAMPLE_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// J19: after SIGTERM, which service managers send, the mails that were promised go
// out.
func TestSIGTERM(t *testing.T) {
	cert := smtptest.NewCert(t, "127.0.0.1")
	dir := t.TempDir()
	cert.Write(t, dir)
	arrived, release := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(arrived); <-release })
	server := smtptest.Script{TLS: cert.Server(), Reply: func(_ int, verb, _ string) string {
		if verb == "DATA" {
			first()
		}
		return ""
	}}.Start(t)
	binary, err := os.Executable()
	require.NoError(t, err)
	program := exec.Command(binary, "-addr", "127.0.0.1:0")
	program.Env = append(os.Environ(), "OTP_EXAMPLE_PROGRAM=1", "SSL_CERT_FILE="+filepath.Join(dir, "cert.pem"),
		"OTP_SMTP_URL=smtps://"+server.Addr, "OTP_FROM=codes@example.com")
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	t.Cleanup(func() { program.Process.Kill() })
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	site := lines.Text()
	const visitors = 9
	for i := range visitors {
		r, err := http.NewRequest(http.MethodPost, site+"/signup/start", strings.NewReader(url.Values{"address": {fmt.Sprintf("v%d@example.com", i)}}.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", site)
		answer, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusSeeOther, answer.StatusCode)
	}
	<-arrived
	require.NoError(t, program.Process.Signal(syscall.SIGTERM))
	close(release)
	require.NoError(t, program.Wait())
	require.Len(t, server.Mails(0), visitors)
}

func TestRun_environment(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("OTP_FROM", "Acme <codes@example.com>")
	require.ErrorContains(t, run(ended, "127.0.0.1:0", io.Discard), "OTP_SMTP_URL")
	t.Setenv("OTP_SMTP_URL", "smtps://u:p@mail.example.com:465")
	var out strings.Builder
	require.NoError(t, run(ended, "127.0.0.1:0", &out))
	require.NotContains(t, out.String(), "inbox")
	t.Setenv("OTP_PROXIES", "none")
	require.ErrorContains(t, run(ended, "127.0.0.1:0", io.Discard), "OTP_PROXIES")
}

// If the port is taken, the program starts on the next free one and says so.
func TestRun_portTaken(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	_, port, err := net.SplitHostPort(other.Addr().String())
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	require.NoError(t, run(ended, other.Addr().String(), &out))
	said := regexp.MustCompile(`^port (\d+) is taken, so this is port (\d+)\nhttp://127\.0\.0\.1:(\d+)\n`).FindStringSubmatch(out.String())
	require.NotNil(t, said, out.String())
	require.Equal(t, port, said[1])
	require.NotEqual(t, port, said[2])
	require.Equal(t, said[2], said[3])

	require.Error(t, run(ended, "192.0.2.1:8080", io.Discard), "not an address of this machine")
	require.Error(t, run(ended, "no port", io.Discard))
}

func TestConfiguration(t *testing.T) {
	_, _, err := newSender("smtps://u:p@mail.example.com:465", "")
	require.ErrorContains(t, err, "both")
	sender, inbox, err := newSender("smtps://u:p@mail.example.com:465", "Acme <codes@example.com>")
	require.NoError(t, err)
	require.Nil(t, inbox)
	require.IsType(t, &smtpsender.Sender{}, sender)

	networks, err := parseProxies("10.0.0.0/8, ::1/128,")
	require.NoError(t, err)
	require.Len(t, networks, 2)
	_, err = parseProxies("10.0.0.1")
	require.Error(t, err)
}
