package ledger

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"
)

// The first byte of each encoding.
const (
	versionLedger1 = 1 // read, no longer written
	versionClient1 = 2 // read, no longer written
	versionLedger  = 3
	versionClient  = 4
)

// The flags of a challenge. Its shape is in two bits from shapeBits on.
const (
	flagStrong     = 1 << 0
	flagDecoy      = 1 << 1
	flagClient     = 1 << 2
	flags1         = 1<<3 - 1 // those of version 1
	flagTurnedAway = 1 << 3
	flagDevice     = 1 << 4
	shapeBits      = 5 // and 6
	flagNoRenewal  = 1 << 7
)

// The flags of a ledger and of a send.
const (
	flagStrongUntil, flagDevicesFrom = 1, 2
	flagRefunded, flagPassed         = 1, 2
)

// maxTime keeps sums of times far from overflow. Half of it is in the year
// 19,800.
const maxTime = 1 << 50

var errCodec = errors.New("otp: store: a stored entry is malformed")

// Append appends the ledger's encoding to b.
func (l *Ledger) Append(b []byte) []byte {
	var flags byte
	if l.StrongUntil != nil {
		flags |= flagStrongUntil
	}
	if l.DevicesFrom != 0 {
		flags |= flagDevicesFrom
	}
	b = append(b, versionLedger, flags)
	if l.StrongUntil != nil {
		b = binary.AppendVarint(b, *l.StrongUntil)
	}
	if l.DevicesFrom != 0 {
		b = binary.AppendVarint(b, l.DevicesFrom)
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
		var flags byte
		if s.refunded {
			flags |= flagRefunded
		}
		if s.passed {
			flags |= flagPassed
		}
		b = append(appendTime(b, i, last, s.at), flags)
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
	flags := byte(c.Shape) << shapeBits
	if c.Strong {
		flags |= flagStrong
	}
	if c.Decoy {
		flags |= flagDecoy
	}
	if c.Client != [16]byte{} {
		flags |= flagClient
	}
	if c.TurnedAway {
		flags |= flagTurnedAway
	}
	if c.Device != 0 {
		flags |= flagDevice
	}
	if c.NoRenewal {
		flags |= flagNoRenewal
	}
	b = append(b, flags, byte(c.Guesses), byte(c.Wrong))
	b = append(b, c.Nonce[:]...)
	if flags&flagClient != 0 {
		b = append(b, c.Client[:]...)
	}
	b = binary.AppendVarint(b, c.SentAt)
	b = binary.AppendUvarint(b, uint64(c.Deadline-c.SentAt))
	b = binary.AppendVarint(b, c.MailedAt-c.SentAt) // below 0 after a clock repair
	if flags&flagDevice != 0 {
		b = binary.AppendVarint(b, c.Device)
	}
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
	// The locale may be replaced by a longer one.
	n := 3 + 16 + 16 + 10 + 6 + 10 + 6 + 5*2 + len(c.To) + len(c.Purpose) + maxLocale + len(c.Reference) + len(c.Code) + 2
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
	switch d.byte() {
	case versionLedger:
	case versionLedger1:
		d.v1 = true
	default:
		return errCodec
	}
	flags := d.byte()
	d.bad = d.bad || flags > flagStrongUntil|flagDevicesFrom || d.v1 && flags > flagStrongUntil
	if flags&flagStrongUntil != 0 {
		until := d.time()
		l.StrongUntil = &until
	}
	if flags&flagDevicesFrom != 0 {
		l.DevicesFrom = d.time()
		d.bad = d.bad || l.DevicesFrom == 0
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
	return appendBuckets(appendBuckets(append(b, versionClient), c.fine), c.coarse)
}

func appendBuckets(b []byte, list []starts) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	last := Ms(0)
	for i, have := range list {
		b = binary.AppendUvarint(appendTime(b, i, last, have.begin), uint64(have.n))
		last = have.begin
	}
	return b
}

// Decode reads what [Client.Append] wrote.
func (c *Client) Decode(b []byte) error {
	*c = Client{}
	d := &decoder{rest: b}
	switch d.byte() {
	case versionClient:
		c.fine, c.coarse = d.buckets(fineWidth), d.buckets(coarseWidth)
	case versionClient1:
		for _, at := range d.times(nil) {
			c.fine = addBucket(c.fine, starts{floorTo(at, Of(fineWidth)), 1})
			c.coarse = addBucket(c.coarse, starts{floorTo(at, Of(coarseWidth)), 1})
		}
	default:
		return errCodec
	}
	if !d.end() {
		*c = Client{}
		return errCodec
	}
	return nil
}

// buckets reads buckets of the given width, in order and none of them empty.
func (d *decoder) buckets(width time.Duration) []starts {
	list := items([]starts(nil), d.count())
	for i := range list {
		have := &list[i]
		if i == 0 {
			have.begin = d.time()
		} else {
			have.begin = d.after(list[i-1].begin)
			d.bad = d.bad || have.begin == list[i-1].begin
		}
		n := d.uvarint()
		d.bad = d.bad || n < 1 || n > maxStarts || floorTo(have.begin, Of(width)) != have.begin
		have.n = int(n)
	}
	return list
}

// maxStarts is more than a bucket can hold, and keeps sums far from overflow.
const maxStarts = 1 << 30

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

// decoder reads an encoding. After an error it returns zeros, and end reports
// the error.
type decoder struct {
	rest []byte
	bad  bool
	v1   bool // the ledger was written by version 1
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

// strings reads five strings into one allocation.
func (d *decoder) strings(into [5]*string) {
	begin := d.rest
	var from, to [len(into)]int
	for i := range into {
		n := len(d.take(d.uvarint()))
		to[i] = len(begin) - len(d.rest)
		from[i] = to[i] - n
	}
	if d.bad {
		return
	}
	text := string(begin[:len(begin)-len(d.rest)])
	for i, s := range into {
		*s = text[from[i]:to[i]]
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
		flags := d.byte()
		d.bad = d.bad || flags > flagRefunded|flagPassed || d.v1 && flags > flagRefunded
		a.sends[i].refunded, a.sends[i].passed = flags&flagRefunded != 0, flags&flagPassed != 0
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
	c.Shape = Shape(flags >> shapeBits & 3)
	d.bad = d.bad || c.Shape >= shapes || d.v1 && flags > flags1
	c.Strong, c.Decoy, c.TurnedAway = flags&flagStrong != 0, flags&flagDecoy != 0, flags&flagTurnedAway != 0
	c.NoRenewal = flags&flagNoRenewal != 0
	c.Guesses, c.Wrong = int(d.byte()), int(d.byte())
	c.Nonce = d.id()
	if flags&flagClient != 0 {
		c.Client = d.id()
	}
	c.SentAt = d.time()
	c.Deadline = d.after(c.SentAt)
	if c.MailedAt = c.SentAt; !d.v1 {
		c.MailedAt += d.time()
		d.bad = d.bad || c.MailedAt > maxTime || c.MailedAt < -maxTime
	}
	if flags&flagDevice != 0 {
		c.Device = d.time()
		d.bad = d.bad || c.Device == 0
	}
	d.strings([...]*string{&c.To, &c.Purpose, &c.Locale, &c.Reference, &c.Code})
	n := d.count()
	if n > 0 {
		c.Vars = make(map[string]string, n)
	}
	for range n {
		k := d.string()
		c.Vars[k] = d.string()
	}
}
