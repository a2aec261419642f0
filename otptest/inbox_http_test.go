package otptest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// serve sends one request to an inbox.
func serve(ctx context.Context, b *Inbox, method, query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, "/test/inbox"+query, nil))
	return w
}

// later is serve in a goroutine.
func later(ctx context.Context, b *Inbox, query string) <-chan *httptest.ResponseRecorder {
	got := make(chan *httptest.ResponseRecorder, 1)
	go func() { got <- serve(ctx, b, http.MethodGet, query) }()
	return got
}

// served returns the codes in an answer.
func served(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var mails []struct{ Code string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &mails))
	codes := []string{}
	for _, m := range mails {
		codes = append(codes, m.Code)
	}
	return codes
}

// refused checks that an answer is an error.
func refused(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var answer map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Equal(t, map[string]string{"error": "otptest: " + text}, answer)
}

func waiting(t *testing.T, got <-chan *httptest.ResponseRecorder) {
	t.Helper()
	synctest.Wait()
	select {
	case w := <-got:
		t.Fatalf("the request did not wait: %d %s", w.Code, w.Body)
	default:
	}
}

func TestInbox_ServeHTTP_list(t *testing.T) {
	var inbox Inbox
	require.Equal(t, "[]\n", serve(t.Context(), &inbox, http.MethodGet, "").Body.String()) // not null

	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "qa+1@example.com", "222222")))
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "333333")))
	for query, want := range map[string][]string{
		"":                    {"111111", "222222", "333333"},
		"?to=ann@example.com": {"111111", "333333"},
		"?to=" + url.QueryEscape("qa+1@example.com"): {"222222"},
		"?to=ANN@example.com":                        {},
		"?wait=30s":                                  {"111111", "222222", "333333"},
		"?to=ann@example.com&wait=0s":                {"111111", "333333"},
	} {
		require.Equal(t, want, served(t, serve(t.Context(), &inbox, http.MethodGet, query)), query)
		require.Equal(t, http.StatusOK, serve(t.Context(), &inbox, http.MethodHead, query).Code)
	}
}

// Requests take nothing from Wait, and Wait takes nothing from requests.
func TestInbox_ServeHTTP_leavesWaitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		for _, code := range []string{"111111", "222222"} {
			require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", code)))
		}
		for _, want := range []string{"111111", "222222"} {
			for _, query := range []string{"", "?to=ann@example.com", "?to=ann@example.com&wait=30s"} {
				require.Equal(t, []string{"111111", "222222"}, served(t, serve(t.Context(), &inbox, http.MethodGet, query)))
			}
			m, err := inbox.Wait(t.Context(), "ann@example.com")
			require.NoError(t, err)
			require.Equal(t, want, m.Code)
		}
	})
}

// A mail is served with all fields of an otp.Message.
func TestInbox_ServeHTTP_fields(t *testing.T) {
	var inbox Inbox
	sent := time.Date(2026, 5, 4, 14, 2, 1, 500e6, time.FixedZone("", 7200))
	require.NoError(t, inbox.Send(t.Context(), otp.Message{
		ID: "mail1", To: address(t, "ann@example.com"), Code: "042917", Purpose: "pay:inv-42", Locale: "de,en",
		Reference: "BCDF", Vars: map[string]string{"amount": "99.00 EUR"}, Known: true,
		SentAt: sent, ExpiresAt: sent.Add(10 * time.Minute),
	}))
	body := serve(t.Context(), &inbox, http.MethodGet, "").Body.Bytes()
	require.JSONEq(t, `[{"id": "mail1", "to": "ann@example.com", "code": "042917", "purpose": "pay:inv-42",
		"locale": "de,en", "reference": "BCDF", "vars": {"amount": "99.00 EUR"}, "known": true,
		"sent_at": "2026-05-04T12:02:01.5Z", "expires_at": "2026-05-04T12:12:01.5Z"}]`, string(body))
	var mails []map[string]any
	require.NoError(t, json.Unmarshal(body, &mails))
	require.Len(t, mails[0], reflect.TypeFor[otp.Message]().NumField(), "a field of otp.Message is not served")
}

