package otp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-mailotp/otp"
)

// A MemoryStore serves one process. A Verifier calls the store by itself; the
// calls here show what a store is.
func ExampleNewMemoryStore() {
	store := otp.NewMemoryStore(&otp.MemoryOptions{MaxEntries: 50_000})

	ctx := context.Background()
	created, err := store.CompareAndSwap(ctx, "key", nil, []byte("first"), time.Hour)
	fmt.Println(created, err)

	// Of all that swap the same value exactly one succeeds.
	swapped, err := store.CompareAndSwap(ctx, "key", []byte("first"), []byte("second"), time.Hour)
	fmt.Println(swapped, err)
	swapped, err = store.CompareAndSwap(ctx, "key", []byte("first"), []byte("third"), time.Hour)
	fmt.Println(swapped, err)

	value, err := store.Load(ctx, "key")
	fmt.Printf("%s %v\n", value, err)
	fmt.Println(store)
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
	// second <nil>
	// MemoryStore{Len: 1, Cap: 50000}
}
