// Package model holds only tests. They state the rules about guesses, mails and
// time a second time, from the documentation and not from the code, and compare
// real verifiers with this model in random and in concurrent histories.
package model
