package letter

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
)

// minContrast is the minimum for text by WCAG 2.2, criterion 1.4.3.
const minContrast = 4.5

// Colors are the colors of the HTML. Mail programs that support
// prefers-color-scheme use Dark on devices with a dark theme. Other programs
// derive dark colors from Light in their own way.
type Colors struct {
	// Light is the palette for light themes. Default: black on white.
	Light Palette

	// Dark is the palette for dark themes. Default: white on black. It is not
	// derived from Light: if you change one, check the other.
	Dark Palette
}

// Palette is a set of colors in the form "#rrggbb". An empty color means its
// default. The contrast of a text with its background must be at least 4.5:1
// (WCAG 2.2, criterion 1.4.3), or [New] returns an error. Avoid colors of six
// decimal digits: a program that searches the source of a mail for a code may
// find them.
type Palette struct {
	// Background is behind everything except the code. Text is the color of the
	// text on it.
	Background, Text string

	// Accent is the color of the brand name on Background. Default: Text.
	Accent string

	// Muted is the color of less important text on Background.
	Muted string

	// CodeBackground is behind the code. CodeText is the color of the code.
	CodeBackground, CodeText string
}

var (
	defaultLight = Palette{Background: "#ffffff", Text: "#1c1e21", Muted: "#54585f", CodeBackground: "#eef0f4", CodeText: "#0b0c0e"}
	defaultDark  = Palette{Background: "#16181d", Text: "#e8e8ea", Muted: "#b4b8c0", CodeBackground: "#262a33", CodeText: "#ffffff"}
)

// withDefaults returns c with its defaults, or an error if a color is invalid.
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
	p.Background, p.Text = cmp.Or(p.Background, def.Background), cmp.Or(p.Text, def.Text)
	p.Accent, p.Muted = cmp.Or(p.Accent, p.Text), cmp.Or(p.Muted, def.Muted)
	p.CodeBackground, p.CodeText = cmp.Or(p.CodeBackground, def.CodeBackground), cmp.Or(p.CodeText, def.CodeText)
	for _, pair := range [...]struct{ name, on, front, back string }{
		{"Text", "Background", p.Text, p.Background},
		{"Accent", "Background", p.Accent, p.Background},
		{"Muted", "Background", p.Muted, p.Background},
		{"CodeText", "CodeBackground", p.CodeText, p.CodeBackground},
	} {
		front, ok := luminance(pair.front)
		if !ok {
			return p, fmt.Errorf("%s: must have the form #rrggbb", pair.name)
		}
		back, ok := luminance(pair.back)
		if !ok {
			return p, fmt.Errorf("%s: must have the form #rrggbb", pair.on)
		}
		if ratio := (max(front, back) + 0.05) / (min(front, back) + 0.05); ratio < minContrast {
			return p, fmt.Errorf("%s %s on %s %s: contrast is %.2f:1, want at least %.1f:1", pair.name, pair.front, pair.on, pair.back, ratio, minContrast)
		}
	}
	return p, nil
}

// luminance returns the relative luminance of WCAG 2, or false if color does
// not have the form #rrggbb.
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
