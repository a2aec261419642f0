package bench

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/mimemsg"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/letter"
)

// A bare makes the library's calls to crypto and to the store without its
// rules: the difference is what the rules cost.
type bare struct {
	store *otp.MemoryStore
	aead  cipher.AEAD
	macs  *macs
	sizes sizes
}

func newBare(b *testing.B) *bare {
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(b, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(b, err)
	return &bare{otp.NewMemoryStore(nil), aead, newMACs(), ledgerSizes(b)}
}

// A challenge is what the bare Check must know of the bare Send.
type challenge struct {
	name, id [16]byte
	key      string
	mac      [sha256.Size]byte
}

func (b *bare) name(address string) (name [16]byte, key string) {
	sum := b.macs.sum(address, nil)
	name = [16]byte(sum[:16])
	return name, base64.RawURLEncoding.EncodeToString(name[:])
}

func (b *bare) swap(c *challenge, old []byte, size int) error {
	sealed := b.aead.Seal(nil, nil, make([]byte, size), c.name[:])
	swapped, err := b.store.CompareAndSwap(context.Background(), c.key, old, sealed, 24*time.Hour)
	return made(swapped, err)
}

// send names the ledger, makes the challenge's ID, code and reference and the
// mail's ID, finds no ledger and creates it.
func (b *bare) send(address string) (c challenge, err error) {
	c.name, c.key = b.name(address)
	rand.Read(c.id[:])
	c.mac = b.macs.sum(c.key, c.id[:])
	digits()
	var reference [8]byte
	rand.Read(reference[:])
	old, err := b.store.Load(context.Background(), c.key)
	if old != nil || err != nil {
		return c, made(false, err)
	}
	rand.Text()
	return c, b.swap(&c, nil, b.sizes.sent)
}

// check verifies the ID, opens the ledger and replaces it.
func (b *bare) check(c *challenge, size int) error {
	if again := b.macs.sum(c.key, c.id[:]); !hmac.Equal(again[:], c.mac[:]) {
		return errBroken
	}
	raw, err := b.store.Load(context.Background(), c.key)
	if err != nil {
		return err
	}
	if _, err := b.aead.Open(nil, nil, raw, c.name[:]); err != nil {
		return err
	}
	return b.swap(c, raw, size)
}

// forget makes n people new.
func (b *bare) forget(n int) error {
	for _, address := range people[:n] {
		_, key := b.name(address)
		raw, err := b.store.Load(context.Background(), key)
		if raw != nil && err == nil {
			_, err = b.store.CompareAndSwap(context.Background(), key, raw, nil, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bare) login() way {
	return way{"bare", b.forget, func(i int) error {
		c, err := b.send(people[i])
		if err == nil {
			err = b.check(&c, b.sizes.right)
		}
		var token [16]byte // for the device
		rand.Read(token[:])
		b.macs.sum(people[i], token[:])
		return err
	}}
}

func (b *bare) wrong() way {
	var sent [len(people)]challenge
	return way{"bare", func(n int) error {
		err := b.forget(n)
		for i := 0; i < n && err == nil; i++ {
			sent[i], err = b.send(people[i])
		}
		return err
	}, func(i int) error { return b.check(&sent[i], b.sizes.wrong) }}
}

func (b *bare) rendered(mail mailer) way {
	return way{"bare", b.forget, func(i int) error {
		_, err := b.send(people[i])
		if err == nil {
			_, err = mail.compose(people[i], "739164", "BCDF", "LETTERSANDDIGITS", time.Now())
		}
		return err
	}}
}

// made is nil if a swap was made.
func made(swapped bool, err error) error {
	if !swapped && err == nil {
		err = errBroken
	}
	return err
}

// sizes are the lengths of ledgers before they are sealed.
type sizes struct{ sent, wrong, right int }

// overhead is what sealing adds: a fingerprint, a nonce and a tag.
const overhead = 4 + 12 + 16

func ledgerSizes(b *testing.B) sizes {
	store := &writes{MemoryStore: otp.NewMemoryStore(nil)}
	f := newFlow(b, store, hand, nil)
	id, box, err := f.send(0)
	require.NoError(b, err)
	_, err = f.Check(box, id, testkit.WrongCode(box.code))
	require.ErrorIs(b, err, otp.ErrCode)
	_, err = f.Check(box, id, box.code)
	require.NoError(b, err)
	require.Len(b, store.lengths, 3)
	return sizes{store.lengths[0] - overhead, store.lengths[1] - overhead, store.lengths[2] - overhead}
}

// writes is a store that notes the length of each value.
type writes struct {
	*otp.MemoryStore
	lengths []int
}

func (s *writes) CompareAndSwap(ctx context.Context, key string, old, value []byte, ttl time.Duration) (bool, error) {
	s.lengths = append(s.lengths, len(value))
	return s.MemoryStore.CompareAndSwap(ctx, key, old, value, ttl)
}

// macs is a pool of HMAC-SHA-256 under one random key.
type macs struct{ pool sync.Pool }

type mac struct {
	hash.Hash
	sum [sha256.Size]byte
	in  []byte
}

func newMACs() *macs {
	key := make([]byte, 32)
	rand.Read(key)
	return &macs{sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }}}
}

func (p *macs) sum(a string, b []byte) [sha256.Size]byte {
	m := p.pool.Get().(*mac)
	defer p.pool.Put(m)
	m.in = append(append(m.in[:0], a...), b...)
	m.Reset()
	m.Write(m.in)
	m.Sum(m.sum[:0])
	return m.sum
}

// digits returns a code of six digits, from one read of four bytes.
func digits() (code [6]byte) {
	n := uint32(1<<32 - 1)
	for n >= 4_294_000_000 { // which would not be uniform
		var b [4]byte
		rand.Read(b[:])
		n = binary.LittleEndian.Uint32(b[:])
	}
	for i := range code {
		code[i] = byte('0' + n%10)
		n /= 10
	}
	return code
}

// floor is the least that keeps a code unreadable: a code whose keyed hash is
// put into a map and, at the check, compared and removed.
func floor() way {
	macs := newMACs()
	var shards [64]struct {
		sync.Mutex
		sums map[[16]byte][sha256.Size]byte
	}
	for i := range shards {
		shards[i].sums = map[[16]byte][sha256.Size]byte{}
	}
	return way{"floor", nil, func(i int) error {
		code := digits()
		sum := macs.sum(people[i], code[:])
		key := [16]byte{byte(i), byte(i >> 8)}
		shard := &shards[i%len(shards)]
		shard.Lock()
		shard.sums[key] = sum
		shard.Unlock()

		again := macs.sum(people[i], code[:])
		shard.Lock()
		defer shard.Unlock()
		kept := shard.sums[key]
		delete(shard.sums, key)
		if !hmac.Equal(kept[:], again[:]) {
			return errBroken
		}
		return nil
	}}
}

// A mailer makes the bytes of a mail as the SMTP sender does.
type mailer struct{ *letter.Letter }

func newMailer(b *testing.B) mailer {
	l, err := letter.New(nil)
	require.NoError(b, err)
	return mailer{l}
}

func (m mailer) compose(to, code, reference, id string, now time.Time) ([]byte, error) {
	words, err := m.Render(letter.Data{Code: code, Kind: "login", Reference: reference, Brand: "Example", Minutes: 10})
	if err != nil {
		return nil, err
	}
	mail := mimemsg.Message{
		From: mimemsg.Mailbox{Name: "Example", Addr: "login@example.com"}, To: to, ID: id, Date: now,
		Subject: words.Subject, Text: words.Text, HTML: words.HTML,
	}
	return mail.Bytes()
}
