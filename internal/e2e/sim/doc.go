// Package sim holds only tests. They prove the promises of package otp about
// guesses, codes and mails in two ways that do not depend on luck alone.
//
// All state that verifiers share passes the two methods of otp.Store. So the
// first part enumerates every order in which the store calls of up to three
// clients can happen, with every fault at every call, and compares the answers
// with those of calls that come one after the other.
//
// The second part is a simulator that replays from one seed: verifiers whose
// clocks differ, crashes, lost replies, lost secrets, people and attackers over
// virtual years. It compares what they are told with a naive count in true
// time. A failure prints its seed; OTP_SIM_SEED=n runs that history alone.
package sim
