package letter_test

import (
	"fmt"
	"log"
	"testing/fstest"

	"github.com/go-mailotp/otp/letter"
)

func Example() {
	letters, err := letter.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	mail, err := letters.Render(letter.Data{
		Code:      "042137",
		Kind:      "login",
		Locale:    "en-GB,en;q=0.9", // from the browser
		Reference: "KQZT",
		Brand:     "Acme",
		Minutes:   10,
		Support:   "help@acme.example",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mail.Subject)
	fmt.Println()
	fmt.Print(mail.Text)
	// Output:
	// Your Acme verification code
	//
	// Your verification code to sign in to Acme is:
	//
	// 042137
	//
	// The code works for 10 minutes.
	// Reference: KQZT. The page that asks for the code shows the same one.
	//
	// If you are not signing in, ignore this email: nobody gets in without the
	// code.
	// Never share this code: nobody from Acme will call or write to ask for
	// it.
	//
	// Questions? help@acme.example
}

// A folder of files changes individual sentences and adds a kind of purpose. In
// a program, embed it (//go:embed, then fs.Sub) or use os.DirFS.
func ExampleOptions_words() {
	letters, err := letter.New(&letter.Options{Files: fstest.MapFS{
		"words/en.json": {Data: []byte(`{
			"share": "Never share this code, not even with {brand}.",
			"kinds": {
				"export": {
					"subject": "Code to export your {brand} data",
					"intro": "Your verification code to export your {brand} data is:",
					"ignore": "If this was not you, ignore this email: nothing is exported without the code."
				}
			}
		}`)},
	}})
	if err != nil {
		log.Fatal(err)
	}
	mail, err := letters.Render(letter.Data{Code: "042137", Kind: "export", Brand: "Acme", Minutes: 10})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mail.Subject)
	fmt.Println()
	fmt.Print(mail.Text)
	// Output:
	// Code to export your Acme data
	//
	// Your verification code to export your Acme data is:
	//
	// 042137
	//
	// The code works for 10 minutes.
	//
	// If this was not you, ignore this email: nothing is exported without the
	// code.
	// Never share this code, not even with Acme.
}

// A new language is one file with all the keys of the English file. A regional
// language contains only the sentences that differ.
func ExampleOptions_languages() {
	letters, err := letter.New(&letter.Options{Files: fstest.MapFS{
		"words/en-AU.json": {Data: []byte(`{"support": "No worries: {support}"}`)},
	}})
	if err != nil {
		log.Fatal(err)
	}
	for _, locale := range []string{"en-AU", "en-US", "tlh", "und-nonsense!"} {
		fmt.Println(locale, "reads", letters.Match(locale))
	}
	mail, err := letters.Render(letter.Data{Code: "042137", Locale: "en-AU", Brand: "Acme", Minutes: 1, Support: "02 5550 1234"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(mail.Text)
	// Output:
	// en-AU reads en-AU
	// en-US reads en
	// tlh reads en
	// und-nonsense! reads en
	// Your verification code for Acme is:
	//
	// 042137
	//
	// The code works for 1 minute.
	//
	// If this was not you, ignore this email.
	// Never share this code: nobody from Acme will call or write to ask for
	// it.
	//
	// No worries: 02 5550 1234
}

// Custom templates replace the layout for all languages or for one. The
// sentences are still in the reader's language.
func ExampleOptions_templates() {
	letters, err := letter.New(&letter.Options{Files: fstest.MapFS{
		"mail.txt.tmpl": {Data: []byte(`{{.Brand}}
{{with .Amount}}{{.}}
{{end}}{{.Intro}}

    {{.Code}}

{{.Minutes}} {{.Share}}
{{with .Var "order"}}Order {{.}}
{{end}}`)},
		"mail.en.html.tmpl": {Data: []byte(`<!DOCTYPE html>
<html lang="{{.Lang}}" dir="{{.Dir}}">
<body style="color:{{.Colors.Light.Text}}">
<p><a href="https://acme.example">{{.Brand}}</a></p>
<p>{{.Intro}}</p>
<p dir="ltr">{{.Code}}</p>
<p>{{.Minutes}}</p>
</body>
</html>
`)},
	}})
	if err != nil {
		log.Fatal(err)
	}
	mail, err := letters.Render(letter.Data{
		Code: "042137", Kind: "pay", Brand: "Acme", Minutes: 10,
		Vars: map[string]string{"amount": "1,500.00 EUR", "order": "A-77"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(mail.Text)
	fmt.Print(mail.HTML)
	// Output:
	// Acme
	// You are approving a payment of 1,500.00 EUR.
	// Your verification code to approve this payment with Acme is:
	//
	//     042137
	//
	// The code works for 10 minutes. Never share this code: nobody from Acme
	// will call or write to ask for it.
	// Order A-77
	// <!DOCTYPE html>
	// <html lang="en" dir="ltr">
	// <body style="color:#1c1e21">
	// <p><a href="https://acme.example">Acme</a></p>
	// <p>Your verification code to approve this payment with Acme is:</p>
	// <p dir="ltr">042137</p>
	// <p>The code works for 10 minutes.</p>
	// </body>
	// </html>
}

// If a value is missing from a translation, or the code from a template, New
// returns an error.
func ExampleNew_refused() {
	_, err := letter.New(&letter.Options{Files: fstest.MapFS{
		"words/en.json": {Data: []byte(`{"minutes": {"one": "The code works for a minute."}}`)},
	}})
	fmt.Println(err)
	_, err = letter.New(&letter.Options{Files: fstest.MapFS{
		"mail.en.txt.tmpl": {Data: []byte(`{{.Intro}} {{slice .Code 0 3}} {{slice .Code 3}} {{.Minutes}}`)},
	}})
	fmt.Println(err)
	_, err = letter.New(&letter.Options{Colors: letter.Colors{Light: letter.Palette{Accent: "#ffaa00"}}})
	fmt.Println(err)
	// Output:
	// letter: words/en.json: minutes.one: {minutes} is missing
	// letter: mail.en.txt.tmpl, kind "" in en: the code is missing or not in one piece
	// letter: colors: light: Accent #ffaa00 on Background #ffffff: contrast is 1.91:1, want at least 4.5:1
}
