package main

import (
	"io"
	"testing"
)

// Every variant does its work: each fails where a code is not accepted or a
// swap is not made. Nothing is timed.
func TestVariants(t *testing.T) {
	lists, err := variants()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		for _, v := range l.variants {
			if _, err := v.block(maxWorkers); err != nil {
				t.Errorf("%s: %v", l.title, err)
			}
		}
	}
	if err := atSMTP(io.Discard, 1); err != nil {
		t.Error(err)
	}
	if err := atStores(io.Discard, 1); err != nil {
		t.Error(err)
	}
	if err := atObservers(io.Discard, 1); err != nil {
		t.Error(err)
	}
	if err := atPage(io.Discard, 1, 5000, ""); err != nil {
		t.Error(err)
	}
	if err := atScale(io.Discard, 1, 2000); err != nil {
		t.Error(err)
	}
}
