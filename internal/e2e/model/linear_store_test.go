package model

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-mailotp/otp"
)

// A Store is a linearizable register for each key. To test another store, replace
// the constructor here.
func TestLinear_memoryStore(t *testing.T) {
	newStore := func() otp.Store { return otp.NewMemoryStore(nil) }
	linAll(t, linRegisters(), 2500, func(seed uint64) []porcupine.Operation {
		return linStoreHistory(newStore(), seed)
	})
}

// A linAccess is a Load, or a CompareAndSwap in which "" stands for nil.
type linAccess struct {
	key      string
	load     bool
	old, new string
}

type linAnswer struct {
	value   string // of a Load; "" is absent
	swapped bool
	unknown bool // an error: the swap is made or not, now or later
}

// linRegisters is the specification of an [otp.Store] without its expiry.
func linRegisters() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(ops []porcupine.Operation) (parts [][]porcupine.Operation) {
			byKey := map[string][]porcupine.Operation{}
			for _, op := range ops {
				key := op.Input.(linAccess).key
				byKey[key] = append(byKey[key], op)
			}
			for _, part := range byKey {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) []any {
			live, in, out := state.(string), input.(linAccess), output.(linAnswer)
			switch fits := live == in.old; {
			case in.load && (out.unknown || out.value == live):
				return []any{live}
			case in.load:
				return nil
			case out.unknown && fits:
				return []any{live, in.new}
			case out.unknown, !out.swapped && !fits:
				return []any{live}
			case out.swapped && fits:
				return []any{in.new}
			}
			return nil
		},
	}
	return m.ToModel()
}

// linStoreHistory lets a few clients load and swap a few keys. There are only a few
// values, so that a swap can also succeed after others came and went.
func linStoreHistory(store otp.Store, seed uint64) []porcupine.Operation {
	const clients, calls = 4, 8
	h := newLinHistory(clients)
	prefix := crand.Text() // the store may be a database that others use
	linAtOnce(clients, seed, func(client int, dice *rand.Rand) {
		seen := map[string]string{}
		for range calls {
			in := linAccess{key: prefix + string('a'+rune(dice.IntN(3))), load: dice.IntN(3) == 0}
			if !in.load {
				in.old, in.new = seen[in.key], []string{"1", "2", "3", ""}[dice.IntN(4)]
				if in.old == "" && in.new == "" {
					in.new = "4"
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			if dice.IntN(16) == 0 {
				go cancel()
			}
			linPause(dice)
			h.note(client, func() (any, any, bool) {
				out := linCallStore(ctx, store, in)
				switch {
				case out.unknown:
				case in.load:
					seen[in.key] = out.value
				case out.swapped:
					seen[in.key] = in.new
				default:
					seen[in.key] = "" // try something else
				}
				return in, out, !out.unknown
			})
			cancel()
		}
	})
	return h.operations()
}

// linCallStore overwrites its arguments and results afterwards: both belong to the
// caller.
func linCallStore(ctx context.Context, store otp.Store, in linAccess) linAnswer {
	if in.load {
		value, err := store.Load(ctx, in.key)
		defer clear(value)
		return linAnswer{value: string(value), unknown: err != nil}
	}
	old, new := linOrNil(in.old), linOrNil(in.new)
	swapped, err := store.CompareAndSwap(ctx, in.key, old, new, time.Hour)
	clear(old)
	clear(new)
	return linAnswer{swapped: swapped && err == nil, unknown: err != nil}
}

func linOrNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
