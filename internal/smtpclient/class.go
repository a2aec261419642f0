package smtpclient

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp/internal/smtpreply"
	"github.com/go-mailotp/otp/otpevent"
)

// greylistWait is when to try again after a greylister, most of which want one to
// five minutes (RFC 6647 section 2.3).
const greylistWait = time.Minute

// Class says whose fault the failure is.
func (e *Error) Class() otpevent.Class {
	if e.class != "" {
		return e.class
	}
	_, mode := errors.AsType[*modeError](e.Err)
	switch reply, ok := e.reply(); {
	case ok:
		return reply.Class()
	case e.Permanent, mode, errors.Is(e.Err, errNoStartTLS), e.Stage == StageAuth && e.setup():
		return otpevent.ClassUs
	}
	return otpevent.ClassUnknown // no reply
}

// RetryAfter returns how long the server wants to be left alone; 0 if it does not
// say.
func (e *Error) RetryAfter() time.Duration {
	if reply, ok := e.reply(); ok && reply.Greylisted() {
		return named(reply.Text)
	}
	return 0
}

// pauses are the forms in which greylisters say how long to wait: "for 300
// seconds", "in 5 minutes", "in 00:05:00".
var pauses = regexp.MustCompile(`(?i)\b(?:for|in) (?:(\d{1,4}) ?(s|sec|seconds?|m|min|minutes?)\b|00:(\d\d):(\d\d)\b)`)

// named returns the pause that a greylister names, if it is a sensible one.
func named(text string) time.Duration {
	m := pauses.FindStringSubmatch(text)
	if m == nil {
		return greylistWait
	}
	spelled := m[1] + strings.ToLower(m[2])[:min(1, len(m[2]))]
	if m[1] == "" {
		spelled = m[3] + "m" + m[4] + "s"
	}
	if wait, err := time.ParseDuration(spelled); err == nil && wait >= time.Second && wait <= 15*time.Minute {
		return wait
	}
	return greylistWait
}

// reply returns the negative reply of the server.
func (e *Error) reply() (r smtpreply.Reply, ok bool) {
	var reply *smtp.SMTPError
	if !errors.As(e.Err, &reply) {
		return r, false
	}
	r = smtpreply.Reply{Stage: e.Stage, Code: reply.Code, Enhanced: reply.EnhancedCode, Text: reply.Message}
	if e.Stage == stageDot {
		r.Stage = StageData
	}
	return r, true
}

// setup reports whether a login failed for a reason that waiting does not cure,
// without a reply: the server offers no login that fits, or there is no token.
func (e *Error) setup() bool {
	return e.replyCode() == 0 && !e.dropped() && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded)
}

// sameWords counts different recipients in a row that a server refuses with the
// same words and without an enhanced code. One wrong address after the other is
// refused like that, and so is everybody, if the server means us.
type sameWords struct {
	mu         sync.Mutex
	words      string
	recipients []string // different ones, at most manyRefused
}

// manyRefused is when such a refusal is no longer about the recipient.
const manyRefused = 3

// judge corrects the class of err, which is the result for the address to.
func (s *sameWords) judge(err error, to string) {
	e, failed := errors.AsType[*Error](err)
	reply, replied := smtpreply.Reply{}, false
	if failed {
		reply, replied = e.reply()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed && (!replied || reply.Class() != otpevent.ClassRecipient) {
		return // says nothing about recipients
	}
	if !failed || reply.Enhanced != [3]int{} {
		s.words, s.recipients = "", nil
		return
	}
	words, to := strings.ToLower(reply.Text), strings.ToLower(to)
	local, domain, _ := strings.Cut(to, "@")
	for _, part := range []string{to, domain, local} {
		if len(part) > 2 { // a shorter one is in many words
			words = strings.ReplaceAll(words, part, "")
		}
	}
	if words != s.words {
		s.words, s.recipients = words, nil
	}
	if !slices.Contains(s.recipients, to) && len(s.recipients) < manyRefused {
		s.recipients = append(s.recipients, to)
	}
	if len(s.recipients) >= manyRefused {
		e.class = otpevent.ClassUs
	}
}
