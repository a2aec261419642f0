package otp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
)

const (
	privateTo   = "Very.Private.Person@example.com"
	privateVar  = "vars-value"
	privateWord = "hunter2-hunter2"
)

// D1, D2: what the rest of the flow gives shows no secret either: challenges that
// come with errors, strong codes, resends, and the failures of everything else.
func TestRedaction_failures(t *testing.T) {
	out := newShowcase()
	secrets := []string{"very.private", privateVar, string(secret("A")), string(secret("B"))}
	r := newRig(t, otp.Options{Sends: wide, Generator: otp.Digits(12)})
	req := otp.Request{To: privateTo, Client: "192.0.2.1", Vars: map[string]string{"k": privateVar}}
	note := func(ch otp.Challenge, err error) {
		secrets = append(secrets, r.last().Code)
		if ch.ID != "" {
			secrets = append(secrets, ch.ID)
		}
		out.show(ch)
		out.show(&ch)
		out.show(err)
	}
	ch, code := r.ask(req)
	note(ch, nil)
	note(r.Status(ctx, ch.ID))
	note(r.Resend(ctx, ch.ID))
	r.clock.add(2 * time.Second)
	note(r.Resend(ctx, ch.ID))
	note(r.Check(ctx, ch.ID, "BCDFGHJKMNPQRS"))
	for range 6 {
		note(r.Check(ctx, ch.ID, wrong(code)))
	}
	note(r.Status(ctx, ch.ID))
	for range 3 { // until short codes are stopped
		r.clock.add(2 * time.Second)
		ch, code = r.ask(req)
		for range 3 {
			note(r.Check(ctx, ch.ID, wrong(code)))
		}
	}
	note(r.Status(ctx, ch.ID))
	r.clock.add(2 * time.Second)
	ch, err := r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.True(t, ch.Strong)
	note(ch, err)
	out.show(r.last())
	note(r.Check(ctx, ch.ID, wrong(r.last().Code)))
	r.clock.add(11 * time.Minute)
	note(r.Check(ctx, ch.ID, r.last().Code))
	note(r.Status(ctx, ch.ID))
	note(r.For("pay:inv-4711").Check(ctx, ch.ID, r.last().Code))
	note(otp.Challenge{}, r.Forget(ctx, privateTo+" "))
	note(r.Send(ctx, otp.Request{To: privateTo, Vars: map[string]string{privateVar: "\n"}}))
	note(r.Send(ctx, otp.Request{To: privateTo, Vars: map[string]string{"k": strings.Repeat(privateVar, 60)}}))
	note(r.For(strings.Repeat(privateVar, 60)).Send(ctx, req))
	note(r.Send(ctx, otp.Request{To: privateTo, Client: strings.Repeat(privateVar, 60)}))

	// What applications plug in says what it was told.
	says := func(options otp.Options, store otp.Store) {
		options.Secrets, options.Now, options.Observer, options.Generator = [][]byte{secret("A")}, r.clock.Now, r, otp.Digits(12)
		v, err := otp.NewVerifier(store, rigSender{r}, &options)
		require.NoError(t, err)
		note(v.Send(ctx, req))
		note(otp.Challenge{}, v.Forget(ctx, privateTo))
		out.show(options)
	}
	says(otp.Options{Admit: func(_ context.Context, to otp.Address) (bool, error) {
		return false, fmt.Errorf("no entry %s\r\nlevel=fake", to.String())
	}}, r.store)
	says(otp.Options{ParseAddress: func(s string) (otp.Address, error) {
		return otp.Address{}, fmt.Errorf("not ours: %s", strings.ToUpper(s))
	}}, r.store)
	says(otp.Options{}, &faultyStore{Store: r.store, at: 1})
	says(otp.Options{}, &faultyStore{Store: r.store, at: 2, apply: true})

	// A ledger that does not open, one under another secret, and options with secrets.
	r.clock.add(time.Minute)
	ch, _ = r.ask(req)
	key := keyOf(t, ch.ID)
	old, err := r.store.Load(ctx, key)
	require.NoError(t, err)
	bad := append([]byte{}, old...)
	bad[len(bad)-1] ^= 1
	ok, err := r.store.CompareAndSwap(ctx, key, old, bad, time.Hour)
	require.True(t, ok && err == nil)
	note(r.Check(ctx, ch.ID, r.last().Code))
	other, err := otp.NewVerifier(r.store, rigSender{r}, &otp.Options{Secrets: [][]byte{secret("B")}, IndexSecret: secret("A"), Observer: r, Now: r.clock.Now, Generator: otp.Digits(12)})
	require.NoError(t, err)
	note(other.Check(ctx, ch.ID, r.last().Code))
	out.show(other)
	for _, o := range []otp.Options{
		{Secrets: [][]byte{secret("A"), secret("A")}, IndexSecret: secret("B")}, {Secrets: [][]byte{secret("A"), secret("B")}},
		{Secrets: [][]byte{secret("A")[:31]}}, {Secrets: [][]byte{secret("A")}, IndexSecret: secret("B")[:31]},
	} {
		_, err := otp.NewVerifier(r.store, rigSender{r}, &o)
		require.Error(t, err)
		out.show(err)
		out.show(o)
	}
	for _, e := range r.events {
		out.show(e)
	}
	out.holdsNone(t, secrets)
}

