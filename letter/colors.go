package letter

import (
	"fmt"
	"math"
	"strconv"
)

// minContrast is what WCAG 2.2 criterion 1.4.3 wants for text.
const minContrast = 4.5

// Colors are the colors of the HTML. Mail programs that know the reader's wish
// (prefers-color-scheme) use Dark for dark screens; others change Light as
// they think fit.
type Colors struct {
	// Light is for light screens. Default: the zero value, black on white.
	Light Palette

	// Dark is for dark screens. Default: the zero value, white on black. It
	// does not follow from Light: change the one, look at the other.
	Dark Palette
}

// Palette are colors written "#rrggbb"; an empty one has its default. Where
// one is read on another their contrast must be at least 4.5:1 (WCAG 2.2
// criterion 1.4.3). Six decimal digits are allowed, but a program that looks
// for a code in the source of a mail may take them for one.
type Palette struct {
	// Background is behind everything but the code; Text is read on it.
	Background, Text string

	// Accent is for the brand's name, on Background. Default: that of Text.
	Accent string

	// Muted is for what is less important, on Background.
	Muted string

	// CodeBackground is behind the code; CodeText is the code.
	CodeBackground, CodeText string
}

var (
	defaultLight = Palette{Background: "#ffffff", Text: "#1c1e21", Muted: "#54585f", CodeBackground: "#eef0f4", CodeText: "#0b0c0e"}
	defaultDark  = Palette{Background: "#16181d", Text: "#e8e8ea", Muted: "#b4b8c0", CodeBackground: "#262a33", CodeText: "#ffffff"}
)

// withDefaults returns c filled and checked.
func (c Colors) withDefaults() (Colors, error) {
	var err error
	if c.Light, err = c.Light.withDefaults(defaultLight); err != nil {
		return c, fmt.Errorf("colors: light: %w", err)
	}
	if c.Dark, err = c.Dark.withDefaults(defaultDark); err != nil {
		return c, fmt.Errorf("colors: dark: %w", err)
	}
	return c, nil
}

func (p Palette) withDefaults(def Palette) (Palette, error) {
	fill := func(c *string, def string) {
		if *c == "" {
			*c = def
		}
	}
	fill(&p.Background, def.Background)
	fill(&p.Text, def.Text)
	fill(&p.Accent, p.Text)
	fill(&p.Muted, def.Muted)
	fill(&p.CodeBackground, def.CodeBackground)
	fill(&p.CodeText, def.CodeText)
	for _, pair := range [...]struct{ name, on, front, back string }{
		{"Text", "Background", p.Text, p.Background},
		{"Accent", "Background", p.Accent, p.Background},
		{"Muted", "Background", p.Muted, p.Background},
		{"CodeText", "CodeBackground", p.CodeText, p.CodeBackground},
	} {
		front, ok := luminance(pair.front)
		if !ok {
			return p, fmt.Errorf("%s: not of the form #rrggbb", pair.name)
		}
		back, ok := luminance(pair.back)
		if !ok {
			return p, fmt.Errorf("%s: not of the form #rrggbb", pair.on)
		}
		if ratio := (max(front, back) + 0.05) / (min(front, back) + 0.05); ratio < minContrast {
			return p, fmt.Errorf("%s %s on %s %s: contrast %.2f:1 is less than %.1f:1", pair.name, pair.front, pair.on, pair.back, ratio, minContrast)
		}
	}
	return p, nil
}

// luminance is the relative luminance of WCAG 2; false if color is not of the
// form #rrggbb.
func luminance(color string) (float64, bool) {
	if len(color) != 7 || color[0] != '#' {
		return 0, false
	}
	sum := 0.0
	for i, weight := range [...]float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(color[1+2*i:3+2*i], 16, 8)
		if err != nil {
			return 0, false
		}
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum, true
}
