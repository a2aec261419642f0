package model

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-mailotp/otp"
)

// The checks can fail: stores that are right only while nobody else calls them are
// caught by their answers, and by the answers of a Verifier that uses them.
func TestLinear_brokenStoreIsCaught(t *testing.T) {
	for name, newStore := range map[string]func() otp.Store{
		"Get, then Set": func() otp.Store { return newLinGetThenSet() },
		"stale reads": func() otp.Store {
			return &linStaleReads{linGetThenSet: newLinGetThenSet(), before: map[string][]byte{}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			linNotAll(t, linRegisters(), func(seed uint64) []porcupine.Operation {
				return linStoreHistory(newStore(), seed)
			})
		})
		t.Run(name+", verifier", func(t *testing.T) {
			linNotAll(t, linVerifiers(), func(seed uint64) []porcupine.Operation {
				return linVerifierHistory(t, newStore(), seed, 0)
			})
		})
	}
}

// A linGetThenSet compares first and writes later, when others may have written.
type linGetThenSet struct {
	mu     sync.Mutex
	values map[string][]byte
}

func newLinGetThenSet() *linGetThenSet { return &linGetThenSet{values: map[string][]byte{}} }

func (s *linGetThenSet) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.values[key]), nil
}

func (s *linGetThenSet) CompareAndSwap(ctx context.Context, key string, old, new []byte, _ time.Duration) (bool, error) {
	if live, _ := s.Load(ctx, key); !bytes.Equal(live, old) {
		return false, nil
	}
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = bytes.Clone(new)
	return true, nil
}

// A linStaleReads swaps correctly and answers every third Load with the previous
// value, as a replica may.
type linStaleReads struct {
	*linGetThenSet
	n      int
	before map[string][]byte
}

func (s *linStaleReads) Load(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n%3 == 0 {
		return bytes.Clone(s.before[key]), nil
	}
	return bytes.Clone(s.values[key]), nil
}

func (s *linStaleReads) CompareAndSwap(_ context.Context, key string, old, new []byte, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.values[key], old) {
		return false, nil
	}
	s.before[key], s.values[key] = s.values[key], bytes.Clone(new)
	return true, nil
}
