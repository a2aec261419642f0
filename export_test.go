package otp

// What the tests of addresses and generators need from inside.
var (
	Pick        = pick
	ASCIIDomain = asciiDomain
	IDNALookup  = idnaLookup
)

// ThrottleKey returns the form of a that is counted.
func ThrottleKey(a Address) string { return a.throttle }

// GeneratorBits returns the strength that g states, in bits.
func GeneratorBits(g Generator) float64 { return g.(sized).Bits() }
