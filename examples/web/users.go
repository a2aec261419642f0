package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/go-mailotp/otp"
)

// user is an account. Its ID never changes; its address may.
type user struct {
	id      string
	address otp.Address
}

// invoice is an amount that a user has to pay.
type invoice struct {
	id, user string
	cents    int
	paid     bool
}

// Amount returns the amount for people. Its format does not look like a code.
func (i invoice) Amount() string { return fmt.Sprintf("%d.%02d EUR", i.cents/100, i.cents%100) }

func (i invoice) ID() string { return i.id }
func (i invoice) Paid() bool { return i.paid }

// purpose returns the purpose of a code for this payment. It has everything
// that is being confirmed, so another amount is another purpose.
func (i invoice) purpose() string {
	return fmt.Sprintf("pay:%s:%d.%02dEUR", i.id, i.cents/100, i.cents%100)
}

var (
	errTaken    = errors.New("web: the address belongs to another account")
	errNotFound = errors.New("web: not found")
)

// accounts keeps users and invoices in memory. A real application has a
// database for this, with a unique index on the key of the address.
type accounts struct {
	mu       sync.Mutex
	users    map[string]user   // by ID
	ids      map[string]string // by the key of the address
	invoices map[string]invoice
	last     int
}

func newAccounts() *accounts {
	return &accounts{users: map[string]user{}, ids: map[string]string{}, invoices: map[string]invoice{}}
}

// byAddress finds the user with an address. Bob@example.com and bob@example.com
// are one user; bob+shop@example.com is another one.
func (a *accounts) byAddress(address otp.Address) (user, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[a.ids[address.Key()]]
	return u, ok
}

func (a *accounts) byID(id string) (user, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[id]
	return u, ok
}

// add returns the account with a proven address. If there is none, it creates
// one with an invoice to pay; there may be one already, since two tabs may both
// sign up.
func (a *accounts) add(address otp.Address) user {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u, ok := a.users[a.ids[address.Key()]]; ok {
		return u
	}
	a.last++
	u := user{id: fmt.Sprintf("user-%d", a.last), address: address}
	a.users[u.id], a.ids[address.Key()] = u, u.id
	bill := invoice{id: fmt.Sprintf("inv-%d", a.last), user: u.id, cents: 9900}
	a.invoices[bill.id] = bill
	return u
}

// move gives an account another address, which has been proven, and returns the
// old one. It returns errTaken if the new address has got an account since the
// code was mailed.
func (a *accounts) move(id string, to otp.Address) (old otp.Address, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[id]
	if !ok {
		return old, errNotFound
	}
	if owner, taken := a.ids[to.Key()]; taken && owner != id {
		return old, errTaken
	}
	old, u.address = u.address, to
	delete(a.ids, old.Key())
	a.users[id], a.ids[to.Key()] = u, id
	return old, nil
}

// bill returns an unpaid invoice of a user.
func (a *accounts) bill(id, user string) (invoice, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.invoices[id]; ok && i.user == user && !i.paid {
		return i, nil
	}
	return invoice{}, errNotFound
}

// bills returns all invoices of a user.
func (a *accounts) bills(user string) (list []invoice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.invoices {
		if i.user == user {
			list = append(list, i)
		}
	}
	return list
}

// pay records the payment that a code confirmed. It does so once, and only if
// the invoice has not changed and the code went to the current address of the
// account.
func (a *accounts) pay(id string, c otp.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.invoices[id]
	if !ok || i.paid || i.purpose() != c.Purpose || a.users[i.user].address != c.To {
		return errNotFound
	}
	i.paid = true
	a.invoices[id] = i
	return nil
}
