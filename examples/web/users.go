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

// invoice is what a user has to pay.
type invoice struct {
	id, user string
	cents    int
	paid     bool
}

// Amount is shown to people, and written so that it does not look like a code.
func (i invoice) Amount() string { return fmt.Sprintf("%d.%02d EUR", i.cents/100, i.cents%100) }

func (i invoice) ID() string { return i.id }
func (i invoice) Paid() bool { return i.paid }

// purpose is what a code for this payment is good for: the whole of what is being
// confirmed. With another amount it is another purpose.
func (i invoice) purpose() string {
	return fmt.Sprintf("pay:%s:%d.%02dEUR", i.id, i.cents/100, i.cents%100)
}

var (
	errTaken = errors.New("web: this address belongs to another account")
	errNone  = errors.New("web: there is no such thing, or not any more")
)

// accounts would be tables of a database, with a unique index on the address.
type accounts struct {
	mu       sync.Mutex
	users    map[string]user   // by ID
	ids      map[string]string // by address
	invoices map[string]invoice
	last     int
}

func newAccounts() *accounts {
	return &accounts{users: map[string]user{}, ids: map[string]string{}, invoices: map[string]invoice{}}
}

// byAddress finds who has an address. It is compared as it is mailed, byte for byte:
// the folded form within an otp.Address is for counting only, and two spellings that
// it takes for one may belong to two people.
func (a *accounts) byAddress(address otp.Address) (user, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[a.ids[address.String()]]
	return u, ok
}

func (a *accounts) byID(id string) (user, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[id]
	return u, ok
}

// add returns the account with a proven address, a new one with something to pay
// unless there is one: two tabs may both have signed up.
func (a *accounts) add(address otp.Address) user {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u, ok := a.users[a.ids[address.String()]]; ok {
		return u
	}
	a.last++
	u := user{id: fmt.Sprintf("user-%d", a.last), address: address}
	a.users[u.id], a.ids[address.String()] = u, u.id
	bill := invoice{id: fmt.Sprintf("inv-%d", a.last), user: u.id, cents: 9900}
	a.invoices[bill.id] = bill
	return u
}

// move gives an account another address, which has been proven, and returns the old
// one. Somebody else may have taken it since the code was mailed.
func (a *accounts) move(id string, to otp.Address) (old otp.Address, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.users[id]
	if !ok {
		return old, errNone
	}
	if owner, taken := a.ids[to.String()]; taken && owner != id {
		return old, errTaken
	}
	old, u.address = u.address, to
	delete(a.ids, old.String())
	a.users[id], a.ids[to.String()] = u, id
	return old, nil
}

// bill is an invoice of a user that is still to be paid.
func (a *accounts) bill(id, user string) (invoice, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.invoices[id]; ok && i.user == user && !i.paid {
		return i, nil
	}
	return invoice{}, errNone
}

// bills are all invoices of a user.
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

// pay books the payment that a code was good for, once, if it is still what there
// is to pay and the code went to the address that the account has now.
func (a *accounts) pay(id string, c otp.Challenge) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.invoices[id]
	if !ok || i.paid || i.purpose() != c.Purpose || a.users[i.user].address != c.To {
		return errNone
	}
	i.paid = true
	a.invoices[id] = i
	return nil
}
