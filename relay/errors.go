package relay

import (
	"errors"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// heard is what a sender answered. A nil pointer in an error is not nil, and its
// methods may panic; nobody knows what it means.
func heard(err error) (said error) {
	if err == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			said = errors.New("relay: the sender returned an error that cannot be read")
		}
	}()
	var e *otp.SendError
	if errors.As(err, &e) && e == nil {
		return errors.New("relay: the sender returned a nil *SendError")
	}
	_ = err.Error()
	return err
}

// asSendError finds what a sender said of a failure; what it said nothing of may
// have gone out.
func asSendError(err error) *otp.SendError {
	var e *otp.SendError
	if errors.As(err, &e) {
		return e
	}
	return &otp.SendError{Temporary: true, MaybeSent: true, Err: err}
}

// refused reports a refusal for good, by a sender that answers.
func refused(err error) bool {
	e := asSendError(err)
	return !e.Temporary && !e.MaybeSent
}

// masked is err, which may be nil, fit for a log: senders of other people repeat
// what they were given.
func masked(err error, m otp.Message) error {
	if err == nil {
		return nil
	}
	return &safetext.Error{Text: safetext.Text(err.Error(), m.Code, m.To.String(), m.To.Masked()), Err: err}
}
