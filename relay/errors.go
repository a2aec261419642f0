package relay

import (
	"errors"
	"strings"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/oneline"
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

// masked is err, which may be nil, without code, whole address and line breaks in
// its text: senders of other people repeat what they were given.
func masked(err error, m otp.Message) error {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), m.To.String(), m.To.Masked())
	if m.Code != "" {
		text = strings.ReplaceAll(text, m.Code, "[code]")
	}
	if oneline.Check(text) != nil {
		text = "an error with control characters in its text"
	}
	if text == err.Error() {
		return err
	}
	return &maskedError{text, err}
}

// maskedError has another text than its cause.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }

// Is lets errors.Is find the cause; there is no Unwrap, which would print it.
func (e *maskedError) Is(target error) bool { return errors.Is(e.err, target) }

// As lets errors.As find the cause.
func (e *maskedError) As(target any) bool { return errors.As(e.err, target) }
