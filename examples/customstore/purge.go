package main

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"
)

// Purge looks at the next n entries and deletes those that have expired: call
// it now and then, say with 1000 every minute. A file does not shrink, but its
// free pages are used again.
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
			next = bytes.Clone(key) // nil at the end: begin again
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
