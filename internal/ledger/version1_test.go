package ledger

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ledger1 was written by version 1.
var ledger1, _ = base64.StdEncoding.DecodeString("AQGA4Nit9mgDgMDiheNoAIgnANAPAQHQz+KF42gCBAUBAQAAAAAAAAAAAAAAAAAAAAcAAAAA" +
	"AAAAAAAAAAAAAACAwOKF42jAzyQPYm9iQGV4YW1wbGUuY29tBWxvZ2luAmRlBEJDREYGMTIzNDU2AQFhAWIBBQACAAAAAAAAAAAAAAAAAAAAkI7j" +
	"heNowM8kD2JvYkBleGFtcGxlLmNvbQVsb2dpbgAEQkNERg5CQ0RGR0hKS01OUFFSUwAB4J3jheNoAAABAgUAAwAAAAAAAAAAAAAAAAAAAOCd44Xj" +
	"aMDPJA9ib2JAZXhhbXBsZS5jb20FbG9naW4ABEJDREYGMTIzNDU2AA==")

// A ledger of version 1 is read: what it has no word for is as it was when the
// challenge was opened, and its codes are read by the verifier's own generator.
func TestVersion1(t *testing.T) {
	l, err := decode(ledger1)
	require.NoError(t, err)
	until := t0 + Of(30*24*time.Hour)
	require.Equal(t, &until, l.StrongUntil)
	require.Zero(t, l.DevicesFrom)
	first := Challenge{
		Nonce: [16]byte{1}, To: "bob@example.com", Purpose: "login", Locale: "de", Reference: "BCDF", Code: "123456",
		Vars: map[string]string{"a": "b"}, Client: [16]byte{7}, SentAt: t0, MailedAt: t0, Deadline: t0 + 600_000, Guesses: 5, Wrong: 1,
	}
	second := mailed(2, t0+5000)
	second.Strong, second.Code = true, "BCDFGHJKMNPQRS"
	decoy := mailed(3, t0+6000)
	decoy.Lane, decoy.Decoy = Known, true
	require.Equal(t, [lanes]lane{
		{
			sends:      []send{{at: t0}, {at: t0 + 5000}, {at: t0 + 7000, refunded: true}},
			wrong:      []Ms{t0 + 1000},
			challenges: []Challenge{first, second},
		},
		{sends: []send{{at: t0 + 6000}}, wrong: []Ms{}, challenges: []Challenge{decoy}},
	}, l.lanes)

	for i := range ledger1 { // what version 2 adds is refused in version 1
		bad := append([]byte(nil), ledger1...)
		bad[i] |= 0x40
		if back, err := decode(bad); err == nil {
			again, err := decode(back.Append(nil))
			require.NoError(t, err)
			require.Equal(t, back.Append(nil), again.Append(nil))
		}
	}
	v, _ := l.Check(t0+10_000, standard, first.Nonce, "login", "123456")
	require.Equal(t, Right, v)
	written, err := decode(l.Append(nil)) // as version 2
	require.NoError(t, err)
	require.Equal(t, l.Append(nil), written.Append(nil))
	require.True(t, written.lanes[Stranger].sends[0].passed)
}
