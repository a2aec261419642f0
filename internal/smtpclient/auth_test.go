package smtpclient_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/smtpclient"
	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/otpevent"
)

func base64of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// logs returns a server that offers mechanisms, plays a dialogue and lets those in
// who say the last line of it.
func logs(t *testing.T, offers []string, dialogue ...string) *smtptest.Server {
	t.Helper()
	return smtptest.Script{Extensions: offers, Reply: func(_ int, _, line string) string {
		for i := 0; i < len(dialogue); i += 2 {
			if line == dialogue[i] {
				return dialogue[i+1]
			}
		}
		if strings.HasPrefix(line, "MAIL") || strings.HasPrefix(line, "EHLO") || line == "" {
			return ""
		}
		if strings.HasPrefix(line, "AUTH") || !strings.Contains(line, " ") && line != "DATA" && line != "QUIT" {
			return "501 5.5.2 what is " + line
		}
		return ""
	}}.Start(t)
}

// LOGIN says the name and then the password, whatever the server asks, and PLAIN
// says it again to a server that ignores what comes with AUTH.
func TestLogin_prompts(t *testing.T) {
	user, password, plain := base64of("user"), base64of("secret word"), base64of("\x00user\x00secret word")
	for name, server := range map[string]*smtptest.Server{
		"usual":             logs(t, []string{"AUTH LOGIN"}, "AUTH LOGIN", "334 VXNlcm5hbWU6", user, "334 UGFzc3dvcmQ6", password, "235 fine"),
		"other words":       logs(t, []string{"AUTH LOGIN"}, "AUTH LOGIN", "334 "+base64of("User Name\x00"), user, "334 "+base64of("Password\x00"), password, "235 fine"),
		"no words":          logs(t, []string{"AUTH LOGIN"}, "AUTH LOGIN", "334", user, "334 ", password, "235 fine"),
		"not encoded":       logs(t, []string{"AUTH LOGIN"}, "AUTH LOGIN", "334 Username:", user, "334 Passwort:", password, "235 fine"),
		"old style":         logs(t, []string{"AUTH=LOGIN"}, "AUTH LOGIN", "334 VXNlcm5hbWU6", user, "334 UGFzc3dvcmQ6", password, "235 fine"),
		"plain":             logs(t, []string{"auth\tplain login"}, "AUTH PLAIN "+plain, "235 fine"),
		"plain, asked":      logs(t, []string{"AUTH PLAIN"}, "AUTH PLAIN "+plain, "334 ", plain, "235 fine"),
		"plain, three":      logs(t, []string{"AUTH PLAIN"}, "AUTH PLAIN "+plain, "334", plain, "235"),
		"plain, with words": logs(t, []string{"AUTH LOGIN", "AUTH PLAIN"}, "AUTH PLAIN "+plain, "334 go ahead", plain, "235 fine"),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, newPool(t, server.Addr, signsIn).Send(t.Context(), envelope, content))
		})
	}
	server := logs(t, []string{"AUTH LOGIN"}, "AUTH LOGIN", "334", user, "334", password, "334 more", "*", "501 cancelled")
	err := newPool(t, server.Addr, signsIn).Ping(t.Context())
	require.EqualError(t, err, "auth: server asks for more than AUTH LOGIN has")

	server = logs(t, []string{"AUTH CRAM-MD5 NTLM SCRAM-SHA-256"})
	err = newPool(t, server.Addr, signsIn).Ping(t.Context())
	require.EqualError(t, err, "auth: server offers AUTH CRAM-MD5 NTLM SCRAM-SHA-256, but neither PLAIN nor LOGIN")
	require.Equal(t, otpevent.ClassUs, requireStage(t, err, smtpclient.StageAuth).Class())
}

// A token that is refused is told with the status, and never with what may repeat
// the token.
func TestBearer(t *testing.T) {
	for mechanism, client := range map[string]func() sasl.Client{
		"XOAUTH2":     func() sasl.Client { return smtpclient.XOAuth2("user", "t0ken") },
		"OAUTHBEARER": func() sasl.Client { return smtpclient.OAuthBearer("user", "t0ken") },
	} {
		first := base64of("user=user\x01auth=Bearer t0ken\x01\x01")
		if mechanism == "OAUTHBEARER" {
			first = base64of("n,a=user,\x01auth=Bearer t0ken\x01\x01")
		}
		use := func(server *smtptest.Server) error {
			return newPool(t, server.Addr, func(c *smtpclient.Config) {
				c.Auth = func(context.Context, []string) (sasl.Client, error) { return client(), nil }
			}).Ping(t.Context())
		}
		offer := []string{"AUTH " + mechanism}
		require.NoError(t, use(logs(t, offer, "AUTH "+mechanism+" "+first, "235 fine")))
		for said, want := range map[string]string{
			`{"status":"400","schemes":"Bearer"}`:                `(status "400")`,
			`{"status":"t0ken ` + strings.Repeat("x", 50) + `"}`: `(status "")`,
			`what?`: `(status "")`,
		} {
			err := use(logs(t, offer, "AUTH "+mechanism+" "+first, "334 "+base64of(said), "*", "501 cancelled"))
			require.EqualError(t, err, "auth: server refuses the access token of AUTH "+mechanism+" "+want)
		}
		err := use(logs(t, offer, "AUTH "+mechanism+" "+first, "535 5.7.8 t0ken is wrong"))
		require.ErrorContains(t, err, "535")
		require.NotContains(t, err.Error(), "t0ken")
	}
}
