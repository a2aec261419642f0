package smtpsender_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/internal/testkit/servers"
	"github.com/go-mailotp/otp/smtpsender"
)

// aiosmtpd, a server in Python, gets each mail as it was composed, once.
func TestSender_aiosmtpd(t *testing.T) { // F3, G1, G8
	server := servers.StartAiosmtpd(t)
	opts := smtpsender.Options{TLSConfig: server.Client, Username: servers.MailUser, Password: servers.MailPassword}
	sent := 0
	for addr, mode := range map[string]smtpsender.TLSMode{server.TLS: smtpsender.ImplicitTLS, server.StartTLS: smtpsender.StartTLS} {
		opts.TLS = mode
		for kind, shape := range shapes(t) {
			t.Run(mode.String()+" "+kind, func(t *testing.T) {
				mail := shape.send(t, addr, opts)
				sent++
				mails := server.Mails(t)
				require.Len(t, mails, sent, "once each")
				got := mails[sent-1]
				require.Equal(t, "codes@acme.example", got.From)
				require.Equal(t, []string{shape.to}, got.To)
				require.Equal(t, kind == "SMTPUTF8", got.UTF8)
				require.Equal(t, string(mail), string(got.Data))
			})
		}
		t.Run(mode.String()+" unknown user", func(t *testing.T) {
			s := newSender(t, addr, opts)
			require.NoError(t, s.Send(t.Context(), newMessage(t, "inbox@otp.test")))
			refusedAndReused(t, s, "550 5.1.1")
			sent += 2
			mails := server.Mails(t)
			require.Len(t, mails, sent)
			require.Equal(t, mails[sent-2].Peer, mails[sent-1].Peer, "one connection")
		})
		t.Run(mode.String()+" wrong password", func(t *testing.T) {
			opts := opts
			opts.Password = "wrong"
			wrongPassword(t, newSender(t, addr, opts))
			require.Len(t, server.Mails(t), sent)
		})
	}
}
