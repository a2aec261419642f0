package otphttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-mailotp/otp"
)

// problemBase is the prefix of the types of problems (RFC 9457 3.1.1). The
// types are stable, since programs compare them.
const problemBase = "https://github.com/go-mailotp/otp/blob/main/docs/problems.md#"

// problem is how the handler answers an error.
type problem struct {
	name   string // the end of its type and the key of its sentence
	status int
	title  string
	system bool // a failure of the system, not of the visitor
	wait   time.Duration
	scope  string // whose budget is spent
}

// problems has the problem of each error; the first that matches applies.
var problems = []struct {
	err error
	problem
}{
	{otp.ErrAddress, problem{name: "address", status: http.StatusUnprocessableEntity, title: "Invalid address"}},
	{otp.ErrMalformed, problem{name: "malformed", status: http.StatusUnprocessableEntity, title: "Not a code"}},
	{otp.ErrCode, problem{name: "wrong", status: http.StatusUnprocessableEntity, title: "Wrong code"}},
	{otp.ErrExpired, problem{name: "expired", status: http.StatusGone, title: "Code expired"}},
	{otp.ErrExhausted, problem{name: "exhausted", status: http.StatusGone, title: "No guesses left for this code"}},
	{otp.ErrUnknown, problem{name: "unknown", status: http.StatusNotFound, title: "No such challenge"}},
	{otp.ErrLimited, problem{name: "limited", status: http.StatusTooManyRequests, title: "Too many requests", wait: time.Minute}},
	{ErrForbidden, problem{name: "forbidden", status: http.StatusForbidden, title: "Not allowed"}},
	{otp.ErrSend, problem{name: "send", status: http.StatusServiceUnavailable, title: "The mail could not be sent", system: true, wait: time.Minute}},
}

// explain returns the problem of an error. An unknown error is a failure of the
// system.
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
		if errors.As(err, &limit) {
			p.scope = limit.Scope
			if limit.RetryAfter > 0 {
				p.wait = limit.RetryAfter
			}
		}
		return p.problem
	}
	return problem{name: "server", status: http.StatusServiceUnavailable, title: "Not verified because of a system failure", system: true, wait: 30 * time.Second}
}

// sentence returns the key of the sentence of a problem, below "errors.". c is the
// current challenge, or the zero Challenge if there is none.
func (p problem) sentence(c otp.Challenge) string {
	switch {
	case p.name != "limited":
	case p.scope == "client":
		return "network"
	case p.scope == "address" && c.ID == "" && p.wait <= time.Minute:
		return "recent" // somebody else asked, or the answer that had the challenge was lost
	}
	return p.name
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// fail answers with an error. c is the current challenge, or the zero Challenge
// if there is none to show.
func (x *exchange) fail(c otp.Challenge, err error) {
	p := explain(err)
	if p.system {
		x.reportError(err)
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

// wantsPage reports whether a person will read the answer.
func (x *exchange) wantsPage() bool {
	if x.in.json {
		return false
	}
	return strings.Contains(x.r.Header.Get("Accept"), "text/html") || strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// seconds returns d in whole seconds, rounded up, at least 0.
func seconds(d time.Duration) int {
	return max(0, int((d+time.Second-1)/time.Second))
}
