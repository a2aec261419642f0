package ledger

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const t0 Ms = 1_800_000_000_000

var standard = Rules{
	Sends: []Limit{{1, time.Minute}, {5, time.Hour}, {10, 24 * time.Hour}},
	Wrong: []Limit{{10, 24 * time.Hour}, {30, 30 * 24 * time.Hour}},
}

func challenge(n byte, at Ms) Challenge {
	return Challenge{
		Nonce: [16]byte{n}, To: "bob@example.com", Purpose: "login", Reference: "BCDF", Code: "123456",
		SentAt: at, Deadline: at + Of(10*time.Minute), Guesses: 5,
	}
}

// mailed is challenge with its mail reserved when it was opened.
func mailed(n byte, at Ms) Challenge {
	c := challenge(n, at)
	c.MailedAt = at
	return c
}

// The zero Verdict is none of the named ones, so a forgotten assignment is
// never success.
func TestVerdict_zeroIsNone(t *testing.T) {
	for _, v := range []Verdict{Unknown, ClockBack, Expired, Exhausted, Malformed, Wrong, Live, Right} {
		require.NotZero(t, v)
	}
}

// R16: a send leaves a window of up to a minute exactly, a longer one at the next
// twelfth of it.
func TestRelease(t *testing.T) {
	hour := floorTo(t0, Of(time.Hour))
	for _, tt := range []struct {
		at   Ms
		per  time.Duration
		want Ms
	}{
		{7, time.Second, 1007},
		{7, time.Minute, 60_007},
		{hour, time.Hour, hour + Of(time.Hour)},
		{hour + 1, time.Hour, hour + Of(time.Hour+5*time.Minute)},
		{hour + Of(5*time.Minute), time.Hour, hour + Of(time.Hour+5*time.Minute)},
		{0, 24 * time.Hour, Of(24 * time.Hour)},
		{1, 24 * time.Hour, Of(26 * time.Hour)},
		{-1, time.Hour, Of(time.Hour)},
		{-Of(time.Hour) - 1, time.Hour, 0},
		{0, time.Minute + time.Millisecond, ceilTo(60_001, 5000)},
	} {
		require.Equal(t, tt.want, release(tt.at, tt.per), "%d %v", tt.at, tt.per)
	}
}

// R16: others' mails are told in whole minutes, and only one's own newest exactly.
func TestSendWait(t *testing.T) {
	limits := []Limit{{1, 90 * time.Second}, {3, time.Hour}}
	own := challenge(1, t0)
	own.MailedAt = t0
	a := &lane{}
	require.Zero(t, a.sendWait(t0, limits, &own))
	a.sends = []send{{at: t0}}
	first := release(t0, 90*time.Second)
	require.Equal(t, span(first-t0-1), a.sendWait(t0+1, limits, &own), "exact")
	require.Equal(t, 2*time.Minute, a.sendWait(t0+1, limits, nil))
	require.Equal(t, time.Minute, a.sendWait(first-1, limits, nil))
	require.Zero(t, a.sendWait(first, limits, nil))
	other := challenge(2, t0+5)
	other.MailedAt = t0 + 5
	require.Equal(t, 2*time.Minute, a.sendWait(t0+6, limits, &other), "not its own")
	a.sends = []send{{at: t0 - 2000}, {at: t0 - 1000}, {at: t0}}
	require.Equal(t, 60*time.Minute, a.sendWait(t0+1, limits, &own).Truncate(time.Minute), "three in the hour")
	require.Zero(t, a.sendWait(t0+1, limits, &own)%time.Minute)
	a.sends[0].refunded = true // and now only its own is in the way
	require.Equal(t, span(first-t0-1), a.sendWait(t0+1, limits, &own))
}

// R15, rule 7: what a refunded and a passed send count in.
func TestSend_counts(t *testing.T) {
	for _, tt := range []struct {
		s           send
		short, long bool
	}{
		{send{}, true, true},
		{send{refunded: true}, true, false},
		{send{passed: true}, false, true},
		{send{refunded: true, passed: true}, false, false},
	} {
		require.Equal(t, tt.short, tt.s.counts(time.Minute))
		require.Equal(t, tt.long, tt.s.counts(time.Minute+1))
	}
}

