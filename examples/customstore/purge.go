package main

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"
)

// Purge deletes the expired ones of the next n entries. Call it regularly, for
// example with n = 1000 every minute. The file does not shrink, but its free
// pages are reused.
func (s *BoltStore) Purge(ctx context.Context, n int) error {
	return s.do(ctx, s.writer, func() error {
		var next []byte
		err := s.db.Update(func(tx *bbolt.Tx) error {
			b, dead := tx.Bucket(bucket), [][]byte(nil)
			c := b.Cursor()
			key, value := c.Seek(s.next)
			for ; key != nil && n > 0; n-- {
				if s.live(value) == nil {
					dead = append(dead, bytes.Clone(key))
				}
				key, value = c.Next()
			}
			next = bytes.Clone(key) // nil at the end, so the next call begins again
			for _, key := range dead {
				if err := b.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			s.next = next
		}
		return err
	})
}
