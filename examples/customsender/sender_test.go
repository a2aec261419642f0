package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

const token = "token-of-the-test"

func phone(t testing.TB, s string) otp.Address {
	t.Helper()
	a, err := ParsePhone(s)
	require.NoError(t, err, s)
	return a
}

// newSender returns a sender to a provider, or to handler if that is not nil.
func newSender(t *testing.T, handler http.Handler) (*SMSSender, *provider) {
	t.Helper()
	far := &provider{token: token}
	if handler == nil {
		handler = far
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	sender, err := NewSMSSender(server.URL, token, server.Client())
	require.NoError(t, err)
	return sender, far
}

func message(t *testing.T) otp.Message {
	now := time.Now()
	return otp.Message{ID: "ID-OF-THE-MESSAGE", To: phone(t, "+447700900123"), Code: "314159", Reference: "BCDF", SentAt: now, ExpiresAt: now.Add(time.Minute)}
}

func TestSMSSender(t *testing.T) {
	otptest.TestSender(t, func(t *testing.T) otptest.SenderUnderTest {
		sender, far := newSender(t, nil)
		return otptest.SenderUnderTest{
			Sender: sender,
			Received: func() (all []otptest.Delivery) {
				for _, m := range far.received() {
					all = append(all, otptest.Delivery{To: m.To, Text: m.Text})
				}
				return all
			},
			Address: func(i int) otp.Address { return phone(t, fmt.Sprintf("+4477009%05d", i)) },
			Refuse:  func() { far.behave(http.StatusBadRequest, false) },
			Stall:   func() { far.behave(0, true) },
		}
	})
}

func TestSMSSender_statuses(t *testing.T) {
	type sorted struct{ temporary, maybe bool }
	for status, want := range map[int]sorted{
		301: {true, false}, 400: {}, 401: {true, false}, 403: {true, false}, 404: {}, 408: {true, false},
		409: {true, true}, 422: {}, 429: {true, false}, 500: {true, false}, 502: {true, true}, 503: {true, false}, 504: {true, true},
	} {
		calls := 0
		sender, _ := newSender(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			r.Write(w) // with the token
		}))
		err := sender.Send(t.Context(), message(t))
		var failed *otp.SendError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, want, sorted{failed.Temporary, failed.MaybeSent}, status)
		require.Equal(t, status == 400 || status == 422, failed.RefusedRecipient(), status)
		require.Equal(t, 1, calls)
		require.Contains(t, err.Error(), fmt.Sprint(status))
		require.NotContains(t, err.Error(), token)
	}
}

func TestSMSSender_idempotent(t *testing.T) {
	sender, far := newSender(t, nil)
	require.NoError(t, sender.Send(t.Context(), message(t)))
	require.NoError(t, sender.Send(t.Context(), message(t)))
	require.Len(t, far.received(), 1)
}

// Nothing was written to a server that is not there.
func TestSMSSender_noConnection(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	sender, err := NewSMSSender(server.URL+"/?key="+token, token, nil)
	require.NoError(t, err)
	err = sender.Send(t.Context(), message(t))
	var failed *otp.SendError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Temporary)
	require.False(t, failed.MaybeSent)
	require.NotContains(t, err.Error(), token)
}

// As the context ends while it dials, nothing went out.
func TestSMSSender_endsWhileDialling(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sender, err := NewSMSSender("http://provider.example", token, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}})
	require.NoError(t, err)
	var failed *otp.SendError
	require.ErrorAs(t, sender.Send(ctx, message(t)), &failed)
	require.ErrorIs(t, failed, context.Canceled)
	require.False(t, failed.MaybeSent)
}

// A provider that takes the message and then drops the connection, or is slow,
// may have sent it.
func TestSMSSender_maybeSent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for name, after := range map[string]func(r *http.Request){
		"drops": func(*http.Request) { panic(http.ErrAbortHandler) },
		"slow":  func(r *http.Request) { cancel(); <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			use := t.Context()
			if name == "slow" {
				use = ctx
			}
			sender, far := newSender(t, nil)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				far.ServeHTTP(httptest.NewRecorder(), r)
				after(r)
			}))
			defer server.Close()
			sender.endpoint = server.URL
			var failed *otp.SendError
			require.ErrorAs(t, sender.Send(use, message(t)), &failed)
			require.True(t, failed.MaybeSent)
			require.Len(t, far.received(), 1)
		})
	}
}

// An answer without an end is cut off.
func TestSMSSender_boundedAnswer(t *testing.T) {
	wrote := make(chan int, 1)
	sender, _ := newSender(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for {
			k, err := w.Write(bytes.Repeat([]byte("x"), 1<<16))
			if n += k; err != nil {
				wrote <- n
				return
			}
		}
	}))
	require.NoError(t, sender.Send(t.Context(), message(t)))
	require.Less(t, <-wrote, 64<<20)
}

func TestSMSSender_showsNoToken(t *testing.T) {
	sender, _ := newSender(t, nil)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "sender", sender)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", sender, sender, sender, &log), token)
	for _, endpoint := range []string{"", "ftp://host", "https://u:p@host", "https://", "%zz"} {
		_, err := NewSMSSender(endpoint, token, nil)
		require.Error(t, err, endpoint)
		require.NotContains(t, err.Error(), token)
	}
}

func TestSMSSender_onlyPhones(t *testing.T) {
	sender, far := newSender(t, nil)
	m := message(t)
	for _, to := range []string{"ann@example.com", "+44 7700 900123"} {
		var err error
		m.To, err = otp.NewAddress(to, "x")
		require.NoError(t, err)
		require.ErrorIs(t, sender.Send(t.Context(), m), otp.ErrSend)
	}
	require.Empty(t, far.received())
}

func TestParsePhone(t *testing.T) {
	want := phone(t, "+447700900123")
	for _, s := range []string{"+44 7700 900123", "+44-7700-900123", "+44.7700.900123", " +44 (7700) 900123 ", want.String()} {
		require.Equal(t, want, phone(t, s), s)
	}
	for _, s := range []string{
		"", "+", "07700 900123", "0044 7700 900123", "447700900123", "+0447700900123", "+123456", "+1234567890123456",
		"+44 (0)7700 900123", "+44 7700 90012x", "++447700900123", "+44 7700+900123", "+\u0664\u06647700900123", "+44\u00a07700900123",
		"+44 7700 900123 ext 4", "+447700900123\n", "ann@example.com", "+44" + strings.Repeat(" ", 99) + "7700900123",
	} {
		a, err := ParsePhone(s)
		require.ErrorIs(t, err, otp.ErrAddress, s)
		require.Zero(t, a)
		require.False(t, s != "" && s != "+" && strings.Contains(err.Error(), s), s)
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out), out.String())
	for _, want := range []string{
		"07700 900123: otp: invalid address", "sent to ***23", "guesses left: 4", "+447700900123 is proven", "in another spelling: otp: too many requests",
		"overloaded provider: otp: sending failed (answer): the provider returned status 503; temporary: true, may have been sent: false; Send returns an error: true",
		"does not exist: otp: sending failed (rcpt): the provider returned status 422; temporary: false, may have been sent: false; Send returns an error: false",
		"temporary: true, may have been sent: true; Send returns an error: false",
	} {
		require.Contains(t, out.String(), want)
	}
}
