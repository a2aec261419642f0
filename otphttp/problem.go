package otphttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// problemBase is what the types of problems begin with (RFC 9457 3.1.1). They are
// stable: programs match them.
const problemBase = "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#"

// problem is how an error is told. Its name is the end of the type's address and
// the key of its sentence.
type problem struct {
	name   string
	status int
	title  string
	system bool // nothing that the person did
	wait   time.Duration
}

// problems are by the error they tell; the first that fits counts.
var problems = []struct {
	err error
	problem
}{
	{otp.ErrAddress, problem{name: "address", status: http.StatusUnprocessableEntity, title: "Not a usable address"}},
	{otp.ErrMalformed, problem{name: "malformed", status: http.StatusUnprocessableEntity, title: "Not a code"}},
	{otp.ErrCode, problem{name: "wrong", status: http.StatusUnprocessableEntity, title: "Wrong code"}},
	{otp.ErrExpired, problem{name: "expired", status: http.StatusGone, title: "Code expired"}},
	{otp.ErrExhausted, problem{name: "exhausted", status: http.StatusGone, title: "No guesses left for this code"}},
	{otp.ErrEscalated, problem{name: "escalated", status: http.StatusGone, title: "A longer code is needed"}},
	{otp.ErrUnknown, problem{name: "unknown", status: http.StatusNotFound, title: "No such challenge"}},
	{otp.ErrLimited, problem{name: "limited", status: http.StatusTooManyRequests, title: "Too many requests", wait: time.Minute}},
	{ErrForbidden, problem{name: "forbidden", status: http.StatusForbidden, title: "Not allowed"}},
	{otp.ErrSend, problem{name: "send", status: http.StatusServiceUnavailable, title: "The mail could not be sent", system: true, wait: time.Minute}},
}

// explain says which problem an error is; what is none of those that a person can
// cause is the system's.
func explain(err error) problem {
	var request *requestError
	if errors.As(err, &request) {
		return problem{name: "request", status: request.status, title: upperFirst(request.text)}
	}
	for _, p := range problems {
		if !errors.Is(err, p.err) {
			continue
		}
		var limit *otp.LimitError
		if errors.As(err, &limit) && limit.RetryAfter > 0 {
			p.wait = limit.RetryAfter
		}
		return p.problem
	}
	return problem{name: "server", status: http.StatusServiceUnavailable, title: "Not verified for a reason of the system", system: true, wait: 30 * time.Second}
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// fail answers with what an error means. c is the challenge as it stands, the
// zero one if there is none to be shown.
func (x *exchange) fail(c otp.Challenge, err error) {
	p := explain(err)
	if p.system {
		x.tell(err)
	}
	if p.wait > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(seconds(p.wait)))
	}
	if !x.wantsPage() {
		x.writeProblem(c, p)
		return
	}
	x.failPage(c, p)
}

// wantsPage reports whether a person is to read the answer.
func (x *exchange) wantsPage() bool {
	if x.in.json {
		return false
	}
	return strings.Contains(x.r.Header.Get("Accept"), "text/html") || strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// seconds are whole ones, rounded up, and never less than none.
func seconds(d time.Duration) int {
	return max(0, int((d+time.Second-1)/time.Second))
}
