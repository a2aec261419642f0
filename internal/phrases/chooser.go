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
	// maxLocale is the longest preference that is read, in bytes, since
	// strangers' programs send them.
	maxLocale = 1024

	// maxSeen and maxSeenLocale limit the preferences that are remembered to
	// 128 KiB.
	maxSeen       = 1024
	maxSeenLocale = 128
)

// Chooser finds the language for a reader's preferences. T is the words of one
// language. It is safe for concurrent use.
type Chooser[T any] struct {
	words    []*T // in the order of the matcher
	matcher  language.Matcher
	fallback *T

	mu   sync.RWMutex
	seen map[string]*T // by preference
}

// NewChooser returns a chooser among the languages in all, by tag. Fallback is
// the tag of the language to use if none matches; empty means "en".
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
		return nil, fmt.Errorf("Options.Locale: %w", err)
	}
	if c.fallback = c.match(tag); c.fallback == nil {
		return nil, fmt.Errorf("Options.Locale: no words for %s", tag)
	}
	return c, nil
}

// Remembered returns how many preferences are remembered, for tests.
func (c *Chooser[T]) Remembered() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.seen)
}

// All returns the words of each language, in the order of their tags.
func (c *Chooser[T]) All() []*T { return c.words }

// Choose returns the words for a tag, a list of tags or an Accept-Language
// header, or those of the fallback language if none matches.
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
	if w = c.match(parsePreferences(locale)...); w == nil {
		w = c.fallback
	}
	if len(locale) <= maxSeenLocale {
		c.mu.Lock()
		if len(c.seen) >= maxSeen { // strangers may invent any number
			clear(c.seen)
		}
		c.seen[strings.Clone(locale)] = w
		c.mu.Unlock()
	}
	return w
}

// match returns the words for preferences, best first, or nil if none matches.
func (c *Chooser[T]) match(preferences ...language.Tag) *T {
	// Use the index, since the matched tag has the extensions of the
	// preference.
	_, i, confidence := c.matcher.Match(preferences...)
	if confidence == language.No {
		return nil
	}
	return c.words[i]
}

// parsePreferences parses a list of tags with weights (RFC 9110 section 12.5.4)
// and returns it best first. It parses each tag separately, so that an invalid
// one does not affect the others.
func parsePreferences(locale string) []language.Tag {
	type preference struct {
		tag language.Tag
		q   float32
	}
	var list []preference
	for item := range strings.SplitSeq(locale, ",") {
		tags, qs, err := language.ParseAcceptLanguage(item)
		if err != nil || len(tags) != 1 { // a weight of zero gives no tag
			continue
		}
		list = append(list, preference{tags[0], qs[0]})
	}
	slices.SortStableFunc(list, func(a, b preference) int { return cmp.Compare(b.q, a.q) })
	tags := make([]language.Tag, len(list))
	for i, p := range list {
		tags[i] = p.tag
	}
	return tags
}
