package browser_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/servers"
)

// WebKit, the engine of Safari, signs somebody in: over HTTPS with the headers
// Sec-Fetch-* and, as Safari before 16.4 does it, without them. On http://localhost
// it keeps no Secure cookie, which its page says.
func TestWebKit(t *testing.T) { // J12
	if !testkit.Nightly() {
		t.Skip("WebKit runs by night (OTP_TEST_NIGHTLY=1)")
	}
	driver := startWebKit(t)
	for name, strip := range map[string]bool{"as it is": false, "without Sec-Fetch": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plain)
			s.strip = strip
			server := httptest.NewTLSServer(s.handler)
			t.Cleanup(server.Close)
			w := openWebKit(t, driver, server.URL)
			w.open("/login/?next=/cart")
			w.fill("#address", bob)
			w.press("form .button")
			w.says("Check your email")
			w.fill("#code", s.inbox.Code(bob))
			w.press("form .button")
			w.says("Hello bob@example.com at /cart")
			require.Equal(t, 1, s.signedIn())
			require.Empty(t, s.failures)
		})
	}
	t.Run("no HTTPS", func(t *testing.T) {
		s := newSite(t, plain)
		w := openWebKit(t, driver, s.url)
		w.open("/login/")
		w.fill("#address", bob)
		w.press("form .button")
		w.says("Your browser did not keep the cookie")
	})
}

// startWebKit starts Debian's driver of WebKit (W3C WebDriver) on a display of its
// own and returns its address.
func startWebKit(t *testing.T) string {
	binary, display := servers.Binary("WebKitWebDriver"), servers.Binary("Xvfb")
	if binary == "" || display == "" {
		testkit.Skip(t, "WebKitGTK is not installed (Debian: webkit2gtk-driver, xvfb)")
	}
	// Xvfb finds a free display and says which.
	r, number, err := os.Pipe()
	require.NoError(t, err)
	run := func(cmd *exec.Cmd) {
		t.Helper()
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	x := exec.Command(display, "-displayfd", "3", "-screen", "0", "1024x768x24")
	x.ExtraFiles = []*os.File{number}
	run(x)
	number.Close()
	line := make([]byte, 16)
	n, err := r.Read(line)
	require.NoError(t, err)
	port := servers.FreePort(t)
	wk := exec.Command(binary, fmt.Sprintf("--port=%d", port))
	wk.Env = append(os.Environ(), "DISPLAY=:"+strings.TrimSpace(string(line[:n])), "HOME="+t.TempDir(), "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS=1")
	run(wk)
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		answer, err := http.Get(base + "/status")
		if assert.NoError(c, err) {
			answer.Body.Close()
		}
	}, patience, 100*time.Millisecond)
	return base
}

// webkit is a window of WebKit, which has no cookies of others.
type webkit struct {
	t             *testing.T
	session, site string
}

func openWebKit(t *testing.T, driver, site string) *webkit {
	t.Helper()
	w := &webkit{t: t, session: driver, site: site}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	w.call(http.MethodPost, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"acceptInsecureCerts": true}}}, &made)
	w.session += "/session/" + made.SessionID
	t.Cleanup(func() { w.call(http.MethodDelete, "", nil, nil) })
	return w
}

// call makes a call of the WebDriver protocol and decodes its value.
func (w *webkit) call(method, path string, body, value any) {
	w.t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(w.t, err)
	r, err := http.NewRequest(method, w.session+path, bytes.NewReader(raw))
	require.NoError(w.t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, answer.StatusCode, "%s: %s", path, text)
	if value != nil {
		require.NoError(w.t, json.Unmarshal(text, &struct{ Value any }{value}), "%s", text)
	}
}

func (w *webkit) open(path string) {
	w.t.Helper()
	w.call(http.MethodPost, "/url", map[string]string{"url": w.site + path}, nil)
}

// element returns the path of an element.
func (w *webkit) element(selector string) string {
	w.t.Helper()
	found := map[string]string{}
	w.call(http.MethodPost, "/element", map[string]string{"using": "css selector", "value": selector}, &found)
	return "/element/" + found["element-6066-11e4-a52e-4f735466cecf"] // W3C WebDriver 11
}

func (w *webkit) fill(selector, text string) {
	w.t.Helper()
	w.call(http.MethodPost, w.element(selector)+"/value", map[string]string{"text": text}, nil)
}

func (w *webkit) press(selector string) {
	w.t.Helper()
	w.call(http.MethodPost, w.element(selector)+"/click", map[string]string{}, nil)
}

// says waits for a page with a text, since a click does not wait for the page that
// it leads to.
func (w *webkit) says(text string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var source string
		w.call(http.MethodGet, "/source", nil, &source)
		if strings.Contains(source, text) {
			return
		}
		require.True(w.t, time.Now().Before(deadline), "%s: %s", text, source)
	}
}
