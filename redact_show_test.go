package otp_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-mailotp/otp"
)

// showcase shows values in all the ways that an application may print and log
// them, and keeps what is seen.
type showcase struct {
	b    strings.Builder
	logs []*slog.Logger
}

func newShowcase() *showcase {
	c := &showcase{}
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	c.logs = []*slog.Logger{slog.New(slog.NewTextHandler(&c.b, level)), slog.New(slog.NewJSONHandler(&c.b, level))}
	return c
}

func (c *showcase) text() string { return c.b.String() }

// nests are the ways to carry a value around, by value and by pointer.
func nests[T any](v T) []any {
	type byValue struct{ Inner T }
	type byPointer struct{ Inner *T }
	type deeper struct{ Outer byValue }
	p := &v
	return []any{
		v, p, &p, byValue{v}, &byValue{v}, byPointer{p}, &byPointer{p}, deeper{byValue{v}}, []T{v}, []*T{p}, [1]T{v}, &[]T{v},
		map[string]T{"k": v}, map[string]*T{"k": p}, map[string]any{"k": []any{byValue{v}}},
	}
}

// show prints a value by itself and nested, with its type and as any.
func (c *showcase) show(v any) {
	nested := nests(v)
	switch v := v.(type) { // with their types fmt and encoding/json see them otherwise
	case otp.Challenge:
		nested = append(nested, nests(v)...)
	case otp.Message:
		nested = append(nested, nests(v)...)
	case otp.Address:
		nested = append(append(nested, nests(v)...), map[otp.Address]bool{v: true})
	case otp.Request:
		nested = append(nested, nests(v)...)
	case otp.Options:
		nested = append(nested, nests(v)...)
	case otp.SMTPOptions:
		nested = append(nested, nests(v)...)
	case otp.Event:
		nested = append(nested, nests(v)...)
	case error:
		nested = append(append(nested, nests(v)...), fmt.Errorf("app: %w", v), errors.Join(v, v))
	}
	whole := false // in JSON, as documented
	switch v.(type) {
	case otp.Challenge, *otp.Challenge, otp.Address:
		whole = true
	}
	for _, n := range nested {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3v", "%-v"} {
			fmt.Fprintf(&c.b, verb+"\n", n)
		}
		fmt.Fprintln(&c.b, n)
		c.logs[0].Debug("x", "v", n, slog.Group("g", "v", n))
		c.logs[0].With("v", n).WithGroup("g").Info("y", slog.Any("v", n))
		if whole {
			continue
		}
		c.logs[1].Debug("x", "v", n, slog.Group("g", "v", n))
		c.logs[1].With("v", n).WithGroup("g").Info("y", slog.Any("v", n))
		if b, err := json.Marshal(n); err == nil {
			c.b.Write(b)
		}
	}
	if whole { // by itself it is a LogValuer
		c.logs[1].Debug("x", "v", v, slog.Group("g", "v", v))
		c.logs[1].With("v", v).Info("y")
	}
}

// holdsNone fails if a secret was seen in any form.
func (c *showcase) holdsNone(t *testing.T, secrets []string) {
	t.Helper()
	text := c.text()
	lower := strings.ToLower(text)
	for _, s := range secrets {
		require.GreaterOrEqual(t, len(s), 10, "a shorter one may be there by chance")
		coded := base64.RawStdEncoding.EncodeToString([]byte(s))
		for _, form := range []string{s, coded[:len(coded)-1], fmt.Sprintf("%x", s), fmt.Sprintf("% x", s), fmt.Sprintf("%v", []byte(s))} {
			if i := strings.Index(lower, strings.ToLower(form)); i >= 0 {
				t.Fatalf("%q is shown: %q", s, text[max(0, i-200):i+len(form)])
			}
		}
	}
}
