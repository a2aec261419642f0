package otp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

// What reviewers tried, and what they found, each kept as a test.

// skewed returns two verifiers on one store whose clocks differ by a minute,
// and a way to count the mails.
func skewed(t *testing.T, opts otp.Options) (r *rig, ahead, behind *otp.Verifier) {
	r = newRig(t, opts)
	at := func(d time.Duration) *otp.Verifier {
		o := opts
		o.Secrets, o.Now = [][]byte{secret("A")}, func() time.Time { return r.clock.Now().Add(d) }
		v, err := otp.NewVerifier(r.store, rigSender{r}, &o)
		require.NoError(t, err)
		return v
	}
	return r, at(30 * time.Second), at(-30 * time.Second)
}

// Rule 8: while the clocks agree to a minute, repairing them opens no window
// early, neither of sends, of starts nor of guesses.
func TestSkew(t *testing.T) {
	r, ahead, behind := skewed(t, otp.Options{})
	for range 5 {
		ahead.Send(ctx, otp.Request{To: bob})
		behind.Send(ctx, otp.Request{To: bob})
		r.clock.add(10 * time.Millisecond)
	}
	require.Equal(t, 1, r.sent())

	r, ahead, behind = skewed(t, otp.Options{ClientStarts: []otp.Limit{{N: 1, Per: time.Minute}}})
	for i := range 5 {
		ahead.Send(ctx, otp.Request{To: fmt.Sprintf("a%d@example.com", i), Client: "c"})
		behind.Send(ctx, otp.Request{To: fmt.Sprintf("b%d@example.com", i), Client: "c"})
	}
	require.Equal(t, 1, r.sent())

	r, ahead, behind = skewed(t, otp.Options{Sends: wide, Guesses: 10, WrongGuesses: []otp.Limit{{N: 1, Per: time.Minute}}})
	ch, err := ahead.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	told := 0
	for range 10 {
		for _, v := range []*otp.Verifier{ahead, behind} {
			if _, err := v.Check(ctx, ch.ID, wrong(r.last().Code)); errors.Is(err, otp.ErrCode) {
				told++
			}
		}
		r.clock.add(time.Millisecond)
	}
	require.Equal(t, 1, told)
}

// Rule 7: a send that is reserved under the time of a faster clock is the one
// that is given back.
func TestSkew_refund(t *testing.T) {
	r, ahead, behind := skewed(t, otp.Options{Sends: []otp.Limit{{N: 2, Per: time.Hour}}})
	_, err := ahead.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err)
	r.fail = always(refusedForNow)
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	r.fail = nil
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.NoError(t, err, "given back")
	_, err = behind.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrLimited, "but only that one")
}

// Rule 8: a clock of no possible time writes nothing that others cannot read.
func TestOddClock(t *testing.T) {
	for _, odd := range []time.Time{time.Date(40000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0), time.Unix(-1<<60, 0)} {
		r := newRigOn(t, otp.Options{Sends: wide}, newClock(), otp.NewMemoryStore(nil))
		ch, code := r.ask(otp.Request{To: bob})
		now := r.clock.Now()
		r.clock.now = odd
		_, err := r.Send(ctx, otp.Request{To: bob})
		require.Error(t, err)
		for _, call := range []func(context.Context, string) (otp.Challenge, error){
			r.Status, r.Resend, func(ctx context.Context, id string) (otp.Challenge, error) { return r.Check(ctx, id, code) },
		} {
			got, err := call(ctx, ch.ID)
			require.ErrorContains(t, err, "Options.Now")
			require.Zero(t, got)
		}
		r.clock.now = now
		_, err = r.Check(ctx, ch.ID, code)
		require.NoError(t, err)
	}
}

// A sender that returns a nil *SendError as an error has said nothing.
func TestSendError_typedNil(t *testing.T) {
	r := newRig(t, otp.Options{})
	r.fail = func(otp.Message) error { return (*otp.SendError)(nil) }
	ch, err := r.Send(ctx, otp.Request{To: bob})
	require.ErrorIs(t, err, otp.ErrSend)
	require.NotEmpty(t, ch.ID)
	require.NotEmpty(t, err.Error())
	var none *otp.SendError
	require.NotErrorIs(t, none, otp.ErrCode)
	require.ErrorIs(t, none, otp.ErrSend)
	require.EqualError(t, none, otp.ErrSend.Error()+": a nil *SendError")
	require.False(t, none.RefusedRecipient())
}

