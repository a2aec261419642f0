package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/safetext"
)

// checkNumber returns an error if the option n is negative.
func checkNumber[N int | time.Duration](option string, n N) error {
	if n < 0 {
		return fmt.Errorf("relay: %s: %v is negative", option, n)
	}
	return nil
}

// readable returns the error of a sender, or another one if its methods cannot
// be called. Some senders return a nil pointer as an error: that is not nil,
// its methods may panic, and it leaves open what became of the mail.
func readable(err error) (result error) {
	if err == nil {
		return nil
	}
	defer func() {
		if recover() != nil {
			result = errors.New("relay: the sender returned an error whose methods panic")
		}
	}()
	var e *otp.SendError
	if errors.As(err, &e) && e == nil {
		return errors.New("relay: the sender returned a nil *SendError")
	}
	_ = err.Error()
	return err
}

// asSendError returns the *otp.SendError in err. If there is none, the mail may
// have been sent.
func asSendError(err error) *otp.SendError {
	var e *otp.SendError
	if errors.As(err, &e) {
		return e
	}
	return &otp.SendError{Temporary: true, MaybeSent: true, Err: err}
}

// permanent reports whether the mail was rejected and must not be retried.
func permanent(err error) bool {
	e := asSendError(err)
	return !e.Temporary && !e.MaybeSent
}

// masked wraps err, which may be nil, so that its text is safe to log: the
// errors of some senders repeat the code and the address.
func masked(err error, m otp.Message) error {
	if err == nil {
		return nil
	}
	return &safetext.Error{Text: safetext.Text(err.Error(), m.Code, m.To.String(), m.To.Masked()), Err: err}
}
