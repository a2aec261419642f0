package phrases

import (
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// categories has the plural categories of CLDR, as they are named in the files
// of words.
var categories = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// Category returns the plural category of an integer.
func Category(tag language.Tag, n int) string {
	if base, _ := tag.Base(); base.String() == "mk" && n%100 == 11 {
		return "other" // since CLDR 42; golang.org/x/text has older rules
	}
	return categories[plural.Cardinal.MatchPlural(tag, n, 0, 0, 0, 0)]
}

// Needed returns the categories that a language needs. The integers up to 200
// have all the categories that occur up to the minutes of a day.
func Needed(tag language.Tag) map[string]bool {
	needed := map[string]bool{"other": true}
	for n := range 201 {
		needed[Category(tag, n)] = true
	}
	return needed
}
