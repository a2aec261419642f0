package relay

import (
	"errors"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/mask"
)

// asSendError finds what a sender said of a failure; what it said nothing of may
// have gone out.
func asSendError(err error) *otp.SendError {
	var e *otp.SendError
	if errors.As(err, &e) {
		return e
	}
	return &otp.SendError{Temporary: true, MaybeSent: true, Err: err}
}

// masked is err, which may be nil, fit for a log: senders of other people repeat
// what they were given.
func masked(err error, m otp.Message) error {
	if err == nil {
		return nil
	}
	return &mask.Error{Text: mask.Text(err.Error(), m.Code, m.To.String(), m.To.Masked()), Err: err}
}
