package phrases

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
)

const (
	// maxLocale is the longest wish that is looked at, in bytes: a wish is
	// whatever a stranger's program sent.
	maxLocale = 1024

	// maxSeen and maxSeenLocale bound what is remembered of wishes: at most
	// 128 KiB of them.
	maxSeen       = 1024
	maxSeenLocale = 128
)

// Chooser finds the language for a reader's wish: T is what there is for each.
// It is safe for concurrent use.
type Chooser[T any] struct {
	words    []*T // by tag, as the matcher has them
	matcher  language.Matcher
	fallback *T

	mu   sync.RWMutex
	seen map[string]*T // what was chosen for a wish
}

// NewChooser takes the languages there are, by tag, and the tag of the one to
// fall back to, which is "en" if empty.
func NewChooser[T any](all map[string]*T, fallback string) (*Chooser[T], error) {
	c := &Chooser[T]{seen: map[string]*T{}}
	var tags []language.Tag
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		c.words = append(c.words, all[tag])
		tags = append(tags, language.Make(tag))
	}
	c.matcher = language.NewMatcher(tags)
	if fallback == "" {
		fallback = "en"
	}
	tag, err := language.Parse(fallback)
	if err != nil {
		return nil, fmt.Errorf("locale: %w", err)
	}
	if c.fallback = c.match(tag); c.fallback == nil {
		return nil, fmt.Errorf("locale: no words for %s", tag)
	}
	return c, nil
}

// Remembered is how many wishes are known, for tests.
func (c *Chooser[T]) Remembered() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.seen)
}

// All returns what there is for each language, in the order of their tags.
func (c *Chooser[T]) All() []*T { return c.words }

// Choose returns the language for a tag, a list of tags or an Accept-Language
// header, the one to fall back to if nothing fits.
func (c *Chooser[T]) Choose(locale string) *T {
	if locale == "" || len(locale) > maxLocale {
		return c.fallback
	}
	c.mu.RLock()
	w := c.seen[locale]
	c.mu.RUnlock()
	if w != nil {
		return w
	}
	if w = c.match(wishes(locale)...); w == nil {
		w = c.fallback
	}
	if len(locale) <= maxSeenLocale {
		c.mu.Lock()
		if len(c.seen) >= maxSeen { // strangers made them up: begin anew
			clear(c.seen)
		}
		c.seen[strings.Clone(locale)] = w
		c.mu.Unlock()
	}
	return w
}

// match returns the best language for wishes, best first; nil if none fits.
func (c *Chooser[T]) match(wishes ...language.Tag) *T {
	// The index, not the tag: a matched tag carries extensions of the wish.
	_, i, confidence := c.matcher.Match(wishes...)
	if confidence == language.No {
		return nil
	}
	return c.words[i]
}

// wishes reads a list of tags with weights (RFC 9110 section 12.5.4), best
// first. Each is read by itself, since an error in one says nothing of the
// others.
func wishes(locale string) []language.Tag {
	type wish struct {
		tag language.Tag
		q   float32
	}
	var list []wish
	for item := range strings.SplitSeq(locale, ",") {
		tags, qs, err := language.ParseAcceptLanguage(item)
		if err != nil || len(tags) != 1 { // none for a weight of zero
			continue
		}
		list = append(list, wish{tags[0], qs[0]})
	}
	slices.SortStableFunc(list, func(a, b wish) int { return cmp.Compare(b.q, a.q) })
	tags := make([]language.Tag, len(list))
	for i, w := range list {
		tags[i] = w.tag
	}
	return tags
}
