package otp_test

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
)

// D1, D2: nothing that the library hands out shows a code, a secret, a
// challenge ID, a device token or a whole address when it is printed, logged
// or made into JSON (but for a Challenge in JSON, which apps must return).
func TestRedaction(t *testing.T) {
	const localPart = "very.private.person"
	to := localPart + "@example.com"
	r := newRig(t, otp.Options{Sends: wide, Generator: otp.Digits(12)})
	out := testkit.NewShowcase()
	show := func(v any) { show(out, v) }
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
	got, err := r.Check(ctx, ch.ID, testkit.WrongCode(code))
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
	r.clock.Add(2 * time.Second)
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
		if said.Temporary {
			require.ErrorIs(t, err, otp.ErrSend)
		} else { // the challenge stands: only the operator is told
			require.NoError(t, err)
			err = r.failure()
		}
		require.NotContains(t, err.Error(), "\x1b")
		require.NotContains(t, err.Error(), "\n")
		require.Less(t, len(err.Error()), 400)
		require.Contains(t, err.Error(), "v***@example.com")
		show(err)
		r.clock.Add(2 * time.Second)
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
	r.clock.Add(-time.Hour)
	_, err = r.Check(ctx, ch.ID, code)
	show(err)
	r.clock.Add(2 * time.Hour)
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

	require.Greater(t, len(out.Text()), 10_000)
	out.HoldsNone(t, secrets)
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

const (
	privateTo  = "Very.Private.Person@example.com"
	privateVar = "vars-value"
)

// D1, D2: what the rest of the flow gives shows no secret either: challenges that
// come with errors, strong codes, resends, and the failures of everything else.
func TestRedaction_failures(t *testing.T) {
	out := testkit.NewShowcase()
	secrets := []string{"very.private", privateVar, string(secret("A")), string(secret("B"))}
	r := newRig(t, otp.Options{Sends: wide, Generator: otp.Digits(12)})
	req := otp.Request{To: privateTo, Client: "192.0.2.1", Vars: map[string]string{"k": privateVar}}
	note := func(ch otp.Challenge, err error) {
		secrets = append(secrets, r.last().Code)
		if ch.ID != "" {
			secrets = append(secrets, ch.ID)
		}
		show(out, ch)
		show(out, &ch)
		show(out, err)
	}
	ch, code := r.ask(req)
	note(ch, nil)
	note(r.Status(ctx, ch.ID))
	note(r.Resend(ctx, ch.ID))
	r.clock.Add(2 * time.Second)
	note(r.Resend(ctx, ch.ID))
	note(r.Check(ctx, ch.ID, "BCDFGHJKMNPQRS"))
	for range 6 {
		note(r.Check(ctx, ch.ID, testkit.WrongCode(code)))
	}
	note(r.Status(ctx, ch.ID))
	for range 3 { // until short codes are stopped
		r.clock.Add(2 * time.Second)
		ch, code = r.ask(req)
		for range 3 {
			note(r.Check(ctx, ch.ID, testkit.WrongCode(code)))
		}
	}
	note(r.Status(ctx, ch.ID))
	r.clock.Add(2 * time.Second)
	ch, err := r.Resend(ctx, ch.ID)
	require.NoError(t, err)
	require.True(t, ch.Strong)
	note(ch, err)
	show(out, r.last())
	note(r.Check(ctx, ch.ID, testkit.WrongCode(r.last().Code)))
	r.clock.Add(11 * time.Minute)
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
		show(out, options)
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
	r.clock.Add(time.Minute)
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
	show(out, other)
	for _, o := range []otp.Options{
		{Secrets: [][]byte{secret("A"), secret("A")}, IndexSecret: secret("B")},
		{Secrets: [][]byte{secret("A"), secret("B")}},
		{Secrets: [][]byte{secret("A")[:31]}},
		{Secrets: [][]byte{secret("A")}, IndexSecret: secret("B")[:31]},
	} {
		_, err := otp.NewVerifier(r.store, rigSender{r}, &o)
		require.Error(t, err)
		show(out, err)
		show(out, o)
	}
	for _, e := range r.events {
		show(out, e)
	}
	out.HoldsNone(t, secrets)
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

// What is kept unexported cannot be redacted by fmt; what is kept exported is.
func TestRedaction_nested(t *testing.T) {
	o := otp.Options{Secrets: [][]byte{secret("A")}}
	for _, v := range []any{struct{ O otp.Options }{o}, []any{o, &o}, map[string]any{"o": o, "p": &o}} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		text := fmt.Sprintf("%v %+v %#v %s", v, v, v, b)
		require.NotContains(t, text, "secret A")
		require.NotContains(t, text, fmt.Sprint(secret("A")))
	}
}

// A4: the store shows no address, code, purpose or client.
func TestStoredValues_showNothing(t *testing.T) {
	c := testkit.NewClock()
	store := &recordingStore{Store: otp.NewMemoryStore(&otp.MemoryOptions{Now: c.Now})}
	r := newRigOn(t, otp.Options{}, c, store)
	v := r.For("pay:invoice-4711")
	ch, err := v.Send(ctx, otp.Request{To: "someone@example.com", Client: "client-0815", Locale: "de", Vars: map[string]string{"amount": "99 EUR"}})
	require.NoError(t, err)
	code := r.last().Code
	_, err = v.Check(ctx, ch.ID, testkit.WrongCode(code))
	require.ErrorIs(t, err, otp.ErrCode)
	s256, s1, m5 := sha256.Sum256([]byte(code)), sha1.Sum([]byte(code)), md5.Sum([]byte(code))
	reversed := []byte(code)
	slices.Reverse(reversed)
	secrets := [][]byte{
		[]byte(code), reversed, []byte(hex.EncodeToString([]byte(code))), []byte(base64.StdEncoding.EncodeToString([]byte(code))),
		s256[:], s1[:], m5[:], []byte(hex.EncodeToString(s256[:])), []byte(hex.EncodeToString(s1[:])), []byte(hex.EncodeToString(m5[:])),
		[]byte("someone"), []byte("example"), []byte("invoice"), []byte("client-0815"), []byte("amount"), []byte(ch.Reference), []byte(ch.ID),
	}
	require.Len(t, store.values, 3) // client, address, guess
	for i := range store.values {
		require.Regexp(t, `^[A-Za-z0-9_-]{22}$`, store.keys[i])
		for _, s := range secrets {
			require.NotContains(t, string(store.values[i]), string(s))
			require.NotContains(t, store.keys[i], string(s))
		}
		for j := range i {
			require.NotEqual(t, store.values[j], store.values[i], "every sealed value is unique")
		}
	}
}

// show prints v by its own type. A Challenge and an Address are whole in JSON,
// as documented.
func show(out *testkit.Showcase, v any) {
	switch v := v.(type) {
	case otp.Challenge:
		testkit.ShowNoJSON(out, v)
	case *otp.Challenge:
		testkit.ShowNoJSON(out, v)
	case otp.Address:
		testkit.ShowNoJSON(out, v)
		out.Print(map[otp.Address]bool{v: true})
	case otp.Message:
		testkit.Show(out, v)
	case otp.Request:
		testkit.Show(out, v)
	case otp.Options:
		testkit.Show(out, v)
	case otp.Event:
		testkit.Show(out, v)
	case error:
		testkit.Show(out, v)
	default:
		testkit.Show(out, v)
	}
}
