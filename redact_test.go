package otp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/stretchr/testify/require"
)

// D1, D2: nothing that the library hands out shows a code, a secret, a
// challenge ID, a device token or a whole address when it is printed, logged
// or made into JSON (but for a Challenge in JSON, which apps must return).
func TestRedaction(t *testing.T) {
	const localPart = "very.private.person"
	to := localPart + "@example.com"
	r := newRig(t, otp.Options{Sends: wide, Generator: otp.Digits(12)})
	out := newShowcase()
	show := out.show
	secrets := []string{localPart, string(secret("A")), "vars-value"}
	// Everything that is returned.
	req := otp.Request{To: to, Client: "c", Vars: map[string]string{"k": "vars-value"}}
	ch, code := r.ask(req)
	secrets = append(secrets, ch.ID, code)
	show(ch)
	show(&ch)
	m := r.last()
	show(m)
	show(&m)
	show(m.To)
	got, err := r.Check(ctx, ch.ID, wrong(code))
	show(got)
	show(err)
	got, err = r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	secrets = append(secrets, got.Device)
	show(got)
	show(got.To)
	req.Device = got.Device
	show(req)
	show(&req)
	o := otp.Options{Secrets: [][]byte{secret("A")}, IndexSecret: secret("A"), Observer: r}
	show(o)
	show(&o)
	show(r.Verifier)
	show(r.store)

	// Every error, also where the sender repeats the code and the address, in
	// another case and with control characters (D3).
	r.clock.add(2 * time.Second)
	for _, said := range []*otp.SendError{
		{Temporary: true, Stage: "rcpt"}, {Stage: "rcpt"}, {MaybeSent: true, Stage: "data"},
	} {
		r.fail = func(m otp.Message) error {
			e := *said
			secrets = append(secrets, m.Code)
			e.Err = fmt.Errorf("550 <%s> code %s\x1b[2J\r\nlevel=fake %s", strings.ToUpper(m.To.String()), m.Code, strings.Repeat("x", 500))
			return &e
		}
		_, err := r.Send(ctx, req)
		require.ErrorIs(t, err, otp.ErrSend)
		require.NotContains(t, err.Error(), "\x1b")
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 400)
		require.Contains(t, err.Error(), "v***@example.com")
		show(err)
		r.clock.add(2 * time.Second)
	}
	r.fail = nil
	ch, code = r.ask(req)
	secrets = append(secrets, ch.ID, code)
	_, err = r.Send(ctx, req)
	show(err)
	_, err = r.Send(ctx, otp.Request{To: localPart + "@@example.com"})
	show(err)
	_, err = r.Check(ctx, ch.ID, code+"x")
	show(err)
	_, err = r.Check(ctx, ch.ID[:63], code)
	show(err)
	r.clock.add(-time.Hour)
	_, err = r.Check(ctx, ch.ID, code)
	show(err)
	r.clock.add(2 * time.Hour)
	_, err = r.Check(ctx, ch.ID, code)
	show(err)
	down := &faultyStore{Store: r.store, at: 1}
	v, err := otp.NewVerifier(down, rigSender{r}, &otp.Options{Secrets: [][]byte{secret("A")}, Observer: r, Generator: otp.Digits(12)})
	require.NoError(t, err)
	_, err = v.Send(ctx, req)
	require.ErrorIs(t, err, errDown)
	show(err)

	// Every event.
	require.NotEmpty(t, r.events)
	for _, e := range r.events {
		show(e)
	}

	require.Greater(t, len(out.text()), 10_000)
	out.holdsNone(t, secrets)
}

// A Message is redacted in JSON; a Challenge is not.
func TestRedaction_json(t *testing.T) {
	r := newRig(t, otp.Options{})
	ch, code := r.ask(otp.Request{To: bob})
	b, err := json.Marshal(ch)
	require.NoError(t, err)
	require.Contains(t, string(b), ch.ID)
	require.NotContains(t, string(b), `"to"`)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(b, &fields))
	require.Equal(t, "b***@example.com", fields["masked"])
	got, err := r.Check(ctx, ch.ID, code)
	require.NoError(t, err)
	b, err = json.Marshal(got)
	require.NoError(t, err)
	require.Contains(t, string(b), `"to":"bob@example.com"`)
	require.Contains(t, string(b), got.Device)
}

// The sender for development prints the code, and says so in one line.
func TestLogSender(t *testing.T) {
	var out bytes.Buffer
	r := newRig(t, otp.Options{})
	v, err := otp.NewVerifier(r.store, otp.NewLogSender(&out), &otp.Options{Now: r.clock.Now})
	require.NoError(t, err)
	ch, err := v.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	line := out.String()
	require.Regexp(t, `^otp: code for b\*\*\*@example\.com \(login, reference [A-Z]{4}, good for 10 min\): \d{6}\n$`, line)
	_, err = v.Check(ctx, ch.ID, strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]))
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, otp.NewLogSender(&out).Send(stopped, r.messageFor()), context.Canceled)
	require.Error(t, otp.NewLogSender(brokenWriter{}).Send(ctx, r.messageFor()))
}

func (r *rig) messageFor() otp.Message {
	r.clock.add(time.Minute)
	r.ask(otp.Request{To: bob})
	return r.last()
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }
