package main

import (
	"fmt"
	"strings"

	"github.com/go-mailotp/otp"
)

// ParsePhone reads a telephone number in its international form, such as
// "+44 7700 900123", for Options.ParseAddress. Blanks, hyphens, dots and round
// brackets are left out; what remains is a number of ITU-T E.164: a plus, and 7 to
// 15 ASCII digits of which the first is not 0. "(0)" is refused, since it is
// not dialled from abroad. All spellings give the same Address.
func ParsePhone(s string) (otp.Address, error) {
	if len(s) > 40 || strings.Contains(s, "(0)") {
		return otp.Address{}, badPhone()
	}
	number := strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "").Replace(s)
	digits, international := strings.CutPrefix(number, "+")
	if !international || len(digits) < 7 || len(digits) > 15 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return otp.Address{}, badPhone()
	}
	return otp.NewAddress(number, number)
}

func badPhone() error {
	return fmt.Errorf("%w: write the number as +44 7700 900123", otp.ErrAddress)
}
