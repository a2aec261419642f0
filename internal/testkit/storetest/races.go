package storetest

import (
	"testing"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/otptest"
)

// Races makes 200 guesses at once with two verifiers, each of which uses one of two
// stores on the same data. It does so for the given number of rounds.
func Races(t *testing.T, a, b otp.Store, rounds int) {
	inbox := new(otptest.Inbox)
	vs := [2]*otp.Verifier{NewVerifier(t, a, inbox), NewVerifier(t, b, inbox)}

	t.Run("wrong guesses", func(t *testing.T) { // B1
		for range rounds {
			id, code := ask(t, vs[0], inbox, newAddress())
			expect(t, together(200, func(i int) error {
				_, err := vs[i%2].Check(t.Context(), id, testkit.WrongCode(code))
				return err
			}), map[string]int{"wrong": guesses, "exhausted": 200 - guesses})
		}
	})
	t.Run("right guesses", func(t *testing.T) { // B2
		for range rounds {
			id, code := ask(t, vs[0], inbox, newAddress())
			expect(t, together(200, func(i int) error {
				_, err := vs[i%2].Check(t.Context(), id, code)
				return err
			}), map[string]int{"right": 1, "unknown": 199})
		}
	})
	t.Run("right among wrong", func(t *testing.T) { // B1, B2
		for range rounds {
			id, code := ask(t, vs[0], inbox, newAddress())
			got := together(200, func(i int) error {
				guess := testkit.WrongCode(code)
				if i%50 == 7 {
					guess = code
				}
				_, err := vs[i%2].Check(t.Context(), id, guess)
				return err
			})
			if got["right"] > 1 || got["wrong"] > guesses || got["right"]+got["wrong"]+got["exhausted"]+got["unknown"] != 200 {
				t.Fatal(got)
			}
		}
	})
	t.Run("budget of an address", func(t *testing.T) { // B1, B3
		for range rounds {
			to := newAddress()
			var ids, codes [short]string
			for i := range ids {
				ids[i], codes[i] = ask(t, vs[i%2], inbox, to)
			}
			expect(t, together(99, func(i int) error {
				_, err := vs[i%2].Check(t.Context(), ids[i%short], testkit.WrongCode(codes[i%short]))
				return err
			}), map[string]int{"wrong": budget, "exhausted": 99 - budget})
		}
	})
}
