package otpotel_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otpevent"
)

// attributes are those of a span, as texts.
func attributes(s sdktrace.ReadOnlySpan) map[attribute.Key]string {
	all := map[attribute.Key]string{}
	for _, a := range s.Attributes() {
		all[a.Key] = a.Value.AsString()
	}
	return all
}

// A recipient who is refused for good is a typo in an address, and no error of
// the system; a server that refuses at another stage refuses every mail.
func TestTelemetry_refused(t *testing.T) {
	for _, c := range []struct {
		err             error
		operation, mail string // otp.result
		kind            string // error.type
	}{
		{&otp.SendError{Stage: "rcpt", Err: errors.New("550 no such user")}, "ok", "refused", ""},
		{&otp.SendError{Class: otpevent.ClassRecipient, Err: errors.New("no such number")}, "ok", "refused", ""},
		{&otp.SendError{Err: errors.New("no")}, "failed", "refused", "send"},
		{&otp.SendError{Stage: "data", Err: errors.New("550 sending suspended")}, "failed", "refused", "send"},
		{&otp.SendError{Temporary: true}, "failed", "temporary", "send"},
		{&otp.SendError{MaybeSent: true}, "ok", "unknown", "send"},
		{&otp.SendError{Temporary: true, MaybeSent: true}, "ok", "unknown", "send"},
		{errors.New("who knows"), "ok", "unknown", "_OTHER"},
	} {
		r := newRig(t)
		r.inbox.FailWith(c.err)
		_, err := r.Send(ctx, otp.Request{To: bob})
		require.Equal(t, c.operation == "failed", errors.Is(err, otp.ErrSend), "%#v", c.err)
		seen := 0
		for _, s := range r.spans.Ended() {
			want := map[string]string{"otp.send": c.operation, "otp.mail": c.mail}[s.Name()]
			if want == "" {
				continue
			}
			seen++
			has := attributes(s)
			require.Equal(t, want, has["otp.result"], "%s: %#v", s.Name(), c.err)
			isError := s.Status().Code == codes.Error
			if s.Name() == "otp.send" {
				require.Equal(t, c.operation == "failed", isError, "%#v", c.err)
			} else {
				require.Equal(t, c.kind != "", isError, "%#v", c.err)
				require.Equal(t, c.kind, has["error.type"], "%#v", c.err)
			}
		}
		require.Equal(t, 2, seen)
	}
}

// panics is a store and a sender that do.
type panics struct{}

func (panics) Load(context.Context, string) ([]byte, error) { panic("load") }
func (panics) CompareAndSwap(context.Context, string, []byte, []byte, time.Duration) (bool, error) {
	panic("swap")
}
func (panics) Send(context.Context, otp.Message) error { panic("send") }

// The span of what panics ends, as a failure, and the panic goes on.
func TestTelemetry_panics(t *testing.T) {
	r := newRig(t)
	store, sender := r.telemetry.Store(panics{}), r.telemetry.Sender("panics", panics{})
	require.PanicsWithValue(t, "load", func() { store.Load(ctx, "key") })
	require.PanicsWithValue(t, "swap", func() { store.CompareAndSwap(ctx, "key", nil, nil, time.Minute) })
	require.PanicsWithValue(t, "send", func() { sender.Send(ctx, otp.Message{}) })
	require.Len(t, r.spans.Ended(), 3)
	for i, result := range []string{"failed", "failed", "unknown"} {
		s := r.spans.Ended()[i]
		require.Equal(t, codes.Error, s.Status().Code, s.Name())
		require.Equal(t, result, attributes(s)["otp.result"])
		require.Equal(t, "_OTHER", attributes(s)["error.type"])
	}
}

// The README has every metric by both of its names, and every value.
func TestREADME_names(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	require.NoError(t, err)
	text := string(raw)
	r := newRig(t)
	r.story(t)
	families, err := r.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "otp_") {
			continue
		}
		require.Contains(t, text, "`"+f.GetName()+"`")
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "otp_result" || l.GetName() == "error_type" {
					require.Contains(t, text, "`"+l.GetValue()+"`", l.GetName())
				}
			}
		}
	}
	for _, m := range r.metrics(t) {
		require.Contains(t, text, "`"+m.Name+"`")
	}
}

// A span has what its duration has.
func TestTelemetry_spanAttributes(t *testing.T) {
	r := newRig(t)
	r.story(t)
	for _, s := range r.spans.Ended() {
		has := attributes(s)
		require.NotEmpty(t, has["otp.result"], s.Name())
		require.Equal(t, s.Status().Code == codes.Error, has["error.type"] != "", s.Name())
	}
}

// A sender that returns a nil *SendError as an error has said nothing, and ends
// no process.
func TestTelemetry_typedNil(t *testing.T) {
	r := newRig(t)
	sender := r.telemetry.Sender("nil", otp.SenderFunc(func(context.Context, otp.Message) error {
		var none *otp.SendError
		return none
	}))
	require.Error(t, sender.Send(ctx, otp.Message{}))
	require.Equal(t, "unknown", attributes(r.spans.Ended()[0])["otp.result"])
}