// open opens a challenge and returns the wait.
func open(l *Ledger, now Ms, r Rules, c *Challenge) time.Duration { return l.Open(now, r, c, nil) }

// R3': short challenges reserve their guesses.
func TestReserve(t *testing.T) {
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: standard.Wrong}
	type code struct {
		strong  bool
		guesses int
	}
	next := func(l *Ledger, now Ms, r Rules, guesses int, ttl time.Duration) code {
		strong, n := l.Reserve(now, r, Stranger, guesses, ttl)
		return code{strong, n}
	}
	row := func(r Rules, guesses int, ttl time.Duration, n int) (got []code) {
		l := &Ledger{}
		for i := range n {
			k := next(l, t0, r, guesses, ttl)
			got = append(got, k)
			c := challenge(byte(i+1), t0)
			c.Deadline, c.Strong, c.Guesses = t0+Of(ttl), k.strong, k.guesses
			require.Zero(t, open(l, t0, wide, &c))
		}
		return got
	}
	minutes := 10 * time.Minute
	require.Equal(t, []code{{false, 5}, {false, 3}, {false, 2}, {true, 5}, {true, 5}}, row(wide, 5, minutes, 5))
	require.Equal(t, []code{{false, 3}, {false, 2}, {true, 5}}, row(wide, 5, 24*time.Hour, 3))
	require.Equal(t, []code{{false, 5}, {false, 3}}, row(wide, 5, time.Hour, 2), "an hour is not long")
	require.Equal(t, code{false, 1}, row(wide, 1, minutes, 10)[9])
	require.Equal(t, code{true, 1}, row(wide, 1, minutes, 11)[10])
	one := Rules{Wrong: []Limit{{1, time.Hour}}}
	require.Equal(t, []code{{false, 1}, {true, 5}}, row(one, 5, minutes, 2))
	require.Equal(t, []code{{false, 1}, {true, 5}}, row(one, 5, 2*time.Hour, 2))
	require.Equal(t, []code{{false, 5}, {false, 3}, {false, 2}}, row(Rules{Wrong: []Limit{{30, time.Hour}, {10, time.Second}}}, 5, minutes, 3), "the least decides")

	// Wrong guesses are free after Per and the slack, holds a slack after the deadline.
	l := &Ledger{}
	c := challenge(1, t0)
	require.Zero(t, open(l, t0, wide, &c))
	for _, tt := range []struct {
		now  Ms
		want int
	}{{c.Deadline + 59_999, 3}, {c.Deadline + 60_000, 5}, {t0 - 60_000, 3}, {t0 - 60_001, 5}} {
		require.Equal(t, code{false, tt.want}, next(l, tt.now, wide, 5, minutes))
	}
	for range 5 {
		v, _ := l.Check(t0, wide, c.Nonce, "login", "0")
		require.Equal(t, Wrong, v)
	}
	day := t0 + Of(24*time.Hour+time.Minute)
	require.Equal(t, code{false, 3}, next(l, day-1, wide, 5, minutes))
	require.Equal(t, code{false, 5}, next(l, day, wide, 5, minutes))
	until := t0 + 5
	l.StrongUntil = &until
	require.Equal(t, code{true, 5}, next(l, t0+4, wide, 5, minutes))
	require.Equal(t, code{false, 3}, next(l, t0+5, wide, 5, minutes))
}

// R22: passing drops the challenge's own wrong guesses, the oldest that can be.
func TestForgive(t *testing.T) {
	for _, tt := range []struct {
		wrong []Ms
		n     int
		want  []Ms
	}{
		{[]Ms{t0 - 60_001, t0 - 60_000, t0 + 1, t0 + 2}, 2, []Ms{t0 - 60_001, t0 + 2}},
		{[]Ms{t0 - 60_002, t0 - 60_001}, 2, []Ms{t0 - 60_002, t0 - 60_001}},
		{[]Ms{t0 - 1, t0, t0 + 1, t0 + 2}, 2, []Ms{t0 + 1, t0 + 2}},
		{[]Ms{t0, t0 + 1}, 3, nil},
		{[]Ms{t0}, 0, []Ms{t0}},
	} {
		a := &lane{wrong: slices.Clone(tt.wrong)}
		a.forgive(&Challenge{SentAt: t0, Wrong: tt.n})
		require.Equal(t, len(tt.want), len(a.wrong))
		require.ElementsMatch(t, tt.want, a.wrong)
	}
}

