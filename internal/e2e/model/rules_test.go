package model

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-mailotp/otp/internal/testkit"
)

// TestRules lets random things happen to real verifiers and compares every answer
// with the model's: A8, B1, B2, B3, B6, B7, B8, B10, B11, B12, B13, C2, C4, E8, J1, J2,
// J5, J6 and J10.
//
// By day it ends as soon as every branch of the model was hit. To let it run for an
// evening: go test -run TestRules -timeout 0 -rapid.checks 1000000
func TestRules(t *testing.T) {
	for range batches {
		rapid.Check(t, func(t *rapid.T) { t.Repeat(newWorld(t).actions()) })
		if t.Failed() || testing.Short() || len(missed()) == 0 && !testkit.Nightly() {
			break
		}
	}
	logHits(t)
	if !testing.Short() {
		require.Empty(t, missed(), "these branches of the model never happened")
	}
}
