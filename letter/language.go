package letter

import (
	"cmp"
	"fmt"
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

// chooser finds the language for a reader's wish.
type chooser struct {
	words    []*words // by tag, as the matcher has them
	matcher  language.Matcher
	fallback *words

	mu   sync.RWMutex
	seen map[string]*words // what was chosen for a wish
}

// init takes the languages there are and the tag of the one to fall back to.
func (c *chooser) init(all map[string]*words, fallback string) error {
	var tags []language.Tag
	for _, w := range all {
		c.words = append(c.words, w)
	}
	slices.SortFunc(c.words, func(a, b *words) int { return cmp.Compare(a.lang, b.lang) })
	for _, w := range c.words {
		tags = append(tags, w.tag)
	}
	c.matcher = language.NewMatcher(tags)
	c.seen = map[string]*words{}
	if fallback == "" {
		fallback = "en"
	}
	tag, err := language.Parse(fallback)
	if err != nil {
		return fmt.Errorf("locale: %w", err)
	}
	if c.fallback = c.match(tag); c.fallback == nil {
		return fmt.Errorf("locale: no words for %s", tag)
	}
	return nil
}

// choose returns the language for a tag, a list of tags or an Accept-Language
// header, the one to fall back to if nothing fits.
func (c *chooser) choose(locale string) *words {
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
func (c *chooser) match(wishes ...language.Tag) *words {
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
