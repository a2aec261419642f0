// Package relay adds a queue and provider failover to any sender of package
// otp.
//
// A [Queue] accepts mails at once and sends them in the background, so that the
// response time of a handler does not show whether a mail is sent. A [Failover]
// tries several providers in order. Use both together: a queue around a
// failover.
//
//	providers, err := relay.NewFailover([]relay.Provider{
//		{Name: "main", Sender: smtp},
//		{Name: "spare", Sender: other},
//	}, &relay.FailoverOptions{Attempt: 10 * time.Second})
//	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
//		OnReport: func(ctx context.Context, r relay.Report) {
//			if r.Outcome != otpevent.MailSent {
//				slog.WarnContext(ctx, "mail", "outcome", r.Outcome, "id", r.Message,
//					"to", r.Masked, "attempts", r.Attempts, "err", r.Err)
//			}
//		},
//	})
//	verifier, err := otp.NewVerifier(store, queue, nil)
//	...
//	queue.Close(ctx) // when the program ends: waits for the queued mails
//	smtp.Close()     // close the senders after the queue
//
// Set OnReport: without it, failed mails go unnoticed.
//
// With a queue, Verifier.Send has already returned when a mail fails. So the
// failed send is not refunded to the budget of the address. Nor does the
// challenge become a decoy, which is a challenge (one code for one visitor)
// that looks real but that no code can pass. The queue lives in memory: if the
// process is killed, the queued mails are lost and people have to ask for
// another code.
package relay