// Rule 7: the newest send at that time or before is given back, three an hour.
func TestRefund(t *testing.T) {
	l := &Ledger{}
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: standard.Wrong}
	for i := range byte(6) {
		c := challenge(i+1, t0+Ms(i))
		require.Zero(t, open(l, t0+Ms(i), wide, &c))
	}
	count := func() (kept int) {
		for _, s := range l.lanes[Stranger].sends {
			if !s.refunded {
				kept++
			}
		}
		return kept
	}
	for i, want := range []int{5, 4, 3, 3, 3} {
		c := mailed(byte(i+1), t0+Ms(i))
		l.Refund(t0+10, &c, true)
		require.Equal(t, want, count(), i)
		require.Len(t, l.lanes[Stranger].challenges, 5-i)
	}
	c := mailed(1, t0)
	l.Refund(t0+10, &c, true) // again, as after a lost reply: no other pays
	require.Equal(t, 3, count())
	require.Len(t, l.lanes[Stranger].challenges, 1)

	l.Repair(t0 + Of(time.Hour)) // the first of the three is an hour old
	c = mailed(6, t0+5)
	l.Refund(t0+Of(time.Hour), &c, false)
	require.Equal(t, 2, count())
	require.Len(t, l.lanes[Stranger].challenges, 1)

	// The clock was set back meanwhile and the send moved with it.
	l = &Ledger{}
	c = challenge(1, t0)
	open(l, t0, wide, &c)
	l.Repair(t0 - 100_000)
	l.Refund(t0-100_000, &c, true)
	require.Zero(t, count())
}

// Rule 8: the time to live outlasts what the ledger holds by a minute.
func TestTTL(t *testing.T) {
	ttl := func(change func(l *Ledger)) time.Duration {
		l := &Ledger{}
		change(l)
		return l.TTL(t0)
	}
	require.Equal(t, time.Minute, ttl(func(l *Ledger) {}))
	c := challenge(1, t0)
	require.Equal(t, 26*time.Hour+time.Minute, ttl(func(l *Ledger) { open(l, t0, standard, &c) }))
	require.Equal(t, 70*time.Minute+time.Minute, ttl(func(l *Ledger) {
		open(l, t0, standard, &c)
		l.Refund(t0, &c, false)
	}))
	month, day := 30*24*time.Hour, 24*time.Hour
	require.Equal(t, month+2*time.Minute, ttl(func(l *Ledger) {
		open(l, t0, standard, &c)
		l.Check(t0, standard, c.Nonce, "login", "000000")
	}))
	long := challenge(2, t0)
	long.Deadline = t0 + Of(48*time.Hour)
	require.Equal(t, 49*time.Hour+time.Minute, ttl(func(l *Ledger) { open(l, t0, standard, &long) }))
	ahead := challenge(3, t0+Of(90*day))
	require.Equal(t, month+3*time.Minute, ttl(func(l *Ledger) { open(l, t0+Of(90*day), standard, &ahead) }))

	// R17: a revocation outlasts every token that it took back.
	require.Equal(t, 180*day+time.Minute+61*time.Second+time.Minute, ttl(func(l *Ledger) { l.RevokeDevices(t0) }))
	require.Equal(t, 180*day+time.Minute+61*time.Second+time.Minute, Lost(t0).TTL(t0))
	l := Lost(t0)
	require.Equal(t, t0+Of(month+time.Minute), *l.StrongUntil)
	l.Repair(t0 + Of(month+time.Minute) - 1)
	require.NotNil(t, l.StrongUntil)
	l.Repair(t0 + Of(month+time.Minute))
	require.Nil(t, l.StrongUntil)
	for at, kept := range map[Ms]bool{l.DevicesFrom + Of(180*day+time.Minute) - 1: true, l.DevicesFrom + Of(180*day+time.Minute): false} {
		back := *l
		back.Repair(at)
		require.Equal(t, kept, back.DevicesFrom != 0)
	}
}

