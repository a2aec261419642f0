package frameworks

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/otphttp"
)

// problem says in the form of huma what an error of the verifier means.
func problem(languages string, c otp.Challenge, err error) error {
	sentence, language := otphttp.Sentence(languages, c, err)
	status, header := http.StatusServiceUnavailable, http.Header{"Content-Language": {language}}
	var limit *otp.LimitError
	switch {
	case errors.As(err, &limit):
		status = http.StatusTooManyRequests
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(limit.RetryAfter.Seconds()))))
	case errors.Is(err, otp.ErrAddress), errors.Is(err, otp.ErrMalformed), errors.Is(err, otp.ErrCode):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, otp.ErrUnknown), otp.NeedsResend(err): // the app starts again with the password
		status = http.StatusGone
	default:
		slog.Error("sign-in failed", "error", err)
	}
	return huma.ErrorWithHeaders(huma.NewError(status, sentence), header)
}