func TestInbox_ServeHTTP_waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		ann := later(t.Context(), &inbox, "?to=ann@example.com&wait=30s")
		anybody := later(t.Context(), &inbox, "?wait=30s")
		waiting(t, ann)
		waiting(t, anybody)
		inbox.Reset() // disturbs nobody
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "bob@example.com", "222222")))
		require.Equal(t, []string{"222222"}, served(t, <-anybody))
		waiting(t, ann) // that was not for it
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
		require.Equal(t, []string{"111111"}, served(t, <-ann))
	})
}

// A GET and a Wait for the same recipient both return the next mail.
func TestInbox_ServeHTTP_waitsBesideWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		got := later(t.Context(), &inbox, "?to=ann@example.com&wait=30s")
		code := make(chan string, 1)
		go func() {
			m, _ := inbox.Wait(t.Context(), "ann@example.com")
			code <- m.Code
		}()
		waiting(t, got)
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
		require.Equal(t, []string{"111111"}, served(t, <-got))
		require.Equal(t, "111111", <-code)
	})
}

// A wait ends at its time, and not before.
func TestInbox_ServeHTTP_waitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		began := time.Now() // the bubble's time
		refused(t, serve(t.Context(), &inbox, http.MethodGet, "?to=qa+1@example.com&wait=10s"), http.StatusNotFound,
			`no mail has arrived for "qa 1@example.com"`)
		require.Equal(t, 10*time.Second, time.Since(began))
		refused(t, serve(t.Context(), &inbox, http.MethodGet, "?wait=30s"), http.StatusNotFound, "no mail has arrived")
		require.Equal(t, 40*time.Second, time.Since(began))
		refused(t, serve(t.Context(), &inbox, http.MethodGet, "?wait=0s"), http.StatusNotFound, "no mail has arrived")
		require.Equal(t, 40*time.Second, time.Since(began))
	})
}

// A wait ends when its caller hangs up. A goroutine that stayed would fail the
// bubble.
func TestInbox_ServeHTTP_waitEndsWithRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		got := later(ctx, &inbox, "?wait=30s")
		waiting(t, got)
		cancel()
		refused(t, <-got, http.StatusNotFound, "no mail has arrived")
		require.Equal(t, began, time.Now())
	})
}

func TestInbox_ServeHTTP_delete(t *testing.T) {
	var inbox Inbox
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	inbox.FailWith(&otp.SendError{})
	w := serve(t.Context(), &inbox, http.MethodDelete, "")
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Zero(t, inbox.Len())
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "222222")))
}

func TestInbox_ServeHTTP_invalid(t *testing.T) {
	var inbox Inbox
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	for query, text := range map[string]string{
		"?wait=10":             `wait: invalid value "10", want 0s to 30s`,
		"?wait=soon":           `wait: invalid value "soon", want 0s to 30s`,
		"?wait=-1s":            `wait: invalid value "-1s", want 0s to 30s`,
		"?wait=30001ms":        `wait: invalid value "30001ms", want 0s to 30s`,
		"?wait=":               `empty parameter "wait"`,
		"?to=":                 `empty parameter "to"`,
		"?to=a@b.cc&to=b@b.cc": `duplicate parameter "to"`,
		"?address=ann@b.cc":    `unknown parameter "address"`,
		"?to=%zz":              `malformed query`,
	} {
		refused(t, serve(t.Context(), &inbox, http.MethodGet, query), http.StatusBadRequest, text)
	}
	// This would not delete the mails of one recipient, but all of them.
	refused(t, serve(t.Context(), &inbox, http.MethodDelete, "?to=ann@example.com"), http.StatusBadRequest, `unknown parameter "to"`)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodOptions} {
		w := serve(t.Context(), &inbox, method, "")
		refused(t, w, http.StatusMethodNotAllowed, "method not allowed, want GET or DELETE")
		require.Equal(t, "GET, HEAD, DELETE", w.Header().Get("Allow"))
	}
	require.Equal(t, 1, inbox.Len())
}