// R17: revocations and the clocks.
func TestRevokeDevices(t *testing.T) {
	l := &Ledger{}
	for i, lane := range []Lane{Stranger, Known} {
		c := challenge(byte(i+1), t0)
		c.Lane = lane
		require.Zero(t, open(l, t0, standard, &c))
	}
	second := t0 / 1000
	require.True(t, l.DeviceKnown(t0, second))
	require.Equal(t, t0, l.DeviceIssued(t0))
	l.RevokeDevices(t0)
	require.Equal(t, t0+61_000, l.DevicesFrom)
	require.Len(t, l.lanes[Stranger].challenges, 1)
	require.Empty(t, l.lanes[Known].challenges)
	require.False(t, l.DeviceKnown(t0, second))
	require.False(t, l.DeviceKnown(t0, second+60), "of a clock a minute ahead")
	require.True(t, l.DeviceKnown(t0+1000, l.DeviceIssued(t0+1000)/1000), "one that is issued now")
	require.Equal(t, t0+62_000, l.DeviceIssued(t0+62_000))
	from := l.DevicesFrom
	fresh := l.DeviceIssued(t0) / 1000
	require.True(t, l.DeviceKnown(t0, fresh))
	l.RevokeDevices(t0 - 30_000) // by a clock that is behind
	require.Equal(t, from+1000, l.DevicesFrom)
	require.False(t, l.DeviceKnown(t0, fresh), "what was issued between two calls")
	l.DevicesFrom = from

	life := Of(DeviceLife)
	require.True(t, l.DeviceKnown(t0+61_000+life-1, second+61))
	require.False(t, l.DeviceKnown(t0+61_000+life, second+61))

	l.RevokeDevices(t0 + Of(time.Hour) + 1000) // by a clock far ahead
	require.True(t, l.Repair(t0))
	require.Equal(t, from, l.DevicesFrom)
	l.DevicesFrom = 0
	l.RevokeDevices(t0 + 60_000)
	for range 3000 {
		require.False(t, l.Repair(t0), "a minute is allowed, and thousands of calls")
		l.RevokeDevices(t0)
	}
	l.DevicesFrom = from + 60_000
	require.True(t, l.Forget())
	require.Equal(t, from+60_000, l.DevicesFrom)
	require.Empty(t, l.lanes[Stranger].challenges)
	l.DevicesFrom = 0
	require.False(t, l.Forget())
}

// randomLedger fills a ledger as hostile callers would.
func randomLedger(r *rand.Rand) (*Ledger, Ms) {
	l := &Ledger{}
	if r.IntN(4) == 0 {
		l = Lost(t0)
	}
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: []Limit{{100, time.Second}}}
	now := t0
	for range r.IntN(300) {
		now += r.Int64N(Of(30 * time.Second))
		l.Repair(now)
		c := Challenge{
			Lane: Lane(r.IntN(2)), To: strings.Repeat("a", 1+r.IntN(254)), Purpose: strings.Repeat("p", 1+r.IntN(128)),
			Locale: strings.Repeat("l", r.IntN(36)), Reference: "BCDF", Code: strings.Repeat("1", 4+r.IntN(61)),
			Strong: r.IntN(4) == 0, Decoy: r.IntN(4) == 0, TurnedAway: r.IntN(4) == 0, NoRenewal: r.IntN(4) == 0, Shape: Shape(r.IntN(3)), SentAt: now, Deadline: now + r.Int64N(Of(24*time.Hour)), Guesses: 1 + r.IntN(10),
		}
		for i := range c.Nonce {
			c.Nonce[i] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 {
			c.Client = c.Nonce
		}
		for range r.IntN(100) {
			if c.Vars == nil {
				c.Vars = map[string]string{}
			}
			c.Vars[string(rune('a'+r.IntN(400)))] = "v"
		}
		if c.Lane == Known && r.IntN(2) == 0 {
			c.Device = now/1000 - r.Int64N(180*24*3600)
		}
		open(l, now, wide, &c)
		typed := "0"
		if r.IntN(8) == 0 {
			typed = c.Code
		}
		l.Check(now, wide, c.Nonce, c.Purpose, typed)
		switch r.IntN(8) {
		case 0, 1:
			l.Refund(now, &c, r.IntN(2) == 0)
		case 2:
			if re := l.Resend(now+1, wide, c.Nonce, c.Purpose); re.Verdict == Live && !re.Renew && re.Wait == 0 {
				l.SetLocale(&re.Challenge, strings.Repeat("z", 35))
			}
		}
		if r.IntN(100) == 0 {
			l.RevokeDevices(now)
		}
	}
	return l, now
}

