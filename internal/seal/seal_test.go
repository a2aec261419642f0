package seal

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	secretA = []byte("secret A of at least 32 bytes ...")
	secretB = []byte("secret B of at least 32 bytes ...")
	start   = time.Unix(1_800_000_000, 0)
)

func ring(t testing.TB, namespace string, secrets ...[]byte) *Keyring {
	t.Helper()
	r, err := New(secrets, secretA, namespace)
	require.NoError(t, err)
	return r
}

// Names and seals of this version must stay readable by later ones.
func TestFormat(t *testing.T) {
	r := ring(t, "ns", secretA)
	k := r.AddressKey("bob@example.com")
	require.Equal(t, goldenKey, k.String())
	sealed, err := base64.StdEncoding.DecodeString(goldenSealed)
	require.NoError(t, err)
	plain, err := r.Open(nil, k, sealed)
	require.NoError(t, err)
	require.Equal(t, "a ledger", string(plain))
	_, _, ok := r.ParseID(goldenID)
	require.True(t, ok)
	_, ok = r.DeviceEnd(goldenDevice, k, "bob@example.com")
	require.True(t, ok)
}

func TestSealOpen(t *testing.T) {
	r := ring(t, "", secretA)
	for i := range 40 { // many keys, so many AES keys
		k := r.AddressKey(strings.Repeat("a", i))
		plain := bytes.Repeat([]byte{byte(i)}, i)
		sealed := r.Seal(k, plain)
		require.NotEqual(t, sealed, r.Seal(k, plain), "every seal is unique")
		got, err := r.Open(nil, k, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
		for j := range sealed {
			sealed[j] ^= 1
			_, err := r.Open(nil, k, sealed)
			require.Error(t, err)
			sealed[j] ^= 1
		}
		for cut := range sealed {
			_, err := r.Open(nil, k, sealed[:cut])
			require.ErrorIs(t, err, ErrCorrupt)
		}
		_, err = r.Open(nil, r.ClientKey(strings.Repeat("a", i)), sealed) // A5
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// A8: all open, the first seals.
func TestRotation(t *testing.T) {
	a, b, ab, ba := ring(t, "", secretA), ring(t, "", secretB), ring(t, "", secretA, secretB), ring(t, "", secretB, secretA)
	k := a.AddressKey("x")
	require.Equal(t, k, b.AddressKey("x"), "the index secret names")
	byA, byB := ab.Seal(k, []byte("p")), ba.Seal(k, []byte("p"))
	for _, r := range []*Keyring{a, ab, ba} {
		_, err := r.Open(nil, k, byA)
		require.NoError(t, err)
	}
	for _, r := range []*Keyring{b, ab, ba} {
		_, err := r.Open(nil, k, byB)
		require.NoError(t, err)
	}
	_, err := b.Open(nil, k, byA)
	require.ErrorIs(t, err, ErrUnknownKey)
	_, err = a.Open(nil, k, byB)
	require.ErrorIs(t, err, ErrUnknownKey)
}

// A5: kind, namespace and value are told apart by their lengths.
func TestNames_lengthPrefixed(t *testing.T) {
	seen := map[Key]string{}
	for _, ns := range []string{"", "a", "ab", "abc", "address"} {
		r := ring(t, ns, secretA)
		for _, v := range []string{"", "a", "b", "ab", "bc", "c", "abc"} {
			for kind, k := range map[string]Key{"address": r.AddressKey(v), "client": r.ClientKey(v)} {
				require.Empty(t, seen[k])
				seen[k] = ns + "|" + kind + "|" + v
			}
		}
	}
	other, err := New([][]byte{secretA}, secretB, "")
	require.NoError(t, err)
	require.Empty(t, seen[other.AddressKey("a")])
}

func TestID(t *testing.T) {
	r := ring(t, "ns", secretA)
	k := r.AddressKey("bob")
	id, nonce := r.NewID(k)
	require.Regexp(t, `^[A-Za-z0-9_-]{64}$`, id)
	gotKey, gotNonce, ok := r.ParseID(id)
	require.True(t, ok)
	require.Equal(t, k, gotKey)
	require.Equal(t, nonce, gotNonce)
	_, again := r.NewID(k)
	require.NotEqual(t, nonce, again)

	for i := range id { // every character counts
		for _, c := range "AQz9_" {
			if forged := id[:i] + string(c) + id[i+1:]; forged != id {
				_, _, ok := r.ParseID(forged)
				require.False(t, ok, "%d", i)
			}
		}
	}
	for _, bad := range []string{"", id[:63], id + "A", id[:60] + "\n" + id[61:], " " + id[1:], strings.Repeat("A", 1<<20)} {
		_, _, ok := r.ParseID(bad)
		require.False(t, ok)
	}
	_, _, ok = ring(t, "other", secretA).ParseID(id)
	require.False(t, ok, "the namespace is signed")
	other, err := New([][]byte{secretA}, secretB, "ns")
	require.NoError(t, err)
	_, _, ok = other.ParseID(id)
	require.False(t, ok)
}

func TestDevice(t *testing.T) {
	r := ring(t, "ns", secretA)
	k := r.AddressKey("bob")
	end := start.Unix()
	token := r.NewDevice(k, "bob@example.com", end)
	require.Len(t, token, deviceText)
	require.NotEqual(t, token, r.NewDevice(k, "bob@example.com", end))
	got, ok := r.DeviceEnd(token, k, "bob@example.com")
	require.True(t, ok)
	require.Equal(t, end, got)
	opens := func(r *Keyring, token string, k Key, deliver string) bool {
		_, ok := r.DeviceEnd(token, k, deliver)
		return ok
	}
	require.False(t, opens(r, token, k, "Bob@example.com"))
	require.False(t, opens(r, token, r.AddressKey("eve"), "bob@example.com"))
	require.False(t, opens(ring(t, "other", secretA), token, k, "bob@example.com"))
	for i := range token {
		for _, c := range "AQz9_" {
			if forged := token[:i] + string(c) + token[i+1:]; forged != token {
				require.False(t, opens(r, forged, k, "bob@example.com"))
			}
		}
	}
	id, _ := r.NewID(k)
	require.False(t, opens(r, id[:deviceText], k, "bob@example.com"))
	require.False(t, opens(r, "", k, "bob@example.com"))
}

// J8: what stands for an address in an event is not its key in the store.
func TestEventHash(t *testing.T) {
	r := ring(t, "ns", secretA)
	k := r.AddressKey("bob")
	require.NotEqual(t, [16]byte(k), r.EventHash(k))
	require.Equal(t, r.EventHash(k), ring(t, "ns", secretA).EventHash(k))
	require.NotEqual(t, r.EventHash(k), r.EventHash(r.AddressKey("eve")))
	require.Zero(t, r.EventHash(Key{}))
}

func FuzzTokens(f *testing.F) {
	r := ring(f, "ns", secretA)
	k := r.AddressKey("bob@example.com")
	f.Add(goldenID)
	f.Add(goldenDevice)
	f.Add("")
	f.Add(strings.Repeat("A", idText))
	f.Add(strings.Repeat("A", deviceText))
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, ok := r.ParseID(s); ok && s != goldenID {
			t.Errorf("forged ID %q", s)
		}
		if _, ok := r.DeviceEnd(s, k, "bob@example.com"); ok && s != goldenDevice {
			t.Errorf("forged token %q", s)
		}
	})
}