// A typo in an address says nothing of a mail server; everything else may.
func TestSendError_RefusedRecipient(t *testing.T) {
	for _, stage := range []string{"", "rcpt", "compose", "connect", "auth", "mail", "data", "failover"} {
		require.Equal(t, stage == "" || stage == "rcpt", (&otp.SendError{Stage: stage}).RefusedRecipient(), stage)
		require.False(t, (&otp.SendError{Stage: stage, Temporary: true}).RefusedRecipient(), stage)
		require.False(t, (&otp.SendError{Stage: stage, MaybeSent: true}).RefusedRecipient(), stage)
	}
}

// D1, D2, D3: no text of foreign origin brings a code or an address out.
func TestForeignTexts(t *testing.T) {
	const to = "very.private@example.com"
	var code string
	leaks := func(err error) {
		t.Helper()
		require.Error(t, err)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			text := fmt.Sprintf(verb, err)
			var failed *otp.SendError
			if errors.As(err, &failed) {
				text += fmt.Sprintf(verb, failed.Err) + fmt.Sprintf(verb, struct{ E error }{failed})
			}
			require.NotContains(t, text, "very.private", verb)
			require.NotContains(t, text, "\n", verb)
			if code != "" {
				require.NotContains(t, text, code, verb)
			}
		}
	}
	r := newRig(t, otp.Options{Sends: wide})
	r.fail = func(m otp.Message) error {
		code = m.Code
		return &otp.SendError{Stage: "at " + m.Code + "\n" + to, Err: valueError{m.Code + " " + to}}
	}
	_, err := r.Send(ctx, otp.Request{To: to})
	leaks(err)
	leaks(r.events[len(r.events)-1].Err)

	code = ""
	refuses := errors.New("LDAP: no entry for " + to)
	r = newRig(t, otp.Options{Admit: func(context.Context, otp.Address) (bool, error) { return false, refuses }})
	_, err = r.Send(ctx, otp.Request{To: to})
	require.ErrorIs(t, err, refuses)
	leaks(err)
	leaks(r.events[len(r.events)-1].Err)

	r = newRig(t, otp.Options{ParseAddress: func(s string) (otp.Address, error) { return otp.Address{}, fmt.Errorf("%q is not one of ours", s) }})
	_, err = r.Send(ctx, otp.Request{To: to})
	require.ErrorIs(t, err, otp.ErrAddress)
	leaks(err)
	leaks(r.Forget(ctx, to))
}

// valueError is an error that fmt would look into.
type valueError struct{ Said string }

func (e valueError) Error() string { return e.Said }

// G9: a wrong password or a blocked host says nothing about the recipient: no
// decoy, and the send is given back.
func TestSMTPSender_refusedBeforeMail(t *testing.T) {
	for verb, reply := range map[string]string{"AUTH": "535 5.7.8 wrong", smtptest.Connect: "554 5.7.1 blocked"} {
		server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(verb, reply)}.Start(t)
		s := smtpSender(t, server.Addr, otp.SMTPOptions{TLS: otp.InsecureLoopback, Username: "user", Password: "password"})
		v, err := otp.NewVerifier(otp.NewMemoryStore(nil), s, nil)
		require.NoError(t, err)
		ch, err := v.Send(ctx, otp.Request{To: bob})
		require.ErrorIs(t, err, otp.ErrSend)
		require.Zero(t, ch)
		var said *smtp.SMTPError
		require.ErrorAs(t, err, &said)
		require.Equal(t, reply[:3], fmt.Sprint(said.Code))
		require.Equal(t, 1, server.Conns(), "and is not tried again at once")
	}
}

// A code that HTML escapes is found in the HTML all the same.
func TestSMTPSender_escapedCode(t *testing.T) {
	sink := (&smtptest.Sink{}).Start(t)
	s := smtpSender(t, sink.Addr, otp.SMTPOptions{TLS: otp.InsecureLoopback})
	m := smtpMessage(t, bob)
	m.Code = `A+B&C<D>"'`
	require.NoError(t, s.Send(ctx, m))
	_, text, html := readMail(t, sink.Mails()[0].Data)
	require.Contains(t, text, m.Code)
	require.NotContains(t, html, m.Code)
}

// What is kept unexported cannot be redacted by fmt; what is kept exported is.
func TestRedaction_nested(t *testing.T) {
	o := otp.Options{Secrets: [][]byte{secret("A")}}
	s := otp.SMTPOptions{Username: "u", Password: "hunter2"}
	for _, v := range []any{struct{ O otp.Options }{o}, struct{ S otp.SMTPOptions }{s}, []any{o, s}, map[string]any{"o": o, "s": &s}} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		text := fmt.Sprintf("%v %+v %#v %s", v, v, v, b)
		require.NotContains(t, text, "hunter2")
		require.NotContains(t, text, "secret A")
		require.False(t, strings.Contains(text, fmt.Sprint(secret("A"))))
	}
}
