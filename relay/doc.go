// Package relay puts senders of package otp behind a queue or beside each other.
//
// A [Queue] takes mails at once and hands them over in the background, so that a
// handler answers in the same time whether a mail goes out or not. A [Failover]
// asks several providers in turn. They go together: a queue around a failover.
//
//	providers, err := relay.NewFailover([]relay.Provider{{"main", smtp}, {"spare", other}}, nil)
//	queue, err := relay.NewQueue(providers, nil)
//	verifier, err := otp.NewVerifier(store, queue, nil)
//	...
//	queue.Close(ctx) // at the end of the program: waits for what is queued
//
// Behind a queue Verifier.Send has already returned when a mail fails: nothing is
// given back to the budget of the address and no challenge becomes a decoy. The
// queue is in memory: a process that is killed loses what is queued, and the people
// ask for another code.
package relay
