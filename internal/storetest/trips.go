package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otptest"
)

// Trips are the commands that the steps of a flow take, by name.
type Trips struct {
	Send, SendWithClient, CheckWrong, CheckRight, CheckElsewhere []string
}

// CheckTrips checks that each step of a flow over store takes the commands in
// want and no others; commands returns those since it was last called. The flow
// begins at one verifier, and CheckElsewhere is at another one.
func CheckTrips(t *testing.T, store otp.Store, commands func() []string, want Trips) {
	inbox := new(otptest.Inbox)
	here, elsewhere := NewVerifier(t, store, inbox), NewVerifier(t, store, inbox)
	step := func(name string, want []string, run func(ctx context.Context) error) {
		t.Helper()
		commands()
		if err := run(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := commands(); !slices.Equal(got, want) {
			t.Errorf("%s took %v, want %v", name, got, want)
		}
	}
	// The first swap may have to bring the script.
	ask(t, here, inbox, newAddress())

	var id, code string
	send := func(ctx context.Context, r otp.Request) error {
		r.To = newAddress()
		ch, err := here.Send(ctx, r)
		id, code = ch.ID, inbox.Code(r.To)
		return err
	}
	check := func(v *otp.Verifier, guess func() string, want string) func(context.Context) error {
		return func(ctx context.Context) error {
			if _, err := v.Check(ctx, id, guess()); verdict(err) != want {
				t.Errorf("a check gave %v, want %s", err, want)
			}
			return nil
		}
	}
	right, bad := func() string { return code }, func() string { return wrong(code) }

	step("Send with a client", want.SendWithClient, func(ctx context.Context) error { return send(ctx, otp.Request{Client: "192.0.2.1"}) })
	step("Send", want.Send, func(ctx context.Context) error { return send(ctx, otp.Request{}) })
	step("Check, wrong", want.CheckWrong, check(here, bad, "wrong"))
	step("Check, right", want.CheckRight, check(here, right, "right"))
	send(t.Context(), otp.Request{})
	step("Check elsewhere", want.CheckElsewhere, check(elsewhere, right, "right"))
}
