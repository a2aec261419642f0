package seal

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
)

const (
	macLen = 16 // 128 bits: forging one takes 2^127 online attempts on average

	idLen  = 16 + 16 + macLen // locator, random, MAC
	idText = 64               // idLen in base64url

	deviceLen  = 8 + 16 + macLen // end, random, MAC
	deviceText = 54              // deviceLen in base64url
)

var encoding = base64.RawURLEncoding.Strict()

// NewID makes the ID, of 64 characters, of a challenge in the ledger k, and its
// random part, by which the ledger finds the challenge.
func (r *Keyring) NewID(k Key) (id string, nonce [16]byte) {
	random(nonce[:])
	buf := make([]byte, 0, idLen)
	buf = append(buf, k[:]...)
	buf = append(buf, nonce[:]...)
	sum := r.ids.sum(r.namespace, string(buf[:16]), string(buf[16:32]))
	var text [idText]byte
	encoding.Encode(text[:], append(buf, sum[:macLen]...))
	return string(text[:]), nonce
}

// ParseID splits an ID that was made with this keyring's index secret and
// namespace, and returns false for any other. So a forged ID never reaches the
// store.
func (r *Keyring) ParseID(id string) (k Key, nonce [16]byte, ok bool) {
	var buf [idLen]byte
	if !unpack(buf[:], id, idText) {
		return k, nonce, false
	}
	sum := r.ids.sum(r.namespace, string(buf[:16]), string(buf[16:32]))
	if !hmac.Equal(sum[:macLen], buf[32:]) {
		return k, nonce, false
	}
	return Key(buf[:16]), [16]byte(buf[16:32]), true
}

// NewDevice makes a device token, which proves that the device that holds it
// has passed a code that was mailed to deliver and counted in the ledger k. It
// ends at the time end, in Unix seconds.
func (r *Keyring) NewDevice(k Key, deliver string, end int64) string {
	buf := binary.BigEndian.AppendUint64(make([]byte, 0, deviceLen), uint64(end))
	buf = buf[:24]
	random(buf[8:])
	var text [deviceText]byte
	encoding.Encode(text[:], append(buf, r.deviceMAC(k, deliver, buf)...))
	return string(text[:])
}

// DeviceEnd returns the end of a token that was made by NewDevice for the same
// ledger and delivery address. It does not know whether the token has ended.
func (r *Keyring) DeviceEnd(token string, k Key, deliver string) (end int64, ok bool) {
	var buf [deviceLen]byte
	if !unpack(buf[:], token, deviceText) || !hmac.Equal(r.deviceMAC(k, deliver, buf[:24]), buf[24:]) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(buf[:])), true
}

func (r *Keyring) deviceMAC(k Key, deliver string, head []byte) []byte {
	sum := r.devices.sum(r.namespace, string(k[:]), deliver, string(head))
	return sum[:macLen]
}

// unpack decodes text, which must have exactly the given length, into dst. The
// decoder skips line breaks, so the length of the result is checked too.
func unpack(dst []byte, text string, length int) bool {
	var in [idText]byte
	if len(text) != length {
		return false
	}
	n, err := encoding.Decode(dst, in[:copy(in[:], text)])
	return err == nil && n == len(dst)
}
