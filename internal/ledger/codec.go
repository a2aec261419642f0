package ledger

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// The first byte of each encoding.
const (
	versionLedger = 1
	versionClient = 2
)

const (
	flagStrong = 1 << iota
	flagDecoy
	flagClient
)

// maxTime keeps sums of times far from overflow. Half of it is in the year
// 19,800.
const maxTime = 1 << 50

var errCodec = errors.New("otp: store: a stored entry is malformed")

// Append appends the ledger's encoding to b.
func (l *Ledger) Append(b []byte) []byte {
	b = append(b, versionLedger)
	if l.StrongUntil == nil {
		b = append(b, 0)
	} else {
		b = binary.AppendVarint(append(b, 1), *l.StrongUntil)
	}
	for i := range l.lanes {
		b = l.lanes[i].append(b)
	}
	return b
}

func (a *lane) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(a.sends)))
	last := Ms(0)
	for i, s := range a.sends {
		b = appendTime(b, i, last, s.at)
		b = appendBool(b, s.refunded)
		last = s.at
	}
	b = appendTimes(b, a.wrong)
	b = binary.AppendUvarint(b, uint64(len(a.challenges)))
	for i := range a.challenges {
		b = a.challenges[i].append(b)
	}
	return b
}

func (c *Challenge) append(b []byte) []byte {
	var flags byte
	if c.Strong {
		flags |= flagStrong
	}
	if c.Decoy {
		flags |= flagDecoy
	}
	if c.Client != [16]byte{} {
		flags |= flagClient
	}
	b = append(b, flags, byte(c.Guesses), byte(c.Wrong))
	b = append(b, c.Nonce[:]...)
	if flags&flagClient != 0 {
		b = append(b, c.Client[:]...)
	}
	b = binary.AppendVarint(b, c.SentAt)
	b = binary.AppendUvarint(b, uint64(c.Deadline-c.SentAt))
	for _, s := range []string{c.To, c.Purpose, c.Locale, c.Reference, c.Code} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Vars)))
	if len(c.Vars) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(c.Vars)) {
		b = appendString(appendString(b, k), c.Vars[k])
	}
	return b
}

// size returns an upper bound of the encoded length of the lane, with both
// lists of events full.
func (a *lane) size() int {
	n := 40 + 7*(MaxEvents+refundsMax) + 6*MaxEvents
	for i := range a.challenges {
		n += a.challenges[i].size()
	}
	return n
}

// size returns an upper bound of the encoded length of the challenge.
func (c *Challenge) size() int {
	n := 3 + 16 + 16 + 10 + 6 + 5*2 + len(c.To) + len(c.Purpose) + len(c.Locale) + len(c.Reference) + len(c.Code) + 2
	for k, v := range c.Vars {
		n += 2 + len(k) + 2 + len(v)
	}
	return n
}

// Decode replaces the ledger with the one that Append encoded. After an error
// the ledger must not be used.
func (l *Ledger) Decode(b []byte) error {
	l.Reset()
	d := &decoder{rest: b}
	if d.byte() != versionLedger {
		return errCodec
	}
	if d.bool() {
		until := d.time()
		l.StrongUntil = &until
	}
	for i := range l.lanes {
		d.lane(&l.lanes[i], Lane(i))
	}
	if !d.end() {
		return errCodec
	}
	return nil
}

// Append appends the client's encoding to b.
func (c *Client) Append(b []byte) []byte {
	return appendTimes(append(b, versionClient), c.starts)
}

// Decode reads what [Client.Append] wrote.
func (c *Client) Decode(b []byte) error {
	d := &decoder{rest: b}
	if d.byte() != versionClient {
		return errCodec
	}
	starts := d.times(nil)
	if !d.end() {
		return errCodec
	}
	c.starts = starts
	return nil
}

func appendTimes(b []byte, times []Ms) []byte {
	b = binary.AppendUvarint(b, uint64(len(times)))
	last := Ms(0)
	for i, at := range times {
		b = appendTime(b, i, last, at)
		last = at
	}
	return b
}

// appendTime writes the first time of a list in full, and each other time as
// the difference to the one before.
func appendTime(b []byte, i int, last, at Ms) []byte {
	if i == 0 {
		return binary.AppendVarint(b, at)
	}
	return binary.AppendUvarint(b, uint64(at-last))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads an encoding. After an error it returns zeros, and end reports
// the error.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) end() bool { return !d.bad && len(d.rest) == 0 }

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) time() Ms {
	v, n := binary.Varint(d.rest)
	if d.bad || n <= 0 || v > maxTime || v < -maxTime {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// after reads a difference and adds it to a time.
func (d *decoder) after(t Ms) Ms {
	v := d.uvarint()
	if v > maxTime || t+Ms(v) > maxTime {
		d.bad = true
		return t
	}
	return t + Ms(v)
}

// count reads the number of items that follow, each of which takes at least one
// byte.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.take(d.uvarint())) }

// strings reads several strings into one allocation.
func (d *decoder) strings(into ...*string) {
	begin := *d
	for range into {
		d.take(d.uvarint())
	}
	if d.bad {
		return
	}
	text := string(begin.rest[:len(begin.rest)-len(d.rest)])
	for _, s := range into {
		n := int(begin.uvarint())
		begin.take(uint64(n))
		end := len(text) - (len(begin.rest) - len(d.rest))
		*s = text[end-n : end]
	}
}

func (d *decoder) id() (id [16]byte) {
	copy(id[:], d.take(16))
	return id
}

// items extends an empty list to n zero items, in place if its capacity
// suffices.
func items[T any](list []T, n int) []T { return slices.Grow(list, n)[:n] }

func (d *decoder) times(list []Ms) []Ms {
	list = items(list, d.count())
	for i := range list {
		if i == 0 {
			list[0] = d.time()
		} else {
			list[i] = d.after(list[i-1])
		}
	}
	return list
}

func (d *decoder) lane(a *lane, n Lane) {
	a.sends = items(a.sends, d.count())
	for i := range a.sends {
		if i == 0 {
			a.sends[0].at = d.time()
		} else {
			a.sends[i].at = d.after(a.sends[i-1].at)
		}
		a.sends[i].refunded = d.bool()
	}
	a.wrong = d.times(a.wrong)
	a.challenges = items(a.challenges, d.count())
	for i := range a.challenges {
		if d.challenge(&a.challenges[i]); d.bad {
			return
		}
		a.challenges[i].Lane = n
	}
}

func (d *decoder) challenge(c *Challenge) {
	flags := d.byte()
	d.bad = d.bad || flags >= flagClient<<1
	c.Strong, c.Decoy = flags&flagStrong != 0, flags&flagDecoy != 0
	c.Guesses, c.Wrong = int(d.byte()), int(d.byte())
	c.Nonce = d.id()
	if flags&flagClient != 0 {
		c.Client = d.id()
	}
	c.SentAt = d.time()
	c.Deadline = d.after(c.SentAt)
	d.strings(&c.To, &c.Purpose, &c.Locale, &c.Reference, &c.Code)
	n := d.count()
	if n > 0 {
		c.Vars = make(map[string]string, n)
	}
	for range n {
		k := d.string()
		c.Vars[k] = d.string()
	}
}
