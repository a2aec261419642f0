package otptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

func address(t *testing.T, s string) otp.Address {
	t.Helper()
	a, err := otp.ParseEmail(s)
	require.NoError(t, err)
	return a
}

func mailTo(t *testing.T, to, code string) otp.Message {
	t.Helper()
	return otp.Message{To: address(t, to), Code: code}
}

func TestInbox_keepsMails(t *testing.T) {
	var inbox Inbox
	require.Zero(t, inbox.Len())
	require.Empty(t, inbox.Messages())
	require.Empty(t, inbox.Code("ann@example.com"))
	_, ok := inbox.Last("ann@example.com")
	require.False(t, ok)

	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "bob@example.com", "222222")))
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "333333")))

	require.Equal(t, 3, inbox.Len())
	require.Equal(t, "333333", inbox.Code("ann@example.com"))
	require.Equal(t, "222222", inbox.Code("bob@example.com"))
	require.Empty(t, inbox.Code("ANN@example.com"))
	last, ok := inbox.Last("ann@example.com")
	require.True(t, ok)
	require.Equal(t, "333333", last.Code)
	var codes []string
	for _, m := range inbox.Messages() {
		codes = append(codes, m.Code)
	}
	require.Equal(t, []string{"111111", "222222", "333333"}, codes)
}

// The Vars in the inbox are nobody else's.
func TestInbox_copiesVars(t *testing.T) {
	var inbox Inbox
	m := mailTo(t, "ann@example.com", "111111")
	m.Vars = map[string]string{"brand": "Example"}
	require.NoError(t, inbox.Send(t.Context(), m))
	m.Vars["brand"] = "changed"
	waited, err := inbox.Wait(t.Context(), "ann@example.com")
	require.NoError(t, err)
	waited.Vars["brand"] = "changed"
	inbox.Messages()[0].Vars["brand"] = "changed"
	last, _ := inbox.Last("ann@example.com")
	require.Equal(t, "Example", last.Vars["brand"])
	last.Vars["brand"] = "changed"
	last, _ = inbox.Last("ann@example.com")
	require.Equal(t, "Example", last.Vars["brand"])
}

func TestInbox_failWith(t *testing.T) {
	var inbox Inbox
	broken := &otp.SendError{Temporary: true, Stage: "connect"}
	inbox.FailWith(broken)
	for range 2 {
		require.Same(t, broken, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	}
	require.Zero(t, inbox.Len())
	inbox.FailWith(nil)
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "222222")))
	require.Equal(t, "222222", inbox.Code("ann@example.com"))
}

func TestInbox_endedContext(t *testing.T) {
	var inbox Inbox
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := inbox.Send(ctx, mailTo(t, "ann@example.com", "111111"))
	var failure *otp.SendError
	require.ErrorAs(t, err, &failure)
	require.True(t, failure.Temporary)
	require.False(t, failure.MaybeSent)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, inbox.Len())
}

// Wait gives each mail once, oldest first, whether it came before or after.
func TestInbox_waitInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "bob@example.com", "999999")))
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "222222")))
		for _, want := range []string{"111111", "222222"} {
			m, err := inbox.Wait(t.Context(), "ann@example.com")
			require.NoError(t, err)
			require.Equal(t, want, m.Code)
		}

		got := make(chan string)
		go func() {
			m, err := inbox.Wait(t.Context(), "ann@example.com")
			got <- fmt.Sprint(m.Code, err)
		}()
		synctest.Wait() // it waits
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "bob@example.com", "888888")))
		synctest.Wait() // that was not for it
		select {
		case early := <-got:
			t.Fatalf("Wait returned %s", early)
		default:
		}
		require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "333333")))
		require.Equal(t, "333333<nil>", <-got)
	})
}

func TestInbox_waitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inbox Inbox
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		go func() {
			_, err := inbox.Wait(ctx, "ann@example.com")
			got <- err
		}()
		synctest.Wait()
		inbox.Reset() // disturbs nobody
		synctest.Wait()
		cancel()
		err := <-got
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, err.Error(), "ann@example.com")
	})
}

func TestInbox_reset(t *testing.T) {
	var inbox Inbox
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "111111")))
	_, err := inbox.Wait(t.Context(), "ann@example.com")
	require.NoError(t, err)
	inbox.FailWith(errors.New("broken"))
	inbox.Reset()
	require.Zero(t, inbox.Len())
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "222222")))
	m, err := inbox.Wait(t.Context(), "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, "222222", m.Code)
}

// Many wait for the same address: each gets a mail of its own.
func TestInbox_concurrent(t *testing.T) {
	const n = 50
	var inbox Inbox
	var all sync.WaitGroup
	codes := make(chan string, n)
	for i := range n {
		m := mailTo(t, "ann@example.com", fmt.Sprint(100000+i))
		all.Go(func() {
			if err := inbox.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			m, err := inbox.Wait(t.Context(), "ann@example.com")
			if err != nil {
				t.Error(err)
			}
			codes <- m.Code
			inbox.Len()
			inbox.Messages()
			inbox.Code("ann@example.com")
		})
	}
	all.Wait()
	close(codes)
	seen := map[string]bool{}
	for code := range codes {
		require.False(t, seen[code], code)
		seen[code] = true
	}
	require.Len(t, seen, n)
}

func TestInbox_printsNoCode(t *testing.T) {
	var inbox Inbox
	require.NoError(t, inbox.Send(t.Context(), mailTo(t, "ann@example.com", "735190")))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		require.Equal(t, "Inbox{Len: 1}", fmt.Sprintf(verb, &inbox))
		require.NotContains(t, fmt.Sprintf(verb, struct{ Inbox *Inbox }{&inbox}), "735190")
		require.NotContains(t, fmt.Sprintf(verb, struct{ inbox *Inbox }{&inbox}), "735190")
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("inbox", "inbox", &inbox)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("inbox", "inbox", &inbox)
	require.NotContains(t, log.String(), "735190")
}
