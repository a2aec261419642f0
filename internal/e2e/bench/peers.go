package main

import (
	"time"

	"github.com/pquerna/otp/totp"
)

// pquerna makes and checks a time-based code. It keeps nothing, counts nothing
// and lets a code be used again: less work than a mailed code is.
func pquerna() *variant {
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	return &variant{name: "pquerna/otp 1.5.0: TOTP made and checked, nothing kept", size: 4 * turns, run: func(int, int) error {
		code, err := totp.GenerateCode(secret, time.Now())
		if err != nil {
			return err
		}
		if !totp.Validate(code, secret) {
			return errBroken
		}
		return nil
	}}
}
