// Package relay puts senders of package otp behind a queue or beside each other.
//
// A [Queue] takes mails at once and hands them over in the background, so that a
// handler answers in the same time whether a mail goes out or not. A [Failover]
// asks several providers in turn. They go together: a queue around a failover.
//
//	providers, err := relay.NewFailover([]relay.Provider{
//		{Name: "main", Sender: smtp},
//		{Name: "spare", Sender: other},
//	}, &relay.FailoverOptions{Attempt: 10 * time.Second})
//	queue, err := relay.NewQueue(providers, &relay.QueueOptions{
//		OnReport: func(ctx context.Context, r relay.Report) {
//			if r.Outcome != otp.OutcomeSent {
//				slog.Warn("mail", "outcome", r.Outcome, "id", r.Message, "to", r.Masked, "attempts", r.Attempts, "err", r.Err)
//			}
//		},
//	})
//	verifier, err := otp.NewVerifier(store, queue, nil)
//	...
//	queue.Close(ctx) // at the end of the program: waits for what is queued
//	smtp.Close()     // and then the senders
//
// Without OnReport nobody hears of a mail that failed.
//
// Behind a queue Verifier.Send has already returned when a mail fails: nothing is
// given back to the budget of the address and no challenge becomes a decoy. The
// queue is in memory: a process that is killed loses what is queued, and the people
// ask for another code.
package relay
