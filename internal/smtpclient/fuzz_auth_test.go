package smtpclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"
)

// answering is a mechanism of an application's own that answers every
// challenge.
type answering func(challenge []byte) ([]byte, error)

func (answering) Start() (mechanism string, first []byte, err error) { return "OWN", nil, nil }

func (a answering) Next(challenge []byte) ([]byte, error) { return a(challenge) }

// welcomed is the one reply that ends a login well.
var welcomed = regexp.MustCompile(`(?m)^235`)

// Whatever a server says to AUTH: no panic, no hang, no login that it did not
// grant, no mail without one, and an error that does not repeat the password.
func FuzzSMTPAuth(f *testing.F) {
	const user, password = "qX7user7Xq", "qX7word7Xq" // in no text of ours
	blobs := [][]byte{[]byte(password), []byte("\x00" + user + "\x00" + password), []byte("n,a=" + user + ",\x01auth=Bearer " + password + "\x01\x01")}
	mechanisms := []func() sasl.Client{
		func() sasl.Client { return sasl.NewPlainClient("", user, password) },
		func() sasl.Client { return sasl.NewLoginClient(user, password) },
		func() sasl.Client {
			return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: password})
		},
		func() sasl.Client { return answering(func(c []byte) ([]byte, error) { return c, nil }) },
		func() sasl.Client { return answering(func([]byte) ([]byte, error) { return nil, nil }) },
		func() sasl.Client {
			return answering(func(c []byte) ([]byte, error) { return nil, fmt.Errorf("refused: %s", c) })
		},
	}
	for _, s := range []string{
		"235 welcome\r\n", "", "\r\n", "235", "334 UGFzc3dvcmQ6\r\n235 ok\r\n", "334 UGFzc3dvcmQ6\r\n535 5.7.8 {password} {blob}\r\n", "334 \r\n235 ok\r\n", "334 =\r\n501 no\r\n",
		"334 !\r\n", "334-UGFz\r\n334 c3dvcmQ6\r\n235 ok\r\n", "535 5.7.8 {blob}\r\n", "{blob}\r\n", "454 4.7.0 later\r\n", "421 bye\r\n", "250 ok\r\n", "200 ok\r\n", "354 go\r\n", "220 hi\r\n", "334", "334 {blob}\r\n",
		"334 {json}\r\n535 no\r\n", "334 {blob}\r\n334 {blob}\r\n334 {blob}\r\n235 ok\r\n", "334 {long}\r\n235 ok\r\n", "535-{long}\r\n535 no\r\n", "235-a\r\n235 b\r\n", "334 \x00\xff\r\n",
	} {
		for m := range mechanisms {
			f.Add([]byte(s), uint8(m), uint16(4096))
			f.Add([]byte(s), uint8(m), uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, says []byte, mechanism uint8, atOnce uint16) {
		for name, value := range map[string]string{ // written short, see FuzzSMTPReplies
			"{password}": password,
			"{blob}":     base64.StdEncoding.EncodeToString(blobs[int(mechanism)%len(blobs)]),
			"{json}":     base64.StdEncoding.EncodeToString([]byte(`{"status":"` + password + `","schemes":"bearer"}`)),
			"{long}":     strings.Repeat("QUFB", 1000),
		} {
			says = bytes.Replace(says, []byte(name), []byte(value), 3)
		}
		all := "220 hi\r\n250-hi\r\n250 AUTH PLAIN LOGIN OAUTHBEARER OWN\r\n" + string(says) + "250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"
		server := &deaf{says: bytes.NewReader([]byte(all)), atOnce: 1 + int(atOnce)}
		client := mechanisms[int(mechanism)%len(mechanisms)]()
		cfg := &Config{Auth: func(context.Context, []string) (sasl.Client, error) { return client, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := newConn(server, "app.acme.example")
		stage, err := c.open(ctx, cfg)
		require.NoError(t, ctx.Err())
		heard := server.heard.String()
		require.NotContains(t, heard, "MAIL")
		if err == nil {
			require.Regexp(t, welcomed, string(says), "after %q", heard)
			c.send(ctx, Envelope{From: "from@acme.example", To: "to@acme.example"}, []byte("Subject: x\r\n\r\nx\r\n"))
			require.NoError(t, ctx.Err())
			return
		}
		e := newError(ctx, stage, err)
		if len(says) < 1900 { // else a line may be longer than go-smtp reads, and that is found before its turn
			require.Equal(t, StageAuth, e.Stage)
		}
		require.False(t, e.Permanent || e.MaybeSent, "nothing was said of a mail")
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e.Err), fmt.Sprintf("%#v", e.Err)} {
			require.NotContains(t, text, password)
			for _, blob := range blobs {
				require.NotContains(t, text, base64.StdEncoding.EncodeToString(blob))
			}
		}
		require.False(t, e.retryable() && e.replyCode()/100 != 4 && !e.dropped())
	})
}
