package otp

// What the tests need from inside.
var (
	Pick         = pick
	ASCIIDomain  = asciiDomain
	IDNALookup   = idnaLookup
	ErrStoreFull = errStoreFull
)

// ThrottleKey returns the form of a that is counted.
func ThrottleKey(a Address) string { return a.throttle }

// GeneratorBits returns the strength that g states, in bits.
func GeneratorBits(g Generator) float64 { return g.(sized).Bits() }

// StoreLimit returns the maximum number of entries of s.
func StoreLimit(s *MemoryStore) int { return s.limit() }
