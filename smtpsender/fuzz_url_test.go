package smtpsender_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp/smtpsender"
)

// New accepts what ParseURL accepts, and errors do not repeat the URL.
func FuzzParseURL(f *testing.F) {
	for _, rest := range []string{"@mail.acme.example", "@mail.acme.example:465", "@[::1]:587", "@[fe80::1%25eth0]:25", "@::1", "@host:0", "@host:99999", "@host:465/", "@host?x", "@host#", "@a@b", "@-", "", "@%", "@h:%34", "@\x00", "@host./", "@localhost:25", "@10.0.0.5:25", "@::1:465", "@203.0.113.7:25\n"} {
		f.Add("smtps", "login", "p@ss:/?#[]%", rest)
		f.Add("smtp", "", "plain", rest)
		f.Add("smtp+insecure", "login", "plain", rest)
	}
	f.Add("SMTPS", "u", "", "@host")
	f.Add("http", "u", "p", "@host")
	f.Add("", "%zz", "%zz", "@host:\n")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		const mark = "qX7mark7Xq" // in no text of ours
		for _, raw := range []string{scheme + "://" + user + ":" + mark + password + rest, scheme + ":" + mark + password + rest, rest} {
			host, opts, err := smtpsender.ParseURL(raw)
			if err != nil {
				require.NotContains(t, err.Error(), mark)
				require.Empty(t, host)
				require.Nil(t, opts)
				continue
			}
			sender, err := smtpsender.New(host, "from@acme.example", opts)
			require.NoError(t, err, "%q", host)
			require.False(t, opts.TLS == smtpsender.InsecurePrivateNetwork && opts.Username != "")
			again, _, err := smtpsender.ParseURL(" " + strings.TrimSuffix(strings.TrimSpace(raw), "/") + "/\n")
			require.NoError(t, err, "%q", raw)
			require.Equal(t, host, again)
			require.NotContains(t, sender.String()+opts.String(), mark+password)
			require.NoError(t, sender.Close())
		}
		if user == "" || password == "" {
			return
		}
		_, opts, err := smtpsender.ParseURL("smtps://" + url.UserPassword(user, password).String() + "@mail.acme.example")
		require.NoError(t, err)
		require.Equal(t, [2]string{user, password}, [2]string{opts.Username, opts.Password}, "percent-encoding brings back every sign")
	})
}
