package testkit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Showcase prints values in all the ways in which an application may print and
// log them, and keeps the output. It is for tests that nothing leaks a secret.
type Showcase struct {
	b    strings.Builder
	logs []*slog.Logger
}

// NewShowcase returns an empty showcase.
func NewShowcase() *Showcase {
	c := &Showcase{}
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	c.logs = []*slog.Logger{slog.New(slog.NewTextHandler(&c.b, level)), slog.New(slog.NewJSONHandler(&c.b, level))}
	return c
}

// Text returns what was printed so far.
func (c *Showcase) Text() string { return c.b.String() }

// nests are the ways to carry a value around, by value and by pointer.
func nests[T any](v T) []any {
	type byValue struct{ Inner T }
	type byPointer struct{ Inner *T }
	type deeper struct{ Outer byValue }
	p := &v
	return []any{
		v, p, &p,
		byValue{v},
		&byValue{v},
		byPointer{p},
		&byPointer{p},
		deeper{byValue{v}},
		[]T{v},
		[]*T{p},
		[1]T{v},
		&[]T{v},
		map[string]T{"k": v},
		map[string]*T{"k": p},
		map[string]any{"k": []any{byValue{v}}},
	}
}

// Print prints and logs v by itself, but not as JSON.
func (c *Showcase) Print(v any) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3v", "%-v"} {
		fmt.Fprintf(&c.b, verb+"\n", v)
	}
	fmt.Fprintln(&c.b, v)
	c.logs[0].Debug("x", "v", v, slog.Group("g", "v", v))
	c.logs[0].With("v", v).WithGroup("g").Info("y", slog.Any("v", v))
}

// Show prints and logs a value by itself and nested, as its own type and as
// any: fmt and encoding/json treat the two differently.
func Show[T any](c *Showcase, v T) { show(c, v, true) }

// ShowNoJSON is Show for a value that JSON shows whole, as its documentation
// says: it is neither marshaled nor nested in a JSON log.
func ShowNoJSON[T any](c *Showcase, v T) { show(c, v, false) }

func show[T any](c *Showcase, v T, asJSON bool) {
	nested := append(nests[any](v), nests(v)...)
	if err, ok := any(v).(error); ok {
		nested = append(nested, fmt.Errorf("app: %w", err), errors.Join(err, err))
	}
	for _, n := range nested {
		c.Print(n)
		if !asJSON {
			continue
		}
		c.logs[1].Debug("x", "v", n, slog.Group("g", "v", n))
		c.logs[1].With("v", n).WithGroup("g").Info("y", slog.Any("v", n))
		if b, err := json.Marshal(n); err == nil {
			c.b.Write(b)
		}
	}
	if !asJSON { // by itself it is a LogValuer
		c.logs[1].Debug("x", "v", v, slog.Group("g", "v", v))
		c.logs[1].With("v", v).Info("y")
	}
}

// HoldsNone fails t if one of the secrets was printed in any form.
func (c *Showcase) HoldsNone(t testing.TB, secrets []string) {
	t.Helper()
	text := c.Text()
	lower := strings.ToLower(text)
	for _, s := range secrets {
		if len(s) < 10 {
			t.Fatalf("%q: shorter than 10 bytes, may be there by chance", s)
		}
		coded := base64.RawStdEncoding.EncodeToString([]byte(s))
		for _, form := range []string{s, coded[:len(coded)-1], fmt.Sprintf("%x", s), fmt.Sprintf("% x", s), fmt.Sprintf("%v", []byte(s))} {
			if i := strings.Index(lower, strings.ToLower(form)); i >= 0 {
				t.Fatalf("%q is shown: %q", s, text[max(0, i-200):i+len(form)])
			}
		}
	}
}
