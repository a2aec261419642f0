package otp

// Outcome is what became of one mail after a [Sender] was asked to deliver it.
// Package relay reports outcomes, and package otpstats counts them.
type Outcome string

// The outcomes of a mail.
const (
	// OutcomeSent means that the sender accepted the mail.
	OutcomeSent Outcome = "sent"

	// OutcomeUnknown means that the mail may or may not have been sent
	// (SendError.MaybeSent). It counts as sent.
	OutcomeUnknown Outcome = "unknown"

	// OutcomeRefused means that the mail was rejected permanently; no other
	// provider will be tried.
	OutcomeRefused Outcome = "refused"

	// OutcomeExpired means that the code expired before a sender accepted the
	// mail.
	OutcomeExpired Outcome = "expired"

	// OutcomeDropped means that the queue was closed before it sent the mail.
	OutcomeDropped Outcome = "dropped"

	// OutcomeDelayed means that an attempt failed temporarily and the mail
	// will be tried again.
	OutcomeDelayed Outcome = "delayed"

	// OutcomeFailed means that one provider failed, temporarily or
	// permanently, and that another provider may still accept the mail.
	OutcomeFailed Outcome = "failed"
)
