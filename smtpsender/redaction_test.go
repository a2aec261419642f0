package smtpsender_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
	"github.com/go-mailotp/otp/internal/testkit"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otpevent"
	"github.com/go-mailotp/otp/smtpsender"
)

// D1, D2, D3: a server that repeats all that it knows, with line breaks and
// control characters, at every stage of the flow: errors, events and challenges
// show none of it.
func TestRedaction_wire(t *testing.T) {
	const (
		code       = "271828182845"
		privateTo  = "Very.Private.Person@example.com"
		privateVar = "vars-value"
		password   = "hunter2-hunter2"
	)
	key := []byte("secret A of at least 32 bytes, for this test")
	blob := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + password))
	secrets := []string{"very.private", code, password, blob, base64.StdEncoding.EncodeToString([]byte(password)), privateVar, string(key)}
	out := testkit.NewShowcase()
	for _, verb := range []string{smtptest.Connect, "EHLO", "AUTH", "MAIL", "RCPT", "DATA", smtptest.Dot} {
		for _, status := range []string{"550", "451", "334", "junk"} {
			knows := code
			if verb == "AUTH" { // where servers repeat what they refuse
				knows += " " + password + " " + blob
			}
			echo := fmt.Sprintf("%s-5.1.1 <%s> %s\x1b[2J\r\n%s 5.1.1 <%s> \u202e%s", status, strings.ToLower(privateTo), knows, status, privateTo, knows)
			if status == "junk" || status == "334" {
				echo = status + " " + knows + " " + privateTo
			}
			server := smtptest.Script{Extensions: []string{"AUTH PLAIN"}, Reply: replyTo(verb, echo)}.Start(t)
			opts := smtpsender.Options{TLS: smtpsender.InsecureLoopback, Username: "user", Password: password, Timeout: 60 * time.Millisecond}
			s := newSender(t, server.Addr, opts)
			var failure error // of which Send returns nothing if the challenge stands
			v, err := otp.NewVerifier(otp.NewMemoryStore(nil), s, &otp.Options{
				Secrets: [][]byte{key}, Generator: sameCode(code), Sends: []otp.Limit{{N: 100, Per: time.Second}},
				Observer: otp.ObserverFunc(func(_ context.Context, e otp.Event) {
					testkit.Show(out, e)
					if e.Kind == otpevent.SendFailed {
						failure = e.Err
					}
				}),
			})
			require.NoError(t, err)
			ch, err := v.Send(t.Context(), otp.Request{To: privateTo, Vars: map[string]string{"k": privateVar}})
			require.Equal(t, ch.ID == "", err != nil)
			var failed *otp.SendError
			require.ErrorAs(t, failure, &failed)
			for _, text := range []string{failure.Error(), failed.Err.Error(), fmt.Sprint(s.Ping(t.Context()))} {
				require.NotContains(t, text, "\x1b")
				require.NotContains(t, text, "\u202e")
				require.NotContains(t, text, "\n")
				require.Less(t, len(text), 400)
			}
			if ch.ID != "" {
				secrets = append(secrets, ch.ID)
				_, err := v.Check(t.Context(), ch.ID, testkit.WrongCode(code))
				testkit.Show(out, err)
				_, err = v.Resend(t.Context(), ch.ID)
				testkit.Show(out, err)
			}
			testkit.ShowNoJSON(out, ch)
			testkit.Show(out, err)
			testkit.Show(out, failure)
			testkit.Show(out, errors.Unwrap(failure))
			testkit.Show(out, s)
			testkit.Show(out, opts)
			testkit.Show(out, &opts)
			require.NoError(t, s.Close())
		}
	}
	out.HoldsNone(t, secrets)
}

// sameCode is a generator of one code, so that a server knows it.
type sameCode string

func (c sameCode) Generate() (string, error)             { return string(c), nil }
func (c sameCode) Normalize(input string) (string, bool) { return otp.Digits(12).Normalize(input) }

// Options in other values are printed without the password (D1).
func TestOptions_nested(t *testing.T) {
	s := smtpsender.Options{Username: "u", Password: "hunter2"}
	for _, v := range []any{struct{ S smtpsender.Options }{s}, []any{s, &s}, map[string]any{"s": &s}} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", v, v, v, b), "hunter2")
	}
}
