module github.com/go-mailotp/otp/examples/customstore

go 1.26.0

require (
	github.com/go-mailotp/otp v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	github.com/emersion/go-smtp v0.25.1 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/go-mailotp/otp => ../../
