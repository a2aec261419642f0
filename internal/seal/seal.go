// Package seal does everything that needs keys: it derives the keys, names the
// ledgers (what is remembered about an address or a client), encrypts and
// decrypts them, and makes and checks challenge IDs and device tokens. It knows
// nothing of codes, budgets or time windows.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
)

// MinSecret is the minimum length of a secret in bytes.
const MinSecret = 32

// version is authenticated with every sealed value, so that a later format
// cannot be read as this one.
const version = "otp ledger v1"

const fingerprintLen = 4

// Errors of Open.
var (
	// ErrUnknownKey means that the value was sealed under a secret that this
	// keyring does not have.
	ErrUnknownKey = errors.New("otp: stored value was sealed under an unknown secret")

	// ErrCorrupt means that the value is not one that was sealed for this key,
	// or was changed since.
	ErrCorrupt = errors.New("otp: stored value is corrupt: it does not open under its secret")
)

// Key is the name of one ledger: a keyed hash, truncated to 128 bits.
type Key [16]byte

// String returns the key as a store sees it: 22 characters of [A-Za-z0-9_-].
func (k Key) String() string {
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], k[:])
	return string(text[:])
}

// Keyring encrypts under the first of its secrets and decrypts under all of
// them. It is safe for concurrent use.
type Keyring struct {
	secrets   []*secret
	namespace string
	names     *macPool // ledger names
	ids       *macPool // challenge IDs
	devices   *macPool // device tokens
	events    *macPool // what stands for a ledger in an event
}

// New makes a keyring. index is the secret that does not rotate, under which
// ledgers are named and IDs are signed; nil means the first secret. Weak and
// duplicate secrets are an error, whose text begins with the name of the field
// of otp.Options.
func New(secrets [][]byte, index []byte, namespace string) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("otp: Options.Secrets: empty")
	}
	r := &Keyring{namespace: namespace}
	seen := map[[fingerprintLen]byte]bool{}
	for i, s := range secrets {
		if err := weak(s); err != nil {
			return nil, fmt.Errorf("otp: Options.Secrets[%d]: %w", i, err)
		}
		for _, earlier := range secrets[:i] {
			if hmac.Equal(s, earlier) {
				return nil, fmt.Errorf("otp: Options.Secrets[%d]: duplicates an earlier secret", i)
			}
		}
		sec := newSecret(s)
		if seen[sec.fingerprint] {
			return nil, fmt.Errorf("otp: Options.Secrets[%d]: has the fingerprint of an earlier secret; generate another one", i)
		}
		seen[sec.fingerprint] = true
		r.secrets = append(r.secrets, sec)
	}
	if len(index) == 0 {
		index = secrets[0]
	}
	if err := weak(index); err != nil {
		return nil, fmt.Errorf("otp: Options.IndexSecret: %w", err)
	}
	r.names = newMACPool(derive(index, "otp name v1", 32))
	r.ids = newMACPool(derive(index, "otp challenge v1", 32))
	r.devices = newMACPool(derive(index, "otp device v1", 32))
	r.events = newMACPool(derive(index, "otp event v1", 32))
	return r, nil
}

// weak returns an error if a secret is weak (OWASP ASVS 11.2.3 requires at
// least 128 bits of security; a repeated byte has none).
func weak(s []byte) error {
	if len(s) < MinSecret {
		return fmt.Errorf("%d bytes, want at least %d", len(s), MinSecret)
	}
	if bytes.Count(s, s[:1]) == len(s) {
		return errors.New("is one byte repeated; use random bytes")
	}
	return nil
}

// derive makes a key of n bytes from a secret (HKDF-SHA-256, RFC 5869).
func derive(secret []byte, info string, n int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, info, n)
	if err != nil { // only for more than 255 hashes of output
		panic(err)
	}
	return key
}

// AddressKey returns the name of the ledger of a throttle key.
func (r *Keyring) AddressKey(throttle string) Key { return r.name("address", throttle) }

// ClientKey returns the name of the ledger of a client.
func (r *Keyring) ClientKey(client string) Key { return r.name("client", client) }

