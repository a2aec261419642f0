// Package otpevent names what can happen: the kinds of an otp.Event, which an
// otp.Observer receives, and the outcomes of a mail, which package relay
// reports and package otpstats counts.
package otpevent

// Kind is what an otp.Event is about.
type Kind string

// The kinds of event. A Send to a valid address, and a Resend of an existing
// challenge, emit [Asked] and then what became of it; a Check emits its
// verdict. A request with an invalid address, Vars or purpose emits nothing.
const (
	// Asked means that somebody requested a mail to a valid address, or a
	// resend.
	Asked Kind = "asked"
	// Limited means that a budget was spent and no mail was sent.
	Limited Kind = "limited"
	// Sent means that the sender accepted the mail.
	Sent Kind = "sent"
	// SendFailed means that the sender reported the error in Event.Err.
	SendFailed Kind = "send_failed"
	// Decoy means that a decoy, a challenge that looks real but cannot be
	// passed, was opened or resent, and no mail was sent.
	Decoy Kind = "decoy"
	// Verified means that the code was correct: the address is proven.
	Verified Kind = "verified"
	// Wrong means that the code was wrong, which was counted.
	Wrong Kind = "wrong"
	// Malformed means that the input was not a code of the kind that was
	// mailed. It was not counted.
	Malformed Kind = "malformed"
	// Expired means that the guess came after the deadline, or the resend after
	// the time until which the same code can be mailed.
	Expired Kind = "expired"
	// Exhausted means that the challenge had no guess left.
	Exhausted Kind = "exhausted"
	// Unknown means that the challenge does not exist, was used before or has
	// another purpose. Resend and Status emit it too.
	Unknown Kind = "unknown"
	// ClockBack means that this verifier's clock is more than a minute behind
	// the one that sent the code. Check clock synchronization.
	ClockBack Kind = "clock_back"
	// UnknownKey means that a stored value was sealed under a secret that is
	// not in Options.Secrets. Check the rotation of secrets.
	UnknownKey Kind = "unknown_key"
	// Crowded means that strangers have used three quarters of what
	// Options.StrangerStarts allows, or its default over a MemoryStore. It is
	// emitted at most once an hour. When all of it is used, strangers are
	// refused, and known devices are not.
	Crowded Kind = "crowded"
	// Evicted means that a full MemoryStore dropped a value that was written
	// less than a day ago: counts of wrong guesses or a code were forgotten.
	Evicted Kind = "evicted"
	// Revoked means that the device tokens of an address were revoked.
	Revoked Kind = "revoked"
	// Forgotten means that everything stored about an address was erased.
	Forgotten Kind = "forgotten"
	// Failed means that the store, Admit, a generator or the configuration
	// failed; the error is in Event.Err.
	Failed Kind = "failed"
)

// Class says whose fault a failed mail is.
type Class string

// The classes of failure of an otp.SendError.
const (
	// ClassRecipient means that this recipient was refused: there is no such
	// mailbox. If that is permanent, the challenge becomes a decoy.
	ClassRecipient Class = "recipient"
	// ClassMailbox means that the mailbox exists but accepts nothing now, for
	// example because it is full.
	ClassMailbox Class = "mailbox"
	// ClassContent means that the message was refused for its contents.
	ClassContent Class = "content"
	// ClassUs means that the refusal concerns the sender of the mail: its
	// account, its address, its login, or its right to send.
	ClassUs Class = "us"
	// ClassThrottle means that too much was sent and less should be sent now.
	ClassThrottle Class = "throttle"
	// ClassUnknown means that the reply does not tell.
	ClassUnknown Class = "unknown"
)

// Outcome is what became of one mail after a sender was asked to deliver it.
type Outcome string

// The outcomes of a mail.
const (
	// MailSent means that the sender accepted the mail.
	MailSent Outcome = "sent"
	// MailUnknown means that the mail may or may not have been sent
	// (SendError.MaybeSent). It counts as sent.
	MailUnknown Outcome = "unknown"
	// MailRefused means that the mail was rejected permanently; no other
	// provider will be tried.
	MailRefused Outcome = "refused"
	// MailExpired means that the code expired before a sender accepted the
	// mail.
	MailExpired Outcome = "expired"
	// MailDropped means that the queue was closed before it sent the mail.
	MailDropped Outcome = "dropped"
	// MailDelayed means that an attempt failed temporarily and the mail will
	// be tried again.
	MailDelayed Outcome = "delayed"
	// MailFailed means that one provider failed, temporarily or permanently,
	// and another provider may still accept the mail.
	MailFailed Outcome = "failed"
)