var anotherLedger = sync.OnceValue(func() []byte {
	l, now := randomLedger(rand.New(rand.NewPCG(3, 3)))
	l.StrongUntil = &now
	return l.Append(nil)
})

// decode reads b into a ledger that held another.
func decode(b []byte) (*Ledger, error) {
	l := &Ledger{}
	if err := l.Decode(anotherLedger()); err != nil {
		return nil, err
	}
	return l, l.Decode(b)
}

// Rule 13: whatever is put in, a ledger fits the store's 16 KiB with its seal,
// no lane takes more than half, and it reads back as it was.
func TestCodec(t *testing.T) {
	largest := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, _ := randomLedger(r)
		b := l.Append(nil)
		largest = max(largest, len(b))
		require.LessOrEqual(t, len(b)+32, 16<<10)
		for i := range l.lanes {
			require.LessOrEqual(t, len(l.lanes[i].append(nil)), maxLane)
			live := 0
			for _, c := range l.lanes[i].challenges {
				require.LessOrEqual(t, len(c.append(nil)), c.size())
				if c.Wrong < c.Guesses {
					live++
				}
			}
		}
		back, err := decode(b)
		require.NoError(t, err)
		require.Equal(t, b, back.Append(nil))
		for cut := 0; cut < len(b); cut += 1 + len(b)/50 {
			_, err := decode(b[:cut])
			require.Error(t, err)
		}
		_, err = decode(append(b, 0))
		require.Error(t, err)
	}
	t.Logf("largest: %d bytes", largest)

	emptied, err := decode(anotherLedger())
	require.NoError(t, err)
	emptied.Reset()
	require.Equal(t, (&Ledger{}).Append(nil), emptied.Append(nil))

	c := &Client{}
	for i := range Ms(200) {
		now := t0 + i*25_000
		c.Repair(now)
		c.Start(now, []Limit{{100, time.Millisecond}})
	}
	b := c.Append(nil)
	require.Less(t, len(b), 100)
	back := new(Client)
	err = back.Decode(b)
	require.NoError(t, err)
	require.Equal(t, c, back)
	_, err = decode(b)
	require.Error(t, err)
	err = new(Client).Decode((&Ledger{}).Append(nil))
	require.Error(t, err)
}

// Times before 1970 and of no year at all are as good as others.
func TestCodec_oddClocks(t *testing.T) {
	for _, now := range []Ms{0, -1, time.Time{}.UnixMilli(), maxTime / 2} {
		l := Lost(now)
		c := challenge(1, now)
		c.Strong = true
		require.Zero(t, open(l, now, standard, &c))
		back, err := decode(l.Append(nil))
		require.NoError(t, err)
		strong, _ := back.Reserve(now, standard, Stranger, 5, time.Minute)
		require.True(t, strong)
		v, _ := back.Check(now, standard, c.Nonce, c.Purpose, c.Code)
		require.Equal(t, Right, v)
	}
}

// Rule 8: events that clocks a minute apart wrote stay in order, so that they
// read back, also where some are beyond the slack and moved.
func TestRepair_keepsOrder(t *testing.T) {
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: []Limit{{100, time.Millisecond}}}
	l, client := &Ledger{}, &Client{}
	at := func(now Ms) {
		t.Helper()
		l.Repair(now)
		client.Repair(now)
		c := challenge(byte(now), now)
		require.Zero(t, open(l, now, wide, &c))
		v, _ := l.Check(now, wide, c.Nonce, c.Purpose, "0")
		require.Equal(t, Wrong, v)
		_, ok := client.Start(now, wide.Sends)
		require.True(t, ok)
		back, err := decode(l.Append(nil))
		require.NoError(t, err)
		require.Equal(t, l.Append(nil), back.Append(nil))
		backClient := new(Client)
		err = backClient.Decode(client.Append(nil))
		require.NoError(t, err)
		require.Equal(t, client, backClient)
	}
	at(t0 + 30_001)
	at(t0 + 1) // half a minute behind
	at(t0 + 31_002)
	at(t0 + 200_003) // far ahead
	at(t0 + 4)       // moves that one, but not the others
	at(t0 + 5)
	require.Len(t, l.lanes[Stranger].sends, 6)
	require.Equal(t, []Ms{t0 + 4, t0 + 30_001, t0 + 30_001, t0 + 31_002, t0 + 31_002, t0 + 31_002}, l.lanes[Stranger].wrong)
}

