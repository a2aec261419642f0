package frameworks

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser shows one page at a time and sends its forms as browsers do.
type browser struct {
	*testing.T
	site
	client  *http.Client
	old     bool           // it knows nothing of Sec-Fetch-Site
	session *http.Cookie   // the last cookie of the application
	page    *http.Response // the page that it shows, and
	body    string         // its text
}

func (s site) browser(t *testing.T) *browser {
	b := &browser{T: t, site: s}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b.client = &http.Client{Transport: b, Jar: jar}
	return b
}

// RoundTrip notes the session cookie of every answer.
func (b *browser) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.Client().Transport.RoundTrip(r)
	if err == nil {
		for _, c := range answer.Cookies() {
			if strings.HasPrefix(c.Name, "session") {
				b.session = c
			}
		}
	}
	return answer, err
}

// do sends a request and shows the page to which the answer leads.
func (b *browser) do(method, path, content, body string, header ...string) {
	b.Helper()
	r, err := http.NewRequest(method, b.URL+path, strings.NewReader(body))
	require.NoError(b, err)
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", content)
		r.Header.Set("Origin", b.URL)
		// Fetch standard, "append a request Origin header".
		if b.page != nil && b.page.Header.Get("Referrer-Policy") == "no-referrer" {
			r.Header.Set("Origin", "null")
		}
		if !b.old {
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	b.page, err = b.client.Do(r)
	require.NoError(b, err)
	defer b.page.Body.Close()
	text, err := io.ReadAll(b.page.Body)
	require.NoError(b, err)
	b.body = string(text)
}

func (b *browser) get(path string) { b.Helper(); b.do(http.MethodGet, path, "", "") }

func (b *browser) post(path string, form url.Values, header ...string) {
	b.Helper()
	b.do(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode(), header...)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// submit fills in one field of the page's form for a step and sends it.
func (b *browser) submit(step, field, value string) {
	b.Helper()
	action := regexp.MustCompile(`action="([^"]*` + step + `)"`).FindStringSubmatch(b.body)
	require.NotNil(b, action, "%d %s", b.page.StatusCode, b.body)
	to, err := b.page.Request.URL.Parse(action[1])
	require.NoError(b, err)
	form := url.Values{field: {value}}
	for _, m := range hidden.FindAllStringSubmatch(b.body, -1) {
		form.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	b.post(to.Path, form)
}
