package otp_test

import (
	"errors"
	"fmt"

	"github.com/go-mailotp/otp"
)

func ExampleParseEmail() {
	for _, typed := range []string{
		"Mike@EXAMPLE.org",
		"ann@bücher.example",
		"Ann <ann@example.org>",
		"ann@example",
	} {
		address, err := otp.ParseEmail(typed)
		if errors.Is(err, otp.ErrAddress) {
			fmt.Println(err)
			continue
		}
		fmt.Println(address.String())
	}
	// Output:
	// Mike@example.org
	// ann@xn--bcher-kva.example
	// otp: not a usable address: it has a space
	// otp: not a usable address: the domain has no dot
}

func ExampleParseEmailUTF8() {
	const typed = "jürgen@bücher.example"
	_, err := otp.ParseEmail(typed)
	fmt.Println(err)
	address, err := otp.ParseEmailUTF8(typed)
	fmt.Println(address.String(), err)
	// Output:
	// otp: not a usable address: the part before the @ has a letter that is not plain ASCII
	// jürgen@xn--bcher-kva.example <nil>
}

func ExampleAddress_Masked() {
	address, err := otp.ParseEmail("ann.lee@example.org")
	if err != nil {
		panic(err)
	}
	fmt.Println(address.Masked())
	fmt.Printf("%v %+v %q\n", address, address, address) // logs show no more
	fmt.Println(address.String())
	// Output:
	// a***@example.org
	// a***@example.org a***@example.org "a***@example.org"
	// ann.lee@example.org
}

func ExampleNewAddress() {
	// Any spelling of the number is counted as the same one.
	address, err := otp.NewAddress("+49 151 23456", "+4915123456")
	if err != nil {
		panic(err)
	}
	fmt.Println(address.String(), "is shown as", address.Masked())
	// Output:
	// +49 151 23456 is shown as ***56
}

func ExampleDigits() {
	g := otp.Digits(6)
	for _, typed := range []string{"042 137", "０４２１３７\n", "42137", "Your code is 042 137"} {
		code, ok := g.Normalize(typed)
		fmt.Printf("%q %v\n", code, ok)
	}
	// Output:
	// "042137" true
	// "042137" true
	// "" false
	// "" false
}

func ExampleLetters() {
	g := otp.Letters(14)
	code, ok := g.Normalize("b7kmo-xq2l-9dtzi")
	fmt.Println(code, ok)
	// Output:
	// B7KM0XQ219DTZ1 true
}