// D1, D2, D3: a server that repeats all that it knows, with line breaks and
// control characters, at every stage of the flow: errors, events and challenges
// show none of it.
func TestRedaction_wire(t *testing.T) {
	const code = "271828182845"
	blob := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + privateWord))
	secrets := []string{"very.private", code, privateWord, blob, base64.StdEncoding.EncodeToString([]byte(privateWord)), privateVar, string(secret("A"))}
	out := newShowcase()
	for _, verb := range []string{smtptest.Connect, "EHLO", "AUTH", "MAIL", "RCPT", "DATA", smtptest.Dot} {
		for _, status := range []string{"550", "451", "334", "junk"} {
			knows := code
			if verb == "AUTH" { // where servers repeat what they refuse
				knows += " " + privateWord + " " + blob
			}
			echo := fmt.Sprintf("%s-5.1.1 <%s> %s\x1b[2J\r\n%s 5.1.1 <%s> \u202e%s", status, strings.ToLower(privateTo), knows, status, privateTo, knows)
			if status == "junk" || status == "334" {
				echo = status + " " + knows + " " + privateTo
			}
			server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(verb, echo)}.Start(t)
			opts := otp.SMTPOptions{TLS: otp.InsecureLoopback, Username: "user", Password: privateWord, Timeout: 60 * time.Millisecond}
			s := smtpSender(t, server.Addr, opts)
			r := newRig(t, otp.Options{})
			v, err := otp.NewVerifier(r.store, s, &otp.Options{Secrets: [][]byte{secret("A")}, Observer: r, Generator: sameCode(code), Sends: wide})
			require.NoError(t, err)
			ch, err := v.Send(ctx, otp.Request{To: privateTo, Vars: map[string]string{"k": privateVar}})
			require.ErrorIs(t, err, otp.ErrSend)
			var failed *otp.SendError
			require.ErrorAs(t, err, &failed)
			for _, text := range []string{err.Error(), failed.Err.Error(), fmt.Sprint(s.Ping(ctx))} {
				require.NotContains(t, text, "\x1b")
				require.NotContains(t, text, "\u202e")
				require.NotContains(t, text, "\n")
				require.Less(t, len(text), 400)
			}
			if ch.ID != "" {
				secrets = append(secrets, ch.ID)
				_, err := v.Check(ctx, ch.ID, wrong(code))
				out.show(err)
				_, err = v.Resend(ctx, ch.ID)
				out.show(err)
			}
			out.show(ch)
			out.show(err)
			out.show(errors.Unwrap(err))
			out.show(s)
			out.show(opts)
			out.show(&opts)
			for _, e := range r.events {
				out.show(e)
			}
			require.NoError(t, s.Close())
		}
	}
	out.holdsNone(t, secrets)
}

// sameCode is a generator of one code, so that a server knows it.
type sameCode string

func (c sameCode) Generate() (string, error)             { return string(c), nil }
func (c sameCode) Normalize(input string) (string, bool) { return otp.Digits(12).Normalize(input) }
