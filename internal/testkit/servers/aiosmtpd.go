package servers

import (
	"crypto/tls"
	_ "embed" // for aiosmtpd.py
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-mailotp/otp/internal/testkit"
)

//go:embed aiosmtpd.py
var aiosmtpdScript []byte

// Aiosmtpd is a mail server in Python with the mailboxes inbox@otp.test and
// jürgen@otp.test. It accepts the same login as a [Postfix]. It offers SMTPUTF8, but
// neither PIPELINING nor CHUNKING.
type Aiosmtpd struct {
	TLS      string // address with TLS from the first byte
	StartTLS string // address that requires STARTTLS and offers only LOGIN, whose prompts are "User Name\x00" and "Password\x00"

	Client *tls.Config // trusts its certificate

	dir string
}

// AiosmtpdMail is one mail that an [Aiosmtpd] received.
type AiosmtpdMail struct {
	From string
	To   []string
	UTF8 bool // MAIL had the parameter SMTPUTF8
	Peer int  // the client's port, which identifies the connection
	Data []byte
}

// StartAiosmtpd starts an Aiosmtpd until the test ends. The test is skipped if no
// Python has the package aiosmtpd.
func StartAiosmtpd(t testing.TB) *Aiosmtpd {
	t.Helper()
	testkit.Long(t)
	python := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if path := Binary(name); path != "" && exec.Command(path, "-c", "import aiosmtpd").Run() == nil {
			python = path
			break
		}
	}
	if python == "" {
		testkit.Skip(t, "no Python has aiosmtpd (Debian: python3-aiosmtpd)")
	}
	s := &Aiosmtpd{dir: t.TempDir()}
	s.Client = certificate(t, s.dir)
	script := filepath.Join(s.dir, "server.py")
	if err := os.WriteFile(script, aiosmtpdScript, 0o600); err != nil {
		t.Fatal(err)
	}
	ports := []string{strconv.Itoa(FreePort(t)), strconv.Itoa(FreePort(t))}
	s.TLS, s.StartTLS = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	p := Start(t, s.dir, python, "-X", "utf8", "-W", "ignore", script, s.dir, ports[0], ports[1], MailUser, MailPassword)
	for _, addr := range []string{s.TLS, s.StartTLS} {
		Wait(t, "aiosmtpd to listen", func() error {
			if p.Ended() {
				t.Fatal("aiosmtpd ended by itself")
			}
			return listens(addr)
		})
	}
	return s
}

// Mails returns all mails that the server has accepted so far, in order.
func (s *Aiosmtpd) Mails(t testing.TB) (mails []AiosmtpdMail) {
	t.Helper()
	for n := 1; ; n++ {
		text, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("%d.json", n)))
		if errors.Is(err, os.ErrNotExist) {
			return mails
		}
		var mail AiosmtpdMail
		if err == nil {
			err = json.Unmarshal(text, &mail)
		}
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, mail)
	}
}