func (r *Keyring) name(kind, value string) (k Key) {
	sum := r.names.sum(kind, r.namespace, value)
	copy(k[:], sum[:])
	return k
}

// EventHash returns what stands for the ledger k in an event. It is not k, so
// that whoever reads events does not learn which entry of a store to change; k
// also begins every challenge ID.
func (r *Keyring) EventHash(k Key) (h [16]byte) {
	if k == (Key{}) {
		return h
	}
	sum := r.events.sum(string(k[:]))
	copy(h[:], sum[:])
	return h
}

// Seal encrypts plain for the ledger named k. No two results are ever equal.
func (r *Keyring) Seal(k Key, plain []byte) []byte {
	s := r.secrets[0]
	out := make([]byte, fingerprintLen, fingerprintLen+len(plain)+28)
	copy(out, s.fingerprint[:])
	place := associated(k)
	defer places.Put(place)
	return s.aead(k).Seal(out, nil, plain, place[:])
}

// Open decrypts what Seal returned and appends it to dst. It returns
// [ErrUnknownKey] if no secret has the value's fingerprint, and [ErrCorrupt] for
// any other value that does not decrypt.
func (r *Keyring) Open(dst []byte, k Key, sealed []byte) ([]byte, error) {
	if len(sealed) < fingerprintLen {
		return nil, ErrCorrupt
	}
	i := slices.IndexFunc(r.secrets, func(s *secret) bool { return [fingerprintLen]byte(sealed) == s.fingerprint })
	if i < 0 {
		return nil, ErrUnknownKey
	}
	place := associated(k)
	defer places.Put(place)
	plain, err := r.secrets[i].aead(k).Open(dst, nil, sealed[fingerprintLen:], place[:])
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

// associated returns the data that binds a sealed value to the format and to
// its key in the store, so that a value moved to another key does not decrypt.
func associated(k Key) *place {
	p := places.Get().(*place)
	copy(p[copy(p[:], version):], k[:])
	return p
}

type place [len(version) + len(Key{})]byte

var places = sync.Pool{New: func() any { return new(place) }}

// secret is one sealing secret with its AES keys.
type secret struct {
	root        []byte
	fingerprint [fingerprintLen]byte
	// 256 keys share the work, so that each stays far below the 2^32 values
	// that a key may encrypt with random nonces (NIST SP 800-38D, 8.3). They
	// are made when first needed.
	aeads [256]atomic.Pointer[cipher.AEAD]
}

func newSecret(raw []byte) *secret {
	s := &secret{root: derive(raw, "otp seal v1", 32)}
	copy(s.fingerprint[:], derive(raw, "otp fingerprint v1", fingerprintLen))
	return s
}

func (s *secret) aead(k Key) cipher.AEAD {
	slot := &s.aeads[k[0]]
	if a := slot.Load(); a != nil {
		return *a
	}
	block, err := aes.NewCipher(derive(s.root, "otp seal key v1 "+string(k[:1]), 32))
	if err != nil { // only for a wrong key length
		panic(err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil { // only for another block size
		panic(err)
	}
	slot.Store(&a)
	return a
}

// macPool computes HMAC-SHA-256 under one key. Setting up a hash costs more
// than a short sum, so the hashes are reused.
type macPool struct{ pool sync.Pool }

type mac struct {
	hash hash.Hash
	in   []byte
	out  [sha256.Size]byte
}

func newMACPool(key []byte) *macPool {
	return &macPool{pool: sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, key)} }}}
}

// sum authenticates the parts, each preceded by its length, so that different
// lists of parts never have the same encoding.
func (p *macPool) sum(parts ...string) [sha256.Size]byte {
	m := p.pool.Get().(*mac)
	defer p.pool.Put(m)
	m.in = m.in[:0]
	for _, part := range parts {
		m.in = binary.BigEndian.AppendUint32(m.in, uint32(len(part)))
		m.in = append(m.in, part...)
	}
	m.hash.Reset()
	m.hash.Write(m.in)
	clear(m.in)
	m.hash.Sum(m.out[:0])
	return m.out
}

// random fills b from the system's generator, which does not fail.
func random(b []byte) { rand.Read(b) }
