package phrases

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-mailotp/otp/internal/safetext"
)

// Part is a part of a sentence: plain words, or the name of a value.
type Part struct {
	Text string // the words, if Name is empty
	Name string // the name of a value, written in braces
}

// Cut splits a sentence at the names in braces. Spaces at the start or end,
// line breaks, invisible characters, numbers and links are errors.
func Cut(s string) ([]Part, error) {
	if s == "" || strings.TrimSpace(s) != s {
		return nil, errors.New("empty, or starts or ends with a space")
	}
	var parts []Part
	for rest := s; rest != ""; {
		words, after, found := strings.Cut(rest, "{")
		if strings.Contains(words, "}") {
			return nil, errors.New("unbalanced brace")
		}
		if words != "" {
			if err := checkWords(words); err != nil {
				return nil, err
			}
			parts = append(parts, Part{Text: words})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found || strings.Contains(name, "{") {
			return nil, errors.New("unbalanced brace")
		}
		if name == "" {
			return nil, errors.New("empty name {}")
		}
		parts = append(parts, Part{Name: name})
		rest = after
	}
	return parts, nil
}

// checkWords checks the words between names.
func checkWords(s string) error {
	if err := safetext.Check(s); err != nil {
		return err
	}
	digits := 0
	for _, r := range s {
		// Some languages are spelled with joiners; other invisible characters
		// only disguise words.
		if unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
			return fmt.Errorf("invisible character %U", r)
		}
		if !unicode.IsDigit(r) {
			digits = 0
		} else if digits++; digits > 1 {
			return errors.New("contains a number, which a program could mistake for the code")
		}
	}
	low := strings.ToLower(s)
	for _, never := range [...]string{"://", "http:", "https:", "www.", "mailto:", "src=", "href=", "url("} {
		if strings.Contains(low, never) {
			return fmt.Errorf("contains a link (%s)", never)
		}
	}
	return nil
}
