package smtpclient

import (
	"errors"
	"regexp"

	"github.com/emersion/go-smtp"

	"github.com/go-mailotp/otp/otpevent"
)

// Class says whose fault the failure is. Before the server has seen a
// recipient, and whenever a permanent rejection does not clearly name the
// recipient, it is ours: a relay that rejects all our mail must not look like
// one person with a wrong address.
func (e *Error) Class() otpevent.Class {
	var reply *smtp.SMTPError
	switch {
	case errors.As(e.Err, &reply) && reply.Code/100 == 5:
		return e.rejection(reply)
	case reply != nil:
		return delay(reply)
	case e.Permanent, isOurs(e.Err):
		return otpevent.ClassUs
	}
	return otpevent.ClassUnknown // no reply
}

// rejection classifies a permanent reply by its enhanced code (RFC 3463), or by
// the basic code and the text if it has none.
func (e *Error) rejection(reply *smtp.SMTPError) otpevent.Class {
	if e.Stage != StageRcpt && e.Stage != StageData {
		return otpevent.ClassUs
	}
	switch code := reply.EnhancedCode; {
	case code == smtp.EnhancedCode{5, 2, 2}:
		return otpevent.ClassMailbox // it is full
	case code == smtp.EnhancedCode{5, 2, 1}: // it is disabled
		return otpevent.ClassRecipient
	case code[0] == 5 && code[1] == 1:
		// 5.1.7 and 5.1.8 are about the sender, and 5.1.9 is about the message.
		// Postfix uses 5.1.0 for the sender too.
		if subject := code[2]; subject <= 6 && (subject != 0 || !aboutUs.MatchString(reply.Message)) || subject == 10 {
			return otpevent.ClassRecipient
		}
	case code[0] <= 0 && e.Stage == StageRcpt: // no enhanced code
		switch reply.Code {
		case 550, 551, 553:
			if !aboutUs.MatchString(reply.Message) {
				return otpevent.ClassRecipient
			}
		}
	}
	return otpevent.ClassUs
}

// delay classifies a temporary reply.
func delay(reply *smtp.SMTPError) otpevent.Class {
	switch {
	case reply.EnhancedCode == smtp.EnhancedCode{4, 2, 2}:
		return otpevent.ClassMailbox // it is full
	case reply.Code == 421:
		return otpevent.ClassThrottle // too many connections or mails
	}
	return otpevent.ClassUnknown
}

// aboutUs matches the text of a rejection at RCPT that is about the sender of
// the mail or about its host, such as "Relay access denied" or "Client host
// rejected".
var aboutUs = regexp.MustCompile(`(?is)relay|sender|\b(client|host)\b.*\brejected\b|\brejected\b.*\b(client|host)\b`)

// isOurs reports whether err, which is not a reply, shows that this client and
// the server do not fit together, for example because the server lacks the
// configured login.
func isOurs(err error) bool {
	var auth *authError
	var mode *modeError
	return errors.Is(err, errNoAuth) || errors.Is(err, errNoStartTLS) || errors.As(err, &auth) || errors.As(err, &mode)
}
