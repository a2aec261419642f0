package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/google"

	"github.com/go-mailotp/otp/internal/testkit/smtptest"
	"github.com/go-mailotp/otp/smtpsender"
)

// accessToken turns a token source into the function that XOAuth2 takes. The
// source keeps a token until it expires.
func accessToken(source oauth2.TokenSource) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		token, err := source.Token()
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}
}

func Example_microsoft365() {
	config := &clientcredentials.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     "https://login.microsoftonline.com/" + os.Getenv("TENANT_ID") + "/oauth2/v2.0/token",
		Scopes:       []string{"https://outlook.office365.com/.default"},
	}
	sender, err := smtpsender.New("smtp.office365.com", "Acme <codes@example.com>", &smtpsender.Options{
		TLS:  smtpsender.StartTLS,
		Auth: smtpsender.XOAuth2("codes@example.com", accessToken(config.TokenSource(context.Background()))),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

func Example_google() {
	key, err := os.ReadFile("service-account.json")
	if err != nil {
		return // the example needs a key of your own
	}
	config, err := google.JWTConfigFromJSON(key, "https://mail.google.com/")
	if err != nil {
		log.Fatal(err)
	}
	config.Subject = "codes@example.com" // the mailbox, by domain-wide delegation
	sender, err := smtpsender.New("smtp.gmail.com", "Acme <codes@example.com>", &smtpsender.Options{
		Auth: smtpsender.XOAuth2("codes@example.com", accessToken(config.TokenSource(context.Background()))),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sender.Close()
}

// The recipe for Microsoft 365 logs in with a token of client credentials, and
// says so if the mail server refuses it. One token serves many connections.
func TestXOAuth2_clientCredentials(t *testing.T) {
	tokens := 0
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens++
		require.Equal(t, "client_credentials", r.PostFormValue("grant_type"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"token%d","token_type":"Bearer","expires_in":3600}`, tokens)
	}))
	defer issuer.Close()
	good := true
	server := smtptest.Script{Extensions: []string{"AUTH LOGIN XOAUTH2"}, Reply: func(_ int, verb, line string) string {
		want := base64.StdEncoding.EncodeToString([]byte("user=codes@example.com\x01auth=Bearer token1\x01\x01"))
		switch {
		case verb == "AUTH" && line == "AUTH XOAUTH2 "+want && good:
			return "235 2.7.0 fine"
		case verb == "AUTH":
			return "334 " + base64.StdEncoding.EncodeToString([]byte(`{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`))
		case verb == "*":
			return "535 5.7.3 Authentication unsuccessful"
		}
		return ""
	}}.Start(t)
	config := &clientcredentials.Config{ClientID: "id", ClientSecret: "secret", TokenURL: issuer.URL, Scopes: []string{"https://outlook.office365.com/.default"}}
	sender, err := smtpsender.New(server.Addr, "codes@example.com", &smtpsender.Options{
		TLS:  smtpsender.InsecureLoopback,
		Auth: smtpsender.XOAuth2("codes@example.com", accessToken(config.TokenSource(t.Context()))),
	})
	require.NoError(t, err)
	defer sender.Close()
	require.NoError(t, sender.Ping(t.Context()))
	require.NoError(t, sender.Ping(t.Context()))
	require.Equal(t, 1, tokens)
	server.Do(func() { good = false })
	err = sender.Ping(t.Context())
	require.ErrorContains(t, err, `server refuses the access token of AUTH XOAUTH2 (status "400")`)
	require.False(t, strings.Contains(err.Error(), "token1"))
}
