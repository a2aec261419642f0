// Package model holds nothing but tests: a second statement of the rules about
// guesses, sends and time, written from the documentation and not from the
// code, and random histories in which a real verifier must answer as it does.
package model
