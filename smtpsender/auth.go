package smtpsender

import (
	"context"
	"errors"

	"github.com/emersion/go-sasl"

	"github.com/go-mailotp/otp/internal/smtpclient"
)

// XOAuth2 returns a function for Options.Auth that logs in as username with the
// mechanism XOAUTH2, which Google and Microsoft 365 take. token returns the
// access token for a new connection; any number of goroutines may call it at
// once, and ctx ends with Options.ConnectTimeout. See the recipes for a token
// source of golang.org/x/oauth2.
//
// If the server refuses the token, the error says the status that it gave.
func XOAuth2(username string, token func(ctx context.Context) (string, error)) func(context.Context) (sasl.Client, error) {
	return bearer(username, token, smtpclient.XOAuth2)
}

// OAuthBearer is like [XOAuth2] with the standard mechanism OAUTHBEARER (RFC
// 7628).
func OAuthBearer(username string, token func(ctx context.Context) (string, error)) func(context.Context) (sasl.Client, error) {
	return bearer(username, token, smtpclient.OAuthBearer)
}

func bearer(username string, token func(context.Context) (string, error), client func(username, token string) sasl.Client) func(context.Context) (sasl.Client, error) {
	return func(ctx context.Context) (sasl.Client, error) {
		fresh, err := token(ctx)
		if err != nil {
			return nil, err
		}
		if fresh == "" {
			return nil, errors.New("there is no access token")
		}
		return client(username, fresh), nil
	}
}

// authFunc returns the function with which a connection logs in, or nil if it
// does not log in. Only that function holds the password, so no fmt verb can
// print it.
func authFunc(o *Options) func(context.Context, []string) (sasl.Client, error) {
	username, password, custom := o.Username, o.Password, o.Auth
	switch {
	case custom != nil:
		return func(ctx context.Context, _ []string) (sasl.Client, error) {
			client, err := custom(ctx)
			if err == nil && client == nil {
				err = errors.New("Options.Auth returned no client")
			}
			return client, err
		}
	case username != "":
		return func(_ context.Context, offered []string) (sasl.Client, error) {
			return smtpclient.Login(username, password, offered)
		}
	}
	return nil
}