// A refusal is written after a clock repair, so it must not have dropped a challenge either.
func TestOpen_refusalDropsNothing(t *testing.T) {
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: []Limit{{100, time.Second}}}
	withDead := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		l, now := randomLedger(r)
		now += r.Int64N(Of(2*time.Hour)) - Of(time.Hour)
		l.Repair(now)
		before := l.Append(nil)
		c := challenge(1, now)
		c.Lane, c.Vars = Lane(r.IntN(2)), map[string]string{"text": strings.Repeat("a", r.IntN(8<<10))}
		a := &l.lanes[c.Lane]
		dead := slices.ContainsFunc(a.challenges, func(c Challenge) bool { return !c.open(now) })
		if open(l, now, wide, &c) <= 0 {
			continue
		}
		require.True(t, bytes.Equal(before, l.Append(nil)), "seed %d", seed)
		if dead {
			withDead++
		}
	}
	require.Greater(t, withDead, 10, "refused with some that could have been dropped")
}

// Rule 13: the newest 100 of each list, and refunds take no one's place.
func TestEvents_bounded(t *testing.T) {
	l := &Ledger{}
	wide := Rules{Sends: []Limit{{100, 24 * time.Hour}}, Wrong: []Limit{{100, time.Millisecond}}}
	for i := range Ms(250) {
		now := t0 + i*1000
		l.Repair(now)
		c := challenge(byte(i), now)
		c.Nonce[1], c.Guesses = byte(i>>8), 1
		if open(l, now, wide, &c) > 0 {
			continue
		}
		if i < 3 {
			l.Refund(now, &c, true)
		} else {
			l.Check(now, wide, c.Nonce, c.Purpose, "0")
		}
	}
	require.Len(t, l.lanes[Stranger].sends, 103)
	require.Len(t, l.lanes[Stranger].wrong, 100)
	a := &l.lanes[Stranger]
	a.addSend(t0 + 250_000)
	require.Len(t, a.sends, 103)
	require.Equal(t, t0+4000, a.sends[3].at, "the oldest that counts has gone")
	for i := range Ms(10) {
		a.wrong = appendEvent(a.wrong, t0+300_000+i)
	}
	require.Len(t, a.wrong, 100)
}

func FuzzDecode(f *testing.F) {
	for seed := range uint64(8) {
		l, _ := randomLedger(rand.New(rand.NewPCG(seed, 2)))
		f.Add(l.Append(nil))
	}
	f.Add((&Ledger{}).Append(nil))
	client := &Client{}
	client.Start(t0, nil)
	f.Add(client.Append(nil))
	f.Add(ledger1)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decode(b); err == nil {
			again, err := decode(l.Append(nil))
			require.NoError(t, err)
			require.Equal(t, l.Append(nil), again.Append(nil))
			now := t0
			l.Repair(now)
			require.LessOrEqual(t, l.TTL(now), keepDevices+devicesAhead+5*time.Minute)
			require.Positive(t, l.TTL(now))
		}
		if c := new(Client); c.Decode(b) == nil {
			again := new(Client)
			err := again.Decode(c.Append(nil))
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}

// R16: the wait for room is that for the first of the challenges that are there,
// also where the new one would end before all of them.
func TestMakeRoom_wait(t *testing.T) {
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: []Limit{{100, time.Second}}}
	l := &Ledger{}
	for i := range byte(maxLive) {
		c := challenge(i+1, t0)
		c.Deadline += Ms(i)
		require.Zero(t, open(l, t0, wide, &c))
	}
	c := challenge(99, t0)
	c.Deadline = t0 + 1000
	require.Equal(t, span(ceilTo(t0+Of(11*time.Minute), Of(5*time.Minute))-t0), open(l, t0, wide, &c))
}
