// Command preview shows the mail in every language and for every kind of
// purpose, side by side in a browser or as files.
//
//	go run ./examples/preview                   # http://127.0.0.1:8026
//	go run ./examples/preview -files my/mail    # with custom words and templates
//	go run ./examples/preview -brand "My Shop" -support help@example.com
//	go run ./examples/preview -out /tmp/mails   # .txt, .html and .eml files
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-mailotp/otp/letter"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("preview", flag.ContinueOnError)
	out := flags.String("out", "", "write .txt, .html and .eml files to this `folder` and exit")
	files := flags.String("files", "", "read custom words and templates from this `folder`")
	brand := flags.String("brand", "Acme", "the `name` of the sender")
	support := flags.String("support", "+49 30 90 18 20", "the `contact` for help; empty leaves out the line")
	addr := flags.String("addr", "127.0.0.1:8026", "the `address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	opts := &letter.Options{}
	if *files != "" {
		opts.Files = os.DirFS(*files)
	}
	letters, err := letter.New(opts)
	if err != nil {
		return err
	}
	samples := sampler{letters, *brand, *support}
	if _, err := samples.mail("en", "", "042137"); err != nil {
		return err // an invalid brand or support contact
	}
	if *out != "" {
		return writeAll(samples, *out)
	}
	fmt.Printf("open http://%s\n", *addr)
	server := &http.Server{Addr: *addr, Handler: handler(samples), ReadTimeout: 10 * time.Second}
	return server.ListenAndServe() // it owes nobody a mail, so a signal may end it
}

// sampler renders sample mails.
type sampler struct {
	letters        *letter.Letter
	brand, support string
}

// mail renders a mail with all its lines and the given code.
func (s sampler) mail(language, kind, code string) (letter.Mail, error) {
	return s.letters.Render(letter.Data{
		Code:      code,
		Kind:      kind,
		Locale:    language,
		Reference: "KQZT",
		Brand:     s.brand,
		Minutes:   10,
		Support:   s.support,
		Vars:      map[string]string{"amount": "1,500.00 EUR"},
	})
}
