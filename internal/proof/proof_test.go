package proof

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRules lets random things happen to real verifiers and holds every answer
// against the model's.
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(newWorld(t).actions()) })
	checkHits(t)
}
