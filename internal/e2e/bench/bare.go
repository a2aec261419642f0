package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"time"

	"github.com/go-mailotp/otp"
)

var errBroken = errors.New("a variant does not do its work")

// macs is a pool of HMAC-SHA-256 under one random key.
type macs struct{ pool sync.Pool }

type mac struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	in   []byte
}

func newMACs() *macs {
	key := make([]byte, 32)
	rand.Read(key)
	return &macs{sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, key)} }}}
}

func (p *macs) sum(a string, b []byte) [sha256.Size]byte {
	m := p.pool.Get().(*mac)
	defer p.pool.Put(m)
	m.in = append(append(m.in[:0], a...), b...)
	m.hash.Reset()
	m.hash.Write(m.in)
	m.hash.Sum(m.sum[:0])
	return m.sum
}

// digits makes a code of six digits from one read of four bytes.
func digits() (code [6]byte) {
	var b [4]byte
	for {
		rand.Read(b[:])
		n := binary.LittleEndian.Uint32(b[:])
		if n >= 4_294_000_000 { // keep it uniform
			continue
		}
		n %= 1_000_000
		for i := range code {
			code[5-i] = byte('0' + n%10)
			n /= 10
		}
		return code
	}
}

// floorMap is a map in 64 parts, each with its lock.
type floorMap [64]struct {
	mu   sync.Mutex
	sums map[[16]byte][sha256.Size]byte
}

// floor is the least that keeps a code unreadable: a code, its keyed hash put
// under the keyed address, and at the check the hash again and the entry gone.
func floor() *variant {
	keys, parts := newMACs(), &floorMap{}
	for i := range parts {
		parts[i].sums = map[[16]byte][sha256.Size]byte{}
	}
	to := addresses("floor", 4096)
	return &variant{name: "floor: two HMACs, a map", size: 16384, run: func(worker, i int) error {
		address := to[worker][i%4096]
		code := digits()
		sum := keys.sum(address, code[:])
		var key [16]byte
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		key[8] = byte(worker)
		part := &parts[i%64]
		part.mu.Lock()
		part.sums[key] = sum
		part.mu.Unlock()

		again := keys.sum(address, code[:])
		part.mu.Lock()
		kept := part.sums[key]
		ok := hmac.Equal(kept[:], again[:])
		delete(part.sums, key)
		part.mu.Unlock()
		if !ok {
			return errBroken
		}
		return nil
	}}
}

// bare makes the calls of the library to crypto and to the store without its
// rules: what they cost is the rest.
type bare struct {
	store *otp.MemoryStore
	aead  cipher.AEAD
	keys  *macs
	sizes sizes
}

func newBare() (*bare, error) {
	sizes, err := ledgerSizes()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &bare{otp.NewMemoryStore(nil), aead, newMACs(), sizes}, err
}

// pending is what a challenge ID carries.
type pending struct {
	key  string
	mac  [sha256.Size]byte
	name [16]byte
	id   [16]byte
}

func (b *bare) name(address string) (raw [16]byte, key string) {
	sum := b.keys.sum(address, nil)
	raw = [16]byte(sum[:16])
	return raw, base64.RawURLEncoding.EncodeToString(raw[:])
}

func (b *bare) swap(key string, name, old []byte, size int) error {
	swapped, err := b.store.CompareAndSwap(context.Background(), key, old, b.aead.Seal(nil, nil, make([]byte, size), name), 24*time.Hour)
	if !swapped {
		return errors.Join(errBroken, err)
	}
	return nil
}

// send names the ledger, makes the ID, code, reference and the mail's ID,
// finds no ledger and puts one there.
func (b *bare) send(address string) (p pending, err error) {
	p.name, p.key = b.name(address)
	rand.Read(p.id[:])
	p.mac = b.keys.sum(p.key, p.id[:])
	_ = digits()
	var reference [8]byte
	rand.Read(reference[:])
	if old, err := b.store.Load(context.Background(), p.key); old != nil || err != nil {
		return p, errors.Join(errBroken, err)
	}
	if err = b.swap(p.key, p.name[:], nil, b.sizes.sent); err != nil {
		return p, err
	}
	_ = rand.Text()
	return p, nil
}

// check checks the ID, opens the ledger and puts another in its place.
func (b *bare) check(p pending, size int) error {
	if again := b.keys.sum(p.key, p.id[:]); !hmac.Equal(again[:], p.mac[:]) {
		return errBroken
	}
	raw, err := b.store.Load(context.Background(), p.key)
	if err != nil {
		return err
	}
	if _, err := b.aead.Open(nil, nil, raw, p.name[:]); err != nil {
		return err
	}
	return b.swap(p.key, p.name[:], raw, size)
}

// device makes the token that a right code earns.
func (b *bare) device(p pending, address string) {
	var token [16]byte
	rand.Read(token[:])
	_ = b.keys.sum(address, token[:])
}

func (b *bare) forget(address string) error {
	_, key := b.name(address)
	raw, err := b.store.Load(context.Background(), key)
	if raw == nil || err != nil {
		return err
	}
	_, err = b.store.CompareAndSwap(context.Background(), key, raw, nil, 0)
	return err
}

func bareSendCheck() (*variant, error) {
	b, err := newBare()
	if err != nil {
		return nil, err
	}
	to := addresses("bare", turns)
	return &variant{
		name: "bare: the same calls to crypto and store", size: turns,
		prepare: func() error { return each(to, b.forget) },
		run: func(worker, i int) error {
			p, err := b.send(to[worker][i])
			if err == nil {
				err = b.check(p, b.sizes.checked)
				b.device(p, to[worker][i])
			}
			return err
		},
	}, nil
}

func bareWrong() (*variant, error) {
	b, err := newBare()
	if err != nil {
		return nil, err
	}
	to := addresses("bare", turns)
	var sent [maxWorkers][turns]pending
	return &variant{
		name: "bare: the same calls to crypto and store", size: turns,
		prepare: func() error {
			if err := each(to, b.forget); err != nil {
				return err
			}
			for w := range to {
				for i, address := range to[w] {
					var err error
					if sent[w][i], err = b.send(address); err != nil {
						return err
					}
				}
			}
			return nil
		},
		run: func(worker, i int) error { return b.check(sent[worker][i], b.sizes.wrong) },
	}, nil
}

func bareMail() (*variant, error) {
	b, err := newBare()
	if err != nil {
		return nil, err
	}
	mail, err := newMailer()
	if err != nil {
		return nil, err
	}
	to := addresses("bare", mailTurns)
	now := time.Now()
	return &variant{
		name: "bare: the same calls and the rendering", size: mailTurns,
		prepare: func() error { return each(to, b.forget) },
		run: func(worker, i int) error {
			if _, err := b.send(to[worker][i]); err != nil {
				return err
			}
			return mail.write(to[worker][i], "739164", "BCDF", "LETTERSANDDIGITS", now, 10)
		},
	}, nil
}
