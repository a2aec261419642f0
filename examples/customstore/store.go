package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/go-mailotp/otp"
)

// BoltStore is an otp.Store in one file, for one process. An entry is its
// expiry (8 bytes, in Unix milliseconds) followed by the verifier's value.
type BoltStore struct {
	db     *bbolt.DB
	now    func() time.Time
	writer chan struct{} // held by the one write in progress, since bbolt allows only one
	reader chan struct{} // held by each read in progress
	next   []byte        // where Purge (purge.go) continues; only the holder of writer uses it
}

var (
	bucket     = []byte("otp")
	errNoMatch = errors.New("comparison failed") // rolls the transaction back
)

// OpenBoltStore opens or creates the file at path. It waits one second for
// another process to close the file, and then fails.
func OpenBoltStore(path string) (*BoltStore, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err })
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &BoltStore{db: db, now: time.Now, writer: make(chan struct{}, 1), reader: make(chan struct{}, 64)}, nil
}

// Close waits for the transactions in progress and closes the file.
func (s *BoltStore) Close() error { return s.db.Close() }

// Load implements otp.Store.
func (s *BoltStore) Load(ctx context.Context, key string) (value []byte, err error) {
	if err := otp.CheckKey(key); err != nil {
		return nil, err
	}
	var found []byte // not value, because the transaction may write to it after ctx has ended
	err = s.do(ctx, s.reader, func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			found = bytes.Clone(s.live(tx.Bucket(bucket).Get([]byte(key)))) // bbolt's bytes are invalid after the transaction
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// CompareAndSwap implements otp.Store. When it returns true, the swap is on
// disk.
func (s *BoltStore) CompareAndSwap(ctx context.Context, key string, oldValue, newValue []byte, ttl time.Duration) (bool, error) {
	if err := otp.CheckSwap(key, oldValue, newValue, ttl); err != nil {
		return false, err
	}
	oldValue, newValue = bytes.Clone(oldValue), bytes.Clone(newValue) // the transaction may outlive the call
	err := s.do(ctx, s.writer, func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			live := s.live(b.Get([]byte(key)))
			if (live == nil) != (oldValue == nil) || !bytes.Equal(live, oldValue) {
				return errNoMatch
			}
			if newValue == nil {
				return b.Delete([]byte(key))
			}
			ends := s.now().UnixMilli() + ttl.Milliseconds() + 2 // both are truncated, so round up
			return b.Put([]byte(key), append(binary.BigEndian.AppendUint64(nil, uint64(ends)), newValue...))
		})
	})
	if errors.Is(err, errNoMatch) {
		return false, nil
	}
	return err == nil, err
}

// live returns the verifier's value, or nil if the entry is absent or has
// expired.
func (s *BoltStore) live(stored []byte) []byte {
	if len(stored) <= 8 || s.now().UnixMilli() >= int64(binary.BigEndian.Uint64(stored)) {
		return nil
	}
	return stored[8:]
}

// do runs a transaction and returns when ctx ends, although bbolt does not
// support contexts and a disk can hang. The transaction then continues in the
// background and keeps its slot, so there are never more transactions than
// slots. Its outcome is unknown, so do returns an error.
func (s *BoltStore) do(ctx context.Context, slots chan struct{}, transaction func() error) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("bolt store: %w", ctx.Err())
	}
	if err := ctx.Err(); err != nil { // select may choose either case
		<-slots
		return fmt.Errorf("bolt store: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-slots }()
		done <- transaction()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("bolt store: %w", ctx.Err())
	}
}
