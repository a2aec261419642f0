package model

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRules lets random things happen to real verifiers and holds every answer
// against the model's: A8, B1, B2, B3, B6, B7, B8, B10, B11, B12, B13, C2, C4 and E8.
//
// Without end, for an evening: go test -run TestRules -timeout 0 -rapid.checks 1000000
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { t.Repeat(newWorld(t).actions()) })
	checkHits(t)
}
