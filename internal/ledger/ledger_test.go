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

// The zero Verdict is none of the named ones, so a forgotten assignment is
// never success.
func TestVerdict_zeroIsNone(t *testing.T) {
	for _, v := range []Verdict{Unknown, ClockBack, Expired, Exhausted, Escalated, Malformed, Wrong, Live, Right} {
		require.NotZero(t, v)
	}
}

func TestFreeAt(t *testing.T) {
	limits := []Limit{{1, 10 * time.Millisecond}, {2, 100 * time.Millisecond}}
	for _, tt := range []struct {
		events  []Ms
		at      Ms
		limited bool
	}{
		{nil, 0, false},
		{[]Ms{5}, 15, true},
		{[]Ms{5, 20}, 105, true},
		{[]Ms{5, 20, 110}, 120, true},
		{[]Ms{-500, -400}, -390, true},
	} {
		at, limited := freeAt(tt.events, limits)
		require.Equal(t, tt.at, at)
		require.Equal(t, tt.limited, limited)
	}
}

// Rule 7: the newest send at that time or before is given back, three an hour.
func TestRefund(t *testing.T) {
	l := &Ledger{}
	wide := Rules{Sends: []Limit{{100, time.Millisecond}}, Wrong: standard.Wrong}
	for i := range byte(6) {
		c := challenge(i+1, t0+Ms(i))
		_, wait := l.Open(t0+Ms(i), wide, &c)
		require.Zero(t, wait)
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
		c := challenge(byte(i+1), t0+Ms(i))
		l.Refund(t0+10, t0+Ms(i), &c, true)
		require.Equal(t, want, count(), i)
		require.Len(t, l.lanes[Stranger].challenges, 5-i)
	}
	c := challenge(1, t0)
	l.Refund(t0+10, t0, &c, true) // again, as after a lost reply: no other pays
	require.Equal(t, 3, count())
	require.Len(t, l.lanes[Stranger].challenges, 1)

	l.Repair(t0 + Of(time.Hour)) // the first of the three is an hour old
	c = challenge(6, t0+5)
	l.Refund(t0+Of(time.Hour), t0+5, &c, false)
	require.Equal(t, 2, count())
	require.Len(t, l.lanes[Stranger].challenges, 1)

	// The clock was set back meanwhile and the send moved with it.
	l = &Ledger{}
	c = challenge(1, t0)
	l.Open(t0, wide, &c)
	l.Repair(t0 - 100_000)
	l.Refund(t0-100_000, t0, &c, true)
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
	require.Equal(t, 24*time.Hour+time.Minute, ttl(func(l *Ledger) { l.Open(t0, standard, &c) }))
	require.Equal(t, 70*time.Minute+time.Minute, ttl(func(l *Ledger) {
		l.Open(t0, standard, &c)
		l.Refund(t0, t0, &c, false)
	}))
	require.Equal(t, 30*24*time.Hour+time.Minute, ttl(func(l *Ledger) {
		l.Open(t0, standard, &c)
		l.Check(t0, standard, c.Nonce, "login", Guess{Short: "000000"})
	}))
	require.Equal(t, 30*24*time.Hour+time.Minute, Lost(t0).TTL(t0))
	long := challenge(2, t0)
	long.Deadline = t0 + Of(24*time.Hour)
	require.Equal(t, 25*time.Hour+time.Minute, ttl(func(l *Ledger) { l.Open(t0, standard, &long) }))
	ahead := challenge(3, t0+Of(90*24*time.Hour))
	require.Equal(t, 30*24*time.Hour+time.Minute, ttl(func(l *Ledger) { l.Open(t0+Of(90*24*time.Hour), standard, &ahead) }))
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
			Strong: r.IntN(4) == 0, Decoy: r.IntN(4) == 0, SentAt: now, Deadline: now + r.Int64N(Of(24*time.Hour)), Guesses: 1 + r.IntN(10),
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
		l.Open(now, wide, &c)
		l.Check(now, wide, c.Nonce, c.Purpose, Guess{Short: "0", Strong: "0"})
		if r.IntN(3) == 0 {
			l.Refund(now, now, &c, r.IntN(2) == 0)
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
		c.Start(t0+i*1000, []Limit{{100, time.Millisecond}})
	}
	require.Len(t, c.starts, MaxEvents)
	b := c.Append(nil)
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
		_, wait := l.Open(now, standard, &c)
		require.Zero(t, wait)
		back, err := decode(l.Append(nil))
		require.NoError(t, err)
		require.True(t, back.StrongNext(now, standard, Stranger))
		v, _ := back.Check(now, standard, c.Nonce, c.Purpose, Guess{Strong: c.Code})
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
		_, wait := l.Open(now, wide, &c)
		require.Zero(t, wait)
		v, _ := l.Check(now, wide, c.Nonce, c.Purpose, Guess{Short: "0"})
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
		dead := slices.ContainsFunc(a.challenges, func(c Challenge) bool { return l.state(now, wide, a, &c) != Live })
		if _, wait := l.Open(now, wide, &c); wait <= 0 {
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
		if _, wait := l.Open(now, wide, &c); wait > 0 {
			continue
		}
		if i < 3 {
			l.Refund(now, now, &c, true)
		} else {
			l.Check(now, wide, c.Nonce, c.Purpose, Guess{Short: "0"})
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
	f.Add((&Client{starts: []Ms{t0, t0 + 5}}).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decode(b); err == nil {
			again, err := decode(l.Append(nil))
			require.NoError(t, err)
			require.Equal(t, l.Append(nil), again.Append(nil))
			now := t0
			l.Repair(now)
			require.LessOrEqual(t, l.TTL(now), KeepWrong+margin)
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
