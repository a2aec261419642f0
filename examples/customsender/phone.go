package main

import (
	"fmt"
	"strings"

	"github.com/go-mailotp/otp"
)

// ParsePhone parses a telephone number in international form, such as "+44 7700
// 900123". Use it as Options.ParseAddress. It removes spaces, hyphens, dots and
// parentheses. The rest must be an ITU-T E.164 number: a plus sign and 7 to 15
// ASCII digits, of which the first is not 0. It rejects "(0)", which is not
// dialed from abroad. All spellings of a number return the same Address.
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
