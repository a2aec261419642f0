// Customstore shows how to write your own store. It keeps codes and counts in a
// file, using go.etcd.io/bbolt, so that they survive a restart of the process.
// Copy store.go and purge.go, and adapt them to your database.
//
//	customstore                  runs the commands below, each in a new process
//	customstore send FILE ADDR   creates a code; prints it and the challenge's ID
//	customstore check FILE       reads the ID and the code, one line each
//
// The last two need a secret of at least 32 bytes, in hex or base64, in OTP_SECRET.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-mailotp/otp"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 0:
		return demo(ctx, out)
	case len(args) == 3 && args[0] == "send":
		return withVerifier(args[1], out, func(v *otp.Verifier) error {
			challenge, err := v.Send(ctx, otp.Request{To: args[2]})
			if err == nil {
				fmt.Fprintf(out, "challenge: %s\n", challenge.ID)
			}
			return err
		})
	case len(args) == 2 && args[0] == "check":
		var id, code string
		if _, err := fmt.Fscanln(in, &id); err != nil {
			return fmt.Errorf("read the challenge's ID: %w", err)
		}
		if _, err := fmt.Fscanln(in, &code); err != nil {
			return fmt.Errorf("read the code: %w", err)
		}
		return withVerifier(args[1], out, func(v *otp.Verifier) error {
			challenge, err := v.Check(ctx, id, code)
			switch {
			case err == nil:
				fmt.Fprintf(out, "verified: %s\n", challenge.To.String())
			case errors.Is(err, otp.ErrCode):
				return fmt.Errorf("not verified, guesses left: %d", challenge.GuessesLeft)
			}
			return err
		})
	}
	return errors.New("usage: customstore [send FILE ADDRESS | check FILE]")
}

// withVerifier opens the store in a file, calls use, and closes the store.
func withVerifier(file string, out io.Writer, use func(*otp.Verifier) error) (err error) {
	secret, err := otp.SecretFromEnv("OTP_SECRET")
	if err != nil {
		return err
	}
	store, err := OpenBoltStore(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	// In production, use an SMTP sender.
	verifier, err := otp.NewVerifier(store, otp.NewLogSender(out), &otp.Options{Secrets: [][]byte{secret}})
	if err != nil {
		return err
	}
	return use(verifier)
}

var (
	codeIn = regexp.MustCompile(`: (\d{6})\n`)
	idIn   = regexp.MustCompile(`challenge: (\S+)\n`)
)

// demo sends a code in one process and checks it in others, with one file.
func demo(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "customstore")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var secret [32]byte
	rand.Read(secret[:])
	process := func(input string, args ...string) string {
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Env = append(os.Environ(), "OTP_SECRET="+hex.EncodeToString(secret[:]))
		cmd.Stdin = strings.NewReader(input)
		answer, err := cmd.CombinedOutput()
		if len(answer) == 0 && err != nil {
			answer = []byte(err.Error() + "\n")
		}
		// Each process ends before the next one starts, so nothing stays in
		// memory.
		fmt.Fprintf(out, "process %d (%s):\n%s", cmd.Process.Pid, args[0], answer)
		return string(answer)
	}
	file := filepath.Join(dir, "codes.db")
	sent := process("", "send", file, "ann@example.com")
	code, id := codeIn.FindStringSubmatch(sent), idIn.FindStringSubmatch(sent)
	if code == nil || id == nil {
		return errors.New("no code was sent")
	}
	wrong := "000000"
	if code[1] == wrong {
		wrong = "000001"
	}
	process(id[1]+"\n"+wrong+"\n", "check", file)
	process(id[1]+"\n"+wrong+"\n", "check", file)
	if answer := process(id[1]+"\n"+code[1]+"\n", "check", file); !strings.HasPrefix(answer, "verified") {
		return errors.New("the right code was not accepted")
	}
	process(id[1]+"\n"+code[1]+"\n", "check", file)
	return nil
}
