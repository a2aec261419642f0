package model

import (
	"github.com/go-mailotp/otp"
)

// persons are mailboxes. The spellings of each count as one.
var persons = [][]string{
	{"ann@example.com", "Ann+shop@example.com", "ANN@EXAMPLE.COM", "ann+@example.com"},
	{"bob@example.com", "bob+1+2@example.com"},
	{"carl.smith@gmail.com", "carlsmith@gmail.com", "Carl.S.Mith+x@googlemail.com"},
}

// clients are clients. The spellings of each count as one.
var clients = [][]string{
	{"192.0.2.1", "192.0.2.1:4711", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80"},
	{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "[2001:db8:0:1::7]:443", "2001:db8:0:ff::9"},
	{"phone-7"},
	{""},
}

// addressLedger returns the name of the ledger of an address.
func addressLedger(p policy, to otp.Address) string {
	for i, spellings := range persons {
		for _, s := range spellings {
			if a, _ := otp.ParseEmail(s); a == to {
				return p.namespace + "/address/" + persons[i][0]
			}
		}
	}
	panic("an unknown address")
}

// clientLedger returns the name of the ledger of a client.
func clientLedger(p policy, client string) string {
	for _, spellings := range clients[:len(clients)-1] {
		for _, s := range spellings {
			if s == client {
				return p.namespace + "/client/" + spellings[0]
			}
		}
	}
	return ""
}

// hashOf returns the hash that stands for an address in events. It is the same for all
// spellings.
func (w *world) hashOf(v *otp.Verifier, p policy, to otp.Address) otp.Hash {
	hash, err := v.AddressHash(to.String())
	for _, spellings := range persons {
		other, _ := v.AddressHash(spellings[0])
		if same := addressLedger(p, to) == p.namespace+"/address/"+spellings[0]; err != nil || (other == hash) != same {
			w.Fatalf("%s has the hash %v (%v), %s has %v", to, hash, err, spellings[0], other)
		}
	}
	return hash
}
