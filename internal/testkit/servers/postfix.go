package servers

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/go-mailotp/otp/internal/testkit"
)

// The login that a [Postfix] and an [Aiosmtpd] accept.
const (
	MailUser     = "codes@otp.test"
	MailPassword = "pass word:ü"
)

// Postfix is a private Postfix with two mailboxes, inbox@otp.test and
// jürgen@otp.test. It delivers no mail to other domains, rejects the sender
// nobody@otp.test, and rejects clients that send commands too early. It does not
// touch the system's own instance and files.
type Postfix struct {
	TLS      string // address with TLS from the first byte that requires a login
	StartTLS string // requires STARTTLS and a login, without CHUNKING
	Clear    string // in clear text
	Simple   string // in clear text, without CHUNKING and PIPELINING

	Client *tls.Config // trusts its certificate

	dir string
}

const postfixMain = `compatibility_level = 3.6
queue_directory = {{.}}/queue
data_directory = {{.}}/data
maillog_file = {{.}}/log
maillog_file_prefixes = {{.}}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.otp.test
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
default_transport = error:no mail leaves this machine
virtual_mailbox_domains = otp.test
virtual_mailbox_base = {{.}}/mail
virtual_mailbox_maps = inline:{ {inbox@otp.test = inbox/}, {jürgen@otp.test = jürgen/} }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{ {nobody@otp.test = reject_unlisted_sender} }
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = yes
smtpd_tls_cert_file = {{.}}/etc/cert.pem
smtpd_tls_key_file = {{.}}/etc/key.pem
smtpd_tls_auth_only = yes
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = otp.test
cyrus_sasl_config_path = {{.}}/etc/sasl
`

const postfixMaster = `%s inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject
%s inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o smtpd_discard_ehlo_keywords=chunking
%s inet n - n - - smtpd
%s inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=chunking,pipelining
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// postfixRun runs Postfix, whose children end with it, until this shell is killed. A
// parent-death signal would not reach Postfix itself, because a process that
// changes its user ID loses that setting.
const postfixRun = `mkfifo alive
"$0" -c "$1" -d &
pid=$!
(read -r _ < alive; kill -9 $pid) &
exec 3> alive
wait $pid
`

// StartPostfix creates and starts a Postfix until the test ends. The test is skipped
// if Postfix or Cyrus SASL is not installed, or if it does not run as root.
func StartPostfix(t testing.TB) *Postfix {
	t.Helper()
	testkit.Long(t)
	postfix, passwords := Binary("postfix", "/usr/sbin/postfix"), Binary("saslpasswd2", "/usr/sbin/saslpasswd2")
	if postfix == "" || passwords == "" {
		testkit.Skip(t, "Postfix or saslpasswd2 is not installed (Debian: postfix, sasl2-bin, libsasl2-modules)")
	}
	account, err := user.Lookup("postfix")
	if err != nil || os.Geteuid() != 0 {
		testkit.Skip(t, "Postfix requires root and the account postfix")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Paths of sockets must be short, and Postfix's accounts need access.
	dir, err := os.MkdirTemp("", "postfix")
	must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(os.Chmod(dir, 0o755))
	for _, sub := range []string{"etc", "etc/sasl", "queue", "data", "mail"} {
		must(os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	uid, err := strconv.Atoi(account.Uid)
	must(err)
	must(os.Chown(filepath.Join(dir, "data"), uid, -1))
	must(os.Chown(filepath.Join(dir, "mail"), 65534, -1))

	p := &Postfix{dir: dir, Client: certificate(t, filepath.Join(dir, "etc"))}
	for _, addr := range []*string{&p.TLS, &p.StartTLS, &p.Clear, &p.Simple} {
		*addr = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	}
	var main strings.Builder
	must(template.Must(template.New("").Parse(postfixMain)).Execute(&main, dir))
	for name, text := range map[string]string{
		"main.cf":         main.String(),
		"master.cf":       fmt.Sprintf(postfixMaster, p.TLS, p.StartTLS, p.Clear, p.Simple),
		"sasl/smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + dir + "/sasldb\nmech_list: PLAIN\n",
	} {
		must(os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644))
	}
	name, realm, _ := strings.Cut(MailUser, "@")
	run(t, dir, MailPassword, passwords, "-p", "-c", "-f", dir+"/sasldb", "-u", realm, name)
	must(os.Chown(filepath.Join(dir, "sasldb"), uid, -1))
	run(t, dir, "", postfix, "-c", dir+"/etc", "check") // creates the queue

	daemons := strings.TrimSpace(run(t, dir, "", Binary("postconf", "/usr/sbin/postconf"), "-c", dir+"/etc", "-h", "daemon_directory"))
	Start(t, dir, Binary("sh"), "-c", postfixRun, filepath.Join(daemons, "master"), dir+"/etc")
	for _, addr := range []string{p.TLS, p.StartTLS, p.Clear, p.Simple} {
		Wait(t, "Postfix to listen", func() error { return listens(addr) })
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.log())
		}
	})
	return p
}

// Mails waits until a mailbox has at least n mails and the queue is empty. It
// returns the mails with LF line endings, as Postfix stores them.
func (p *Postfix) Mails(t testing.TB, box string, n int) (mails []string) {
	t.Helper()
	Wait(t, "mails in "+box, func() error {
		for _, queue := range []string{"maildrop", "incoming", "active", "deferred"} {
			files, err := filepath.Glob(filepath.Join(p.dir, "queue", queue, "*"))
			for _, file := range files {
				if info, statErr := os.Stat(file); statErr != nil || !info.IsDir() {
					return fmt.Errorf("%s is in the queue (%w)", file, err)
				}
			}
		}
		files, err := filepath.Glob(filepath.Join(p.dir, "mail", box, "new", "*"))
		if err != nil || len(files) < n {
			return fmt.Errorf("%d mails (%w)", len(files), err)
		}
		mails = nil
		for _, file := range files {
			mail, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			mails = append(mails, string(mail))
		}
		return nil
	})
	return mails
}

// AwaitLog waits until Postfix's log contains a text n times.
func (p *Postfix) AwaitLog(t testing.TB, text string, n int) {
	t.Helper()
	Wait(t, "the log", func() error {
		if found := strings.Count(p.log(), text); found != n {
			return fmt.Errorf("%q occurs %d times, want %d", text, found, n)
		}
		return nil
	})
}

func (p *Postfix) log() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log")) // a missing file is an empty log
	return string(text)
}

// listens returns an error if no server can be reached at addr.
func listens(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err
}

// run runs a program until it ends and returns its output.
func run(t testing.TB, dir, input, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}
