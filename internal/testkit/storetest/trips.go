package storetest

import (
	"slices"
	"testing"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// Trips are the names of an engine's commands for a load, for a swap that creates
// a value, and for one that replaces a value.
type Trips struct{ Load, Create, Swap string }

// CheckTrips checks which commands each step of a flow sends to the server of store.
// The function commands returns those since its last call.
func CheckTrips(t *testing.T, store otp.Store, commands func() []string, c Trips) {
	inbox := new(otptest.Inbox)
	here, elsewhere := NewVerifier(t, store, inbox), NewVerifier(t, store, inbox)
	// The first swap may have to load the script.
	ask(t, here, inbox, newAddress())

	var to, id, code string
	send := func(r otp.Request) string {
		t.Helper()
		r.To = to
		ch, err := here.Send(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		id, code = ch.ID, inbox.Code(to)
		return "sent"
	}
	check := func(v *otp.Verifier, guess string) string {
		_, err := v.Check(t.Context(), id, guess)
		return verdict(err)
	}
	for _, step := range []struct {
		name, verdict string
		run           func() string
		want          []string
	}{
		{
			"Send with a client", "sent", func() string { to = newAddress(); return send(otp.Request{Client: newAddress()}) },
			[]string{c.Load, c.Load, c.Create, c.Create},
		},
		{"Send", "sent", func() string { to = newAddress(); return send(otp.Request{}) }, []string{c.Load, c.Create}},
		{"Send to an address that was here", "sent", func() string { return send(otp.Request{}) }, []string{c.Load, c.Swap}},
		{"Check, wrong", "wrong", func() string { return check(here, testkit.WrongCode(code)) }, []string{c.Swap}},
		{"Check, right", "right", func() string { return check(here, code) }, []string{c.Swap}},
		{"Check of a used one", "unknown", func() string { return check(here, code) }, []string{c.Load}},
		{"Send again", "sent", func() string { return send(otp.Request{}) }, []string{c.Load, c.Swap}},
		{"Check elsewhere", "right", func() string { return check(elsewhere, code) }, []string{c.Load, c.Swap}},
		{"Send elsewhere", "sent", func() string { to = newAddress(); return send(otp.Request{}) }, []string{c.Load, c.Create}},
		{"The last guess", "wrong", func() string {
			for range 4 {
				check(here, testkit.WrongCode(code))
			}
			return check(here, testkit.WrongCode(code))
		}, []string{c.Swap, c.Swap, c.Swap, c.Swap, c.Swap}},
		{"A guess after that", "exhausted", func() string { return check(here, code) }, []string{c.Load}},
	} {
		commands()
		if got := step.run(); got != step.verdict {
			t.Fatalf("%s: %s, want %s", step.name, got, step.verdict)
		}
		if got := commands(); !slices.Equal(got, step.want) {
			t.Errorf("%s took %v, want %v", step.name, got, step.want)
		}
	}
}
